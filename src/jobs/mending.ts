/**
 * Owns the mending of queues whose Redis began again: it may have been cut off in the middle of a transaction, of which it then carries out
 * the beginning (bullmq/mend.lua). Entries that nobody would take any more wait again.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '../log.ts';
import type { EntryState, Queue } from './queue.ts';

/** States whose entries somebody must find. */
const SOUGHT: readonly EntryState[] = ['waiting', 'active', 'retrying'];

/** Entries looked at in one step, for which others wait. */
const TOGETHER = 500;

/** Milliseconds until it is looked again whether another node is done with it, or dead. */
const AGAIN = 200;

/** Name of the position that says which Redis, from its start to its end, was mended last. */
const MENDED = 'mended';

export interface MendingOptions {
  readonly queue: Pick<Queue, 'add' | 'count' | 'lease' | 'position'>;
  /** Tells this Redis from the one before its last start. */
  readonly identity: () => Promise<string>;
  /** Looks at some entries of a queue and state beyond a seq; answers the last seq ('' at the end), and how many were mended. */
  readonly run: (
    queue: string,
    state: EntryState,
    after: string,
    many: number,
  ) => Promise<{ readonly last: string; readonly mended: number }>;
  /** Whether it is to be given up. */
  readonly ended: () => boolean;
}

/** Looks at every entry that is not ended, once after each start of Redis: one node does. Throws as the queue does. */
export async function mend(options: MendingOptions): Promise<void> {
  const { queue, identity, ended } = options;
  const now = await identity();
  while (!ended() && (await queue.position(MENDED)) !== now) {
    const lease = await queue.lease('mending', 1);
    if (lease === undefined) {
      await sleep(AGAIN);
      continue;
    }
    try {
      await mendAll(options, lease.lost);
      if (!ended() && !lease.lost.aborted) await queue.add([], { name: MENDED, value: now });
    } finally {
      await lease.release();
    }
  }
}

async function mendAll({ queue, run, ended }: MendingOptions, lost: AbortSignal): Promise<void> {
  for (const { queue: name, state } of await queue.count()) {
    if (!SOUGHT.includes(state)) continue;
    let count = 0;
    for (let after: string | undefined = ''; after !== undefined && !ended() && !lost.aborted; ) {
      const { last, mended } = await run(name, state, after, TOGETHER);
      count += mended;
      after = last === '' ? undefined : last;
    }
    if (count > 0)
      log.jobs.warn(`Redis was cut off in the middle of something: ${count} entries of ${name} wait again`);
  }
}
