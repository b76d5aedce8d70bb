/** An instance's file as DICOM JSON or XML, when it is asked for: by which header, of which files, and without reading Pixel Data. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Made, make } from '../dicom/made.ts';
import { alterBlob } from '../storage/blobs.ts';
import { raw, type RawAnswer, serve } from './served.ts';

const server = await serve();
after(() => server.close());

const JSON_TYPE = 'application/dicom+json';
const XML_TYPE = 'application/dicom+xml';

type Json = Record<string, { vr: string; Value?: unknown[]; BulkDataURI?: string }>;

let count = 0;

/** Stores an instance; its path and its bytes. */
async function store(options: Made = {}): Promise<{ path: string; bytes: Buffer }> {
  count += 1;
  const bytes = make({ sopUid: `1.2.840.96.${Date.now()}.${count}`, ...options });
  const stored = await raw(server.port, '/instances', { method: 'POST' }, bytes);
  assert.equal(stored.status, 200, stored.body.toString());
  const { ID } = JSON.parse(stored.body.toString()) as { ID: string };
  return { path: `/instances/${ID}`, bytes };
}

const get = (path: string, accept?: string, method = 'GET'): Promise<RawAnswer> =>
  raw(server.port, path, { method, ...(accept !== undefined && { headers: { accept } }) });

async function objectOf(path: string): Promise<Json> {
  const answer = await get(`${path}/file`, JSON_TYPE);
  assert.equal(answer.status, 200, answer.body.toString());
  assert.equal(answer.headers['content-type'], JSON_TYPE);
  return JSON.parse(answer.body.toString()) as Json;
}

test('the file, unless a format of the web is named and preferred', async () => {
  const { path, bytes } = await store();
  for (const accept of [undefined, '', '*/*', 'application/*', 'application/dicom', 'text/html', 'application/json']) {
    const answer = await get(`${path}/file`, accept);
    assert.equal(answer.headers['content-type'], 'application/dicom', accept);
    assert.ok(answer.body.equals(bytes), accept);
  }
  for (const [accept, type] of [
    [JSON_TYPE, JSON_TYPE],
    ['Application/DICOM+JSON', JSON_TYPE],
    [`${XML_TYPE}; q=0.9, */*; q=0.1`, XML_TYPE],
    [`${XML_TYPE}, ${JSON_TYPE};q=0.5`, XML_TYPE],
    [`${JSON_TYPE}, */*`, JSON_TYPE],
    [`${JSON_TYPE};q=0.5, application/dicom`, 'application/dicom'],
    [`${JSON_TYPE};q=0`, 'application/dicom'],
  ] as const) {
    const answer = await get(`${path}/file`, accept);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], type, accept);
    assert.equal(answer.headers['vary'], 'Accept');
  }
  const head = await get(`${path}/file`, XML_TYPE, 'HEAD');
  assert.equal(head.headers['content-type'], XML_TYPE);
  assert.equal(head.body.length, 0);
  assert.equal((await get('/instances/nonexistent/file', JSON_TYPE)).status, 404);
});

test('what is said is said in UTF-8, and as XML alike', async () => {
  const name = Buffer.from('Buc^J\u00e9r\u00f4me', 'latin1');
  const { path } = await store({ charset: 'ISO_IR 100', patientName: name });
  assert.deepEqual((await objectOf(path))['00100010'], { vr: 'PN', Value: [{ Alphabetic: 'Buc^Jérôme' }] });
  const xml = (await get(`${path}/file`, XML_TYPE)).body.toString('utf8');
  assert.match(xml, /<GivenName>Jérôme<\/GivenName>/);
  assert.match(xml, new RegExp(`<BulkData uri="${path}/content/7fe0-0010/0"/>`));
});

const pixels = Uint8Array.from({ length: 48 }, (_, index) => index);

for (const [kind, made, vr] of [
  ['words', {}, 'OW'],
  ['bytes', { bits: 8, columns: 12 }, 'OB'],
  [
    'bytes as words',
    { bits: 8, columns: 12, pixels: false, extra: [{ tag: '7fe0,0010', vr: 'OW', value: pixels }] },
    'OW',
  ],
  ['implicit', { transferSyntax: '1.2.840.10008.1.2', bits: 8, columns: 12 }, 'OW'],
  ['deflated', { transferSyntax: '1.2.840.10008.1.2.1.99' }, 'OW'],
] as const) {
  test(`native Pixel Data is where it is said to be, in its VR (${kind})`, async () => {
    const { path } = await store(made);
    const element = (await objectOf(path))['7FE00010'];
    assert.equal(element?.vr, vr);
    const bulk = await get(element.BulkDataURI ?? '');
    assert.equal(bulk.headers['content-type'], 'application/octet-stream');
    assert.deepEqual(new Uint8Array(bulk.body), pixels);
  });
}

test('encapsulated Pixel Data is among the frames, a large value in the content', async () => {
  const document = Buffer.alloc(3 << 20, 'document');
  const { path } = await store({
    transferSyntax: '1.2.840.10008.1.2.4.50',
    frames: 3,
    extra: [{ tag: '0042,0011', vr: 'OB', value: document }],
  });
  const object = await objectOf(path);
  assert.deepEqual(object['7FE00010'], { vr: 'OB', BulkDataURI: `${path}/frames` });
  assert.deepEqual(JSON.parse((await get(`${path}/frames`)).body.toString()), [0, 1, 2]);
  assert.ok((await get(object['00420011']?.BulkDataURI ?? '')).body.equals(document));
});

/** Changes one byte of a stored file. */
async function alter(path: string, at: number): Promise<void> {
  const info = await get(`${path}/attachments/dicom/info`);
  const { Uuid } = JSON.parse(info.body.toString()) as { Uuid: string };
  alterBlob(server.storage, Uuid, at);
}

test('Pixel Data is not read for it, and an altered header is never told', async () => {
  const { path, bytes } = await store({ rows: 1024, columns: 1024 });
  await alter(path, bytes.length - 100);
  await objectOf(path);
  await alter(path, bytes.indexOf('Made^Instance'));
  assert.equal((await get(`${path}/file`, XML_TYPE)).status, 500);
});
