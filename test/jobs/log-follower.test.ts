/** Owns the proof that whoever follows the log leaves nothing out of queues that forget: their last second, or all that they had. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEmbeddedChanges } from '../../src/changes/embedded.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import type { Operation } from '../../src/database/database.ts';
import { openBullQueue } from '../../src/jobs/bullmq.ts';
import { LogFloor } from '../../src/jobs/log-floor.ts';
import { LogFollower } from '../../src/jobs/log-follower.ts';
import type { Count, EntryState, NewEntry, Queue } from '../../src/jobs/queue.ts';
import { connectRedis, type RedisConnection } from '../../src/redis.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { storing } from '../contracts/instances.ts';
import { temporaryFolder, without } from '../peer.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';

const skip = without('redis-server');
let server: RedisServer;
before(async () => {
  if (skip === false) server = await startRedis();
});
after(async () => server?.stop());

const QUEUE = 'modality:a';
const NAME = 'routing';

interface Opened {
  readonly queue: Queue;
  readonly redis: RedisConnection;
  /** Seqs of the changes that wait in the queue. */
  waiting(): Promise<readonly number[]>;
  /** Stores instances; answers the seqs of their NewInstance. */
  store(count: number): Promise<readonly number[]>;
  /** Another node that follows the log, as soon as no other does. */
  follow(isWanted?: () => boolean | Promise<boolean>): Promise<LogFollower>;
}

async function opened(context: TestContext): Promise<Opened> {
  const database = await openSqlite({ path: join(temporaryFolder(), 'index'), limits: UNLIMITED });
  const changes = createEmbeddedChanges(database);
  const redis = await connectRedis({ ...server.target, prefix: `{${context.name}}` });
  const queue = await openBullQueue({ redis, capacity: 1000 });
  const followers: LogFollower[] = [];
  let stored = 0;
  const commit = async (operations: readonly Operation[]) => {
    const committed = await database.commit(operations);
    await changes.announce(committed.changes);
    return committed;
  };
  context.after(async () => {
    for (const follower of followers) await follower.close();
    await queue.close();
    await redis.close();
    await database.close();
  });
  return {
    queue,
    redis,
    waiting: async () =>
      (await queue.list({ queue: QUEUE, states: ['waiting'], limit: 1000 }))
        .map(({ id }) => Number(id))
        .sort((a, b) => a - b),
    async store(count) {
      const operations = Array.from({ length: count }, () =>
        storing({ patient: 'P', study: '1', series: '1.1', instance: `1.1.${stored++}` }),
      );
      const committed = await commit(operations);
      return committed.changes.filter(({ type }) => type === 'NewInstance').map(({ seq }) => seq);
    },
    async follow(isWanted = () => true) {
      const follower = new LogFollower({
        name: NAME,
        changes,
        queue,
        // The index of this process stands for one that nodes share.
        database: { property: (name) => database.property(name), shared: true },
        async apply(operation) {
          const [outcome] = (await commit([operation])).outcomes;
          assert.ok(outcome !== undefined && outcome.kind !== 'refused');
          return outcome;
        },
        isWanted: async () => isWanted(),
        async *entries(page) {
          yield page.flatMap(({ type, seq }): readonly NewEntry[] =>
            type === 'NewInstance'
              ? [{ queue: QUEUE, id: String(seq), group: '', priority: 0, due: 0, value: {} }]
              : [],
          );
        },
      });
      followers.push(follower);
      await follower.open();
      return follower;
    },
  };
}

async function until(what: string, is: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await is())) {
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await sleep(20);
  }
}

const holds = async (of: Opened, seqs: readonly number[]): Promise<boolean> => {
  const there = new Set(await of.waiting());
  return seqs.every((seq) => there.has(seq));
};

test('queues that forgot everything get what had not ended again', { skip, timeout: 60_000 }, async (context) => {
  const node = await opened(context);
  await node.follow();
  const first = await node.store(5);
  await until('all is queued', async () => holds(node, first));
  await node.redis.client.flushall();
  const second = await node.store(2);
  await until('all is queued again', async () => holds(node, [...first, ...second]));
});

