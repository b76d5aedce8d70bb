/** The recursive upload, into the reference server and into peers that misbehave. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type ImportOptions, type ImportReport, importFiles, survey } from '../src/import.ts';
import { bytesOf, sourcesOf } from '../src/import-sources.ts';
import { openFilesystem } from '../src/storage/filesystem.ts';
import { freePort, temporaryFolder, without } from './peer.ts';

/** An element of Explicit VR Little Endian with a 16-bit length (PS3.5 §7.1.2). */
function element(group: number, number: number, vr: string, value: string): Buffer {
  const padded = Buffer.from(value.length % 2 === 0 ? value : value + (vr === 'UI' ? '\0' : ' '), 'latin1');
  const head = Buffer.alloc(8);
  head.writeUInt16LE(group, 0);
  head.writeUInt16LE(number, 2);
  head.write(vr, 4, 'latin1');
  head.writeUInt16LE(padded.length, 6);
  return Buffer.concat([head, padded]);
}

/** A small DICOM file (PS3.10 §7.1) whose SOP Instance UID ends with `n`. */
function dicom(n: number): Buffer {
  const sopClass = '1.2.840.10008.5.1.4.1.1.7';
  const instance = `1.2.826.0.1.3680043.10.1.${n}`;
  const meta = Buffer.concat([
    element(2, 2, 'UI', sopClass),
    element(2, 3, 'UI', instance),
    element(2, 0x10, 'UI', '1.2.840.10008.1.2.1'),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(meta.length);
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    element(2, 0, 'UL', length.toString('latin1')),
    meta,
    element(8, 0x16, 'UI', sopClass),
    element(8, 0x18, 'UI', instance),
    element(0x10, 0x20, 'LO', 'IMPORT'),
    element(0x20, 0xd, 'UI', '1.2.826.0.1.3680043.10.2'),
    element(0x20, 0xe, 'UI', '1.2.826.0.1.3680043.10.3'),
  ]);
}

const root = temporaryFolder();
const newFolder = (): string => mkdtempSync(join(root, 'import-'));

const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

/** Two files and a folder's entry, deflated. */
function archive(folder: string, entries: Record<string, Buffer>): string {
  for (const [name, bytes] of Object.entries(entries)) writeFileSync(join(folder, name), bytes);
  execFileSync('zip', ['-q', '-9', 'study.zip', ...Object.keys(entries)], { cwd: folder });
  return join(folder, 'study.zip');
}

/** Rewrites the uncompressed size that the central directory claims for the first entry. */
function lie(zip: string, change: (size: number) => number): void {
  const bytes = readFileSync(zip);
  const at = bytes.indexOf('PK\x01\x02') + 24;
  bytes.writeUInt32LE(change(bytes.readUInt32LE(at)), at);
  writeFileSync(zip, bytes);
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer, attempt: number) => void;

