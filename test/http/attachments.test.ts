/** Attachments and metadata of the user, their revisions, and files that are stored compressed, as every reader meets them. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inflateSync } from 'node:zlib';
import { startReference } from '../debian-reference.ts';
import { make } from '../dicom/made.ts';
import { shared, without, withoutShared } from '../peer.ts';
import { alterBlob, blobsBelow, overwriteBlob, readBlob } from '../storage/blobs.ts';
import { type Served, serve } from './served.ts';

const NAMES = { UserMetadata: { sample: 1024 }, UserContentType: { report: [1025, 'application/pdf'] } };

let server: Served;
let packed: Served;

before(async () => {
  [server, packed] = await Promise.all([
    serve({ ...NAMES, StableAge: 600 }),
    serve({ ...NAMES, StableAge: 600, StorageCompression: true }),
  ]);
});
after(async () => {
  await Promise.all([server.close(), packed.close()]);
});

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

interface Uploaded {
  readonly ID: string;
  readonly ParentPatient: string;
  readonly ParentStudy: string;
  readonly ParentSeries: string;
}

async function upload(url: string, bytes: Uint8Array): Promise<Uploaded> {
  const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(bytes) });
  assert.equal(answer.status, 200);
  return (await answer.json()) as Uploaded;
}

async function ask(
  url: string,
  method: string,
  body?: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Headers; bytes: Buffer; text: string }> {
  const answer = await fetch(url, { method, headers, ...(body !== undefined && { body }) });
  const bytes = Buffer.from(await answer.arrayBuffer());
  return { status: answer.status, headers: answer.headers, bytes, text: bytes.toString() };
}

/** Every blob of a server's storage. */
const blobsOf = ({ storage }: Served): readonly string[] => blobsBelow(storage);

/** Waits until the storage holds so many blobs: removal is the second step of a deletion. */
async function untilBlobs(served: Served, count: number): Promise<void> {
  for (const until = Date.now() + 10_000; Date.now() < until && blobsOf(served).length !== count; ) await sleep(20);
  assert.equal(blobsOf(served).length, count);
}

/** An image of 3 frames whose pixels are words that compress. */
const FRAMES = 3;
const image = (name: string, size = 64): Buffer =>
  make({
    patientId: name,
    studyUid: `2.25.8${name}`,
    seriesUid: `2.25.8${name}.1`,
    sopUid: `2.25.8${name}.1.1`,
    rows: size,
    columns: size,
    extra: [{ tag: '0028,0008', vr: 'IS', value: String(FRAMES) }],
    pixels: Uint8Array.from({ length: size * size * 2 * FRAMES }, (_, index) =>
      index % 2 === 0 ? (index >> 7) & 0xff : 3,
    ),
  });

test('an attachment is set, read in ranges, replaced and deleted at every level, and leaves no blob behind', async () => {
  const { ID, ParentPatient, ParentStudy, ParentSeries } = await upload(server.url, make({ patientId: 'levels' }));
  const before = blobsOf(server).length;
  const large = new Uint8Array(randomBytes(3 << 20));
  for (const path of [
    `patients/${ParentPatient}`,
    `studies/${ParentStudy}`,
    `series/${ParentSeries}`,
    `instances/${ID}`,
  ]) {
    const url = `${server.url}/${path}/attachments`;
    const first = await ask(`${url}/report`, 'PUT', 'first');
    assert.deepEqual([first.status, first.headers.get('etag')], [200, `"0-${md5(Buffer.from('first'))}"`]);
    assert.equal((await ask(`${url}/1025`, 'PUT', large)).headers.get('etag'), `"1-${md5(large)}"`);
    assert.equal((await ask(`${url}/4711`, 'PUT', '')).status, 200);
    const names = path.startsWith('instances')
      ? { dicom: 1, report: 1025, '4711': 4711 }
      : { report: 1025, '4711': 4711 };
    assert.deepEqual(JSON.parse((await ask(`${url}?full`, 'GET')).text), names);
    const data = await ask(`${url}/report/data`, 'GET');
    assert.equal(data.headers.get('content-type'), 'application/pdf');
    assert.ok(data.bytes.equals(large));
    const range = await ask(`${url}/report/data`, 'GET', undefined, { range: 'bytes=1000000-1000003' });
    assert.deepEqual([range.status, range.bytes], [206, Buffer.from(large.subarray(1_000_000, 1_000_004))]);
    assert.equal((await ask(`${url}/4711/data`, 'GET')).bytes.length, 0);
    const etag = data.headers.get('etag') ?? '';
    assert.equal((await ask(`${url}/report/data`, 'GET', undefined, { 'if-none-match': etag })).status, 304);
    assert.equal((await ask(`${url}/report`, 'DELETE')).status, 200);
    assert.equal((await ask(`${url}/report/data`, 'GET')).status, 404);
    assert.equal((await ask(`${url}/4711`, 'DELETE')).status, 200);
  }
  await untilBlobs(server, before);
});

