/** Owns the proof that a body whose connection was lent is whole, that the next request comes right behind it, and that a broken one ends as any. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectSecurely } from 'node:tls';
import { receiveLent } from '../../src/http/lending.ts';
import { receiveBody } from '../../src/http/upload.ts';
import { SlabPool } from '../../src/ingest/slabs.ts';
import { type Inlet, openInlet } from '../../src/inlet.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { temporaryFolder } from '../peer.ts';
import { certificates } from '../scp/certificates.ts';

const skip = process.platform === 'linux' ? false : 'connections are lent on Linux only';
const MB = 1 << 20;
const LARGEST = 64 * MB;

/** Bytes that came beside the main thread. */
let lent = 0;
let refusals = 0;
const real = skip === false ? openInlet() : undefined;
const inlet: Inlet = {
  receive(descriptor, bytes) {
    if (refusals > 0) {
      refusals -= 1;
      return undefined;
    }
    const come = real?.receive(descriptor, bytes);
    return come?.then((count) => {
      lent += count;
      return count;
    });
  },
  close: async () => {},
};

let slabs: SlabPool;
const failures: string[] = [];

/** Bytes of an answer that no socket takes at once. */
const LONG = 24 * MB;

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'GET') {
    response.end(Buffer.alloc(LONG));
    return;
  }
  const slab = await slabs.take();
  try {
    await receiveLent(inlet, request, slab, LARGEST);
    await receiveBody(request, slab);
    const spilled = await slab.finish();
    const md5 = spilled?.md5 ?? createHash('md5').update(slab.head).digest('hex');
    response.end(`${request.method} ${slab.size} ${md5};`);
  } catch (thrown) {
    failures.push(String(thrown));
    response.statusCode = 400;
    response.setHeader('Connection', 'close');
    response.end('bad;');
  } finally {
    slab.release();
  }
}

