/**
 * Owns one of the processes that the suite of BullMQ runs beside each other: a node that drains a queue under one of a number of
 * leases until nothing is left, and says on standard output when it had the lease and what it settled. Its arguments: the target as JSON, the
 * name of the queue, how many leases there are, milliseconds that each round of work takes.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { openBullQueue } from '../../src/jobs/bullmq.ts';
import { connectRedis, type RedisTarget } from '../../src/redis.ts';
import { say } from '../say.ts';

const [target = '', name = '', leases = '', time = ''] = process.argv.slice(2);
const redis = await connectRedis(JSON.parse(target) as RedisTarget);
const queue = await openBullQueue({ redis, capacity: 1_000_000 });

for (;;) {
  const lease = await queue.lease(name, Number(leases));
  if (lease === undefined) {
    await sleep(20);
    continue;
  }
  say(`began ${Date.now()}\n`);
  const taken = await queue.take(name, 5);
  say(`taken ${taken.map(({ id }) => id).join(' ')}\n`);
  await sleep(Number(time));
  const settled = await queue.settle(taken.map(({ id }) => ({ queue: name, id, state: 'removed', from: ['active'] })));
  say(`settled ${settled.map(({ id }) => id).join(' ')}\n`);
  say(`ended ${Date.now()}\n`);
  await lease.release();
  if (taken.length === 0 && (await queue.count({ queue: name })).length === 0) break;
  // Whoever waits for the lease has it first.
  await sleep(10);
}
await queue.close();
await redis.close();
