/** Owns the proof of transcoding over REST: files asked for in another transfer syntax, and received ones stored in one. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { toJson } from '../../src/dicom/json.ts';
import { readFile } from '../../src/dicom/read.ts';
import { IsenError } from '../../src/errors.ts';
import { attributesOf } from '../../src/imaging/attributes.ts';
import { decodeFrame } from '../../src/imaging/decode.ts';
import type { Frame } from '../../src/imaging/image.ts';
import { framesOf } from '../../src/imaging/pixel-data.ts';
import { log } from '../../src/log.ts';
import { make } from '../dicom/made.ts';
import { freePort, shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { type RawAnswer, raw, type Served, serve } from './served.ts';

const EXPLICIT = '1.2.840.10008.1.2.1';
const JPEG = '1.2.840.10008.1.2.4.50';
const JPEG_LS = '1.2.840.10008.1.2.4.80';
const RLE = '1.2.840.10008.1.2.5';

const server = await serve({ DicomLossyTranscodingQuality: 40 });
after(() => server.close());

const grey = make({ rows: 64, columns: 64 });
const eight = make({
  rows: 64,
  columns: 64,
  bits: 8,
  sopUid: '1.2.3',
  pixels: Uint8Array.from({ length: 64 * 64 }, (_, at) => (at * at * 7) >> 3),
});

interface Error {
  readonly OrthancStatus: number;
  readonly Details: string;
  readonly Uri: string;
}

const textOf = <Value>({ body }: RawAnswer): Value => JSON.parse(body.toString()) as Value;

async function upload({ port }: Served, bytes: Uint8Array): Promise<string> {
  const answer = await raw(port, '/instances', { method: 'POST' }, bytes);
  assert.equal(answer.status, 200, answer.body.toString());
  return textOf<{ ID: string }>(answer).ID;
}

/** Every frame of a file, decoded. */
function framesIn(file: Uint8Array): Frame[] {
  const { dataSet, transferSyntax } = readFile(file);
  const attributes = attributesOf(dataSet, transferSyntax);
  const pixels = dataSet.elements.get('7fe0,0010') ?? assert.fail();
  return Array.from(framesOf(dataSet, pixels, attributes), (frame) => decodeFrame(frame, attributes));
}

test('a file comes in the transfer syntax asked for, under its own name or another', async () => {
  const path = `/instances/${await upload(server, grey)}/file`;
  const plain = await raw(server.port, path);
  const answer = await raw(server.port, `${path}?transcode=${JPEG_LS}`);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['content-type'], 'application/dicom');
  assert.equal(answer.headers['content-disposition'], plain.headers['content-disposition']);
  assert.equal(Number(answer.headers['content-length']), answer.body.length);
  assert.equal(readFile(answer.body).transferSyntax, JPEG_LS);
  assert.deepEqual(framesIn(answer.body), framesIn(grey));
  const named = await raw(server.port, `${path}?transcode=${RLE}&filename=a.dcm`);
  assert.equal(named.headers['content-disposition'], 'filename="a.dcm"');
  assert.equal(readFile(named.body).transferSyntax, RLE);
  const head = await raw(server.port, `${path}?transcode=${RLE}`, { method: 'HEAD' });
  assert.deepEqual(
    [head.status, Number(head.headers['content-length']), head.body.length],
    [200, named.body.length, 0],
  );
  // What it is in already is the stored file, of which a range can be had; of what is made only the whole.
  const headers = { range: 'bytes=0-99' };
  const part = await raw(server.port, `${path}?transcode=${EXPLICIT}`, { headers });
  assert.deepEqual([part.status, part.body], [206, grey.subarray(0, 100)]);
  const whole = await raw(server.port, `${path}?transcode=${RLE}`, { headers });
  assert.deepEqual([whole.status, whole.body], [200, named.body]);
});

test('a lossy copy has the quality asked for, else that of the configuration, and is the same each time', async () => {
  const path = `/instances/${await upload(server, eight)}/file?transcode=${JPEG}`;
  const [initial, same, good] = await Promise.all([
    raw(server.port, path),
    raw(server.port, `${path}&lossy-quality=40`),
    raw(server.port, `${path}&lossy-quality=95`),
  ]);
  assert.deepEqual(same.body, initial.body);
  assert.ok(good.body.length > initial.body.length * 1.2);
  const tags = toJson(readFile(initial.body).dataSet, 'Short');
  assert.notEqual(tags['0008,0018'], '1.2.3');
  assert.equal(tags['0028,2110'], '01');
  for (const bad of ['0', '101', 'abc', '']) {
    const refused = await raw(server.port, `${path}&lossy-quality=${bad}`);
    assert.deepEqual([refused.status, textOf<Error>(refused).OrthancStatus], [400, 5], bad);
  }
});

