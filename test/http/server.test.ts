/** Owns the proof that silence ends a connection where the client is to act, and only there. */

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../src/config.ts';
import { createServer } from '../../src/http/server.ts';

const { config } = loadConfig({ env: { ISEN__HTTP_PORT: '0', ISEN__HTTP_REQUEST_TIMEOUT: '1' } });
const server = await createServer(
  config,
  async (request, response) => {
    // Whoever is cut off in the middle of it ends it too.
    await new Promise((resolve) => request.resume().once('close', resolve));
    await sleep(2500);
    response.end(request.url === '/large' ? Buffer.alloc(64 << 20) : 'done');
  },
  () => {},
);
const { port } = await server.listen();
after(() => server.close(0));

/** What comes back of `sent` until the connection ends, or 6 s have passed; `reads` false: nothing is taken. */
async function ask(sent: string, reads = true): Promise<{ text: string; ended: boolean }> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  let text = '';
  let ended = false;
  socket.once('close', () => {
    ended = true;
  });
  if (reads) socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.write(sent);
  for (const end = Date.now() + 6000; Date.now() < end && !ended; ) await sleep(20);
  socket.destroy();
  return { text, ended };
}

test('a client that waits for us is answered, however long it takes', async () => {
  for (const sent of [
    'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab',
  ])
    assert.match((await ask(sent)).text, /done/);
});

test('a client that is silent in the middle of its request, or takes nothing of its answer, is cut off', async () => {
  const half = await ask('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nab');
  assert.ok(half.ended);
  assert.doesNotMatch(half.text, /done/);
  assert.equal((await ask('GET /large HTTP/1.1\r\nHost: x\r\n\r\n', false)).text, '');
});
