/** About src/scu/inflow.ts. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { hearFrom, sharedReading, sharing } from '../../src/scu/inflow.ts';

/** A server, and the sockets that it accepted: as it did, and as they are shared. */
async function listening(): Promise<{ server: Server; port: number; accepted: { own: Socket; shared: Socket }[] }> {
  const accepted: { own: Socket; shared: Socket }[] = [];
  const server = createServer((own) => accepted.push({ own, shared: sharing(own) }));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port, accepted };
}

/** What comes over a socket, until it is so much; and the memory that it stood in. */
function hear(socket: Socket, size: number): Promise<{ bytes: Buffer; memories: Set<ArrayBufferLike> }> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const memories = new Set<ArrayBufferLike>();
    let left = size;
    hearFrom(socket, (bytes) => {
      parts.push(Buffer.from(bytes));
      memories.add(bytes.buffer);
      left -= bytes.length;
      if (left <= 0) resolve({ bytes: Buffer.concat(parts), memories });
    });
  });
}

test('connections read into one memory, those accepted and those asked for; what comes is what was sent', async () => {
  const { server, port, accepted } = await listening();
  const clients = [0, 1].map(() => sharedReading((onread) => connect({ port, host: '127.0.0.1', onread })));
  await Promise.all(clients.map((client) => once(client, 'connect')));
  while (accepted.length < 2) await new Promise(setImmediate);
  const sent = Buffer.alloc(3 << 20, 'abcdefg');
  const memories = new Set<ArrayBufferLike>();
  const pairs = [...accepted.map(({ shared }, index) => [clients[index], shared]), [accepted[0]?.shared, clients[0]]];
  for (const [from, to] of pairs) {
    assert.ok(from && to);
    const heard = hear(to, sent.length);
    from.write(sent);
    const { bytes, memories: its } = await heard;
    assert.ok(bytes.equals(sent));
    for (const memory of its) memories.add(memory);
  }
  assert.equal(memories.size, 1);
  for (const client of clients) client.destroy();
  server.close();
  await once(server, 'close');
});

test('the server counts its connections: it closes when they have ended, from either side and by either socket', async () => {
  const { server, port, accepted } = await listening();
  const clients = [0, 1, 2].map(() => connect({ port, host: '127.0.0.1' }));
  while (accepted.length < 3) await new Promise(setImmediate);
  const count = (): Promise<number> =>
    new Promise((resolve, reject) => server.getConnections((error, found) => (error ? reject(error) : resolve(found))));
  assert.equal(await count(), 3);
  const ends = accepted.flatMap(({ own, shared }) => [once(own, 'close'), once(shared, 'close')]);
  clients[0]?.end();
  accepted[1]?.own.destroy();
  accepted[2]?.shared.destroy();
  for (const { shared } of accepted) hearFrom(shared, () => {});
  await Promise.all([...ends, ...clients.map((client) => client.resume() && once(client, 'close'))]);
  assert.equal(await count(), 0);
  server.close();
  await once(server, 'close');
});

test('a socket that is paused is read no more, and then goes on', async () => {
  const { server, port, accepted } = await listening();
  const client = connect({ port, host: '127.0.0.1' });
  while (accepted.length < 1) await new Promise(setImmediate);
  const socket = accepted[0]?.shared;
  assert.ok(socket);
  let heard = 0;
  hearFrom(socket, (bytes) => {
    heard += bytes.length;
    socket.pause();
  });
  client.write(Buffer.alloc(8 << 20));
  while (heard === 0) await new Promise(setImmediate);
  const first = heard;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(heard, first);
  while (heard < 8 << 20) {
    socket.resume();
    await new Promise(setImmediate);
  }
  assert.equal(heard, 8 << 20);
  // Its end is read like everything else.
  socket.resume();
  client.destroy();
  server.close();
  await once(server, 'close');
});
