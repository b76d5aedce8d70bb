/** Runs the contract of the `changes` port on a real Redis, and what Redis may lose. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Changes } from '../../src/changes/changes.ts';
import { openRedisChanges } from '../../src/changes/redis.ts';
import type { Change } from '../../src/database/database.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { connectRedis, type RedisTarget } from '../../src/redis.ts';
import { changesContract } from '../contracts/changes.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { storing } from '../contracts/instances.ts';
import { temporaryFolder, without } from '../peer.ts';
import { type RedisCluster, startRedisCluster } from '../redis-cluster.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';

const CHILD = fileURLToPath(new URL('redis-child.js', import.meta.url));

const folder = temporaryFolder();
let count = 0;
let server: RedisServer;
let cluster: RedisCluster;

const skip = without('redis-server');
before(async () => {
  if (skip === false) [server, cluster] = await Promise.all([startRedis(), startRedisCluster()]);
});
after(async () => {
  await Promise.all([server?.stop(), cluster?.stop()]);
});

const open = async (target: RedisTarget = server.target) => {
  const name = `changes${count++}`;
  const database = await openSqlite({ path: join(folder, `${name}.db`), limits: UNLIMITED });
  const redis = await connectRedis({ ...target, prefix: `{${name}}` });
  const changes = await openRedisChanges(redis, database);
  return {
    database,
    changes,
    redis,
    close: async () => {
      await changes.close();
      await redis.close();
      await database.close();
    },
  };
};
if (skip === false) {
  changesContract('redis', open);
  changesContract('a Redis Cluster', async () => open({ url: 'redis://localhost', prefix: '', nodes: cluster.nodes }));
}

/** Every change of a log from the first, page by page. */
async function whole(changes: Changes): Promise<readonly Change[]> {
  const all: Change[] = [];
  for (;;) {
    const page = await changes.since({ since: all.at(-1)?.seq ?? 0, limit: 500 });
    all.push(...page.changes);
    if (page.done) return all;
  }
}

const fresh = (count_: number) =>
  Array.from({ length: count_ }, () => storing({ patient: 'P', study: '1', series: '1.1', instance: `x${count++}` }));

test('redis: what was committed and not announced comes by itself, once', { skip, timeout: 30_000 }, async () => {
  const { database, changes, close } = await open();
  const aborter = new AbortController();
  const lost = await database.commit(fresh(3));
  const { changes: announced } = await database.commit(fresh(2));
  const seen: number[] = [];
  const following = (async () => {
    for await (const { seq } of changes.follow(0, aborter.signal)) if (seen.push(seq) === 8) return;
  })();
  // The later ones alone, and twice: those before them are found in the index.
  await Promise.all([changes.announce(announced), changes.announce(announced)]);
  await changes.announce(lost.changes);
  await database.commit(fresh(0));
  await following;
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
  const { changes: silent } = await database.commit(fresh(1));
  const [last] = await firstOf(changes, 8);
  assert.deepEqual(last, silent[0]);
  await close();
});

async function firstOf(changes: Changes, since: number): Promise<readonly Change[]> {
  for await (const change of changes.follow(since, AbortSignal.timeout(10_000))) return [change];
  return [];
}

test('redis: a log longer than the stream, and one that was lost, is read whole', {
  skip,
  timeout: 60_000,
}, async () => {
  const { database, changes, redis, close } = await open();
  for (let round = 0; round < 48; round++) await changes.announce((await database.commit(fresh(256))).changes);
  await redis.client.flushall();
  const expected = (await database.changes({ limit: 100_000 })).changes;
  assert.equal(expected.length, 48 * 256 + 3);
  assert.deepEqual(await whole(changes), expected);
  assert.ok((await redis.client.xlen(`${redis.prefix}:changes`)) >= 10_000, 'the stream was not filled again');
  assert.equal(await changes.last(), expected.length);
  assert.deepEqual((await changes.since({ to: 20, limit: 5 })).changes, expected.slice(15, 20));
  assert.deepEqual(await changes.since({ types: ['NewStudy'], limit: 5 }), { changes: [expected[2]], done: true });
  // Its last entries, as a crash would lose them; other nodes append meanwhile.
  const { changes: later } = await database.commit(fresh(5));
  const fourth = later[3];
  await changes.announce(later);
  await redis.client.del(`${redis.prefix}:changes`);
  await changes.announce((await database.commit(fresh(1))).changes);
  assert.deepEqual((await changes.since({ since: (fourth?.seq ?? 0) - 1, limit: 1 })).changes, [fourth]);
  await close();
});

