/**
 * Owns what the index remembers of the following of the log, for the day on which the queues lose more than their last second: a change up
 * to which all that the log led to has ended. From there on everything is queued again; some of it is then sent twice, and nothing is left
 * out. It moves up behind the queues, as they empty.
 */

import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { destinationOf } from './order.ts';
import type { Queue } from './queue.ts';

/** Milliseconds between two looks at what has ended. */
const LOOK = 5000;

/** Milliseconds that the clocks of nodes may differ by. */
const CLOCKS = 10_000;

export interface LogFloorOptions {
  /** Of the position that the queues have. */
  readonly name: string;
  readonly database: Pick<Database, 'property'>;
  readonly apply: Ingest['apply'];
  readonly queue: Pick<Queue, 'count' | 'position'>;
}

/** The lowest position that is sure to leave nothing out. */
export class LogFloor {
  readonly #options: LogFloorOptions;
  readonly #property: string;
  /** A position that the floor moves up to once everything has ended that was queued by `at`, in milliseconds since the epoch. */
  #next: { readonly position: string; readonly at: number } | undefined;
  /** Milliseconds since the epoch. */
  #looked = 0;

  constructor(options: LogFloorOptions) {
    this.#options = options;
    this.#property = `${options.name} floor`;
  }

  /** As it was set or raised last, on any node. */
  async read(): Promise<string | undefined> {
    return this.#options.database.property(this.#property);
  }

  /** Sets it, durably. */
  async set(position: string): Promise<void> {
    await this.#options.apply({ kind: 'property', name: this.#property, value: position });
    this.#next = undefined;
  }

  /** To be called now and then by the node that follows the log, with the position that it believes to be stored. */
  async raise(position: string): Promise<void> {
    const { name, queue } = this.#options;
    const now = Date.now();
    if (Math.abs(now - this.#looked) < LOOK) return;
    this.#looked = now;
    const counts = await queue.count();
    // After the entries were counted: queues that have lost some of them have lost the position as well.
    if ((await queue.position(name)) !== position) {
      this.#next = undefined;
      return;
    }
    const left = counts.filter(
      ({ queue: of, state }) => state !== 'done' && state !== 'failed' && destinationOf(of) !== undefined,
    );
    const oldest = Math.min(...left.map((each) => each.oldest));
    if (this.#next !== undefined && oldest > this.#next.at + CLOCKS) {
      const next = this.#next.position;
      if ((await this.read()) !== next) await this.set(next);
      this.#next = undefined;
    }
    this.#next ??= { position, at: now };
  }
}
