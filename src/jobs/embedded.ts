/**
 * Owns the `queue` port over the rows of the database, for one process: nothing is held in memory but one callback for each
 * that waits, and one timer for each queue whose next entry has its hour.
 */

import type { Database, Operation, Outcome, Work, WorkSettlement } from '../database/database.ts';
import { IsenError } from '../errors.ts';
import { recordAttempts } from '../metrics.ts';
import type { Entry, NewEntry, Position, Queue } from './queue.ts';

/** Entries put back together after a crash. */
const PAGE = 500;

/** Milliseconds that a timer sleeps at most: waking early only looks again. */
const LONGEST = 3_600_000;

export interface EmbeddedQueueOptions {
  readonly database: Database;
  /** Commits in one transaction, through the single writer of the process. */
  readonly commit: (operations: readonly Operation[]) => Promise<readonly Outcome[]>;
  /** Entries of one queue, in whatever state, past which adding is refused. */
  readonly capacity: number;
}

const entryOf = (work: Work): Entry => ({ ...work, value: JSON.parse(work.value) as unknown });

/** Undefined leaves the value as it is, so what has no JSON is null. */
const jsonOf = (value: unknown): string => JSON.stringify(value) ?? 'null';

/** The entries of a `work` outcome. */
function entriesOf(outcome: Outcome | undefined): readonly Work[] {
  if (outcome?.kind !== 'work') throw new IsenError('Database', 'an outcome is missing');
  return outcome.entries;
}

/** Those who wait for one queue. */
class Waiting {
  readonly wakes = new Set<() => void>();
  /** Until the next entry is due. */
  timer: NodeJS.Timeout | undefined;
}

/** Opens the queues: what was under way when the last process ended waits again. */
export async function openEmbeddedQueue({ database, commit, capacity }: EmbeddedQueueOptions): Promise<Queue> {
  const waiting = new Map<string, Waiting>();
  const listeners = new Set<(entry: Entry) => void>();
  /** Holders by name. */
  const leases = new Map<string, Set<object>>();
  let closed = false;

  const wake = (queue: string): void => {
    const there = waiting.get(queue);
    if (there === undefined) return;
    clearTimeout(there.timer);
    waiting.delete(queue);
    for (const each of there.wakes) each();
  };

  /** Wakes now or when the next entry is due. */
  const schedule = async (queue: string): Promise<void> => {
    const there = waiting.get(queue);
    if (there === undefined) return;
    const due = await database.nextWork(queue);
    if (due === undefined || waiting.get(queue) !== there) return;
    // A little late rather than early.
    const wait = due - Date.now() + 1;
    clearTimeout(there.timer);
    if (wait <= 1) wake(queue);
    else there.timer = setTimeout(() => wake(queue), Math.min(wait, LONGEST));
  };

  /** After a commit: who waits or watches hears of it. */
  const announce = (entries: readonly Work[]): void => {
    const queues = new Map<string, boolean>();
    const now = Date.now();
    for (const entry of entries) {
      if (listeners.size > 0) {
        const heard = entryOf(entry);
        for (const listener of listeners) listener(heard);
      }
      if (!waiting.has(entry.queue) || (entry.state !== 'waiting' && entry.state !== 'retrying')) continue;
      queues.set(entry.queue, queues.get(entry.queue) === true || entry.due <= now);
    }
    for (const [queue, due] of queues) {
      if (due) wake(queue);
      else schedule(queue).catch(() => wake(queue));
    }
  };

  const settle = async (settlements: readonly WorkSettlement[]): Promise<readonly Work[]> => {
    if (settlements.length === 0) return [];
    const [outcome] = await commit([{ kind: 'work-settle', settlements }]);
    const entries = entriesOf(outcome);
    announce(entries);
    return entries;
  };

  const recover = async (): Promise<void> => {
    for (const { queue, state } of await database.workCounts()) {
      if (state !== 'active') continue;
      for (;;) {
        const left = await database.work({ queue, states: ['active'], limit: PAGE });
        if (left.length === 0) break;
        await settle(left.map(({ id }) => ({ queue, id, state: 'waiting', from: ['active'] })));
      }
    }
  };

  /** Throws Busy where one of the queues would pass its bound. */
  const admit = async (entries: readonly NewEntry[]): Promise<void> => {
    const more = new Map<string, number>();
    for (const { queue } of entries) more.set(queue, (more.get(queue) ?? 0) + 1);
    for (const [queue, count] of more) {
      const counts = await database.workCounts({ queue });
      const there = counts.reduce((sum, each) => sum + each.count, 0);
      if (there + count > capacity) throw new IsenError('Busy', `the queue ${queue} is full`);
    }
  };

  /** Whether a position stands where it is believed to. Only one reads a source at a time. */
  const isAt = async ({ name, since }: Position): Promise<boolean> =>
    since === undefined || (await database.property(name)) === since;

  await recover();
  return {
    async add(entries, position) {
      await admit(entries);
      const operations: Operation[] = [
        { kind: 'work-add', entries: entries.map((entry) => ({ ...entry, value: jsonOf(entry.value) })) },
      ];
      const moves = position === undefined || (await isAt(position));
      if (position !== undefined && moves)
        operations.push({ kind: 'property', name: position.name, value: position.value });
      const [outcome] = await commit(operations);
      announce(entriesOf(outcome));
      return moves;
    },
    position: (name) => database.property(name),
    async take(queue, limit) {
      if (limit <= 0) return [];
      const due = await database.nextWork(queue);
      const now = Date.now();
      // Looking costs no transaction.
      if (due === undefined || due > now) return [];
      const [outcome] = await commit([{ kind: 'work-take', queue, limit, now }]);
      const taken = entriesOf(outcome);
      recordAttempts(queue, taken.length);
      return taken.map(entryOf);
    },
    async settle(settlements, premises = []) {
      // Only one process uses these queues, and there who relies on something does so alone.
      for (const { queue, id, value } of premises) {
        const [now] = await database.work({ queue, id, limit: 1 });
        if (now === undefined || now.value !== jsonOf(value)) return [];
      }
      const settled = await settle(
        settlements.map(({ value, ...others }) => ({
          ...others,
          ...(value !== undefined && { value: jsonOf(value) }),
        })),
      );
      return settled.map(entryOf);
    },
    list: async (request) => (await database.work(request)).map(entryOf),
    count: (of) => database.workCounts(of),
    wait(queue, signal) {
      return new Promise((resolve) => {
        if (signal.aborted || closed) {
          resolve();
          return;
        }
        const there = waiting.get(queue) ?? new Waiting();
        waiting.set(queue, there);
        const end = (): void => {
          signal.removeEventListener('abort', leave);
          resolve();
        };
        const leave = (): void => {
          there.wakes.delete(end);
          if (there.wakes.size === 0 && waiting.get(queue) === there) {
            clearTimeout(there.timer);
            waiting.delete(queue);
          }
          end();
        };
        there.wakes.add(end);
        signal.addEventListener('abort', leave, { once: true });
        // Looked at once it waits: what is added meanwhile is not slept through.
        schedule(queue).catch(() => wake(queue));
      });
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async lease(name, most) {
      const held = leases.get(name) ?? new Set();
      if (held.size >= most) return undefined;
      leases.set(name, held);
      const holder = {};
      held.add(holder);
      return {
        lost: new AbortController().signal,
        async release() {
          held.delete(holder);
          if (held.size === 0 && leases.get(name) === held) leases.delete(name);
        },
      };
    },
    async close() {
      closed = true;
      for (const queue of waiting.keys()) wake(queue);
      listeners.clear();
    },
  };
}
