/** Runs the contract of the `queue` port on BullMQ and a real Redis, and what only several nodes can show. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openBullQueue } from '../../src/jobs/bullmq.ts';
import { createEngine } from '../../src/jobs/engine.ts';
import type { Queue } from '../../src/jobs/queue.ts';
import { connectRedis, type RedisTarget } from '../../src/redis.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { entry, queueContract } from '../contracts/queue.ts';
import { temporaryFolder, without } from '../peer.ts';
import { type RedisCluster, startRedisCluster } from '../redis-cluster.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';

const skip = without('redis-server');
let server: RedisServer;
let cluster: RedisCluster;
before(async () => {
  if (skip === false) [server, cluster] = await Promise.all([startRedis(), startRedisCluster()]);
});
after(async () => {
  await Promise.all([server?.stop(), cluster?.stop()]);
});

/** A node of its own, on the data set `name`. */
const open = async (name: string, capacity = 1_000_000): Promise<Queue> => openAt(server.target, name, capacity);

async function openAt(target: RedisTarget, name: string, capacity: number): Promise<Queue> {
  const redis = await connectRedis({ ...target, prefix: `{${name}}` });
  const queue = await openBullQueue({ redis, capacity });
  return {
    add: (entries, position) => queue.add(entries, position),
    position: (of) => queue.position(of),
    take: (of, limit) => queue.take(of, limit),
    settle: (settlements, premises) => queue.settle(settlements, premises),
    list: (request) => queue.list(request),
    count: (of) => queue.count(of),
    wait: (of, signal) => queue.wait(of, signal),
    watch: (listener) => queue.watch(listener),
    lease: (of, most) => queue.lease(of, most),
    async close() {
      await queue.close();
      await redis.close();
    },
  };
}

if (skip === false) {
  queueContract('bullmq', open);
  queueContract('bullmq on a Redis Cluster', async (name, capacity) =>
    openAt({ url: 'redis://localhost', prefix: '', nodes: cluster.nodes }, name, capacity),
  );
}

const CHILD = fileURLToPath(new URL('bullmq-child.js', import.meta.url));

test('bullmq: an entry is settled from any node, and its own hears of it', { skip, timeout: 30_000 }, async () => {
  const [one, two] = await Promise.all([open('nodes'), open('nodes')]);
  const heard: string[] = [];
  one.watch(({ id, state, value }) => heard.push(`${id} ${state} ${JSON.stringify(value)}`));
  const waiting = one.wait('q', AbortSignal.timeout(4000));
  const began = performance.now();
  await two.add([entry('a', { value: { x: 1 } }), entry('b'), entry('c')]);
  await waiting;
  assert.ok(performance.now() - began < 1000, 'the other node was not woken');
  assert.equal((await one.take('q', 2)).length, 2);
  await two.settle([{ queue: 'q', id: 'a', state: 'paused', from: ['active'] }]);
  await two.settle([{ queue: 'q', id: 'b', state: 'removed' }]);
  assert.deepEqual(await one.settle([{ queue: 'q', id: 'a', state: 'done', from: ['active'] }]), []);
  const end = Date.now() + 5000;
  while (heard.length < 5) {
    assert.ok(Date.now() < end, heard.join());
    await sleep(10);
  }
  const expected = ['a waiting {"x":1}', 'b waiting null', 'c waiting null', 'a paused {"x":1}', 'b active null'];
  assert.deepEqual(heard, expected);
  const both = await Promise.all([one.list({ queue: 'q', limit: 9 }), two.list({ queue: 'q', limit: 9 })]);
  assert.deepEqual(both[0], both[1]);
  await two.settle([{ queue: 'q', id: 'a', state: 'waiting' }]);
  assert.deepEqual(
    (await two.take('q', 9)).map(({ id, attempts }) => `${id}${attempts}`),
    ['a2', 'c1'],
  );
  await Promise.all([one.close(), two.close()]);
});

test('bullmq: what a node holds stays its own for as long as it lives', { skip, timeout: 30_000 }, async () => {
  const [one, two] = await Promise.all([open('held'), open('held')]);
  await one.add([entry('a'), entry('b')]);
  await one.take('q', 1);
  const lease = await one.lease('l', 1);
  assert.ok(lease);
  await sleep(8000);
  assert.deepEqual(
    (await two.take('q', 9)).map(({ id }) => id),
    ['b'],
  );
  assert.equal(await two.lease('l', 1), undefined);
  assert.ok(!lease.lost.aborted);
  await one.close();
  await two.wait('q', AbortSignal.timeout(4000));
  assert.deepEqual(
    (await two.take('q', 9)).map(({ id, attempts }) => `${id}${attempts}`),
    ['a2'],
  );
  await two.close();
});

