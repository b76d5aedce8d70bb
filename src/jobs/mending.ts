/**
 * Owns the mending of queues whose Redis began again: it may have been cut off in the middle of a transaction, of which it then carries out
 * the beginning (bullmq/mend.lua). Entries that nobody would take any more wait again.
 */

import { log } from '../log.ts';
import type { EntryState, Queue } from './queue.ts';

/** States whose entries somebody must find. */
const SOUGHT: readonly EntryState[] = ['waiting', 'active', 'retrying'];

/** Entries looked at in one step, for which others wait. */
const TOGETHER = 500;

export interface MendingOptions {
  readonly queue: Pick<Queue, 'count' | 'lease'>;
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

/** Looks at every entry that is not ended, unless another node does. Throws as the queue does. */
export async function mend({ queue, run, ended }: MendingOptions): Promise<void> {
  const lease = await queue.lease('mending', 1);
  if (lease === undefined) return;
  try {
    for (const { queue: name, state } of await queue.count()) {
      if (!SOUGHT.includes(state)) continue;
      let count = 0;
      for (let after: string | undefined = ''; after !== undefined && !ended() && !lease.lost.aborted; ) {
        const { last, mended } = await run(name, state, after, TOGETHER);
        count += mended;
        after = last === '' ? undefined : last;
      }
      if (count > 0)
        log.jobs.warn(`Redis was cut off in the middle of something: ${count} entries of ${name} wait again`);
    }
  } finally {
    await lease.release();
  }
}