/** A server that answers uploads as `handle` says, `attempt` counting from 1. */
async function peer(handle: Handler): Promise<{ url: URL; attempts: () => number; close: () => Promise<void> }> {
  let attempts = 0;
  const server = createServer((request, response) => {
    if (request.url !== '/instances') {
      response.end('{}');
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => handle(request, response, Buffer.concat(chunks), ++attempts));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: new URL(`http://127.0.0.1:${port}`), attempts: () => attempts, close };
}

const success = (response: ServerResponse): void => void response.end('{"Status":"Success"}');

async function send(paths: string[], url: URL, more: Partial<ImportOptions> = {}): Promise<ImportReport> {
  return importFiles({ paths, url, concurrency: 4, firstPause: 5, ...more });
}

const counts = ({ stored, alreadyStored, notDicom, failed }: ImportReport) => ({
  stored,
  alreadyStored,
  notDicom,
  failed,
});

const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

/** The reference server on a free port, known by its name: another server may be there first. */
async function reference(folder: string): Promise<URL> {
  const port = await freePort();
  const name = randomUUID();
  const configuration = {
    Name: name,
    HttpPort: port,
    StorageDirectory: join(folder, 'storage'),
    DicomServerEnabled: false,
    AuthenticationEnabled: true,
    RegisteredUsers: { alice: 'secret' },
  };
  writeFileSync(join(folder, 'orthanc.json'), JSON.stringify(configuration));
  const command = process.env['PATH']?.split(':').includes('/usr/sbin') === false ? '/usr/sbin/Orthanc' : 'Orthanc';
  children.push(spawn(command, ['orthanc.json'], { cwd: folder, stdio: 'ignore' }));
  const url = new URL(`http://127.0.0.1:${port}`);
  for (let waited = 0; waited < 15_000; waited += 100) {
    await sleep(100);
    const system: unknown = await ask(url, 'system').catch(() => undefined);
    if (typeof system === 'object' && system !== null && 'Name' in system && system.Name === name) return url;
  }
  return assert.fail('the reference server does not start');
}

async function ask(url: URL, path: string): Promise<unknown> {
  const authorization = `Basic ${Buffer.from('alice:secret').toString('base64')}`;
  const response = await fetch(new URL(path, url), { headers: { authorization } });
  return response.headers.get('content-type')?.includes('json')
    ? response.json()
    : Buffer.from(await response.arrayBuffer());
}

test('a tree of everything arrives in the reference server', {
  skip: without('Orthanc') || without('zip'),
}, async () => {
  const url = await reference(newFolder());
  const tree = newFolder();
  mkdirSync(join(tree, 'deep/er'), { recursive: true });
  for (let n = 1; n <= 20; n++) writeFileSync(join(tree, n % 2 === 0 ? 'deep/er' : '.', `${n}.dcm`), dicom(n));
  writeFileSync(join(tree, 'packed.dcm.gz'), gzipSync(dicom(21)));
  writeFileSync(join(tree, 'readme.txt'), 'not DICOM');
  writeFileSync(join(tree, 'empty'), '');
  symlinkSync('..', join(tree, 'deep/loop'));
  symlinkSync('nowhere', join(tree, 'deep/broken'));
  const zip = archive(newFolder(), { 'a.dcm': dicom(20), 'b.dcm': dicom(22), '..\u001b[2Jc.dcm': dicom(23) });

  const report = await send([tree, zip], url, { credentials: 'alice:secret' });
  assert.deepEqual(counts(report), { stored: 23, alreadyStored: 1, notDicom: 2, failed: 1 });
  assert.equal(report.failures[0]?.name, join(tree, 'deep/broken'));
  assert.match(report.failures[0]?.reason ?? '', /ENOENT/);
  assert.equal(report.files, 27);
  const instances = (await ask(url, 'instances')) as string[];
  assert.equal(instances.length, 23);
  const stored = new Set<string>();
  for (const id of instances) stored.add(md5((await ask(url, `instances/${id}/file`)) as Buffer));
  for (let n = 1; n <= 23; n++) assert.ok(stored.has(md5(dicom(n))), `instance ${n}`);

  const again = await send([tree], url, { credentials: 'alice:secret' });
  assert.deepEqual(counts(again), { stored: 0, alreadyStored: 21, notDicom: 2, failed: 1 });

  const refused = await send([tree], url, { credentials: 'alice:wrong' });
  assert.match(refused.stopped ?? '', /refuses the credentials \(401\)/);
  assert.equal(refused.files, 0);
});

test('a busy server and lost connections are tried again, with the same bytes', async () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'a.dcm'), dicom(1));
  const bodies: string[] = [];
  const times: number[] = [];
  const { url, attempts, close } = await peer((request, response, body, attempt) => {
    bodies.push(md5(body));
    times.push(performance.now());
    if (attempt === 1) request.socket.destroy();
    else if (attempt === 2) response.writeHead(503, { 'Retry-After': '1' }).end();
    else if (attempt === 3) response.writeHead(503).end();
    else success(response);
  });
  const report = await send([folder], url);
  await close();
  assert.deepEqual(counts(report), { stored: 1, alreadyStored: 0, notDicom: 0, failed: 0 });
  assert.equal(attempts(), 4);
  assert.deepEqual(new Set(bodies), new Set([md5(dicom(1))]));
  assert.ok((times[2] ?? 0) - (times[1] ?? 0) >= 990, 'Retry-After was not honoured');
  assert.ok((times[3] ?? 0) - (times[2] ?? 0) < 500);
});

test('what stays refused is a failure with its reason, and the others still go', async () => {
  const folder = newFolder();
  for (let n = 1; n <= 6; n++) writeFileSync(join(folder, `${n}.dcm`), dicom(n));
  const full = { Message: 'The file storage is full', Details: 'really', OrthancStatus: 19 };
  const { url, attempts, close } = await peer((_request, response, body) => {
    if (body.equals(dicom(2))) response.writeHead(507).end(JSON.stringify(full));
    else if (body.equals(dicom(3))) response.writeHead(503).end();
    else if (body.equals(dicom(4))) response.writeHead(400).end('<html>');
    else if (body.equals(dicom(5)))
      response.end('[{"Status":"Success"},{"Status":"AlreadyStored"},{"Status":"Failure"}]');
    else success(response);
  });
  const report = await send([folder], url);
  await close();
  assert.deepEqual(counts(report), { stored: 3, alreadyStored: 1, notDicom: 0, failed: 4 });
  assert.deepEqual(report.failures.map(({ reason }) => reason).sort(), [
    'HTTP 400: <html>',
    'HTTP 503:  (8 attempts)',
    'HTTP 507: The file storage is full: really',
    'the server answers Status "Failure"',
  ]);
  assert.equal(attempts(), 5 + 8);
  assert.equal(report.stopped, undefined);
});

test('a server that is gone ends the import, at the start and in the middle', async () => {
  const folder = newFolder();
  for (let n = 1; n <= 50; n++) writeFileSync(join(folder, `${n}.dcm`), dicom(n));
  const nobody = await send([folder], new URL(`http://127.0.0.1:${await freePort()}`));
  assert.match(nobody.stopped ?? '', /cannot be reached: .*ECONNREFUSED/);
  assert.equal(nobody.files, 0);

  const dying = await peer((_request, response, _body, attempt) => {
    success(response);
    if (attempt === 10) void dying.close();
  });
  const report = await send([folder], dying.url);
  assert.match(report.stopped ?? '', /cannot be reached/);
  assert.ok(report.stored >= 6 && report.stored <= 14, `${report.stored} stored`);
  assert.ok(report.failed >= 1 && report.failed <= 4);
});

