/** Runs the contract of the `queue` port on BullMQ and a real Redis, and what only several nodes can show. */

import { after, before } from 'node:test';
import { openBullQueue } from '../../src/jobs/bullmq.ts';
import type { Queue } from '../../src/jobs/queue.ts';
import { connectRedis } from '../../src/redis.ts';
import { queueContract } from '../contracts/queue.ts';
import { without } from '../peer.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';

const skip = without('redis-server');
let server: RedisServer;
before(async () => {
  if (skip === false) server = await startRedis();
});
after(async () => server?.stop());

/** A node of its own, on the data set `name`. */
async function open(name: string, capacity = 1_000_000): Promise<Queue> {
  const redis = await connectRedis({ ...server.target, prefix: `{${name}}` });
  const queue = await openBullQueue({ redis, capacity });
  return {
    add: (entries, position) => queue.add(entries, position),
    position: (of) => queue.position(of),
    take: (of, limit) => queue.take(of, limit),
    settle: (settlements) => queue.settle(settlements),
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

if (skip === false) queueContract('bullmq', open);
