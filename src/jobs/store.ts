/**
 * Owns the queues of all modalities: each has a drain of its own from the first entry on, and can be looked at, paused, emptied and
 * tried again.
 */

import type { Config } from '../config.ts';
import { asIsenError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { log } from '../log.ts';
import type { Dial } from '../scu/dial.ts';
import type { Modalities } from '../scu/modality.ts';
import { Drain } from './drain.ts';
import type { FeedSource } from './feed.ts';
import { modalityOf, modalityQueue, type Order, orderOf } from './order.ts';
import { CANCELED, type Count, type Entry, type EntryState, type Settlement } from './queue.ts';

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
  readonly config: Pick<
    Config,
    'DicomAssociationCloseDelay' | 'DicomScuPreferredTransferSyntax' | 'LogExportedResources' | 'TranscodeDicomProtocol'
  >;
  readonly modalities: Modalities;
  readonly dial: Dial;
  readonly commit: Ingest['applyAll'];
}

/** One modality's queue. */
export interface QueueStatus {
  readonly paused: boolean;
  readonly counts: Readonly<Record<EntryState, number>>;
  /** Milliseconds since the epoch when the oldest that is still to be sent was added; undefined when there is none. */
  readonly oldest: number | undefined;
  /** Instances a second, over the last ten. */
  readonly rate: number;
  readonly associations: number;
  /** Milliseconds since the epoch of the next attempt at a modality that does not answer, else 0. */
  readonly next: number;
  /** What the modality last failed with, while it does. */
  readonly error: string;
}

export interface Stores {
  status(name: string): Promise<QueueStatus>;
  /** Entries of a queue in some states, oldest first, beyond `after` (a seq). */
  entries(name: string, states: readonly EntryState[], after: number, limit: number): Promise<readonly Entry[]>;
  /** Tries now what failed for good and what waits for its next attempt; answers how many. */
  retry(name: string): Promise<number>;
  pause(name: string): Promise<void>;
  resume(name: string): Promise<void>;
  /** Gives up all that is not under way; answers how many. */
  clear(name: string): Promise<number>;
  close(): Promise<void>;
}

/** Starts a drain for every queue that has something in it. */
export async function openStores(options: StoresOptions): Promise<Stores> {
  const { config, queue, modalities } = options;
  const drains = new Map<string, Drain>();
  let closed = false;

  const flag = (name: string): string => `paused ${modalityQueue(name)}`;

  const drainOf = (name: string): Drain => {
    let drain = drains.get(name);
    if (drain === undefined) {
      drain = new Drain({
        ...options,
        name,
        modality: () => modalities.get(name),
        paused: async () => (await queue.position(flag(name))) === PAUSED,
        connect: (modality, { calledAet, host, port, localAet, timeout }, contexts) =>
          options.dial(
            { ...modality, aet: calledAet ?? modality.aet, host: host ?? modality.host, port: port ?? modality.port },
            contexts.proposals(),
            { localAet, timeout },
          ),
        preferred: config.DicomScuPreferredTransferSyntax,
        transcoding: config.TranscodeDicomProtocol,
        closeDelay: config.DicomAssociationCloseDelay * 1000,
        delivered: async (sent) => {
          if (!config.LogExportedResources || sent.length === 0) return;
          await options.commit(sent.map((id) => ({ kind: 'export', level: 'Instance', id, remote: name })));
        },
      });
      drains.set(name, drain);
      if (!closed) drain.start();
    }
    return drain;
  };

  /** Settles all entries of a queue in some states. */
  const settleAll = async (
    name: string,
    states: readonly EntryState[],
    settle: (entry: Entry) => Settlement | undefined,
  ): Promise<number> => {
    let count = 0;
    for (let after = 0; ; ) {
      const page = await queue.list({ queue: modalityQueue(name), states, after, limit: PAGE });
      const last = page.at(-1);
      if (last === undefined) return count;
      after = last.seq;
      count += (await queue.settle(page.flatMap((entry) => settle(entry) ?? []))).length;
    }
  };

  const forget = async (): Promise<void> => {
    const old = Date.now() - REMEMBERED;
    for (const { queue: of, state } of await queue.count()) {
      const name = modalityOf(of);
      if (name === undefined || state !== 'done') continue;
      await settleAll(name, ['done'], ({ id, group, added }) =>
        group === '' && added < old ? { queue: of, id, state: 'removed', from: ['done'] } : undefined,
      );
    }
  };

  const stopWatching = queue.watch((entry) => {
    const name = modalityOf(entry.queue);
    if (name === undefined || closed || entry.state !== 'waiting') return;
    const drain = drainOf(name);
    // By hand: the schema would be asked about every entry of every rule.
    if ((entry.value as Partial<Order> | null)?.once === true) drain.wake(true);
  });
  const drainAll = async (): Promise<void> => {
    for (const { queue: of } of await queue.count()) {
      const name = modalityOf(of);
      if (name !== undefined && !closed) drainOf(name);
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
    async status(name) {
      const found = await queue.count({ queue: modalityQueue(name) });
      const of = (state: EntryState): number => found.find((each) => each.state === state)?.count ?? 0;
      return {
        ...(drains.get(name)?.status ?? { rate: 0, associations: 0, next: 0, error: '' }),
        paused: (await queue.position(flag(name))) === PAUSED,
        counts: {
          waiting: of('waiting'),
          active: of('active'),
          retrying: of('retrying'),
          paused: of('paused'),
          failed: of('failed'),
          done: of('done'),
        },
        oldest: oldestOf(found),
      };
    },
    entries: (name, states, after, limit) => queue.list({ queue: modalityQueue(name), states, after, limit }),
    async retry(name) {
      const count = await settleAll(name, ['failed', 'retrying'], ({ queue: of, id, value, state, reason }) => {
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
      drainOf(name).wake(true);
      return count;
    },
    async pause(name) {
      await queue.add([], { name: flag(name), value: PAUSED });
      drains.get(name)?.wake(false);
    },
    async resume(name) {
      await queue.add([], { name: flag(name), value: 'no' });
      drains.get(name)?.wake(true);
    },
    clear: (name) =>
      settleAll(name, ['waiting', 'retrying', 'paused', 'failed'], ({ queue: of, id, state }) => ({
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

function oldestOf(counts: readonly Count[]): number | undefined {
  const open = counts.filter(({ state }) => state === 'waiting' || state === 'retrying' || state === 'active');
  return open.length === 0 ? undefined : Math.min(...open.map(({ oldest }) => oldest));
}
