/** Owns the proof that idle connections cost next to nothing: ten thousand of them, and the server goes on as before. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { make } from '../dicom/made.ts';
import { freePort, ROOT, temporaryFolder } from '../peer.ts';

const CONNECTIONS = 10_000;

/** Files that a process may open, by the soft limit and by the hard one. */
const [soft = 0, hard = 0] = (
  /^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
)
  .slice(1)
  .map((value) => (value === 'unlimited' ? Number.POSITIVE_INFINITY : Number(value)));
const skip =
  soft < CONNECTIONS + 500
    ? `a process may open ${soft} files here (at most ${hard}): ulimit -n ${CONNECTIONS + 500} allows it`
    : false;

const memory = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

test('ten thousand idle connections', { skip, timeout: 60_000 }, async () => {
  const port = await freePort();
  const env = {
    ...process.env,
    ISEN__HTTP_PORT: String(port),
    ISEN__DICOM_PORT: '0',
    ISEN__STORAGE_DIRECTORY: temporaryFolder(),
  };
  const server = spawn(process.execPath, [join(ROOT, 'dist/src/cli.js'), 'serve'], { env, stdio: 'ignore' });
  const sockets: Socket[] = [];
  const url = `http://127.0.0.1:${port}`;
  try {
    while (
      !(await fetch(`${url}/system`).then(
        ({ ok }) => ok,
        () => false,
      ))
    )
      await sleep(50);
    const before = memory(server.pid ?? 0);
    while (sockets.length < CONNECTIONS) {
      const some = Array.from({ length: 250 }, () => connect(port, '127.0.0.1').on('error', () => {}));
      await Promise.all(some.map((socket) => once(socket, 'connect')));
      sockets.push(...some);
    }
    // All are accepted once the last of them is answered.
    const last = sockets.at(-1);
    last?.write('GET /system HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(String((await once(last ?? server, 'data'))[0]), /^HTTP\/1\.1 200/);
    const grown = memory(server.pid ?? 0) - before;
    assert.ok(grown < 200, `${grown.toFixed()} MB for ${CONNECTIONS} connections`);
    const began = performance.now();
    const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(make()) });
    assert.equal(answer.status, 200);
    assert.ok(performance.now() - began < 1000);
    assert.ok(sockets.every((socket) => !socket.destroyed));
  } finally {
    for (const socket of sockets) socket.destroy();
    server.kill('SIGKILL');
  }
});