test('bullmq: nodes that drain one queue, one of them killed, keep to its leases', {
  skip,
  timeout: 60_000,
}, async () => {
  const name = 'drained';
  const queue = await open(name);
  const target = JSON.stringify({ ...server.target, prefix: `{${name}}` });
  await queue.add(Array.from({ length: 400 }, (_, index) => entry(String(index))));
  /** When each node had a lease. */
  const held: (readonly [from: number, to: number])[] = [];
  const settled: string[] = [];
  const node = async (kill: boolean): Promise<void> => {
    const child = spawn(process.execPath, [CHILD, target, 'q', '2', '30'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      // In the middle of its work.
      if (kill && text.split('taken').length === 4) child.kill('SIGKILL');
    });
    await once(child, 'close');
    let began: number | undefined;
    for (const line of text.split('\n')) {
      const [verb, ...words] = line.split(' ');
      if (verb === 'settled') settled.push(...words.filter((word) => word !== ''));
      else if (verb === 'began') began = Number(words[0]);
      else if (verb === 'ended' && began !== undefined) {
        held.push([began, Number(words[0])]);
        began = undefined;
      }
    }
    if (kill) assert.ok(began !== undefined, 'it was not killed in the middle');
  };
  await Promise.all([node(false), node(true), node(false), node(false)]);
  assert.equal(new Set(settled).size, 400);
  assert.equal(settled.length, 400);
  const moments = held.flatMap(([from, to]) => [
    { at: from, step: 1 },
    { at: to, step: -1 },
  ]);
  moments.sort((a, b) => a.at - b.at || a.step - b.step);
  let [now, most] = [0, 0];
  for (const { step } of moments) {
    now += step;
    most = Math.max(most, now);
  }
  assert.equal(most, 2);
  await queue.close();
});

test('bullmq: a Redis that dies fails calls at once, and keeps what it acknowledged', {
  skip,
  timeout: 60_000,
}, async () => {
  // With `everysec` it answers before it has written when the disk is busy: what it loses then is its own.
  const own = await startRedis(['--appendfsync', 'always']);
  const redis = await connectRedis(own.target);
  const queue = await openBullQueue({ redis, capacity: 1_000_000 });
  let acknowledged = 0;
  let tried = 0;
  let stop = false;
  const adding = (async () => {
    while (!stop) {
      const from = tried;
      tried += 10;
      const some = Array.from({ length: 10 }, (_, index) => entry(String(from + index)));
      try {
        await queue.add(some, { name: 'source', value: String(tried) });
        acknowledged = tried;
      } catch (thrown) {
        assert.equal((thrown as { code?: string }).code, 'DatabaseUnavailable');
        // Again the same: ids make that safe.
        tried = from;
        await sleep(20);
      }
    }
  })();
  for (let round = 0; round < 3; round++) {
    await sleep(400);
    await own.kill();
    const calls = [queue.take('q', 5), queue.list({ queue: 'q', limit: 5 }), queue.count(), queue.lease('l', 1)];
    await Promise.all(calls.map((call) => assert.rejects(call, { code: 'DatabaseUnavailable' })));
    await own.start();
  }
  await sleep(1500);
  stop = true;
  await adding;
  assert.equal(Number(await queue.position('source')), acknowledged);
  const [count] = await queue.count({ queue: 'q' });
  assert.deepEqual([count?.state, count?.count], ['waiting', acknowledged]);
  const ids = new Set<string>();
  for (;;) {
    const taken = await queue.take('q', 500);
    if (taken.length === 0) break;
    for (const { id } of taken) ids.add(id);
    await queue.settle(taken.map(({ id }) => ({ queue: 'q', id, state: 'removed' })));
  }
  assert.equal(ids.size, acknowledged);
  assert.ok(acknowledged > 100);
  await queue.close();
  await redis.close();
  await own.stop();
});