test('an answer before the body is through is taken', async () => {
  const file = join(newFolder(), 'large.dcm');
  writeFileSync(file, '');
  truncateSync(file, 64 * 2 ** 20);
  const server = createServer((request, response) => {
    if (request.method === 'GET') response.end('{}');
    // The body is left unread until the client hangs up.
    else response.writeHead(413).end('too large');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const report = await send([file], new URL(`http://127.0.0.1:${port}`));
  server.closeAllConnections();
  server.close();
  assert.deepEqual(report.failures, [{ name: file, reason: 'HTTP 413: too large' }]);
});

test('an import can be interrupted', async () => {
  const folder = newFolder();
  for (let n = 1; n <= 30; n++) writeFileSync(join(folder, `${n}.dcm`), dicom(n));
  const interrupt = new AbortController();
  const { url, attempts, close } = await peer((_request, response, _body, attempt) => {
    if (attempt === 5) interrupt.abort();
    if (attempt < 5) success(response);
    else response.writeHead(503, { 'Retry-After': '30' }).end();
  });
  const began = performance.now();
  const report = await send([folder], url, { signal: interrupt.signal });
  await close();
  assert.ok(performance.now() - began < 5000);
  assert.equal(report.stopped, 'interrupted');
  assert.equal(report.stored, 4);
  assert.ok(attempts() <= 8);
});

test('archives that lie about sizes are found out', { skip: without('zip') }, async () => {
  const received: Buffer[] = [];
  const { url, close } = await peer((_request, response, body) => {
    received.push(body);
    success(response);
  });
  const entries = { 'a.dcm': dicom(1), 'b.dcm': dicom(2) };
  for (const [change, reason] of [
    [(size: number) => size + 1, /cannot be read|size/],
    [(size: number) => size - 1, /cannot be read|size/],
    [() => 0xfffffffe, /expands to more than is plausible/],
  ] as const) {
    const zip = archive(newFolder(), entries);
    lie(zip, change);
    const before = received.length;
    const report = await send([zip], url);
    assert.equal(report.failed, 1);
    assert.equal(report.failures[0]?.name, `${zip}: a.dcm`);
    assert.match(report.failures[0]?.reason ?? '', reason);
    assert.ok(received.slice(before).every((body) => body.equals(dicom(2))));
  }
  const broken = join(newFolder(), 'broken.zip');
  writeFileSync(broken, 'PK\x03\x04 and nothing more');
  const report = await send([broken], url);
  await close();
  assert.deepEqual(counts(report), { stored: 0, alreadyStored: 0, notDicom: 0, failed: 1 });
});

test('a file never is in memory whole', async () => {
  const folder = newFolder();
  const size = 200 * 2 ** 20;
  writeFileSync(join(folder, 'large.dcm'), '');
  truncateSync(join(folder, 'large.dcm'), size);
  let received = 0;
  let peak = 0;
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
      peak = Math.max(peak, process.memoryUsage.rss());
    });
    request.on('end', () => success(response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const before = process.memoryUsage.rss();
  const report = await send([folder], new URL(`http://127.0.0.1:${port}`));
  server.close();
  server.closeAllConnections();
  assert.equal(report.stored, 1);
  assert.equal(received, size);
  assert.ok(peak - before < size / 2, `${Math.round((peak - before) / 2 ** 20)} MB more`);
});

test('a survey counts what would be sent', { skip: without('zip') }, async () => {
  const folder = newFolder();
  archive(folder, { 'a.dcm': dicom(1), 'b.dcm': dicom(2) });
  const found = await survey([folder, join(folder, 'absent')]);
  assert.equal(found.files, 5);
  assert.equal(found.bytes, 2 * (dicom(1).length + dicom(2).length));
  assert.equal(found.unreadable.length, 1);
});

test('the folder of a storage whose index is lost is read blob by blob', async () => {
  const root = newFolder();
  const storage = await openFilesystem({ root, sync: true });
  const files = [dicom(1), Buffer.concat([dicom(2), Buffer.alloc(2_000_000)]), dicom(3), dicom(4)];
  const uuids: string[] = [];
  for (const bytes of files) {
    const uuid = storage.name(bytes.length);
    await storage.put(uuid, bytes);
    await storage.keep(uuid);
    uuids.push(uuid);
  }
  await storage.remove(uuids[3] ?? '');
  const read: Buffer[] = [];
  for await (const source of sourcesOf([root])) {
    assert.ok('open' in source);
    const parts: Buffer[] = [];
    for await (const part of bytesOf(source)) parts.push(part);
    if (source.size > 0) read.push(Buffer.concat(parts));
    source.release();
  }
  assert.deepEqual(read.map(String).sort(), files.slice(0, 3).map(String).sort());
  await storage.close();
});