test('the next to follow finds what the queues forgot', { skip, timeout: 60_000 }, async (context) => {
  const node = await opened(context);
  const one = await node.follow();
  const first = await node.store(5);
  await until('all is queued', async () => holds(node, first));
  await node.redis.client.flushall();
  // Its position, stored as it ends, must not hide the loss.
  await one.close();
  const second = await node.store(2);
  await node.follow();
  await until('all is queued again', async () => holds(node, [...first, ...second]));
});

test('queues that went back to an earlier moment get what came after again', {
  skip,
  timeout: 60_000,
}, async (context) => {
  const node = await opened(context);
  await node.follow();
  const first = await node.store(3);
  await until('all is queued', async () => holds(node, first));
  const before = await node.queue.position(NAME);
  assert.ok(before !== undefined);
  const second = await node.store(3);
  await until('all is queued', async () => holds(node, second));
  await node.queue.settle(second.map((seq) => ({ queue: QUEUE, id: String(seq), state: 'removed' })));
  await node.queue.add([], { name: NAME, value: before });
  await until('all is queued again', async () => holds(node, second));
});

test('what nobody wanted is not queued when somebody wants the log again, whatever was forgotten', {
  skip,
  timeout: 60_000,
}, async (context) => {
  const node = await opened(context);
  let wanted = true;
  const follower = await node.follow(() => wanted);
  const first = await node.store(1);
  await until('all is queued', async () => holds(node, first));
  wanted = false;
  follower.wake();
  await until('the log is left', async () => (await node.queue.position(NAME)) === 'end');
  const unwanted = await node.store(2);
  await node.redis.client.flushall();
  await follower.begin(async () => {
    wanted = true;
  });
  follower.wake();
  const third = await node.store(1);
  await until('what is wanted is queued', async () => holds(node, third));
  const there = await node.waiting();
  assert.deepEqual(
    there.filter((seq) => unwanted.includes(seq) || first.includes(seq)),
    [],
  );
});

test('whoever begins is not forgotten by a look that began before', { skip, timeout: 60_000 }, async (context) => {
  const node = await opened(context);
  let wanted = false;
  let asked: (() => void) | undefined;
  const follower = await node.follow(async () => {
    const answer = wanted;
    if (asked !== undefined) {
      asked();
      asked = undefined;
      await sleep(500);
    }
    return answer;
  });
  const looking = new Promise<void>((resolve) => {
    asked = resolve;
  });
  follower.wake();
  await looking;
  // The slow look has heard that nobody wants it.
  const beginning = follower.begin(async () => {
    // Nor by one that comes after the beginning and before anybody can know of it.
    follower.wake();
    await sleep(500);
    wanted = true;
  });
  await beginning;
  const first = await node.store(1);
  follower.wake();
  const second = await node.store(1);
  await until('all is queued', async () => holds(node, [...first, ...second]));
});

test('the floor follows the position once everything before it has ended', async (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  let counts: readonly Count[] = [];
  let position = '10';
  const properties = new Map<string, string>();
  const floor = new LogFloor({
    name: NAME,
    database: { property: async (name) => properties.get(name) },
    async apply(operation) {
      assert.ok(operation.kind === 'property');
      properties.set(operation.name, operation.value ?? '');
      return { kind: 'done' };
    },
    queue: { count: async () => counts, position: async () => position },
  });
  const left = (state: EntryState, oldest: number, queue = QUEUE): Count => ({ queue, state, count: 1, oldest });
  const later = async (at: string, milliseconds = 20_000, there = at): Promise<string | undefined> => {
    context.mock.timers.tick(milliseconds);
    position = there;
    await floor.raise(at);
    return floor.read();
  };
  await floor.set('10');
  assert.equal(await later('20'), '10', 'first it is seen that the position is stored');
  const from = Date.now();
  counts = [left('waiting', from - 1)];
  assert.equal(await later('30'), '10', 'something older waits');
  counts = [left('retrying', from + 5000)];
  assert.equal(await later('40'), '10', 'clocks may differ by that');
  counts = [left('waiting', from + 15_000), left('failed', 1), left('waiting', 1, 'jobs')];
  assert.equal(await later('50'), '20', 'what waits came after it');
  counts = [];
  assert.equal(await later('60', 1000), '20', 'not looked at so soon');
  assert.equal(await later('60'), '50');
  // The queues forgot something: that nothing waits any more says nothing.
  assert.equal(await later('60', 20_000, '12'), '50');
  assert.equal(await later('60'), '50', 'it begins anew');
  assert.equal(await later('70'), '60');
});
