/**
 * Owns the queues of all destinations: each has a drain of its own from the first entry on, and can be looked at, paused, emptied and
 * tried again.
 */

import type { Config } from '../config.ts';
import { asIsenError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { log } from '../log.ts';
import { Drain } from './drain.ts';
import type { FeedSource } from './feed.ts';
import type { Target } from './line.ts';
import { type Destination, destinationOf, type DestinationKind, type Order, orderOf, queueOf } from './order.ts';
import { CANCELED, type Count, type Entry, type EntryState, type Settlement } from './queue.ts';

/** Entries acted upon in one step. */
const PAGE = 500;

/** Milliseconds that sent instances are remembered for a rule that must not send them again. */
const REMEMBERED = 7 * 86_400_000;

/** Milliseconds between two looks at what need not be remembered any more. */
const FORGETTING = 3_600_000;

const PAUSED = 'yes';

export interface StoresOptions extends FeedSource {
  readonly config: Pick<Config, 'DicomAssociationCloseDelay' | 'LogExportedResources'>;
  /** For each kind, what is to be asked about one destination: as it is now, or undefined where it is not known. */
  readonly targets: Readonly<Record<DestinationKind, (name: string) => () => Promise<Target | undefined>>>;
  readonly commit: Ingest['applyAll'];
}

/** One destination's queue. */
export interface QueueStatus {
  readonly paused: boolean;
  readonly counts: Readonly<Record<EntryState, number>>;
  /** Milliseconds since the epoch when the oldest that is still to be sent was added; undefined when there is none. */
  readonly oldest: number | undefined;
  /** Instances a second, over the last ten. */
  readonly rate: number;
  /** Associations or connections that are open. */
  readonly lines: number;
  /** Milliseconds since the epoch of the next attempt at a destination that does not answer, else 0. */
  readonly next: number;
  /** What the destination last failed with, while it does. */
  readonly error: string;
}

export interface Stores {
  status(destination: Destination): Promise<QueueStatus>;
  /** Entries of a queue in some states, oldest first, beyond `after` (a seq). */
  entries(
    destination: Destination,
    states: readonly EntryState[],
    after: number,
    limit: number,
  ): Promise<readonly Entry[]>;
  /** Tries now what failed for good and what waits for its next attempt; answers how many. */
  retry(destination: Destination): Promise<number>;
  pause(destination: Destination): Promise<void>;
  resume(destination: Destination): Promise<void>;
  /** Gives up all that is not under way; answers how many. */
  clear(destination: Destination): Promise<number>;
  close(): Promise<void>;
}

/** Starts a drain for every queue that has something in it. */
export async function openStores(options: StoresOptions): Promise<Stores> {
  const { config, queue, targets } = options;
  const drains = new Map<string, Drain>();
  let closed = false;

  const flag = (destination: Destination): string => `paused ${queueOf(destination)}`;

  const drainOf = (destination: Destination): Drain => {
    let drain = drains.get(queueOf(destination));
    if (drain === undefined) {
      drain = new Drain({
        ...options,
        destination,
        target: targets[destination.kind](destination.name),
        paused: async () => (await queue.position(flag(destination))) === PAUSED,
        closeDelay: config.DicomAssociationCloseDelay * 1000,
        delivered: async (sent) => {
          if (!config.LogExportedResources || destination.kind === 'webhook' || sent.length === 0) return;
          const remote = destination.name;
          await options.commit(sent.map((id) => ({ kind: 'export', level: 'Instance', id, remote })));
        },
      });
      drains.set(queueOf(destination), drain);
      if (!closed) drain.start();
    }
    return drain;
  };

  /** Settles all entries of a queue in some states. */
  const settleAll = async (
    of: string,
    states: readonly EntryState[],
    settle: (entry: Entry) => Settlement | undefined,
  ): Promise<number> => {
    let count = 0;
    for (let after = 0; ; ) {
      const page = await queue.list({ queue: of, states, after, limit: PAGE });
      const last = page.at(-1);
      if (last === undefined) return count;
      after = last.seq;
      count += (await queue.settle(page.flatMap((entry) => settle(entry) ?? []))).length;
    }
  };

  const forget = async (): Promise<void> => {
    const old = Date.now() - REMEMBERED;
    for (const { queue: of, state } of await queue.count()) {
      if (destinationOf(of) === undefined || state !== 'done') continue;
      await settleAll(of, ['done'], ({ id, group, added }) =>
        group === '' && added < old ? { queue: of, id, state: 'removed', from: ['done'] } : undefined,
      );
    }
  };

  const stopWatching = queue.watch((entry) => {
    const destination = destinationOf(entry.queue);
    if (destination === undefined || closed || entry.state !== 'waiting') return;
    const drain = drainOf(destination);
    // By hand: the schema would be asked about every entry of every rule.
    if ((entry.value as Partial<Order> | null)?.once === true) drain.wake(true);
  });
  for (const { queue: of } of await queue.count()) {
    const destination = destinationOf(of);
    if (destination !== undefined) drainOf(destination);
  }
  const forgetting = setInterval(() => {
    forget().catch((thrown: unknown) =>
      log.jobs.error({ err: asIsenError(thrown) }, 'what was sent is not forgotten yet'),
    );
  }, FORGETTING);
  forgetting.unref();

  return {
    async status(destination) {
      const of = queueOf(destination);
      const found = await queue.count({ queue: of });
      const counted = (state: EntryState): number => found.find((each) => each.state === state)?.count ?? 0;
      return {
        ...(drains.get(of)?.status ?? { rate: 0, lines: 0, next: 0, error: '' }),
        paused: (await queue.position(flag(destination))) === PAUSED,
        counts: {
          waiting: counted('waiting'),
          active: counted('active'),
          retrying: counted('retrying'),
          paused: counted('paused'),
          failed: counted('failed'),
          done: counted('done'),
        },
        oldest: oldestOf(found),
      };
    },
    entries: (destination, states, after, limit) => queue.list({ queue: queueOf(destination), states, after, limit }),
    async retry(destination) {
      const count = await settleAll(
        queueOf(destination),
        ['failed', 'retrying'],
        ({ queue: of, id, value, state, reason }) => {
          const { tries: _tries, failure: _failure, ...order } = orderOf(value) ?? { instance: '' };
          // A person called it off, or was told that it failed and may have sent it again.
          if (reason === CANCELED || order.once === true) return undefined;
          return {
            queue: of,
            id,
            state: 'waiting',
            due: 0,
            from: [state],
            ...(order.instance !== '' && { value: order }),
          };
        },
      );
      drainOf(destination).wake(true);
      return count;
    },
    async pause(destination) {
      await queue.add([], { name: flag(destination), value: PAUSED });
      drains.get(queueOf(destination))?.wake(false);
    },
    async resume(destination) {
      await queue.add([], { name: flag(destination), value: 'no' });
      drains.get(queueOf(destination))?.wake(true);
    },
    clear: (destination) =>
      settleAll(queueOf(destination), ['waiting', 'retrying', 'paused', 'failed'], ({ queue: of, id, state }) => ({
        queue: of,
        id,
        state: 'removed',
        from: [state],
      })),
    async close() {
      closed = true;
      stopWatching();
      clearInterval(forgetting);
      await Promise.all([...drains.values()].map((drain) => drain.close()));
    },
  };
}

function oldestOf(counts: readonly Count[]): number | undefined {
  const open = counts.filter(({ state }) => state === 'waiting' || state === 'retrying' || state === 'active');
  return open.length === 0 ? undefined : Math.min(...open.map(({ oldest }) => oldest));
}
