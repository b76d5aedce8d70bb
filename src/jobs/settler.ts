/** Owns how the ends of deliveries become durable: many in one step, in order, tried until they are. */

import { setTimeout as sleep } from 'node:timers/promises';
import { asIsenError, isAway } from '../errors.ts';
import { log } from '../log.ts';
import type { Queue, Settlement } from './queue.ts';

/** Milliseconds in which ends gather, unless somebody waits for one. */
const GATHERING = 50;

/** Ends that go together. */
const MOST = 256;

/** Ends that may be unsettled; who has more of them waits. */
const BOUND = 1024;

/** Milliseconds until a failed step is tried again. */
const RETRY = 1000;

/** Settles entries of one queue. */
export class Settler {
  readonly #queue: Queue;
  readonly #pending: Settlement[] = [];
  readonly #settled: (ids: readonly string[]) => Promise<void>;
  #running: Promise<void> | undefined;
  /** What is pending does not wait for more. */
  #hurried = false;
  /** Ends the gathering. */
  #end: (() => void) | undefined;
  #closing = false;

  /** `settled` hears of what became durable. */
  constructor(queue: Queue, settled: (ids: readonly string[]) => Promise<void> = async () => {}) {
    this.#queue = queue;
    this.#settled = settled;
  }

  /** Resolves when more may come. */
  async add(settlement: Settlement, urgent = false): Promise<void> {
    this.#pending.push(settlement);
    if (urgent || this.#pending.length >= MOST) this.#hurry();
    this.#running ??= this.#run();
    if (this.#pending.length > BOUND) await this.#running;
  }

  /** Resolves when everything is durable, or given up by {@link close}. */
  async drain(): Promise<void> {
    while (this.#running !== undefined) {
      this.#hurry();
      await this.#running;
    }
  }

  /** Tries once more at most: what is not durable then is taken again at the next start. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.drain();
  }

  #hurry(): void {
    this.#hurried = true;
    this.#end?.();
  }

  async #run(): Promise<void> {
    while (this.#pending.length > 0) {
      // Each step costs a transaction, and has the jobs counted again that it concerns.
      if (!this.#hurried) await this.#gather();
      this.#hurried = false;
      const batch = this.#pending.slice(0, MOST);
      try {
        await this.#queue.settle(batch);
        this.#pending.splice(0, batch.length);
        await this.#settled(batch.map(({ id }) => id));
      } catch (thrown) {
        const error = asIsenError(thrown);
        log.jobs[isAway(error) ? 'debug' : 'error']({ err: error }, 'what was sent cannot be noted, trying again');
        if (this.#closing) break;
        await sleep(RETRY);
      }
    }
    this.#running = undefined;
  }

  /** Waits for more, until somebody is in a hurry. */
  #gather(): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#end = undefined;
        resolve();
      };
      const timer = setTimeout(end, GATHERING);
      this.#end = end;
    });
  }
}
