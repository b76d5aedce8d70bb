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
import { CANCELED, type Count, type Entry, type EntryState, pausedOf, type Settlement } from './queue.ts';

/** Entries acted upon in one step. */
const PAGE = 500;

/** Milliseconds that sent instances are remembered for a rule that must not send them again. */
const REMEMBERED = 7 * 86_400_000;

/** Milliseconds between two looks at what need not be remembered any more. */
const FORGETTING = 3_600_000;

/** Milliseconds between two looks for queues that nobody told of. */
const LOOK = 5000;

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
  /** How it stands with these, and with every other whose queue has something in it; in that order. */
  statuses(
    known: readonly Destination[],
  ): Promise<readonly { readonly destination: Destination; readonly status: QueueStatus }[]>;
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
  /** Gives up everything; answers how many. What is just being sent may arrive still. */
  clear(destination: Destination): Promise<number>;
  close(): Promise<void>;
}

/** Starts a drain for every queue that has something in it. */
export async function openStores(options: StoresOptions): Promise<Stores> {
  const { config, queue, targets } = options;
  const drains = new Map<string, Drain>();
  let closed = false;

  const flag = (destination: Destination): string => pausedOf(queueOf(destination));

  const drainOf = (from: string, destination: Destination): Drain => {
    let drain = drains.get(from);
    if (drain === undefined) {
      drain = new Drain({
        ...options,
        destination,
        from,
        ...(from !== queueOf(destination) && { idle: () => retire(from, destination) }),
        target: targets[destination.kind](destination.name),
        paused: async () => (await queue.position(flag(destination))) === PAUSED,
        closeDelay: config.DicomAssociationCloseDelay * 1000,
        delivered: async (sent) => {
          if (!config.LogExportedResources || destination.kind === 'webhook' || sent.length === 0) return;
          const remote = destination.name;
          await options.commit(sent.map((id) => ({ kind: 'export', level: 'Instance', id, remote })));
        },
      });
      drains.set(from, drain);
      if (!closed) drain.start();
    }
    return drain;
  };

  /** The drain of a queue that is empty has ended, unless something came that it has not seen. */
  const retire = (from: string, destination: Destination): void => {
    drains.delete(from);
    queue.count({ queue: from }).then(
      (counts) => {
        if (!closed && counts.some(({ state }) => state === 'waiting')) drainOf(from, destination);
      },
      () => drainOf(from, destination),
    );
  };

  /** What stands in all queues of a destination. */
  const countsOf = async (destination: Destination): Promise<readonly Count[]> =>
    (await queue.count()).filter(({ queue: of }) => isOf(of, destination));

  /** Its queues: its own, and those of other addresses in its name that have something in them. */
  const queuesOf = async (destination: Destination): Promise<readonly string[]> => [
    ...new Set([queueOf(destination), ...(await countsOf(destination)).map(({ queue: of }) => of)]),
  ];

  /** Settles all entries of a destination in some states. */
  const settleAll = async (
    destination: Destination,
    states: readonly EntryState[],
    settle: (entry: Entry) => Settlement | undefined,
  ): Promise<number> => {
    let count = 0;
    for (const of of await queuesOf(destination)) {
      for (let after = 0; ; ) {
        const page = await queue.list({ queue: of, states, after, limit: PAGE });
        const last = page.at(-1);
        if (last === undefined) break;
        after = last.seq;
        count += (await queue.settle(page.flatMap((entry) => settle(entry) ?? []))).length;
      }
    }
    return count;
  };

  /** What all drains of a destination say together. */
  const drained = (destination: Destination): Drain['status'] => {
    const all = [...drains].filter(([of]) => isOf(of, destination)).map(([, { status }]) => status);
    const waits = all.map(({ next }) => next).filter((next) => next > 0);
    return {
      rate: all.reduce((sum, { rate }) => sum + rate, 0),
      lines: all.reduce((sum, { lines }) => sum + lines, 0),
      next: waits.length === 0 ? 0 : Math.min(...waits),
      error: all.find(({ error }) => error !== '')?.error ?? '',
    };
  };

  const statusOf = async (destination: Destination, found: readonly Count[]): Promise<QueueStatus> => {
    const counted = (state: EntryState): number =>
      found.reduce((sum, each) => sum + (each.state === state ? each.count : 0), 0);
    return {
      ...drained(destination),
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
  };

  const wake = (destination: Destination, atOnce: boolean): void => {
    for (const [of, drain] of drains) if (isOf(of, destination)) drain.wake(atOnce);
  };

  const forget = async (): Promise<void> => {
    const old = Date.now() - REMEMBERED;
    const done = (await queue.count()).filter(({ state }) => state === 'done');
    const destinations = new Map(done.map(({ queue: of }) => [of, destinationOf(of)]));
    for (const destination of destinations.values()) {
      if (destination === undefined) continue;
      await settleAll(destination, ['done'], ({ queue: of, id, group, added }) =>
        group === '' && added < old ? { queue: of, id, state: 'removed', from: ['done'] } : undefined,
      );
    }
  };

  const stopWatching = queue.watch((entry) => {
    const destination = destinationOf(entry.queue);
    if (destination === undefined || closed) return;
    // One that was removed is told as it was; one that failed while it was taken may have been called off.
    if (entry.state === 'active' || entry.state === 'failed') drains.get(entry.queue)?.withdraw(entry.id);
    if (entry.state !== 'waiting') return;
    const drain = drainOf(entry.queue, destination);
    // By hand: the schema would be asked about every entry of every rule.
    if ((entry.value as Partial<Order> | null)?.once === true) drain.wake(true);
  });
  const drainAll = async (): Promise<void> => {
    for (const { queue: of } of await queue.count()) {
      const destination = destinationOf(of);
      if (destination !== undefined && !closed) drainOf(of, destination);
    }
  };
  await drainAll();
  // What was added by a node that died before the others heard of it.
  const looking = setInterval(() => {
    drainAll().catch((thrown: unknown) => log.jobs.debug({ err: asIsenError(thrown) }, 'queues are looked for later'));
  }, LOOK);
  looking.unref();
  const forgetting = setInterval(() => {
    forget().catch((thrown: unknown) =>
      log.jobs.error({ err: asIsenError(thrown) }, 'what was sent is not forgotten yet'),
    );
  }, FORGETTING);
  forgetting.unref();

  return {
    status: async (destination) => statusOf(destination, await countsOf(destination)),
    async statuses(known) {
      const all = new Map<string, { readonly destination: Destination; readonly counts: Count[] }>(
        known.map((destination) => [queueOf(destination), { destination, counts: [] }] as const),
      );
      for (const count of await queue.count()) {
        const destination = destinationOf(count.queue);
        if (destination === undefined) continue;
        const name = queueOf(destination);
        const counted = all.get(name) ?? { destination, counts: [] };
        counted.counts.push(count);
        all.set(name, counted);
      }
      return Promise.all(
        [...all.values()].map(async ({ destination, counts }) => ({
          destination,
          status: await statusOf(destination, counts),
        })),
      );
    },
    async entries(destination, states, after, limit) {
      const pages: Entry[] = [];
      for (const of of await queuesOf(destination))
        pages.push(...(await queue.list({ queue: of, states, after, limit })));
      return pages.sort((a, b) => a.seq - b.seq).slice(0, limit);
    },
    async retry(destination) {
      const count = await settleAll(destination, ['failed', 'retrying'], ({ queue: of, id, value, state, reason }) => {
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
      });
      for (const of of await queuesOf(destination)) drainOf(of, destination).wake(true);
      return count;
    },
    async pause(destination) {
      await queue.add([], { name: flag(destination), value: PAUSED });
      wake(destination, false);
    },
    async resume(destination) {
      await queue.add([], { name: flag(destination), value: 'no' });
      wake(destination, true);
    },
    clear: (destination) =>
      settleAll(destination, ['waiting', 'retrying', 'paused', 'failed', 'active'], ({ queue: of, id, state }) => ({
        queue: of,
        id,
        state: 'removed',
        from: [state],
      })),
    async close() {
      closed = true;
      stopWatching();
      clearInterval(forgetting);
      clearInterval(looking);
      await Promise.all([...drains.values()].map((drain) => drain.close()));
    },
  };
}

/** Whether a queue is a destination's: its own, or that of another address in its name. */
function isOf(queue: string, { kind, name }: Destination): boolean {
  const destination = destinationOf(queue);
  return destination?.kind === kind && destination.name === name;
}

function oldestOf(counts: readonly Count[]): number | undefined {
  const open = counts.filter(({ state }) => state === 'waiting' || state === 'retrying' || state === 'active');
  return open.length === 0 ? undefined : Math.min(...open.map(({ oldest }) => oldest));
}
