/** Owns the proof that what comes over a lent connection is where it belongs, and that every lent connection comes back. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { openInlet } from '../src/inlet.ts';
import { MOST } from '../src/inlet-shared.ts';

const skip = process.platform === 'linux' ? false : 'connections are lent on Linux only';
const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
await once(server, 'listening');
after(() => server.close());

interface Pair {
  readonly sender: Socket;
  readonly lent: Socket;
  readonly descriptor: number;
}

let made: Promise<unknown> = Promise.resolve();

/** A connection: who sends, and the end that is lent. One after the other, so that the ends belong together. */
function pair(): Promise<Pair> {
  const next = made.then(connected);
  made = next;
  return next;
}

async function connected(): Promise<Pair> {
  const { port } = server.address() as { port: number };
  const sender = connect(port, '127.0.0.1');
  const [lent] = (await once(server, 'connection')) as [Socket];
  for (const socket of [sender, lent]) socket.on('error', () => {});
  return { sender, lent, descriptor: descriptorOf(lent) };
}

const descriptorOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

function end(...sockets: readonly Socket[]): void {
  for (const socket of sockets) socket.destroy();
}

const memory = (size: number): Buffer => Buffer.from(new SharedArrayBuffer(size));

function opened(): NonNullable<ReturnType<typeof openInlet>> {
  const inlet = openInlet();
  assert.ok(inlet);
  return inlet;
}

test('what is sent is in the memory, and not a byte more is taken', { skip }, async () => {
  const inlet = opened();
  const { sender, lent, descriptor } = await pair();
  const bytes = randomBytes(1_000_000);
  const [first, second] = [memory(700_001), memory(300_000)];
  sender.write(bytes);
  assert.equal(await inlet.receive(descriptor, first), 700_001);
  assert.equal(await inlet.receive(descriptor, second.subarray(0, 299_998)), 299_998);
  assert.deepEqual(Buffer.concat([first, second.subarray(0, 299_998)]), bytes.subarray(0, 999_999));
  // The last byte is whoever's reads next.
  const [rest] = (await once(lent.resume(), 'data')) as [Buffer];
  assert.deepEqual(rest, bytes.subarray(999_999));
  end(sender, lent);
  await inlet.close();
});

test('one that is silent, drips, or ends comes back with what came', { skip }, async () => {
  const inlet = opened();
  const [silent, dripping, ending, broken] = [await pair(), await pair(), await pair(), await pair()];
  const beginning = performance.now();
  silent.sender.write(Buffer.alloc(100_000));
  const drip = setInterval(() => dripping.sender.write('x'), 10);
  ending.sender.end(Buffer.alloc(5000));
  broken.sender.write(Buffer.alloc(70_000), () => broken.sender.resetAndDestroy());
  assert.equal(await inlet.receive(silent.descriptor, memory(200_000)), 100_000);
  assert.equal(await inlet.receive(ending.descriptor, memory(200_000)), 5000);
  assert.ok(((await inlet.receive(broken.descriptor, memory(200_000))) ?? -1) <= 70_000);
  const drops = (await inlet.receive(dripping.descriptor, memory(200_000))) ?? -1;
  clearInterval(drip);
  assert.ok(drops > 0 && drops < 1000, `${drops}`);
  assert.ok(performance.now() - beginning < 5000);
  for (const { sender, lent } of [silent, dripping, ending, broken]) end(sender, lent);
  await inlet.close();
});

test('a descriptor that is closed meanwhile, and given to the next connection, is not read from', {
  skip,
}, async () => {
  const inlet = opened();
  const first = await pair();
  const bytes = memory(100_000);
  const come = inlet.receive(first.descriptor, bytes);
  first.lent.destroy();
  await once(first.lent, 'close');
  const next = await pair();
  // Its number is given to whoever comes next: one end or the other of this connection.
  const [taker, other] =
    descriptorOf(next.sender) === first.descriptor ? [next.sender, next.lent] : [next.lent, next.sender];
  assert.equal(descriptorOf(taker), first.descriptor);
  other.write(Buffer.alloc(100_000, 'n'));
  first.sender.write(Buffer.alloc(100_000, 'f'));
  assert.equal(await come, 100_000);
  assert.ok(bytes.equals(Buffer.alloc(100_000, 'f')));
  const [kept] = (await once(taker.resume(), 'data')) as [Buffer];
  assert.equal(kept[0], 'n'.charCodeAt(0));
  end(first.sender, next.sender, next.lent);
  await inlet.close();
});

test('as many as there are places are lent at a time; closing waits for them, and nothing is lent afterwards', {
  skip,
}, async () => {
  const inlet = opened();
  const pairs = await Promise.all(Array.from({ length: MOST }, async () => pair()));
  const receiving = pairs.map(({ descriptor }) => inlet.receive(descriptor, memory(10)));
  assert.ok(!receiving.includes(undefined));
  const [{ sender, descriptor }] = pairs as [(typeof pairs)[0], ...typeof pairs];
  assert.equal(inlet.receive(descriptor, memory(10)), undefined);
  sender.write('0123456789');
  assert.equal(await receiving[0], 10);
  const again = inlet.receive(descriptor, memory(10));
  assert.notEqual(again, undefined);
  await inlet.close();
  assert.deepEqual(
    await Promise.all([again, ...receiving.slice(1)]),
    Array.from({ length: MOST }, () => 0),
  );
  assert.equal(inlet.receive(descriptor, memory(10)), undefined);
  for (const each of pairs) end(each.sender, each.lent);
});

test('many at once keep apart', { skip, timeout: 60_000 }, async () => {
  const inlet = opened();
  await Promise.all(
    Array.from({ length: 24 }, async (_, index) => {
      const { sender, lent, descriptor } = await pair();
      for (let round = 0; round < 20; round += 1) {
        const bytes = randomBytes(65_536 + index * 1000 + round);
        const into = memory(bytes.length);
        sender.write(bytes.subarray(0, 30_000));
        setTimeout(() => sender.write(bytes.subarray(30_000)), (index + round) % 5);
        assert.equal(await inlet.receive(descriptor, into), bytes.length);
        assert.ok(into.equals(bytes));
      }
      end(sender, lent);
    }),
  );
  await inlet.close();
});