test('what is refused leaves nothing', async () => {
  const { ParentStudy } = await upload(server.url, make({ patientId: 'refused' }));
  const before = blobsOf(server).length;
  const url = `${server.url}/studies/${ParentStudy}/attachments/report`;
  const etag = (await ask(url, 'PUT', 'one')).headers.get('etag') ?? '';
  const other = '"0-00000000000000000000000000000000"';
  for (const condition of [other, `"7${etag.slice(2)}`])
    assert.equal((await ask(url, 'PUT', 'two', { 'if-match': condition })).status, 409, condition);
  assert.equal((await ask(url, 'DELETE', undefined, { 'if-match': other })).status, 409);
  const nobody = '00000000-00000000-00000000-00000000-00000000';
  assert.equal((await ask(`${server.url}/studies/${nobody}/attachments/report`, 'PUT', 'x')).status, 404);
  assert.equal((await ask(url, 'PUT', 'two', { 'if-match': etag })).status, 200);
  assert.equal((await ask(`${url}/data`, 'GET')).text, 'two');
  await untilBlobs(server, before + 1);
});

test('compressing and uncompressing keeps the content, and is a revision', async () => {
  const { ParentStudy } = await upload(server.url, make({ patientId: 'compressing' }));
  const before = blobsOf(server).length;
  const url = `${server.url}/studies/${ParentStudy}/attachments/2000`;
  for (const content of [Buffer.alloc(6 << 20, 'many'), Buffer.from('few'), Buffer.alloc(0)]) {
    await ask(url, 'PUT', new Uint8Array(content));
    const revision = Number(/"(\d+)-/.exec((await ask(url, 'GET')).headers.get('etag') ?? '')?.[1]);
    for (let twice = 0; twice < 2; twice += 1) assert.equal((await ask(`${url}/compress`, 'POST')).text, '{}\n');
    const compressed = await ask(`${url}/compressed-data`, 'GET');
    assert.equal(compressed.headers.get('etag'), `"${revision + 1}-${md5(content)}"`);
    assert.equal((await ask(`${url}/is-compressed`, 'GET')).text, '1');
    assert.equal((await ask(`${url}/compressed-size`, 'GET')).text, String(compressed.bytes.length));
    assert.equal((await ask(`${url}/compressed-md5`, 'GET')).text, md5(compressed.bytes));
    if (content.length > 0) {
      assert.equal(compressed.bytes.readBigUInt64LE(), BigInt(content.length));
      assert.ok(inflateSync(compressed.bytes.subarray(8)).equals(content));
    }
    assert.ok((await ask(`${url}/data`, 'GET')).bytes.equals(content));
    assert.equal((await ask(`${url}/verify-md5`, 'POST')).status, 200);
    assert.equal((await ask(`${url}/uncompress`, 'POST')).status, 200);
    assert.ok((await ask(`${url}/compressed-data`, 'GET')).bytes.equals(content));
  }
  await untilBlobs(server, before + 1);
});

test('damage of a compressed file is told, not passed on', async () => {
  const { ID } = await upload(packed.url, image('damage', 1024));
  const url = `${packed.url}/instances/${ID}`;
  const { Uuid } = JSON.parse((await ask(`${url}/attachments/dicom/info`, 'GET')).text) as { Uuid: string };
  const whole = readBlob(packed.storage, Uuid);
  const damages = [
    Buffer.concat([whole.subarray(0, whole.length / 2), Buffer.alloc(whole.length / 2 + (whole.length % 2))]),
    Buffer.concat([Buffer.from('ffffffffffffff7f', 'hex'), whole.subarray(8)]),
  ];
  for (const damage of damages) {
    overwriteBlob(packed.storage, Uuid, damage);
    assert.equal((await ask(`${url}/attachments/dicom/verify-md5`, 'POST')).status, 500);
    assert.equal((await ask(`${url}/modify`, 'POST', '{}')).status, damage === damages[0] ? 500 : 200);
  }
  alterBlob(packed.storage, Uuid, 100);
  for (const each of ['file', 'frames/2/raw']) assert.equal((await ask(`${url}/${each}`, 'GET')).status, 500, each);
  overwriteBlob(packed.storage, Uuid, whole);
  assert.equal((await ask(`${url}/attachments/dicom/verify-md5`, 'POST')).status, 200);
});

/** What readers answer of an instance. */
const READERS = [
  'file',
  'tags',
  'header',
  'content/7fe0-0010',
  'frames/0/raw',
  'frames/2/raw',
  'frames/1/preview',
  'frames/1/numpy',
  'file?transcode=1.2.840.10008.1.2.5',
];

for (const [name, size] of [
  ['small', 64],
  ['large', 1024],
] as const) {
  test(`every reader understands ${name} files that are stored compressed`, async () => {
    const bytes = image(name, size);
    const [plain, compressed] = await Promise.all([upload(server.url, bytes), upload(packed.url, bytes)]);
    assert.equal(plain.ID, compressed.ID);
    const url = `${packed.url}/instances/${plain.ID}`;
    assert.equal((await ask(`${url}/attachments/dicom/is-compressed`, 'GET')).text, '1');
    const stored = Number((await ask(`${url}/attachments/dicom/compressed-size`, 'GET')).text);
    assert.ok(stored < bytes.length / 2, `${stored} of ${bytes.length} bytes`);
    for (const reader of READERS) {
      const [a, b] = await Promise.all([
        ask(`${server.url}/instances/${plain.ID}/${reader}`, 'GET'),
        ask(`${url}/${reader}`, 'GET'),
      ]);
      assert.deepEqual([b.status, md5(b.bytes)], [200, md5(a.bytes)], reader);
    }
    const range = await ask(`${url}/file`, 'GET', undefined, { range: `bytes=${bytes.length - 10}-` });
    assert.deepEqual(range.bytes, bytes.subarray(-10));
    const modified = await ask(
      `${packed.url}/studies/${plain.ParentStudy}/modify`,
      'POST',
      '{"Replace":{"StudyID":"1"}}',
    );
    const { Path } = JSON.parse(modified.text) as { Path: string };
    assert.match(Path, /^\/studies\//);
    assert.equal((await ask(`${url}/anonymize`, 'POST', '{}')).status, 200);
    assert.equal((await fetch(`${packed.url}/series/${plain.ParentSeries}/numpy`)).status, 200);
    assert.equal((await upload(packed.url, bytes)).ID, plain.ID);
  });
}

test('frames of a large compressed file come in any order', async () => {
  const bytes = image('order', 1024);
  const { ID } = await upload(packed.url, bytes);
  const size = 1024 * 1024 * 2;
  const pixels = bytes.subarray(-size * FRAMES);
  await Promise.all(
    [2, 0, 1, 1, 2, 0, 2, 1].map(async (frame) => {
      const raw = await ask(`${packed.url}/instances/${ID}/frames/${frame}/raw`, 'GET');
      assert.ok(raw.bytes.equals(pixels.subarray(frame * size, (frame + 1) * size)), `frame ${frame}`);
    }),
  );
});

test('a body that is too large for memory is stored compressed as well', async () => {
  const bytes = make({
    patientId: 'spilled',
    sopUid: '2.25.81',
    rows: 1024,
    columns: 10_240,
    pixels: new Uint8Array(20 << 20),
  });
  const before = blobsOf(packed).length;
  const { ID } = await upload(packed.url, bytes);
  const url = `${packed.url}/instances/${ID}`;
  const info = JSON.parse((await ask(`${url}/attachments/dicom/info`, 'GET')).text) as Record<string, unknown>;
  assert.deepEqual([info['UncompressedSize'], info['UncompressedMD5']], [bytes.length, md5(bytes)]);
  assert.ok(Number(info['CompressedSize']) < 1 << 20);
  assert.equal(md5((await ask(`${url}/file`, 'GET')).bytes), md5(bytes));
  await untilBlobs(packed, before + 1);
});

type Row = readonly [method: string, path: string, body?: string | undefined, headers?: Record<string, string>];

/** What both servers are asked, one after another, about one study and its instance. */
function conversation(study: string, instance: string, checks: boolean): Row[] {
  const metadata = `/studies/${study}/metadata/sample`;
  const all = `/studies/${study}/attachments`;
  const of = (value: string, revision: number): Record<string, string> => ({
    'if-match': `"${revision}-${md5(Buffer.from(value))}"`,
  });
  return [
    ['PUT', metadata, 'a'],
    ['PUT', metadata, 'b', { 'if-match': 'x' }],
    ['PUT', metadata, 'b', of('b', 0)],
    ['PUT', metadata, 'b', of('a', 1)],
    ['PUT', metadata, 'b'],
    ['GET', metadata],
    ['PUT', `/studies/${study}/metadata/2001`, 'a'],
    ['PUT', `/studies/${study}/metadata/2001`, 'b', of('a', 0)],
    ['GET', `/studies/${study}/metadata/2001`],
    ['PUT', `/studies/${study}/metadata/2002`, 'a', of('never', 7)],
    ['GET', `/studies/${study}/metadata/2002`, undefined, { 'if-none-match': of('a', 0)['if-match'] ?? '' }],
    ['DELETE', `/studies/${study}/metadata/2002`, undefined, of('b', 0)],
    ['DELETE', `/studies/${study}/metadata/2002`],
    ['PUT', `/studies/${study}/metadata/2002`, 'c'],
    ['DELETE', `/studies/${study}/metadata/2002`, undefined, of(checks ? 'a' : 'c', 0)],
    ['DELETE', `/studies/${study}/metadata/2002`, undefined, of('a', 0)],
    ['PUT', `${all}/report`, 'PDF?'],
    ['PUT', `${all}/report`, 'PDF!'],
    ['PUT', `${all}/report`, 'PDF!', of('PDF?', 0)],
    ['GET', `${all}/report/md5`],
    ['PUT', `${all}/1030`, ''],
    ['PUT', `${all}/2000`, 'x'.repeat(1000)],
    ['PUT', `${all}/nope`, 'x'],
    ['PUT', `${all}/500`, 'x'],
    ['PUT', `${all}/dicom`, 'x'],
    ['PUT', `${all}/70000`, 'x'],
    ['PUT', `/instances/${instance}/attachments/dicom`, 'x'],
    ['GET', all],
    ['GET', `${all}?full`],
    ['GET', `${all}/1030/info`],
    ['GET', `${all}/1030/data`],
    ['POST', `${all}/1030/compress`],
    ['GET', `${all}/1030/compressed-data`],
    ['POST', `${all}/1030/verify-md5`],
    ['POST', `${all}/2000/compress`],
    ['GET', `${all}/2000/is-compressed`],
    ['GET', `${all}/2000/size`],
    ['GET', `${all}/2000/data`],
    ['POST', `${all}/2000/verify-md5`],
    ['POST', `${all}/2000/uncompress`],
    ['GET', `${all}/2000/compressed-md5`],
    ['POST', `${all}/1500/uncompress`],
    ['POST', `${all}/nope/uncompress`],
    ['GET', `${all}/nope`],
    ['GET', `${all}/1500`],
    ['GET', `${all}/500/data`],
    ['DELETE', `${all}/1500`],
    ['DELETE', `${all}/nope`],
    ['DELETE', `${all}/2000`, undefined, of('PDF?', 0)],
    ['DELETE', `${all}/dicom`],
    ['DELETE', `${all}/3`],
    ['DELETE', `/instances/${instance}/attachments/dicom`],
    ['GET', `/instances/${instance}/attachments/dicom-until-pixel-data/data`],
    ['POST', `/instances/${instance}/attachments/dicom/compress`],
    ['GET', `/instances/${instance}/attachments/dicom/is-compressed`],
    ['GET', `/instances/${instance}/attachments/dicom/md5`],
    ['GET', `/instances/${instance}/file`],
    ['DELETE', '/studies/00000000-00000000-00000000-00000000-00000000/metadata/1024'],
    ['GET', `/studies/${study}/protected`],
  ];
}

for (const CheckRevisions of [false, true]) {
  const skip = withoutShared || without('Orthanc');
  test(`the reference server answers the same, CheckRevisions ${CheckRevisions}`, { skip }, async () => {
    const [ours, theirs] = await Promise.all([
      serve({ ...NAMES, CheckRevisions }),
      startReference({ ...NAMES, CheckRevisions }),
    ]);
    try {
      const file = readFileSync(shared('samples/DummyCT.dcm') ?? '');
      const { ID, ParentStudy } = await upload(ours.url, file);
      assert.equal((await upload(theirs.url, file)).ParentStudy, ParentStudy);
      for (const [method, path, body, headers] of conversation(ParentStudy, ID, CheckRevisions)) {
        const [a, b] = await Promise.all([ours, theirs].map(({ url }) => ask(url + path, method, body, headers)));
        assert.ok(a && b);
        const shown = (answer: typeof a): unknown[] => {
          const isJson =
            (answer.headers.get('content-type') ?? '').startsWith('application/json') || answer.status >= 400;
          const json: unknown = isJson && answer.text !== '' ? JSON.parse(answer.text) : answer.text;
          const { Uuid: _, ...fields } = (typeof json === 'object' && !Array.isArray(json) ? json : {}) as Record<
            string,
            unknown
          >;
          // That version of the reference tells a revision to who sets it, and keeps none in SQLite.
          const etag = answer.headers.get('etag')?.replace(method === 'GET' ? /\d+/ : '', '');
          return [answer.status, etag, Object.keys(fields).length > 0 ? fields : json];
        };
        assert.deepEqual(shown(a), shown(b), `${method} ${path} ${JSON.stringify(headers ?? {})}`);
      }
    } finally {
      theirs.close();
      await ours.close();
    }
  });
}