let server: Server;
before(async () => {
  const storage = await openFilesystem({ root: temporaryFolder(), sync: false });
  slabs = new SlabPool(storage, { budget: 80 * MB, largestBody: LARGEST, patience: 1000, waiting: 100 });
  server = createServer((request, response) => void handle(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
after(async () => {
  server.closeAllConnections();
  server.close();
  await real?.close();
});

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const answerOf = (body: Uint8Array): string => `POST ${body.length} ${md5(body)};`;
const head = (body: Uint8Array, more = ''): string =>
  `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n${more}\r\n`;

/** A client, and what it was answered so far, bodies only. */
function client(): { readonly socket: Socket; answers(count: number): Promise<string[]> } {
  const { port } = server.address() as { port: number };
  const socket = connect(port, '127.0.0.1');
  return { socket, answers: answersOf(socket) };
}

function answersOf(socket: Socket): (count: number) => Promise<string[]> {
  let text = '';
  socket.setEncoding('latin1').on('data', (part: string) => {
    text += part;
  });
  socket.on('error', () => {});
  return async (count) => {
    for (;;) {
      const found = [...text.matchAll(/\r\n\r\n([^;]*;)/g)].map(([, body = '']) => body);
      if (found.length >= count || socket.closed) return found;
      await sleep(2);
    }
  };
}

test('bodies of every size come whole, one after the other on a connection', { skip, timeout: 60_000 }, async () => {
  const { socket, answers } = client();
  const sizes = [0, 10, 65_535, 65_536, 131_072, 524_774, MB - 1, MB, MB + 1, 3 * MB + 7, 17 * MB, 40 * MB, 100_000];
  const bodies = sizes.map((size) => randomBytes(size));
  const before = lent;
  for (const [index, body] of bodies.entries()) {
    socket.write(head(body));
    socket.write(body);
    assert.equal((await answers(index + 1)).at(-1), answerOf(body), `${body.length}`);
  }
  assert.ok(lent - before > 20 * MB, 'they were lent');
  socket.destroy();
});

test('requests in a row without waiting for answers', { skip, timeout: 60_000 }, async () => {
  const { socket, answers } = client();
  const bodies = [300_000, 0, 524_774, 70_000, 12, 200_000].map((size) => randomBytes(size));
  const before = lent;
  socket.write(Buffer.concat(bodies.flatMap((body) => [Buffer.from(head(body)), body])));
  assert.deepEqual(await answers(bodies.length), bodies.map(answerOf));
  assert.ok(lent > before);
  socket.destroy();
});

test('a body that stops now and then, and one that drips, come whole', { skip, timeout: 60_000 }, async () => {
  const body = randomBytes(600_000);
  const { socket, answers } = client();
  const before = lent;
  socket.write(head(body));
  for (const [from, to] of [
    [0, 100_000],
    [100_000, 250_000],
    [250_000, 250_001],
    [250_001, 600_000],
  ]) {
    socket.write(body.subarray(from, to));
    await sleep(250);
  }
  assert.deepEqual(await answers(1), [answerOf(body)]);
  assert.ok(lent > before);
  const slow = client();
  slow.socket.write(head(body));
  for (let at = 0; at < 50_000; at += 500) {
    slow.socket.write(body.subarray(at, at + 500));
    await sleep(13);
  }
  slow.socket.write(body.subarray(50_000));
  assert.deepEqual(await slow.answers(1), [answerOf(body)]);
  // The connections are as good as new.
  for (const { socket: again, answers: got } of [{ socket, answers }, slow]) {
    again.write(Buffer.concat([Buffer.from(head(body)), body]));
    assert.equal((await got(2)).at(-1), answerOf(body));
    again.destroy();
  }
});

test('behind a request whose long answer is taken slowly it is not lent, and the answer is whole', {
  skip,
  timeout: 60_000,
}, async () => {
  const body = randomBytes(400_000);
  const { socket } = client();
  let came = 0;
  let text = '';
  socket.removeAllListeners('data').on('data', (part: string) => {
    came += part.length;
    text = (text + part).slice(-200);
  });
  socket.write('GET /long HTTP/1.1\r\nHost: x\r\n\r\n');
  await sleep(100);
  socket.pause();
  await sleep(100);
  socket.write(Buffer.concat([Buffer.from(head(body)), body]));
  await sleep(200);
  socket.resume();
  while (!text.endsWith(answerOf(body)) && !socket.closed) await sleep(5);
  assert.ok(text.endsWith(answerOf(body)));
  assert.ok(came > LONG);
  socket.destroy();
});

test('when no place is free the rest comes as ever', { skip }, async () => {
  const body = randomBytes(3 * MB);
  const { socket, answers } = client();
  refusals = 1;
  socket.write(Buffer.concat([Buffer.from(head(body)), body]));
  assert.deepEqual(await answers(1), [answerOf(body)]);
  socket.destroy();
});

test('a client that leaves, or sends less than it said, leaves nothing behind', { skip, timeout: 60_000 }, async () => {
  const body = randomBytes(500_000);
  for (const leave of [
    (socket: Socket): unknown => socket.resetAndDestroy(),
    (socket: Socket): unknown => socket.destroy(),
    (socket: Socket): unknown => socket.end(),
  ]) {
    const failed = failures.length;
    const { socket } = client();
    socket.on('error', () => {});
    socket.write(head(body));
    socket.write(body.subarray(0, 300_000));
    await sleep(30);
    leave(socket);
    while (failures.length === failed) await sleep(5);
  }
  while (slabs.held > 0) await sleep(5);
});

test('bodies without a length, under "Expect", and under TLS', { skip, timeout: 60_000 }, async () => {
  const body = randomBytes(400_000);
  const before = lent;
  const chunked = client();
  chunked.socket.write(
    `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`,
  );
  chunked.socket.write(Buffer.concat([body, Buffer.from('\r\n0\r\n\r\n')]));
  assert.deepEqual(await chunked.answers(1), [answerOf(body)]);
  chunked.socket.destroy();
  assert.equal(lent, before);
  const { server: pair } = certificates(temporaryFolder());
  const secure = createSecureServer(
    { key: readFileSync(pair.key), cert: readFileSync(pair.certificate) },
    (request, response) => {
      void handle(request, response);
    },
  ).listen(0, '127.0.0.1');
  await once(secure, 'listening');
  const { port } = secure.address() as { port: number };
  const socket = connectSecurely({ port, host: '127.0.0.1', rejectUnauthorized: false });
  const answers = answersOf(socket);
  socket.write(Buffer.concat([Buffer.from(head(body)), body]));
  assert.deepEqual(await answers(1), [answerOf(body)]);
  assert.equal(lent, before);
  socket.destroy();
  secure.closeAllConnections();
  secure.close();
});

test('a hundred clients at once', { skip, timeout: 60_000 }, async () => {
  const before = lent;
  await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const { socket, answers } = client();
      for (let round = 1; round <= 3; round += 1) {
        const body = randomBytes(100_000 + index * 3000 + round);
        socket.write(head(body));
        socket.write(body);
        assert.equal((await answers(round)).at(-1), answerOf(body));
      }
      socket.destroy();
    }),
  );
  assert.ok(lent > before);
  while (slabs.held > 0) await sleep(5);
});
