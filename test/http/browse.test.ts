/** The routes of browsing on a whole server, over data sets made in code. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '../../src/log.ts';
import { make } from '../dicom/made.ts';
import { blobsBelow, loseBlob, resizeBlob } from '../storage/blobs.ts';
import { raw, type Served, serve } from './served.ts';

interface Uploaded {
  readonly ID: string;
  readonly ParentPatient: string;
  readonly ParentSeries: string;
  readonly ParentStudy: string;
}

let server: Served;
let file: Buffer;
let ids: Uploaded;

async function upload(to: Served, bytes: Uint8Array): Promise<Uploaded> {
  const answer = await fetch(`${to.url}/instances`, { method: 'POST', body: new Uint8Array(bytes) });
  assert.equal(answer.status, 200);
  return (await answer.json()) as Uploaded;
}

before(async () => {
  server = await serve();
  file = Buffer.from(make());
  ids = await upload(server, file);
});
after(() => server.close());

test('a file comes back whole, byte for byte', async () => {
  const answer = await raw(server.port, `/instances/${ids.ID}/file`);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['content-type'], 'application/dicom');
  assert.equal(answer.headers['content-length'], String(file.length));
  assert.match(answer.headers['content-disposition'] ?? '', /^filename="[0-9a-f-]{36}\.dcm"$/);
  assert.deepEqual(answer.body, file);
});

test('a file name cannot break out of its header', async () => {
  const name = encodeURIComponent('a"b\r\nX: y é.dcm');
  const answer = await raw(server.port, `/instances/${ids.ID}/file?filename=${name}`);
  assert.equal(answer.headers['x'], undefined);
  assert.match(
    answer.headers['content-disposition'] ?? '',
    /^filename="a_b__X: y _\.dcm"; filename\*=UTF-8''a%22b__X%3A/,
  );
});

describe('ranges', () => {
  const size = (): number => file.length;
  const cases: readonly [string, number, (all: Buffer) => Buffer][] = [
    ['bytes=0-9', 206, (all) => all.subarray(0, 10)],
    ['bytes=10-', 206, (all) => all.subarray(10)],
    ['bytes=-7', 206, (all) => all.subarray(-7)],
    ['bytes=0-99999999', 206, (all) => all],
    ['bytes=0-1,4-5', 200, (all) => all],
    ['bytes=9-3', 200, (all) => all],
    ['lines=1-2', 200, (all) => all],
    ['bytes=-', 200, (all) => all],
  ];
  for (const [range, status, part] of cases) {
    test(range, async () => {
      const answer = await raw(server.port, `/instances/${ids.ID}/file`, { headers: { range } });
      assert.equal(answer.status, status);
      assert.deepEqual(answer.body, part(file));
    });
  }
  test('behind the end', async () => {
    const answer = await raw(server.port, `/instances/${ids.ID}/file`, { headers: { range: `bytes=${size()}-` } });
    assert.equal(answer.status, 416);
    assert.equal(answer.headers['content-range'], `bytes */${size()}`);
    assert.equal((await raw(server.port, `/instances/${ids.ID}/file`, { headers: { range: 'bytes=-0' } })).status, 416);
  });
  test('says which part it is', async () => {
    const answer = await raw(server.port, `/instances/${ids.ID}/attachments/dicom/data`, {
      headers: { range: 'bytes=5-6' },
    });
    assert.equal(answer.headers['content-range'], `bytes 5-6/${size()}`);
    assert.equal(answer.headers['content-length'], '2');
  });
});

test('HEAD answers what GET would, without a body', async () => {
  for (const path of [
    '/system',
    '/instances',
    `/instances/${ids.ID}`,
    `/instances/${ids.ID}/file`,
    '/instances/nope',
  ]) {
    const get = await raw(server.port, path);
    const head = await raw(server.port, path, { method: 'HEAD' });
    assert.equal(head.status, get.status, path);
    assert.equal(head.headers['content-type'], get.headers['content-type'], path);
    assert.equal(head.body.length, 0, path);
  }
  const file_ = await raw(server.port, `/instances/${ids.ID}/file`, { method: 'HEAD' });
  assert.equal(file_.headers['content-length'], String(file.length));
});

test('entity tags of attachments and metadata answer 304', async () => {
  for (const path of ['attachments/dicom/size', 'attachments/dicom/data', 'metadata/TransferSyntax']) {
    const first = await raw(server.port, `/instances/${ids.ID}/${path}`);
    assert.equal(first.status, 200);
    const again = await raw(server.port, `/instances/${ids.ID}/${path}`, {
      headers: { 'if-none-match': first.headers.etag ?? '' },
    });
    assert.equal(again.status, 304, path);
    const etag = first.headers.etag ?? '';
    for (const [header, status] of [
      [`W/${etag}`, 304],
      [`"0-${'0'.repeat(32)}", W/${etag}`, 304],
      ['*', 304],
      [`W/"9", "0-${'0'.repeat(32)}"`, 200],
      [etag.slice(1, -1), 200],
    ] as const) {
      const answer = await raw(server.port, `/instances/${ids.ID}/${path}`, { headers: { 'if-none-match': header } });
      assert.equal(answer.status, status, header);
    }
  }
  const md5 = createHash('md5').update(file).digest('hex');
  assert.equal((await raw(server.port, `/instances/${ids.ID}/attachments/dicom/md5`)).body.toString(), md5);
});

test('a wrong method says which are right, an unknown path says so', async () => {
  const wrong = await raw(server.port, `/studies/${ids.ParentStudy}/series`, { method: 'POST' });
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.allow, 'GET');
  assert.equal(wrong.body.length, 0);
  assert.equal((await raw(server.port, '/changes', { method: 'PUT' })).headers.allow, 'GET,DELETE');
  const unknown = await raw(server.port, '/nothing/here');
  assert.equal(unknown.status, 404);
  assert.equal((JSON.parse(unknown.body.toString()) as { Uri: string }).Uri, '/nothing/here');
});

test('slashes too many are no matter', async () => {
  for (const path of ['//instances', '/instances/', `//instances///${ids.ID}/`, `/instances/${ids.ID}/tags/`]) {
    assert.equal((await raw(server.port, path)).status, 200, path);
  }
});

