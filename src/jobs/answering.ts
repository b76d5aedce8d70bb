/**
 * Owns whether the destination of one queue answers: what fails because it does not, when it is asked again, and that what waits goes on
 * at once when it answers. While it does not, nothing else waits for it.
 */

import type { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { recordDelivery } from '../metrics.ts';
import type { Sending } from '../scu/modality.ts';
import { afterFailure, retryDelay, UNKNOWN_SENDING } from './delivery.ts';
import type { Ready } from './feed.ts';
import { orderOf } from './order.ts';
import type { Queue } from './queue.ts';
import type { Settler } from './settler.ts';

/** Entries that fail together when their destination does not answer. */
export const MOST_FAILING = 1000;

/** Lines lost one after another, nothing sent, after which it counts as one that does not answer. */
const MOST_LOST = 3;

export interface AnsweringOptions {
  /** What people and metrics call the destination. */
  readonly name: string;
  /** The queue. */
  readonly from: string;
  readonly queue: Queue;
}

export class Answering {
  readonly #options: AnsweringOptions;
  readonly #settler: Settler;
  /** Attempts in a row at which nobody answered. */
  #failures = 0;
  #next = 0;
  #lost = 0;
  #error = '';

  constructor(options: AnsweringOptions, settler: Settler) {
    this.#options = options;
    this.#settler = settler;
  }

  /** It did not answer the last time. */
  get down(): boolean {
    return this.#failures > 0;
  }

  /** Milliseconds since the epoch before which it is not asked. */
  get next(): number {
    return this.#next;
  }

  /** What it last failed with, '' while it answers. */
  get error(): string {
    return this.#error;
  }

  /** It may be asked at once. */
  hurry(): void {
    this.#next = 0;
  }

  /** It is not asked before `until`. */
  postpone(until: number): void {
    this.#next = Math.max(this.#next, until);
  }

  /** Something was sent: what waits because it did not answer is due at once. */
  async answered(): Promise<void> {
    this.#lost = 0;
    this.#error = '';
    if (this.#failures === 0) return;
    const { name, from, queue } = this.#options;
    log.jobs.info(`${name} answers again`);
    this.#failures = 0;
    this.#next = 0;
    for (let after = 0; ; ) {
      const page = await queue.list({ queue: from, states: ['retrying'], after, limit: MOST_FAILING });
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.seq;
      await queue.settle(page.map(({ id }) => ({ queue: from, id, state: 'waiting', due: 0, from: ['retrying'] })));
    }
  }

  /** It does not answer: what was taken failed once, the others wait. */
  async unanswered(sending: Sending, taken: readonly Ready[], error: IsenError): Promise<void> {
    const { name } = this.#options;
    this.#failures += 1;
    this.#lost = 0;
    this.#error = error.details ?? error.message;
    this.#next = Date.now() + retryDelay(sending, this.#failures);
    const many = taken.length > 1 ? `, ${taken.length} instances wait` : '';
    log.jobs.warn(`${name} does not answer (attempt ${this.#failures}${many}): ${this.#error}`);
    for (const { entry, order } of taken) {
      recordDelivery(name, 'unanswered', 0, 0);
      await this.#settler.add(afterFailure(entry, order, sending, error, false), order.once === true);
    }
    await this.#giveUp(taken, error);
  }

  /** The line is over in the middle of something, of which nothing is known then. */
  async interrupted(sending: Sending, ready: Ready, error: IsenError): Promise<void> {
    this.#lost += 1;
    if (this.#lost >= MOST_LOST) return this.unanswered(sending, [ready], error);
    const { name } = this.#options;
    this.#error = error.details ?? error.message;
    log.jobs.warn(`the connection to ${name} ended: ${this.#error}`);
    recordDelivery(name, 'interrupted', 0, 0);
    const { entry, order } = ready;
    await this.#settler.add(afterFailure(entry, order, sending, error, false), order.once === true);
  }

  /** What somebody waits for fails whole, not only as far as it was taken. */
  async #giveUp(taken: readonly Ready[], error: IsenError): Promise<void> {
    const { from, queue } = this.#options;
    const groups = new Set(taken.flatMap(({ entry, order }) => (order.once === true ? [entry.group] : [])));
    for (const group of groups) {
      for (;;) {
        const page = await queue.list({ queue: from, group, states: ['waiting'], limit: MOST_FAILING });
        if (page.length === 0) break;
        await queue.settle(
          page.map((entry) => {
            const order = { ...(orderOf(entry.value) ?? { instance: '' }), once: true as const };
            return { ...afterFailure(entry, order, UNKNOWN_SENDING, error, true), from: ['waiting'] };
          }),
        );
      }
    }
  }
}