test('what is no transfer syntax, and what the file cannot be had in, is the error of the reference', async () => {
  const uri = `/instances/${await upload(server, grey)}/file`;
  const damaged = `/instances/${await upload(server, make({ sopUid: '1.2.4', transferSyntax: JPEG_LS }))}/file`;
  for (const [path, syntax, status, number, details] of [
    [uri, 'nope', 400, 3, 'Unknown transfer syntax: nope'],
    [uri, '', 400, 3, 'Unknown transfer syntax: '],
    [uri, '1.2.840.10008.1.2.4.102', 500, -1, 'Cannot transcode to transfer syntax: 1.2.840.10008.1.2.4.102'],
    [uri, JPEG, 500, -1, `Cannot transcode to transfer syntax: ${JPEG}`],
    [damaged, EXPLICIT, 500, -1, `Cannot transcode to transfer syntax: ${EXPLICIT}`],
  ] as const) {
    const answer = await raw(server.port, `${path}?transcode=${syntax}`);
    const error = textOf<Error>(answer);
    assert.deepEqual([answer.status, error.OrthancStatus, error.Details, error.Uri], [status, number, details, path]);
  }
  const unknown = await raw(server.port, '/instances/nope/file?transcode=nope');
  assert.deepEqual([unknown.status, textOf<Error>(unknown).OrthancStatus], [404, 17]);
});

test('uploads are stored in the transfer syntax of the configuration, and as they come where it cannot hold them', async (context) => {
  const warned = context.mock.method(log.generic, 'warn', () => {});
  const transcoding = await serve({ IngestTranscoding: JPEG, IngestTranscodingOfCompressed: false });
  context.after(() => transcoding.close());
  const system = textOf<{ IngestTranscoding: string }>(await raw(transcoding.port, '/system'));
  assert.equal(system.IngestTranscoding, JPEG);
  const id = await upload(transcoding, eight);
  assert.notEqual(id, await upload(server, eight));
  assert.equal(await upload(transcoding, eight), id, 'sent again it is not another instance');
  const path = `/instances/${id}`;
  const { body: file } = await raw(transcoding.port, `${path}/file`);
  const tags = toJson(readFile(file).dataSet, 'Short');
  assert.equal(tags['0028,2110'], '01');
  const metadata = textOf<Record<string, string>>(await raw(transcoding.port, `${path}/metadata?expand`));
  assert.equal(metadata['TransferSyntax'], JPEG);
  assert.equal(Number(metadata['PixelDataOffset']), readFile(file).pixelData?.offset);
  const info = textOf<Record<string, unknown>>(await raw(transcoding.port, `${path}/attachments/dicom/info`));
  assert.equal(info['UncompressedSize'], file.length);
  assert.equal(info['UncompressedMD5'], createHash('md5').update(file).digest('hex'));
  assert.equal(warned.mock.callCount(), 0);
  const compressed = await raw(server.port, `/instances/${await upload(server, eight)}/file?transcode=${RLE}`);
  for (const [bytes, warnings] of [
    [grey, 1],
    [compressed.body, 1],
    [make({ sopUid: '1.2.5', transferSyntax: '1.2.840.10008.1.2.4.102' }), 1],
  ] as const) {
    const kept = await raw(transcoding.port, `/instances/${await upload(transcoding, bytes)}/file`);
    assert.deepEqual(kept.body, Buffer.from(bytes));
    assert.equal(warned.mock.callCount(), warnings);
  }
  const refused = await raw(transcoding.port, '/instances', { method: 'POST' }, 'no DICOM');
  assert.deepEqual([refused.status, textOf<Error>(refused).OrthancStatus], [400, 15]);
});

test('a configuration that names no transfer syntax does not start, and one that nothing can be encoded in warns', async (context) => {
  const isRefused = (thrown: unknown) => thrown instanceof IsenError && thrown.code === 'ParameterOutOfRange';
  await assert.rejects(serve({ IngestTranscoding: 'nope' }), isRefused);
  const warned = context.mock.method(log.generic, 'warn', () => {});
  const plain = await serve({ IngestTranscoding: '1.2.840.10008.1.2.4.51' });
  assert.match(String(warned.mock.calls[0]?.arguments[0]), /has no effect.*4\.51$/);
  const stored = await raw(plain.port, `/instances/${await upload(plain, grey)}/file`);
  assert.deepEqual(stored.body, grey);
  assert.equal(warned.mock.callCount(), 1);
  await plain.close();
});