test('tricks in a path name nothing', async () => {
  const tricks = ['..', '.', '%2e%2e', '%2E.', '..%2f..%2fetc%2fpasswd', '%00', 'a%00b', '%zz', '%', 'x'.repeat(5000)];
  for (const trick of tricks) {
    for (const path of [
      `/instances/${trick}`,
      `/instances/${trick}/file`,
      `/instances/${ids.ID}/attachments/${trick}/data`,
      `/instances/${ids.ID}/metadata/${trick}`,
      `/studies/${ids.ParentStudy}/labels/${trick}`,
      `/docs/${trick}`,
    ]) {
      const { status, body } = await raw(server.port, path);
      assert.ok(status === 404 || status === 400, `${path.slice(0, 100)}: ${status} ${body.toString().slice(0, 200)}`);
    }
  }
  assert.equal((await raw(server.port, `/${'x'.repeat(17 * 1024)}`)).status >= 400, true);
});

test('queries that make no sense are refused or ignored as by the reference', async () => {
  const status = async (path: string): Promise<number> => (await raw(server.port, path)).status;
  assert.equal(await status('/instances?since=0&limit=abc'), 400);
  assert.equal(await status('/instances?limit=1'), 400);
  assert.equal(await status('/instances?since=1'), 400);
  assert.equal(await status('/instances?since=0&limit=-1'), 200);
  assert.equal(await status('/instances?since=-5&limit=99999999999'), 200);
  assert.equal(await status('/changes?since=abc'), 200);
  assert.equal(await status(`/instances/${ids.ID}?requested-tags=NoSuchTag`), 500);
  assert.equal(await status(`/instances/${ids.ID}/frames/99/raw`), 400);
  assert.equal(await status(`/instances/${ids.ID}/content/NoSuchTag`), 500);
});

test('empty elements of requested-tags ask nothing', async () => {
  for (const [query, keys] of [
    ['PatientID;', ['PatientID']],
    [';PatientID;;Modality; ', ['Modality', 'PatientID']],
    [';', []],
  ] as const) {
    const { status, body } = await raw(
      server.port,
      `/studies/${ids.ParentStudy}?requested-tags=${query.replace(' ', '+')}`,
    );
    assert.equal(status, 200, query);
    const { RequestedTags = {} } = JSON.parse(body.toString()) as { RequestedTags?: Record<string, string> };
    assert.deepEqual(Object.keys(RequestedTags), keys, query);
  }
});

