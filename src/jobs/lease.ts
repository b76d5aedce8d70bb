/** Owns doing something while no other node does it: under a lease of the queue, waited for with a deadline. */

import { setTimeout as sleep } from 'node:timers/promises';
import { IsenError } from '../errors.ts';
import type { Lease, Queue } from './queue.ts';

/** Milliseconds between attempts to have the lease, and for all of them. */
const AGAIN = 20;
const PATIENCE = 30_000;

/** Does `work` under the one lease of a name. Throws Busy where another node has it for half a minute; else as `work` does. */
export async function alone<Result>(
  queue: Pick<Queue, 'lease'>,
  name: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const lease = await leaseOf(queue, name);
  try {
    return await work();
  } finally {
    await lease.release();
  }
}

async function leaseOf(queue: Pick<Queue, 'lease'>, name: string): Promise<Lease> {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const lease = await queue.lease(name, 1);
    if (lease !== undefined) return lease;
    if (Date.now() > end) throw new IsenError('Busy', 'another server changes the same');
    await sleep(AGAIN);
  }
}
