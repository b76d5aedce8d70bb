/** Owns the bodies of `POST /instances`: every kind that is taken, and every way in which one can be wrong. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { ZipFile } from 'yazl';
import { TRANSFER_SYNTAXES } from '../../src/dicom/transfer-syntaxes.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder, without } from '../peer.ts';
import { raw as request, serve } from './served.ts';

const server = await serve({ MaximumRequestBodySizeMB: 8, MaximumInFlightMB: 64 });
after(() => server.close());

interface Answer {
  readonly ID: string;
  readonly Path: string;
  readonly Status: string;
}

let count = 0;
/** A new instance at each call. */
const fresh = (): Buffer => make({ sopUid: `1.2.840.77.${++count}` });

async function post(body: Uint8Array, headers: Record<string, string> = {}, path = '/instances'): Promise<Response> {
  return fetch(server.url + path, { method: 'POST', body: new Uint8Array(body), headers });
}

async function stored(answer: Response): Promise<Answer> {
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()) as Answer;
}

async function refused(answer: Response, status: number, orthancStatus: number): Promise<void> {
  assert.equal(answer.status, status);
  const error = JSON.parse(await answer.text()) as Record<string, unknown>;
  assert.equal(error['HttpStatus'], status);
  assert.equal(error['OrthancStatus'], orthancStatus);
  assert.equal(error['Uri'], '/instances');
  assert.equal(error['Method'], 'POST');
}

/** What a raw socket gets back for `parts`, sent one after another. */
async function raw(...parts: readonly (string | Uint8Array)[]): Promise<string> {
  const socket = connect(server.port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
  });
  const ended = new Promise((resolve) => socket.once('close', resolve));
  for (const part of parts) {
    socket.write(part);
    await sleep(20);
  }
  await Promise.race([ended, sleep(1000)]);
  socket.destroy();
  return answer;
}

test('a file is stored in every transfer syntax, with and without preamble, and comes back byte for byte', async () => {
  for (const { uid } of TRANSFER_SYNTAXES) {
    const body = make({ transferSyntax: uid, sopUid: `1.2.840.78.${uid.replaceAll('.', '')}` });
    const { Status, Path } = await stored(await post(body));
    assert.equal(Status, 'Success', uid);
    const file = Buffer.from(await (await fetch(`${server.url}${Path}/file`)).arrayBuffer());
    assert.deepEqual(file, body, uid);
  }
  assert.equal((await stored(await post(make({ part10: false, sopUid: '1.2.840.79' })))).Status, 'Success');
});

test('the same file again is AlreadyStored', async () => {
  const body = fresh();
  const first = await stored(await post(body));
  assert.deepEqual(await stored(await post(body)), { ...first, Status: 'AlreadyStored' });
});

test('gzip is taken, damaged gzip and other encodings are refused', async () => {
  const body = fresh();
  const { Status, Path } = await stored(await post(gzipSync(body), { 'content-encoding': 'gzip' }));
  assert.equal(Status, 'Success');
  assert.deepEqual(Buffer.from(await (await fetch(`${server.url}${Path}/file`)).arrayBuffer()), body);
  await refused(await post(gzipSync(fresh()).subarray(0, 50), { 'content-encoding': 'gzip' }), 400, 15);
  await refused(await post(randomBytes(100), { 'content-encoding': 'gzip' }), 400, 15);
  assert.equal((await post(fresh(), { 'content-encoding': 'br' })).status, 415);
});

test('a gzip bomb ends at the largest body', async () => {
  const bomb = gzipSync(Buffer.concat([fresh(), Buffer.alloc(64 << 20)]));
  assert.ok(bomb.length < 100_000);
  assert.equal((await post(bomb, { 'content-encoding': 'gzip' })).status, 413);
});

test('a gzip bomb that is no DICOM file is refused by its beginning', async () => {
  const open = await serve();
  const bomb = Buffer.concat(Array.from<Buffer>({ length: 127 }).fill(gzipSync(Buffer.alloc(64 << 20))));
  const beginning = performance.now();
  const answer = await fetch(`${open.url}/instances`, {
    method: 'POST',
    body: new Uint8Array(bomb),
    headers: { 'content-encoding': 'gzip' },
  });
  await refused(answer, 400, 15);
  // 8 GB take more than that to inflate, on any machine.
  assert.ok(performance.now() - beginning < 10_000);
  await open.close();
});