test("the log blames no client's mistake on the server", async (context) => {
  const error = context.mock.method(log.http, 'error', () => {});
  assert.equal((await raw(server.port, `/studies/${ids.ParentStudy}?requested-tags=NoSuchTag`)).status, 500);
  assert.equal((await raw(server.port, `/instances/${ids.ID}/content/NoSuchTag`)).status, 500);
  assert.equal((await raw(server.port, `/instances/${ids.ID}/file?transcode=1.2.840.10008.1.2.4.102`)).status, 500);
  const odd = make({
    sopUid: '1.2.840.93.1',
    pixels: Buffer.alloc(96),
    extra: [{ tag: '0028,0002', vr: 'US', value: [2] }],
  });
  const stored = await raw(server.port, '/instances', { method: 'POST' }, odd);
  const { ID } = JSON.parse(stored.body.toString()) as { ID: string };
  for (const route of ['numpy', 'matlab', 'frames/0/numpy'])
    assert.equal((await raw(server.port, `/instances/${ID}/${route}`)).status, 500);
  await raw(server.port, `/instances/${ID}`, { method: 'DELETE' });
  assert.equal(error.mock.callCount(), 0);
});

test('a list longer than a page is whole, in order and without doubles', async () => {
  const own = await serve();
  try {
    const sent = await Promise.all(
      Array.from({ length: 260 }, (_, index) => upload(own, make({ sopUid: `1.2.3.${index + 1}` }))),
    );
    const expected = sent.map(({ ID }) => ID).sort();
    const listed = (await (await fetch(`${own.url}/instances`)).json()) as string[];
    assert.deepEqual(listed, expected);
    const expanded = (await (await fetch(`${own.url}/instances?expand`)).json()) as { ID: string }[];
    assert.deepEqual(
      expanded.map(({ ID }) => ID),
      expected,
    );
    const page = (await (await fetch(`${own.url}/instances?since=10&limit=230&expand`)).json()) as { ID: string }[];
    assert.deepEqual(
      page.map(({ ID }) => ID),
      expected.slice(10, 240),
    );
    const series = sent[0]?.ParentSeries ?? '';
    const tags = (await (await fetch(`${own.url}/series/${series}/instances-tags?simplify`)).json()) as object;
    assert.deepEqual(Object.keys(tags).sort(), expected);
  } finally {
    await own.close();
  }
});

test('a client that leaves in the middle of a download or a list leaves nothing open', async () => {
  const own = await serve();
  try {
    const big = await upload(own, make({ rows: 2048, columns: 2048 }));
    for (let round = 0; round < 20; round++) {
      await new Promise<void>((resolve, reject) => {
        const request = httpRequest(`${own.url}/instances/${big.ID}/file`, { agent: false }, (response) => {
          response.once('data', () => {
            request.destroy();
            resolve();
          });
        });
        request.on('error', reject);
        request.end();
      });
    }
    await sleep(300);
    const open = readdirSync('/proc/self/fd').length;
    assert.ok(open < 200, `${open} files are open`);
    assert.equal((await raw(own.port, `/instances/${big.ID}/file`)).status, 200);
  } finally {
    await own.close();
  }
});

test('a stored file that is gone or cut short is an error, never wrong bytes', async () => {
  const own = await serve();
  try {
    // In a file of its own, and in a pack.
    for (const [index, rows] of [2000, 20].entries()) {
      const { ID } = await upload(own, make({ sopUid: `1.2.3.4.${index}`, rows, columns: 1000 }));
      const blob = blobsBelow(own.storage)[0] ?? assert.fail();
      resizeBlob(own.storage, blob, 200);
      for (const path of ['file', 'tags', 'attachments/dicom/data', 'frames/0/raw']) {
        const { status, body } = await raw(own.port, `/instances/${ID}/${path}`);
        assert.equal(status, 500, path);
        assert.equal((JSON.parse(body.toString()) as { OrthancStatus: number }).OrthancStatus, 20, path);
      }
      loseBlob(own.storage, blob);
      for (const path of ['file', 'tags', 'header', 'content', 'attachments/dicom/data']) {
        assert.equal((await raw(own.port, `/instances/${ID}/${path}`)).status, 404, path);
      }
      const verify = await raw(own.port, `/instances/${ID}/attachments/dicom/verify-md5`, { method: 'POST' });
      assert.equal(verify.status, 404);
      assert.equal((await raw(own.port, `/instances/${ID}`)).status, 200);
    }
  } finally {
    await own.close();
  }
});

test('bytes behind the end of a stored file are found by its download and by verify-md5', async () => {
  const own = await serve();
  try {
    const large = make({ rows: 2000, columns: 1000 });
    const { ID } = await upload(own, large);
    const path = `/instances/${ID}/attachments/dicom/verify-md5`;
    assert.equal((await raw(own.port, path, { method: 'POST' })).status, 200);
    for (const blob of blobsBelow(own.storage)) resizeBlob(own.storage, blob, large.length + 10);
    assert.equal((await raw(own.port, path, { method: 'POST' })).status, 500);
    assert.equal((await raw(own.port, `/instances/${ID}/file`)).status, 500);
  } finally {
    await own.close();
  }
});

