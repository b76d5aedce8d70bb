/**
 * Owns the queueing of a job together with the entries that it follows: all of them, or none, whatever dies meanwhile. They go in several
 * transactions under a lease; a job that is not whole while nobody has its lease is forgotten.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '../log.ts';
import type { Followings } from './following.ts';
import { FINISHED, JOBS, type StoredJob, storedJob, UNFINISHED } from './job.ts';
import type { Delivery } from './jobs.ts';
import type { NewEntry, Queue } from './queue.ts';

/** Entries that are added in one transaction. */
const TOGETHER = 500;

/** Milliseconds between two looks whether who adds the entries of a job is alive. */
const AGAIN = 1000;

/** Name of the lease of who adds the entries of a job. */
const leaseOf = (id: string): string => `delivery:${id}`;

export class Handover {
  readonly #queue: Queue;
  readonly #followings: Followings;
  readonly #closing = new AbortController();
  readonly #ending = new Set<Promise<void>>();

  constructor(queue: Queue, followings: Followings) {
    this.#queue = queue;
    this.#followings = followings;
  }

  /** Queues `job`, whose entries are not counted yet, with them; resolves once all are durable. Throws Busy where a queue is full. */
  async deliver(
    job: NewEntry & { readonly value: StoredJob },
    entries: Iterable<Delivery> | AsyncIterable<Delivery>,
  ): Promise<void> {
    const queue = this.#queue;
    const ids = new Set<string>();
    const lease = await queue.lease(leaseOf(job.id), 1);
    let added = false;
    let some: NewEntry[] = [];
    const add = async (following: StoredJob['following']): Promise<void> => {
      const value: StoredJob = { ...job.value, ...(following && { following }) };
      await queue.add(added ? some : [{ ...job, value }, ...some]);
      added = true;
      some = [];
    };
    try {
      for await (const entry of entries) {
        const key = `${entry.queue} ${entry.id}`;
        if (ids.has(key)) continue;
        ids.add(key);
        if (some.length >= TOGETHER) await add(job.value.following);
        some.push({ ...entry, id: `${job.id}:${entry.id}`, group: job.id });
      }
      const following = { total: ids.size, done: 0 };
      if (!added) await add(following);
      else {
        await add(undefined);
        await queue.settle([{ queue: JOBS, id: job.id, state: 'waiting', value: { ...job.value, following } }]);
      }
    } catch (thrown) {
      if (added) await this.#abandon(job.id);
      throw thrown;
    } finally {
      await lease?.release();
    }
    this.#followings.moved(job.id);
  }

  /** Forgets a job that an earlier run left without all of its entries, as soon as it is known that nobody adds them any more. */
  async abandonLeft(id: string): Promise<void> {
    if (await this.#abandonDead(id)) return;
    const look = async (): Promise<void> => {
      do await sleep(AGAIN, undefined, { signal: this.#closing.signal });
      while (!(await this.#abandonDead(id)));
    };
    const end = look()
      .catch((thrown: unknown) => {
        if (!this.#closing.signal.aborted) log.jobs.error({ err: thrown }, `job ${id} is left for the next start`);
      })
      .finally(() => this.#ending.delete(end));
    this.#ending.add(end);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#ending);
  }

  /** False where who adds its entries may be alive. */
  async #abandonDead(id: string): Promise<boolean> {
    const lease = await this.#queue.lease(leaseOf(id), 1);
    if (lease === undefined) return false;
    const [entry] = await this.#queue.list({ queue: JOBS, id, limit: 1 });
    if (entry !== undefined && storedJob(entry).following?.total === undefined) await this.#abandon(id);
    await lease.release();
    return true;
  }

  async #abandon(id: string): Promise<void> {
    await this.#followings.move(id, [...UNFINISHED, ...FINISHED], { state: 'removed' });
    await this.#queue.settle([{ queue: JOBS, id, state: 'removed' }]);
  }
}
