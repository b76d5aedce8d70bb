/**
 * Owns the `queue` port over BullMQ, for any number of nodes: a queue of BullMQ's for each queue, its jobs the entries. BullMQ adds jobs, keeps
 * their time, takes and locks them (`getNextJob`), and renews the locks. What it cannot say (an order over all states, groups, a
 * paused entry, settling several at once) is written beside it by the scripts in bullmq/, each one step. A node that dies
 * stops renewing its locks, and its entries wait again within seconds.
 */

import { randomUUID } from 'node:crypto';
import { type JobJson, RedisConnection as BullConnection, QueueKeys, RedisQueueBackend, Worker } from 'bullmq';
import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { recordAttempts } from '../metrics.ts';
import { asked, asRedisError, type RedisConnection, RedisScript } from '../redis.ts';
import { mend } from './mending.ts';
import type { Entry, EntryState, Lease, NewEntry, Position, Premise, Queue, Settlement } from './queue.ts';

/** Milliseconds after which what a node has taken is anybody's, unless it renews that. */
const LOCK = 5000;

/** Milliseconds between two renewals, and two looks for what others have let go. */
const BEAT = 1500;

/** Milliseconds after which whoever waits looks again, whether anything was heard or not. */
const LONGEST = 5000;

/** Entries taken at once at most: bounds how long others wait for Redis meanwhile. */
const MOST = 1000;

/** BullMQ takes no more delay than this: milliseconds of ten years. */
const FARTHEST = 315_360_000_000;

const operation = (name: string): RedisScript => new RedisScript('jobs/bullmq/entries.lua', `jobs/bullmq/${name}.lua`);
const ADDED = operation('added');
const READY = operation('ready');
const TAKEN = operation('taken');
const SETTLE = operation('settle');
const RECLAIM = operation('reclaim');
const MEND = operation('mend');
const LIST = operation('list');
const COUNT = operation('count');
const POSITIONS = operation('positions');
const LEASE = new RedisScript('jobs/bullmq/lease.lua');

const ALL: readonly EntryState[] = ['waiting', 'active', 'retrying', 'paused', 'failed', 'done'];

export interface BullQueueOptions {
  readonly redis: RedisConnection;
  /** Entries of one queue, in whatever state, past which adding is refused. */
  readonly capacity: number;
}

/** An entry as the scripts write it. */
type Row = readonly [
  queue: string,
  id: string,
  seq: string,
  group: string,
  state: EntryState,
  rank: string,
  due: string,
  attempts: string,
  added: string,
  reason: string,
  data: string,
];

// BullMQ allows neither a colon in names nor an id that is a number.
const nameOf = (queue: string): string => encodeURIComponent(queue);
const jobIdOf = (id: string): string => `-${encodeURIComponent(id)}`;

function entryOf([queue, id, seq, group, state, rank, due, attempts, added, reason, data]: Row): Entry {
  return {
    queue: decodeURIComponent(queue),
    id: decodeURIComponent(id.slice(1)),
    seq: Number(seq),
    group,
    state,
    priority: Number(rank),
    due: Number(due),
    attempts: Number(attempts),
    added: Number(added),
    reason,
    value: JSON.parse(data) as unknown,
  };
}

const entriesOf = (reply: unknown): readonly Entry[] => (reply as readonly Row[]).map(entryOf);

/** Undefined leaves the value as it is, so what has no JSON is null. */
const jsonOf = (value: unknown): string => JSON.stringify(value) ?? 'null';

/** Lower is first, from 1 to 2^21; bullmq/entries.lua says the same. */
const priorityOf = (rank: number): number => Math.max(1, Math.min(2 ** 21 - 1, 2 ** 20 - rank));

function jobOf({ id, priority, due, value }: NewEntry, now: number): JobJson {
  const delay = Math.min(Math.max(0, due - now), FARTHEST);
  return {
    id: jobIdOf(id),
    name: 'entry',
    data: jsonOf(value),
    opts: { priority: priorityOf(priority), delay },
    progress: 0,
    attemptsMade: 0,
    attemptsStarted: 0,
    timestamp: now,
    failedReason: '',
    returnvalue: '',
    stalledCounter: 0,
  };
}