test('labels, metadata and protection are written, read, and removed', async () => {
  const study = `/studies/${ids.ParentStudy}`;
  const send = (method: string, path: string, body?: string) => raw(server.port, path, { method }, body);
  assert.equal((await send('PUT', `${study}/labels/urgent`)).status, 200);
  assert.deepEqual(JSON.parse((await send('GET', `${study}/labels`)).body.toString()), ['urgent']);
  assert.deepEqual(JSON.parse((await send('GET', '/tools/labels')).body.toString()), ['urgent']);
  assert.equal((await send('GET', `${study}/labels/urgent`)).status, 200);
  assert.equal((await send('DELETE', `${study}/labels/urgent`)).status, 200);
  assert.equal((await send('GET', `${study}/labels/urgent`)).status, 404);

  assert.equal((await send('PUT', `${study}/metadata/4000`, 'välue')).status, 200);
  assert.equal((await send('GET', `${study}/metadata/4000`)).body.toString(), 'välue');
  const latin1 = await raw(server.port, `${study}/metadata/4000`, { method: 'PUT' }, Buffer.from('v\xe4lue', 'latin1'));
  assert.equal(latin1.status, 400, 'what is not UTF-8 is refused, not altered');
  for (const condition of ['"7"', 'W/"7-0"']) {
    const headers = { 'if-match': condition };
    assert.equal((await raw(server.port, `${study}/metadata/4000`, { method: 'PUT', headers }, 'x')).status, 409);
  }
  const unread = await raw(server.port, `${study}/metadata/4000`, { method: 'PUT', headers: { 'if-match': 'x' } }, 'x');
  assert.equal(unread.status, 400);
  assert.equal((await send('GET', `${study}/metadata/4000`)).body.toString(), 'välue');
  assert.equal((await send('PUT', `${study}/metadata/LastUpdate`, 'x')).status, 403);
  assert.equal((await send('PUT', `${study}/metadata/NoSuchName`, 'x')).status, 400);
  assert.equal((await send('DELETE', `${study}/metadata/4000`)).status, 200);
  assert.equal((await send('GET', `${study}/metadata/4000`)).status, 404);

  const patient = `/patients/${ids.ParentPatient}/protected`;
  assert.equal((await send('PUT', patient, '1')).status, 200);
  assert.equal((await send('GET', patient)).body.toString(), '1');
  assert.equal((await send('PUT', patient, '2')).status, 400);
  assert.equal((await send('PUT', patient, '0')).status, 200);
});

test('the metrics have the names that dashboards read', async () => {
  const text = (await raw(server.port, '/tools/metrics-prometheus')).body.toString();
  for (const name of ['orthanc_count_instances', 'orthanc_disk_size_mb', 'orthanc_last_change', 'isen_http_request']) {
    assert.match(text, new RegExp(`^${name}`, 'm'));
  }
});

test('a deletion answers what is left above', async () => {
  const own = await serve();
  try {
    const a = await upload(own, make({ sopUid: '1.2.3.1' }));
    const b = await upload(own, make({ sopUid: '1.2.3.2' }));
    const one = await raw(own.port, `/instances/${a.ID}`, { method: 'DELETE' });
    assert.deepEqual(JSON.parse(one.body.toString()), {
      RemainingAncestor: { ID: b.ParentSeries, Path: `/series/${b.ParentSeries}`, Type: 'Series' },
    });
    const all = await raw(own.port, `/patients/${b.ParentPatient}`, { method: 'DELETE' });
    assert.deepEqual(JSON.parse(all.body.toString()), { RemainingAncestor: null });
    assert.equal((await raw(own.port, `/instances/${b.ID}`, { method: 'DELETE' })).status, 404);
  } finally {
    await own.close();
  }
});

test('/system tells servers apart that share a machine, and not the runs of one', async () => {
  const identifierOf = async (DicomAet: string): Promise<string> => {
    const one = await serve({ DicomAet });
    try {
      const answer = (await (await fetch(`${one.url}/system`)).json()) as { DatabaseServerIdentifier: string };
      return answer.DatabaseServerIdentifier;
    } finally {
      await one.close();
    }
  };
  const [first, again, other] = [await identifierOf('ONE'), await identifierOf('ONE'), await identifierOf('OTHER')];
  assert.match(first, /^([0-9a-f]{8}-){4}[0-9a-f]{8}$/);
  assert.equal(again, first);
  assert.notEqual(other, first);
});
