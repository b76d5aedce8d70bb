/** Owns the proof that large frames go out whole, at the pace of their clients and in bounded memory. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { make } from '../dicom/made.ts';
import { freePort, ROOT, temporaryFolder } from '../peer.ts';
import { raw, serve } from './served.ts';

const server = await serve();
after(() => server.close());

const MB = 1 << 20;
/** No two pieces of it are alike. */
const pixels = Buffer.from(Uint32Array.from({ length: MB }, (_, index) => index * 2_654_435_761).buffer);
const fragments = [10, 3 * MB, 6, 100_000, 500_000, 2, MB - 600_018].map((size, index, sizes) => {
  const start = sizes.slice(0, index).reduce((sum, each) => sum + each, 0);
  return pixels.subarray(start, start + size);
});

for (const [kind, transferSyntax, value] of [
  ['native', '1.2.840.10008.1.2.1', pixels],
  ['big endian', '1.2.840.10008.1.2.2', Buffer.from(pixels).swap16()],
  ['in fragments', '1.2.840.10008.1.2.4.50', { fragments }],
  ['deflated', '1.2.840.10008.1.2.1.99', pixels],
] as const) {
  test(`a large frame comes whole, and compressed (${kind})`, async () => {
    const sopUid = `1.2.840.97.${Date.now()}`;
    const bytes = make({ sopUid, transferSyntax, rows: 1024, columns: 2048, pixels: value });
    const stored = await raw(server.port, '/instances', { method: 'POST' }, bytes);
    assert.equal(stored.status, 200, stored.body.toString());
    const { ID } = JSON.parse(stored.body.toString()) as { ID: string };
    const frame = await raw(server.port, `/instances/${ID}/frames/0/raw`);
    assert.equal(frame.status, 200, frame.body.toString());
    assert.equal(frame.headers['content-length'], String(pixels.length));
    assert.ok(frame.body.equals(pixels));
    const zipped = await raw(server.port, `/instances/${ID}/frames/0/raw.gz`);
    assert.ok(gunzipSync(zipped.body).equals(pixels));
    const head = await raw(server.port, `/instances/${ID}/frames/0/raw`, { method: 'HEAD' });
    assert.equal(head.headers['content-length'], String(pixels.length));
  });
}

const memory = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

test('clients that take a large frame slowly, or not at all, take no memory', { timeout: 60_000 }, async () => {
  const port = await freePort();
  const env = {
    ...process.env,
    ISEN__HTTP_PORT: String(port),
    ISEN__STORAGE_DIRECTORY: temporaryFolder(),
  };
  const child = spawn(process.execPath, [join(ROOT, 'dist/src/cli.js'), 'serve'], { env, stdio: 'ignore' });
  try {
    const isUp = async (): Promise<boolean> =>
      raw(port, '/system').then(
        ({ status }) => status === 200,
        () => false,
      );
    while (!(await isUp())) await sleep(50);
    const bytes = make({ rows: 8192, columns: 8192, bits: 8, pixels: Buffer.alloc(64 * MB, 7) });
    const stored = await raw(port, '/instances', { method: 'POST' }, bytes);
    const { ID } = JSON.parse(stored.body.toString()) as { ID: string };
    const before = memory(child.pid ?? 0);
    const clients = Array.from({ length: 16 }, (_, index) => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      socket.write(`GET /instances/${ID}/frames/0/${index % 2 === 0 ? 'raw' : 'raw.gz'} HTTP/1.1\r\nHost: x\r\n\r\n`);
      socket.once('data', () => socket.pause());
      return socket;
    });
    let most = before;
    for (const end = Date.now() + 3000; Date.now() < end; await sleep(20))
      most = Math.max(most, memory(child.pid ?? 0));
    assert.ok(clients.every((socket) => socket.bytesRead > 0));
    assert.ok(most - before < 200, `${(most - before).toFixed()} MB more`);
    for (const socket of clients) socket.destroy();
  } finally {
    child.kill();
  }
});
