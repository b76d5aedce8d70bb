/**
 * Owns the doing of jobs that work: each takes one of a few slots, the most urgent first, and what could not be settled waits again. What
 * is asked of a job meanwhile its run hears of by the queue.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { IsenError, isAway } from '../errors.ts';
import { log } from '../log.ts';
import type { Storage } from '../storage/storage.ts';
import { JOBS, storedJob } from './job.ts';
import type { JobKind, WorkingKind } from './kinds.ts';
import type { Entry, Queue } from './queue.ts';
import { Run } from './run.ts';

/** Milliseconds before the queue is asked again when it failed. */
const RETRY = 1000;

export interface SlotsOptions {
  readonly queue: Queue;
  readonly storage: Storage;
  /** Jobs at the same time. */
  readonly count: number;
  readonly kindOf: (type: string) => JobKind | undefined;
}

/** A kind that nobody registered: a newer program's. */
const unknown = (type: string): WorkingKind => ({
  type,
  deadline: 1000,
  run: () => Promise.reject(new IsenError('NotImplemented', `Jobs of type ${type}`)),
});

export class Slots {
  readonly #options: SlotsOptions;
  readonly #running = new Map<string, Run>();
  readonly #ending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #slotFree = (): void => {};
  #working: Promise<void> | undefined;

  constructor(options: SlotsOptions) {
    this.#options = options;
  }

  /** Takes jobs from now on. */
  start(): void {
    this.#working = this.#work();
  }

  /** The run of a job, where it runs here. */
  of(id: string): Run | undefined {
    return this.#running.get(id);
  }

  /** Breaks off what runs, to go on at the next start. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#breakOff();
    this.#slotFree();
    await this.#working;
    // Begun while the others ended.
    this.#breakOff();
    await Promise.all(this.#ending);
  }

  #breakOff(): void {
    for (const run of this.#running.values()) run.breakOff();
  }

  async #work(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      if (this.#running.size >= this.#options.count) {
        await new Promise<void>((resolve) => {
          this.#slotFree = resolve;
        });
        continue;
      }
      try {
        await this.#takeSome();
      } catch (thrown) {
        log.jobs[isAway(thrown) ? 'debug' : 'error']({ err: thrown }, 'the queue of jobs fails');
        await sleep(RETRY);
      }
    }
  }

  async #takeSome(): Promise<void> {
    const { queue, count } = this.#options;
    const taken = await queue.take(JOBS, count - this.#running.size);
    for (const entry of taken) {
      if (!this.#running.has(entry.id)) {
        this.#begin(entry);
        continue;
      }
      // Paused and resumed before its run has ended, which must not meet the next.
      const due = Date.now() + RETRY;
      await queue.settle([{ queue: JOBS, id: entry.id, state: 'waiting', due, from: ['active'] }]);
    }
    if (taken.length === 0) await queue.wait(JOBS, this.#closing.signal);
  }

  #begin(entry: Entry): void {
    const { queue, storage, kindOf } = this.#options;
    const { type } = storedJob(entry);
    const kind = kindOf(type);
    const run = new Run(queue, storage, kind !== undefined && 'run' in kind ? kind : unknown(type), entry);
    this.#running.set(entry.id, run);
    const end = run
      .run()
      .catch(async (thrown: unknown) => {
        log.jobs[isAway(thrown) ? 'debug' : 'error']({ err: thrown }, `job ${entry.id} is run again`);
        await this.#giveBack(entry);
      })
      .finally(() => {
        this.#running.delete(entry.id);
        this.#ending.delete(end);
        this.#slotFree();
      });
    this.#ending.add(end);
  }

  /** Lets a job wait again whose run could not be settled; the end of the server does so as well. */
  async #giveBack({ id }: Entry): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#options.queue.settle([{ queue: JOBS, id, state: 'waiting', due: 0, from: ['active'] }]);
        return;
      } catch (thrown) {
        if (!isAway(thrown)) throw thrown;
        await sleep(RETRY, undefined, { signal }).catch(() => {});
      }
    }
  }
}