/** Those who wait for one queue. */
class Waiting {
  readonly wakes = new Set<() => void>();
  /** Until the next entry is due. */
  timer: NodeJS.Timeout | undefined;
}

class BullQueue implements Queue {
  readonly #redis: RedisConnection;
  readonly #listening: RedisConnection;
  readonly #capacity: number;
  /** Of this process, as others know it: who moved an entry, who has a lock. */
  readonly #node = randomUUID();
  readonly #keys: QueueKeys;
  readonly #bull: BullConnection;
  readonly #backend: RedisQueueBackend;
  readonly #workers = new Map<string, Worker>();
  /** Job ids that this node has taken, by queue. */
  readonly #held = new Map<string, Set<string>>();
  readonly #leases = new Set<() => Promise<void>>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #listeners = new Set<(entry: Entry) => void>();
  #beating: Promise<void> = Promise.resolve();
  readonly #beat: NodeJS.Timeout;
  #closed = false;
  #mending: Promise<void> = Promise.resolve();
  readonly #began = (): void => {
    this.#mending = this.#mending
      .then(() =>
        mend({
          queue: this,
          identity: async () => /run_id:(\w+)/.exec(await asked(this.#redis.client.info('server')))?.[1] ?? '',
          run: async (queue, state, after, many) => {
            const args = [this.#redis.prefix, this.#node, Date.now(), nameOf(queue), state, after, many];
            const reply = await MEND.run(this.#redis.client, [this.#redis.prefix], args);
            const [last, rows] = reply as readonly [string, unknown];
            const mended = entriesOf(rows);
            this.#announce(mended);
            return { last, mended: mended.length };
          },
          ended: () => this.#closed,
        }),
      )
      .catch((thrown: unknown) => {
        log.jobs.debug({ err: thrown }, 'the queues are mended when Redis answers again');
        if (!this.#closed) setTimeout(this.#began, LONGEST).unref();
      });
  };

  constructor({ redis, capacity }: BullQueueOptions, listening: RedisConnection) {
    this.#redis = redis;
    this.#listening = listening;
    this.#capacity = capacity;
    this.#keys = new QueueKeys(redis.prefix);
    this.#bull = new BullConnection(redis.client, { shared: true, blocking: false });
    // Said by the connection itself.
    this.#bull.on('error', () => {});
    this.#backend = this.#backendOf('none');
    let beating = false;
    this.#beat = setInterval(() => {
      if (beating) return;
      beating = true;
      this.#beating = this.#renew()
        .catch(() => {})
        .finally(() => {
          beating = false;
        });
    }, BEAT);
    listening.client.on('message', (_, message: string) => this.#heard(message));
    // What was said while it did not listen is looked for. Where this fails the connection is lost, and will be ready once more.
    listening.client.on('ready', () => {
      this.listen().catch(() => {});
      this.#wakeAll();
    });
  }

  /** Hears of Redis; mends what it left. */
  async open(): Promise<void> {
    await this.listen();
    // Of a Redis Cluster one node begins again.
    for (const event of ['ready', '+node']) this.#redis.client.on(event, this.#began);
    this.#began();
  }

  async listen(): Promise<void> {
    await asked(this.#listening.client.subscribe(`${this.#redis.prefix}::moved`));
  }

  async add(entries: readonly NewEntry[], position?: Position): Promise<boolean> {
    await this.#admit(entries);
    const now = Date.now();
    const { name = '', value = '', since = '' } = position ?? {};
    const args: (string | number)[] = [this.#redis.prefix, this.#node, name, value, since];
    for (const { queue, id, group, priority, due } of entries)
      args.push(nameOf(queue), jobIdOf(id), group, priority, due);
    const client = await this.#client();
    const transaction = client.multi();
    for (const entry of entries) {
      const job = jobOf(entry, now);
      const keys = this.#keys.getKeys(nameOf(entry.queue));
      this.#backend.addJobToTransaction(transaction, job, job.id, {}, keys).catch(() => {});
    }
    const raw = transaction as unknown as { eval(text: string, keys: number, ...args: (string | number)[]): unknown };
    raw.eval(ADDED.text, 1, this.#redis.prefix, ...args);
    const results = await asked(transaction.exec());
    for (const [error] of results ?? []) if (error) throw asRedisError(error);
    const reply = results?.at(-1)?.[1] as readonly [number, unknown] | undefined;
    if (reply === undefined) throw new IsenError('DatabaseUnavailable', 'Redis does not answer');
    const [moved, added] = reply;
    this.#announce(entriesOf(added));
    return moved === 1;
  }

  async position(name: string): Promise<string | undefined> {
    return (await asked(this.#redis.client.get(`${this.#redis.prefix}::position:${name}`))) ?? undefined;
  }

  async take(queue: string, limit: number): Promise<readonly Entry[]> {
    if (limit <= 0) return [];
    const name = nameOf(queue);
    const { ready } = await this.#ready(name);
    const many = Math.min(limit, ready, MOST);
    if (many === 0) return [];
    const worker = this.#worker(name);
    const jobs = await Promise.allSettled(
      Array.from({ length: many }, () => worker.getNextJob(this.#node, { block: false })),
    );
    const ids: string[] = [];
    let failure: unknown;
    for (const job of jobs) {
      if (job.status === 'rejected') failure = job.reason;
      else if (job.value?.id !== undefined) ids.push(job.value.id);
    }
    // What was locked in vain waits again when the locks end.
    if (failure !== undefined) throw asRedisError(failure);
    if (ids.length === 0) return [];
    const taken = entriesOf(
      await TAKEN.run(this.#redis.client, [this.#redis.prefix], [this.#redis.prefix, name, this.#node, ...ids]),
    );
    const held = this.#held.get(queue) ?? new Set();
    this.#held.set(queue, held);
    for (const { id } of taken) held.add(jobIdOf(id));
    recordAttempts(queue, taken.length);
    return taken;
  }

  async settle(settlements: readonly Settlement[], premises: readonly Premise[] = []): Promise<readonly Entry[]> {
    if (settlements.length === 0) return [];
    const list = settlements.map(({ queue, id, state, from, due, priority, reason, value }) => ({
      queue: nameOf(queue),
      id: jobIdOf(id),
      state,
      ...(from !== undefined && { from }),
      ...(due !== undefined && { due: String(due) }),
      ...(priority !== undefined && { rank: String(priority) }),
      ...(reason !== undefined && { reason }),
      ...(value !== undefined && { value: jsonOf(value) }),
    }));
    const believed = premises.map(({ queue, id, value }) => [nameOf(queue), jobIdOf(id), jsonOf(value)]);
    const args = [this.#redis.prefix, this.#node, Date.now(), JSON.stringify(list), JSON.stringify(believed)];
    const letGo = (done: (state: Settlement['state']) => boolean): void => {
      for (const { queue, id, state } of settlements) if (done(state)) this.#held.get(queue)?.delete(jobIdOf(id));
    };
    try {
      const settled = entriesOf(await SETTLE.run(this.#redis.client, [this.#redis.prefix], args));
      letGo((state) => state !== 'active');
      this.#announce(settled);
      return settled;
    } catch (thrown) {
      // What was to wait again does so when its lock ends, which nobody renews any more.
      letGo((state) => state === 'waiting');
      throw thrown;
    }
  }

  async list({ queue, id, group, states = ALL, after, descending = false, limit }: Parameters<Queue['list']>[0]) {
    if (limit <= 0 || states.length === 0) return [];
    const args = [
      this.#redis.prefix,
      nameOf(queue),
      id === undefined ? '' : jobIdOf(id),
      group === undefined ? 0 : 1,
      group ?? '',
      after ?? '',
      descending ? 1 : 0,
      limit,
      ...new Set(states),
    ];
    return entriesOf(await LIST.run(this.#redis.client, [this.#redis.prefix], args));
  }

  async count({ queue, group }: Parameters<Queue['count']>[0] = {}) {
    const args = [this.#redis.prefix, queue === undefined ? '' : nameOf(queue), group ?? ''];
    const rows = (await COUNT.run(this.#redis.client, [this.#redis.prefix], args)) as readonly [
      string,
      EntryState,
      number,
      string,
    ][];
    return rows.map(([name, state, count, oldest]) => ({
      queue: decodeURIComponent(name),
      state,
      count,
      oldest: Number(oldest),
    }));
  }

  wait(queue: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || this.#closed) {
        resolve();
        return;
      }
      const there = this.#waiting.get(queue) ?? new Waiting();
      this.#waiting.set(queue, there);
      const end = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        there.wakes.delete(end);
        if (there.wakes.size === 0 && this.#waiting.get(queue) === there) {
          clearTimeout(there.timer);
          this.#waiting.delete(queue);
        }
        end();
      };
      there.wakes.add(end);
      signal.addEventListener('abort', leave, { once: true });
      // Looked at once it waits: what is added meanwhile is not slept through.
      this.#schedule(queue);
    });
  }

  watch(listener: (entry: Entry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async lease(name: string, most: number): Promise<Lease | undefined> {
    const key = `${this.#redis.prefix}::lease:${name}`;
    const holder = randomUUID();
    const hold = async (slots: number): Promise<boolean> =>
      (await LEASE.run(this.#redis.client, [key], [holder, slots, LOCK])) === 1;
    if (!(await hold(most))) return undefined;
    const ended = new AbortController();
    let renewed = performance.now();
    const renew = async (): Promise<void> => {
      const at = performance.now();
      // Whatever happened meanwhile, by now it is somebody else's.
      if (at > renewed + LOCK) lose();
      else if (await hold(most)) renewed = at;
      else lose();
    };
    const lose = (): void => {
      this.#leases.delete(renew);
      ended.abort();
    };
    this.#leases.add(renew);
    return {
      lost: ended.signal,
      release: async () => {
        if (!this.#leases.delete(renew)) return;
        // One that cannot be given back ends by itself.
        await hold(0).catch(() => {});
      },
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const event of ['ready', '+node']) this.#redis.client.off(event, this.#began);
    clearInterval(this.#beat);
    await this.#mending;
    await this.#beating;
    this.#listeners.clear();
    for (const queue of this.#waiting.keys()) this.#wake(queue);
    const held = [...this.#held].flatMap(([queue, ids]) => [...ids].map((id) => ({ queue, id })));
    await this.settle(
      held.map(({ queue, id }) => ({
        queue,
        id: decodeURIComponent(id.slice(1)),
        state: 'waiting',
        from: ['active'],
      })),
    ).catch(() => {});
    for (const worker of this.#workers.values()) await worker.close(true);
    await this.#listening.close();
  }

  #backendOf(name: string): RedisQueueBackend {
    const toKey = (type: string): string => this.#keys.toKey(name, type);
    const options = { prefix: this.#redis.prefix, lockDuration: LOCK, connection: this.#redis.client };
    return new RedisQueueBackend(this.#bull, name, this.#keys.getKeys(name), toKey, options, undefined, false);
  }

  #worker(name: string): Worker {
    const there = this.#workers.get(name);
    if (there !== undefined) return there;
    const options = { connection: this.#redis.client, prefix: this.#redis.prefix, autorun: false, lockDuration: LOCK };
    const worker = new Worker(name, null, options, () => this.#backendOf(name));
    worker.on('error', () => {});
    this.#workers.set(name, worker);
    return worker;
  }

  async #client(): Promise<Awaited<BullConnection['client']>> {
    return asked(this.#bull.client);
  }

  /** Throws Busy where one of the queues would pass its bound. */
  async #admit(entries: readonly NewEntry[]): Promise<void> {
    const more = new Map<string, number>();
    for (const { queue } of entries) more.set(queue, (more.get(queue) ?? 0) + 1);
    for (const [queue, count] of more) {
      const counts = await this.count({ queue });
      const there = counts.reduce((sum, each) => sum + each.count, 0);
      if (there + count > this.#capacity) throw new IsenError('Busy', `the queue ${queue} is full`);
    }
  }

  async #ready(name: string): Promise<{ readonly ready: number; readonly next: number | undefined }> {
    const reply = await READY.run(this.#redis.client, [this.#redis.prefix], [this.#redis.prefix, name, Date.now()]);
    const [ready, next] = reply as readonly [number, string];
    return { ready, next: next === '' ? undefined : Number(next) };
  }

  #wake(queue: string): void {
    const there = this.#waiting.get(queue);
    if (there === undefined) return;
    clearTimeout(there.timer);
    this.#waiting.delete(queue);
    for (const each of there.wakes) each();
  }

  #wakeAll(): void {
    for (const queue of this.#waiting.keys()) this.#wake(queue);
  }

  /** Wakes now, when the next entry is due, or after a while. */
  #schedule(queue: string): void {
    const there = this.#waiting.get(queue);
    if (there === undefined) return;
    const sleep = (milliseconds: number): void => {
      if (this.#waiting.get(queue) !== there) return;
      clearTimeout(there.timer);
      there.timer = setTimeout(() => this.#wake(queue), Math.min(milliseconds, LONGEST));
    };
    this.#ready(nameOf(queue)).then(
      ({ ready, next }) => {
        // A little late rather than early.
        const wait = ready > 0 ? 0 : (next ?? Number.POSITIVE_INFINITY) - Date.now() + 1;
        if (wait > 0) sleep(wait);
        else if (this.#waiting.get(queue) === there) this.#wake(queue);
      },
      () => sleep(BEAT),
    );
  }

  /** Entries moved, here or elsewhere: who waits or watches hears of it. */
  #announce(entries: readonly Entry[]): void {
    const queues = new Map<string, boolean>();
    const now = Date.now();
    for (const entry of entries) {
      for (const listener of this.#listeners) listener(entry);
      if (!this.#waiting.has(entry.queue) || (entry.state !== 'waiting' && entry.state !== 'retrying')) continue;
      queues.set(entry.queue, queues.get(entry.queue) === true || entry.due <= now);
    }
    for (const [queue, due] of queues) {
      if (due) this.#wake(queue);
      else this.#schedule(queue);
    }
  }

  #heard(message: string): void {
    try {
      const [node, rows] = JSON.parse(message) as readonly [string, readonly Row[]];
      if (node !== this.#node) this.#announce(rows.map(entryOf));
    } catch (thrown) {
      log.jobs.error({ err: thrown }, 'a message of another node cannot be read');
    }
  }

  /** Renews what this node has, and puts back what others have let go. */
  async #renew(): Promise<void> {
    for (const renew of this.#leases) await renew().catch(() => {});
    for (const [queue, held] of this.#held) {
      if (held.size === 0) continue;
      const ids = [...held];
      const tokens = ids.map(() => this.#node);
      const lost = await this.#worker(nameOf(queue)).extendJobLocks(ids, tokens, LOCK);
      for (const id of lost) held.delete(id);
    }
    this.#announce(
      entriesOf(await RECLAIM.run(this.#redis.client, [this.#redis.prefix], [this.#redis.prefix, this.#node])),
    );
    // So that a connection whose other end is gone is noticed, though it only listens.
    await asked(this.#listening.client.ping());
  }
}

/** Opens the queues. Throws DatabaseUnavailable. */
export async function openBullQueue(options: BullQueueOptions): Promise<Queue> {
  const listening = await options.redis.another();
  const queue = new BullQueue(options, listening);
  try {
    await queue.open();
    return queue;
  } catch (thrown) {
    await queue.close();
    throw thrown;
  }
}

/** Names of all positions. Throws what {@link asRedisError} says. */
export async function positionsIn({ client, prefix }: RedisConnection): Promise<readonly string[]> {
  return (await POSITIONS.run(client, [prefix], [prefix])) as readonly string[];
}
