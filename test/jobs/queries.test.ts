/** Remembered queries and commitments: the latest stay, the oldest go, on every node and through restarts, and nothing but what was asked for is believed. */

import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import { join } from 'node:path';
import { openBullQueue } from '../../src/jobs/bullmq.ts';
import { createCommitments } from '../../src/jobs/commitments.ts';
import { createQueries, type StoredQuery } from '../../src/jobs/queries.ts';
import type { Queue } from '../../src/jobs/queue.ts';
import { Shelf } from '../../src/jobs/shelf.ts';
import { connectRedis } from '../../src/redis.ts';
import { temporaryFolder, without } from '../peer.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';
import { openQueue } from './opened.ts';

const answer = { identifier: [{ tag: '0010,0010', vr: 'PN', value: 'DOE^JANE' }], characterSet: 'ISO_IR 100' };

const query = (answers: number): StoredQuery => ({
  modality: 'pacs',
  level: 'Study',
  keys: [],
  answers: Array.from({ length: answers }, () => answer),
});

async function opened(context: TestContext): Promise<Queue> {
  const queue = await openQueue(join(temporaryFolder(), 'index'));
  context.after(() => queue.close());
  return queue;
}

test('the oldest queries go when there are too many', async (context) => {
  const queries = createQueries(await opened(context), 3);
  const ids: string[] = [];
  for (let each = 0; each < 5; each += 1) ids.push(await queries.add(query(1)));
  assert.deepEqual(await queries.list(), ids.slice(2));
  assert.equal(await queries.get(ids[0] ?? ''), undefined);
  await queries.remove(ids[3] ?? '');
  await queries.remove('nope');
  assert.deepEqual(await queries.list(), [ids[2], ids[4]]);
});

test('the oldest queries go when their answers are too many, but the last one stays', async (context) => {
  const queue = await opened(context);
  const queries = createQueries(queue, 100, 2000);
  const first = await queries.add(query(1000));
  const second = await queries.add(query(900));
  assert.deepEqual(await queries.list(), [first, second]);
  const third = await queries.add(query(500));
  assert.deepEqual(await queries.list(), [second, third]);
  const huge = await queries.add(query(30_000));
  assert.deepEqual(await queries.list(), [huge]);
  // Nothing is left of the others: one head, and the pages of one.
  const rows = await queue.count();
  const pages = rows.find(({ queue: of }) => of === 'queries pages')?.count ?? 0;
  assert.deepEqual([rows.find(({ queue: of }) => of === 'queries')?.count, pages > 1 && pages < 30], [1, true]);
});

test('queries are there after a restart, with every answer, and gone after their time', async () => {
  const path = join(temporaryFolder(), 'index');
  const queue = await openQueue(path);
  const ids = [await createQueries(queue, 10).add({ ...query(5000), localAet: 'ME', timeout: 3 })];
  ids.push(await createQueries(queue, 10).add(query(0)));
  await queue.close();
  const again = await openQueue(path);
  const queries = createQueries(again, 10);
  assert.deepEqual(await queries.list(), ids);
  assert.deepEqual(await queries.get(ids[0] ?? ''), { ...query(5000), localAet: 'ME', timeout: 3 });
  assert.deepEqual((await queries.get(ids[1] ?? ''))?.answers, []);
  const old = new Shelf<string, number>(again, { name: 'old', size: 5, items: 100, age: -1 });
  await old.put('a', 'a', [1]);
  assert.deepEqual([await old.list(), await old.get('a')], [[], undefined]);
  await old.put('b', 'b', [1]);
  assert.deepEqual(
    (await again.count()).filter(({ queue: of }) => of === 'old').map(({ count }) => count),
    [1],
  );
  await again.close();
});

test('a commitment is reported once it was asked for, by who was asked', async (context) => {
  const queue = await opened(context);
  const commitments = createCommitments(queue, 2);
  const reference = { sopClassUid: '1.2', sopInstanceUid: '3.4' };
  const result = { transactionUid: 'T', references: [reference], failed: [] };
  assert.equal(await commitments.report(result, 'PACS'), false);
  await commitments.expect('T', 'PACS');
  assert.equal((await commitments.get('T'))?.status, 'Pending');
  assert.equal(await commitments.report(result, 'OTHER'), false);
  assert.equal(await commitments.report({ ...result, failed: [{ ...reference, reason: 0x112 }] }, 'PACS'), true);
  assert.deepEqual(await commitments.get('T'), {
    remoteAet: 'PACS',
    status: 'Failure',
    success: [reference],
    failures: [{ ...reference, reason: 0x112 }],
  });
  assert.equal(await commitments.report(result, 'pacs'), true);
  // As another node sees it, which has not read it before.
  assert.deepEqual((await createCommitments(queue, 2).get('T'))?.success, [reference]);
  assert.deepEqual((await createCommitments(queue, 2).get('T'))?.failures, []);
  await commitments.expect('U', 'PACS');
  await commitments.expect('V', 'PACS');
  assert.equal(await commitments.get('T'), undefined);
  await commitments.forget('V');
  assert.equal(await commitments.get('V'), undefined);
});

const skip = without('redis-server');
let server: RedisServer;
before(async () => {
  if (skip === false) server = await startRedis();
});
after(async () => server?.stop());

test('every node has the same queries and reports', { skip, timeout: 30_000 }, async () => {
  const nodes = await Promise.all(
    [1, 2].map(async () => {
      const redis = await connectRedis({ ...server.target, prefix: '{remembered}' });
      const queue = await openBullQueue({ redis, capacity: 1000 });
      return { redis, queue, queries: createQueries(queue, 2), commitments: createCommitments(queue, 2) };
    }),
  );
  const [one, two] = nodes;
  assert.ok(one !== undefined && two !== undefined);
  const first = await one.queries.add(query(3000));
  const second = await two.queries.add(query(1));
  assert.deepEqual(await one.queries.list(), [first, second]);
  assert.deepEqual(await two.queries.get(first), query(3000));
  await one.queries.remove(second);
  assert.equal(await two.queries.get(second), undefined);
  await one.commitments.expect('T', 'PACS');
  const reference = { sopClassUid: '1.2', sopInstanceUid: '3.4' };
  assert.equal(
    await two.commitments.report({ transactionUid: 'T', references: [reference], failed: [] }, 'PACS'),
    true,
  );
  assert.equal((await one.commitments.get('T'))?.status, 'Success');
  for (const { queue, redis } of nodes) {
    await queue.close();
    await redis.close();
  }
});