test('a ZIP of many answers an array, passing over what is not DICOM', { skip: without('zip') }, async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'in', 'deeper'), { recursive: true });
  for (let file = 0; file < 5; file++) writeFileSync(join(folder, 'in', `${file}.dcm`), fresh());
  writeFileSync(join(folder, 'in', 'deeper', 'x'), fresh());
  writeFileSync(join(folder, 'in', 'README.txt'), 'not DICOM');
  spawnSync('zip', ['-qr', join(folder, 'all.zip'), 'in'], { cwd: folder });
  const archive = readFileSync(join(folder, 'all.zip'));
  const answers = (await stored(await post(archive))) as unknown as Answer[];
  assert.equal(answers.length, 6);
  for (const { Status } of answers) assert.equal(Status, 'Success');
  await refused(await post(archive.subarray(0, archive.length - 30)), 400, 15);
});

test('a ZIP whose entry is altered is refused, wherever the damage is', { skip: without('zip') }, async () => {
  const folder = temporaryFolder();
  const body = fresh();
  writeFileSync(join(folder, 'a.dcm'), body);
  spawnSync('zip', ['-q0', 'stored.zip', 'a.dcm'], { cwd: folder });
  const archive = readFileSync(join(folder, 'stored.zip'));
  const at = archive.indexOf(body);
  assert.ok(at > 0);
  for (const offset of [at + 200, at + body.length - 1]) {
    const altered = Buffer.from(archive);
    altered[offset] = (altered[offset] ?? 0) ^ 1;
    await refused(await post(altered), 400, 15);
  }
  assert.equal((await stored(await post(archive))) instanceof Array, true);
});

test('more archives at once than there is memory for are all stored', { skip: without('zip') }, async () => {
  const folder = temporaryFolder();
  const archives = Array.from({ length: 80 }, (_, index) => {
    writeFileSync(join(folder, `${index}.dcm`), fresh());
    spawnSync('zip', ['-q', `${index}.zip`, `${index}.dcm`], { cwd: folder });
    return readFileSync(join(folder, `${index}.zip`));
  });
  for (const answer of await Promise.all(archives.map((archive) => post(archive)))) await stored(answer);
});

test('forms that are broken off give their memory back', async () => {
  const begin =
    '--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\nContent-Type: application/octet-stream\r\n\r\nhalf';
  const head =
    'POST /instances HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000\r\n\r\n';
  await Promise.all(Array.from({ length: 70 }, () => raw(head, begin)));
  const answers = await Promise.all(Array.from({ length: 70 }, () => post(fresh())));
  for (const answer of answers) assert.equal(answer.status, 200);
});

test('a ZIP bomb ends at the largest body', { skip: without('zip') }, async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'zeros'), Buffer.alloc(32 << 20));
  spawnSync('zip', ['-q', 'bomb.zip', 'zeros'], { cwd: folder });
  assert.equal((await post(readFileSync(join(folder, 'bomb.zip')))).status, 413);
});

test('a form of one file answers an object, of several an array', async () => {
  for (const files of [1, 3]) {
    const form = new FormData();
    form.append('note', 'a field');
    for (let file = 0; file < files; file++) form.append('file', new Blob([new Uint8Array(fresh())]), `${file}.dcm`);
    const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: form });
    const body = (await stored(answer)) as unknown as Answer | Answer[];
    assert.equal(Array.isArray(body) ? body.length : 1, files);
  }
  assert.equal((await post(Buffer.from('junk'), { 'content-type': 'multipart/form-data; boundary=x' })).status, 400);
  assert.equal((await post(Buffer.from('junk'), { 'content-type': 'multipart/form-data' })).status, 400);
});

test('an empty Expect header, a chunked body and //instances are taken', async () => {
  const body = fresh();
  const head = `Host: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n`;
  assert.match(await raw(`POST /instances HTTP/1.1\r\n${head}Expect:\r\n\r\n`, body), /^HTTP\/1.1 200/);
  const second = fresh();
  const chunks = [second.subarray(0, 300), second.subarray(300)].flatMap((part) => [
    `${part.length.toString(16)}\r\n`,
    part,
    '\r\n',
  ]);
  const chunked = await raw(
    'POST //instances HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n',
    ...chunks,
    '0\r\n\r\n',
  );
  assert.match(chunked, /^HTTP\/1.1 200[^]*"Success"/);
});

test('what is not DICOM is refused as the reference does', async () => {
  await refused(await post(randomBytes(300)), 400, 15);
  await refused(await post(Buffer.from('')), 400, 15);
  await refused(await post(make({ without: ['0020,000d'] })), 400, 15);
  const whole = fresh();
  for (const length of [1, 131, 132, 200, whole.length - 1])
    await refused(await post(whole.subarray(0, length)), 400, 15);
  await refused(await post(Buffer.alloc(9 << 20)), 413, 8);
});