test('redis: the stream of another index is forgotten', { skip, timeout: 30_000 }, async () => {
  const first = await open();
  await first.changes.announce((await first.database.commit(fresh(50))).changes);
  // Its sweeper would bring them back.
  await first.changes.close();
  const database = await openSqlite({ path: join(folder, 'another.db'), limits: UNLIMITED });
  const committed = await database.commit(fresh(2));
  const other = await openRedisChanges(first.redis, database);
  assert.deepEqual((await other.since({ limit: 100 })).changes, committed.changes);
  await other.close();
  await database.close();
  await first.close();
});

test('redis: while it is away or hangs every call ends, and nothing is lost', { skip, timeout: 90_000 }, async () => {
  const own = await startRedis();
  const database = await openSqlite({ path: join(folder, 'away.db'), limits: UNLIMITED });
  const redis = await connectRedis(own.target);
  const changes = await openRedisChanges(redis, database);
  const seen: number[] = [];
  const aborter = new AbortController();
  const following = (async () => {
    for await (const { seq } of changes.follow(0, aborter.signal)) seen.push(seq);
  })();
  await changes.announce((await database.commit(fresh(1))).changes);
  await own.kill();
  const asked = performance.now();
  const calls = [changes.last(), changes.since({ limit: 5 }), changes.cleared()];
  await Promise.all(calls.map((call) => assert.rejects(call, { code: 'DatabaseUnavailable' })));
  assert.ok(performance.now() - asked < 6000, 'it waited too long');
  await changes.announce((await database.commit(fresh(1))).changes).catch(() => {});
  await own.start();
  const until = async (length: number): Promise<void> => {
    const end = Date.now() + 20_000;
    while (seen.length < length) {
      assert.ok(Date.now() < end, `${seen.length} of ${length} changes came`);
      await sleep(20);
    }
  };
  await until(5);
  own.suspend();
  const began = performance.now();
  await assert.rejects(changes.last(), { code: 'DatabaseUnavailable' });
  await changes.announce((await database.commit(fresh(1))).changes).catch(() => {});
  assert.ok(performance.now() - began < 12_000, 'it waited too long');
  own.resume();
  await until(6);
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6]);
  aborter.abort();
  await following;
  await changes.close();
  await redis.close();
  await database.close();
  await own.stop();
});

test('redis: nodes that store, followers, and a Redis that dies and forgets', { skip, timeout: 120_000 }, async () => {
  const own = await startRedis();
  const path = join(folder, 'nodes.db');
  const database = await openSqlite({ path, limits: UNLIMITED });
  const redis = await connectRedis(own.target);
  const changes = await openRedisChanges(redis, database);
  const node = async (name: string, kill = false): Promise<string> => {
    const child = spawn(process.execPath, [CHILD, path, JSON.stringify(own.target), name, '6000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    if (kill) setTimeout(() => child.kill('SIGKILL'), 3000);
    const [code] = (await once(child, 'close')) as [number | null];
    if (!kill) assert.equal(code, 0);
    return text;
  };
  const nodes = [node('a'), node('b'), node('c'), node('d', true)];
  await sleep(1500);
  for (let round = 0; round < 4; round++) {
    if (round % 2 === 0) {
      await own.kill();
      await sleep(150);
      await own.start();
    } else {
      await redis.client.flushall().catch(() => {});
    }
    await sleep(900);
  }
  const texts = await Promise.all(nodes);
  const expected = (await database.changes({ limit: 1_000_000 })).changes;
  assert.ok(expected.length > 1000, `${expected.length} changes`);
  const lines = expected.map(({ seq, id }) => `${seq} ${id}`);
  assert.deepEqual(
    expected.map(({ seq }) => seq),
    lines.map((_, index) => index + 1),
  );
  for (const [index, text] of texts.entries()) {
    const saw = text.split('\n').slice(0, -1);
    // The killed one saw less, but nothing else.
    if (index < 3) assert.equal(saw.length, lines.length);
    assert.deepEqual(saw, lines.slice(0, saw.length));
  }
  assert.deepEqual(await whole(changes), expected);
  await changes.close();
  await redis.close();
  await database.close();
  await own.stop();
});