test('bullmq: what a Redis tears apart that was cut off in a transaction is found again', {
  skip,
  timeout: 60_000,
}, async () => {
  const own = await startRedis();
  const prefix = '{torn}';
  const redis = await connectRedis({ ...own.target, prefix });
  const queue = await openBullQueue({ redis, capacity: 1000 });
  const key = (name: string): string => `${prefix}:q:${name}`;
  /** What can be taken, as soon as it is all of it. */
  const taken = async (all: string): Promise<string> => {
    const ids = new Set<string>();
    const there = (): string => [...ids].sort().join(' ');
    for (const end = Date.now() + 20_000; Date.now() < end && there() !== all; await sleep(50))
      for (const { id } of await queue.take('q', 10).catch(() => [])) ids.add(id);
    return there();
  };
  await queue.add(['a', 'b', 'c', 'd', 'e', 'f'].map((id) => entry(id)));
  await queue.settle([
    { queue: 'q', id: 'd', state: 'retrying', due: Date.now() + 1500 },
    { queue: 'q', id: 'e', state: 'failed' },
  ]);
  // The first is popped, and the rest of the transaction does not reach the disk: what Redis makes of it the start after the next shows.
  await own.kill();
  const popped = [
    '*1',
    '$5',
    'MULTI',
    '*2',
    '$7',
    'ZPOPMIN',
    `$${key('prioritized').length}`,
    key('prioritized'),
    '*3',
    '$5',
    'LPUS',
  ];
  appendFileSync(join(own.folder, 'appendonlydir', 'appendonly.aof.1.incr.aof'), popped.join('\r\n'));
  await own.start();
  const end = Date.now() + 20_000;
  while (!(await queue.add([entry('g')]).catch(() => false))) {
    assert.ok(Date.now() < end, 'Redis does not come back');
    await sleep(50);
  }
  await own.kill();
  await own.start();
  assert.equal(await taken('a b c d f g'), 'a b c d f g');

  // The same by hand, of what else may be torn apart.
  const { client } = redis;
  await queue.settle(['a', 'b', 'c'].map((id) => ({ queue: 'q', id, state: 'waiting' })));
  await queue.settle([{ queue: 'q', id: 'd', state: 'retrying', due: Date.now() + 1000 }]);
  await client.zrem(key('prioritized'), '-a');
  await client.zrem(key('delayed'), '-d');
  await client.lrem(key('active'), 0, '-g');
  await client.hset(key('-b'), 'state', 'failed');
  await client.zadd(key('by:waiting'), 99, '-nobody');
  // A node that died while it looked has the lease for a while.
  await client.zadd(`${prefix}::lease:mending`, Date.now() + 4000, 'dead');
  await own.kill();
  await own.start();
  assert.equal(await taken('a c d g'), 'a c d g');
  const states = (await queue.count({ queue: 'q' })).map(({ state, count }) => `${state} ${count}`);
  assert.deepEqual(states, ['active 5', 'failed 2']);
  await queue.close();
  await redis.close();
  await own.stop();
});

test('bullmq: jobs that several engines follow are counted once', { skip, timeout: 60_000 }, async () => {
  const storage = await openFilesystem({ root: temporaryFolder(), sync: false });
  const nodes = await Promise.all([open('engines'), open('engines'), open('engines')]);
  const engines = nodes.map((queue) =>
    createEngine({ queue, storage, concurrent: 1, history: 100, save: true, outputs: 10 }),
  );
  for (const engine of engines) {
    engine.register({ type: 'Follow', follow: (_, tally) => ({ ...tally }), failure: () => undefined });
    await engine.start();
  }
  const [first] = engines;
  assert.ok(first);
  const id = await first.deliver(
    { type: 'Follow', content: {} },
    Array.from({ length: 300 }, (_, index) => ({ queue: 'm', id: String(index), priority: 0, due: 0, value: null })),
  );
  const waiting = Promise.all(engines.map((engine) => engine.wait(id, AbortSignal.timeout(20_000))));
  const drain = async (queue: Queue): Promise<void> => {
    for (;;) {
      const taken = await queue.take('m', 7);
      if (taken.length === 0) return;
      await queue.settle(taken.map((each) => ({ queue: 'm', id: each.id, state: 'done', from: ['active'] })));
    }
  };
  await Promise.all(nodes.map(drain));
  const contents = await waiting;
  for (const content of contents)
    assert.deepEqual([content['done'], content['failed'], content['total']], [300, 0, 300]);
  const shown = await Promise.all(
    engines.map(async (engine) => {
      const { runtime: _, ...job } = (await engine.get(id)) ?? { runtime: 0 };
      return job;
    }),
  );
  assert.deepEqual(shown[1], shown[0]);
  assert.deepEqual(shown[2], shown[0]);
  for (const engine of engines) await engine.close();
  for (const node of nodes) await node.close();
});
