/**
 * Owns the moment when a patient, study or series becomes stable. The deadlines are stored in the index; this only
 * wakes at the nearest one, so a restart in the middle of the wait loses no event.
 */

import type { Database } from '../database/database.ts';

/** Resources marked in one transaction. */
const LIMIT = 500;

/** Milliseconds between a failed attempt and the next. */
const RETRY = 1000;

export class Stability {
  readonly #database: Database;
  readonly #stabilize: (now: number, limit: number) => Promise<number>;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  /** `stabilize` commits a `stabilize` operation and answers how many resources it marked. */
  constructor(database: Database, stabilize: (now: number, limit: number) => Promise<number>) {
    this.#database = database;
    this.#stabilize = stabilize;
  }

  /** Looks for the nearest deadline, unless awake already: at the start, and whenever images came in. */
  wake(): void {
    if (this.#closed || this.#timer !== undefined || this.#running !== undefined) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (!this.#closed) {
        const next = await this.#database.nextStable();
        if (next === undefined) return;
        const wait = next - Date.now();
        if (wait > 0) return this.#sleep(wait);
        if ((await this.#stabilize(Date.now(), LIMIT)) === 0) return this.#sleep(RETRY);
      }
    } catch {
      this.#sleep(RETRY);
    }
  }

  #sleep(milliseconds: number): void {
    if (this.#closed) return;
    // A long StableAge must not overflow the timer; waking early only looks again.
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.wake();
      },
      Math.min(milliseconds + 5, 3_600_000),
    );
  }
}