test('a client that claims 2 GB, or is gone in the middle, leaves nothing and takes nothing', async () => {
  const before = (await (await fetch(`${server.url}/statistics`)).json()) as Record<string, unknown>;
  await Promise.all(
    Array.from({ length: 70 }, () =>
      raw('POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000000\r\n\r\n', make().subarray(0, 1000)),
    ),
  );
  assert.deepEqual(await (await fetch(`${server.url}/statistics`)).json(), before);
  // Seventy of them would otherwise hold all sixty-four slabs for good.
  const answers = await Promise.all(Array.from({ length: 100 }, () => post(fresh())));
  for (const answer of answers) assert.equal(answer.status, 200);
});

test('clients that stall or trickle do not keep an honest one out', async () => {
  const own = await serve({ MaximumInFlightMB: 64 });
  const head = 'POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n';
  const sockets = Array.from({ length: 128 }, () => {
    const socket = connect(own.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(head + 'x');
    return socket;
  });
  const trickle = setInterval(() => {
    for (const socket of sockets.slice(0, 64)) if (socket.writable) socket.write('x');
  }, 100);
  try {
    const answers: string[] = [];
    for (const socket of sockets) socket.once('data', (data) => answers.push(String(data)));
    await sleep(500);
    const began = performance.now();
    const answer = await fetch(`${own.url}/instances`, { method: 'POST', body: new Uint8Array(fresh()) });
    assert.equal(answer.status, 200, await answer.text());
    assert.ok(performance.now() - began < 10_000);
    assert.match(answers[0] ?? '', /^HTTP\/1\.1 503[^]*Retry-After[^]*too slowly/i);
    // Alone with the memory, a slow client may take its time.
    const slow = connect(own.port, '127.0.0.1');
    const body = fresh();
    slow.write(`POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`);
    slow.write(body.subarray(0, 10));
    for (const socket of sockets) socket.destroy();
    await sleep(3000);
    slow.write(body.subarray(10));
    assert.match(String((await once(slow, 'data'))[0]), /^HTTP\/1\.1 200/);
    slow.destroy();
  } finally {
    clearInterval(trickle);
    for (const socket of sockets) socket.destroy();
    await own.close();
  }
});

/** A ZIP of these entries, not compressed. */
async function zipOf(entries: readonly Uint8Array[]): Promise<Buffer> {
  const zip = new ZipFile();
  for (const [index, bytes] of entries.entries()) zip.addBuffer(Buffer.from(bytes), `${index}`, { compress: false });
  zip.end();
  return buffer(zip.outputStream);
}

test('a file of an archive is taken up to its own bound', async () => {
  const small = await serve({ MaximumFileSizeInArchiveMB: 1 });
  try {
    const send = async (entries: readonly Uint8Array[]): Promise<Response> =>
      fetch(`${small.url}/instances`, { method: 'POST', body: new Uint8Array(await zipOf(entries)) });
    const [one, two] = [fresh(), fresh()];
    const most = Buffer.alloc(1 << 20);
    const taken = (await (await send([one, most])).json()) as Answer[];
    assert.deepEqual(
      taken.map(({ Status }) => Status),
      ['Success'],
    );
    assert.equal((await send([two, Buffer.alloc(most.length + 1)])).status, 413);
    const again = (await (await send([two])).json()) as Answer[];
    assert.equal(again[0]?.Status, 'AlreadyStored', 'what came before the large file stays');
  } finally {
    await small.close();
  }
});

test('archives whose clients are gone keep no honest one out', async () => {
  const junk = await zipOf(Array.from({ length: 30_000 }, () => Buffer.from('x')));
  for (let count = 0; count < 4; count++) {
    const socket = connect(server.port, '127.0.0.1').on('error', () => {});
    socket.write(`POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: ${junk.length}\r\n\r\n`);
    await new Promise<void>((resolve) => socket.write(junk, () => resolve()));
    await sleep(100);
    socket.destroy();
  }
  const began = performance.now();
  const answer = await request(
    server.port,
    '/instances',
    { method: 'POST' },
    await zipOf([make({ sopUid: `1.2.840.95.${Date.now()}` })]),
  );
  assert.equal(answer.status, 200);
  assert.ok(performance.now() - began < 3000, `${performance.now() - began} ms`);
});

test('entries of an archive that share their bytes are refused', async () => {
  const archive = await zipOf([make({ sopUid: `1.2.840.94.${Date.now()}`, rows: 100, columns: 100 })]);
  const end = archive.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  const directory = archive.subarray(archive.readUInt32LE(end + 16), end);
  const trailer = Buffer.from(archive.subarray(end));
  const count = 50;
  trailer.writeUInt16LE(count, 8);
  trailer.writeUInt16LE(count, 10);
  trailer.writeUInt32LE(count * directory.length, 12);
  const overlapping = [archive.subarray(0, end), ...Array.from({ length: count - 1 }, () => directory), trailer];
  const answer = await request(server.port, '/instances', { method: 'POST' }, Buffer.concat(overlapping));
  assert.equal(answer.status, 400);
  assert.match(answer.body.toString(), /overlap/);
});