const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill();
});

/** Starts the reference server on a free port; its URL. */
async function reference(configuration: object): Promise<string> {
  const folder = temporaryFolder();
  const port = await freePort();
  const name = `transcoded-${process.pid}`;
  const all = {
    Name: name,
    HttpPort: port,
    RemoteAccessAllowed: false,
    StorageDirectory: join(folder, 'storage'),
    DicomServerEnabled: false,
    AuthenticationEnabled: false,
    ...configuration,
  };
  writeFileSync(join(folder, 'orthanc.json'), JSON.stringify(all));
  const command = process.env['PATH']?.split(':').includes('/usr/sbin') === false ? '/usr/sbin/Orthanc' : 'Orthanc';
  children.push(spawn(command, ['orthanc.json'], { cwd: folder, stdio: 'ignore' }));
  const url = `http://127.0.0.1:${port}`;
  for (let waited = 0; waited < 15_000; waited += 100) {
    await sleep(100);
    const system = await fetch(`${url}/system`).then(
      (response) => response.json() as Promise<{ Name?: string }>,
      () => undefined,
    );
    if (system?.Name === name) return url;
  }
  return assert.fail('the reference server does not start');
}

test('uploads become what they become in the reference server', {
  skip: withoutShared || without('Orthanc'),
}, async (context) => {
  context.mock.method(log.generic, 'warn', () => {});
  const names = [
    'SignedCT.dcm',
    'ColorTestImageJ.dcm',
    'TransferSyntaxes/1.2.840.10008.1.2.2.dcm',
    'TransferSyntaxes/1.2.840.10008.1.2.5.dcm',
    'Formats/Rle.dcm',
    'DummyCT.dcm',
    'Encodings/Lena-greek.dcm',
    'sample-pdf.dcm',
  ];
  let compared = 0;
  for (const syntax of [JPEG_LS, JPEG]) {
    const theirs = await reference({ IngestTranscoding: syntax });
    const ours = await serve({ IngestTranscoding: syntax });
    context.after(() => ours.close());
    for (const name of names) {
      const bytes = readFileSync(shared(`samples/${name}`) ?? assert.fail());
      const [a, b] = await Promise.all(
        [ours.url, theirs].map(async (url) => {
          const answer = await fetch(`${url}/instances`, { method: 'POST', body: bytes });
          const { ID: id } = (await answer.json()) as { ID: string };
          const metadata = await (await fetch(`${url}/instances/${id}/metadata/TransferSyntax`)).text();
          const file = new Uint8Array(await (await fetch(`${url}/instances/${id}/file`)).arrayBuffer());
          return { id, metadata, file };
        }),
      );
      assert.ok(a !== undefined && b !== undefined);
      // It cannot do all that we can, and then stores what it received.
      if (b.metadata !== syntax && a.metadata === syntax) continue;
      assert.equal(a.metadata, b.metadata, name);
      compared += 1;
      const isLossy = readFile(bytes).transferSyntax !== JPEG && syntax === JPEG && a.file.length !== bytes.length;
      const hasPixels = readFile(a.file).dataSet.elements.has('7fe0,0010');
      if (isLossy && hasPixels) {
        const [mine, other] = [a, b].map(({ file }) => toJson(readFile(file).dataSet, 'Short'));
        for (const tag of ['0028,2110', '0028,2114']) assert.equal(mine?.[tag], other?.[tag], `${name} ${tag}`);
        assert.notEqual(mine?.['0008,0018'], toJson(readFile(bytes).dataSet, 'Short')['0008,0018']);
        // The reference forgets the sources that there were before.
        const sources = [mine, other].map((tags) => (tags?.['0008,2112'] as readonly unknown[] | undefined)?.at(-1));
        assert.ok(sources[0] !== undefined, name);
        assert.deepEqual(sources[0], sources[1], name);
      } else {
        assert.equal(a.id, b.id, name);
        if (hasPixels) assert.deepEqual(framesIn(a.file), framesIn(b.file), name);
      }
    }
  }
  assert.ok(compared >= 12, `${compared} of ${2 * names.length}`);
});
