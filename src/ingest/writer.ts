/**
 * Owns the group commit: the single writer of a process. While one transaction is on its way to the disk the next
 * operations gather, so that many clients share each sync and a lone one waits for nobody.
 */

import type { Committed, Database, Operation, Outcome } from '../database/database.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { recordStage } from '../metrics.ts';

/** Operations of one transaction at most: bounds the time that a reader or a shutdown waits behind it. */
const LARGEST_BATCH = 256;

interface Pending {
  readonly since: number;
  readonly operation: Operation;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: IsenError) => void;
}

export class Writer {
  readonly #database: Database;
  readonly #committed: (result: Committed) => Promise<void>;
  readonly #capacity: number;
  readonly #queue: Pending[] = [];
  #running: Promise<void> | undefined;

  /** `committed` hears of every commit, in order, before its callers are answered. */
  constructor(database: Database, capacity: number, committed: (result: Committed) => Promise<void>) {
    this.#database = database;
    this.#capacity = capacity;
    this.#committed = committed;
  }

  /** Operations waiting for their transaction. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** What became of `operation`, once durable. Throws Busy when too many wait, Database when the engine failed. */
  submit(operation: Operation): Promise<Outcome> {
    if (this.#queue.length >= this.#capacity)
      return Promise.reject(new IsenError('Busy', 'too many changes are waiting'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ since: performance.now(), operation, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing waits any more. */
  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    // Uploads that end in the same turn of the event loop belong in the first batch as well.
    await new Promise(setImmediate);
    while (this.#queue.length > 0) await this.#commit(this.#queue.splice(0, LARGEST_BATCH));
    this.#running = undefined;
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    let result: Committed;
    const began = performance.now();
    try {
      result = await this.#database.commit(batch.map(({ operation }) => operation));
    } catch (thrown) {
      const error = asIsenError(thrown);
      if (batch.length === 1 || error.code === 'DatabaseUnavailable') {
        for (const { reject } of batch) reject(error);
      } else {
        // One operation that the engine cannot take must not fail the others.
        for (const pending of batch) await this.#commit([pending]);
      }
      return;
    }
    recordStage('commit', (performance.now() - began) / 1000, (began - (batch[0]?.since ?? began)) / 1000);
    await this.#committed(result).catch(() => {});
    for (const [index, { resolve, reject }] of batch.entries()) {
      const outcome = result.outcomes[index];
      if (outcome === undefined) reject(new IsenError('Database', 'an outcome is missing'));
      else resolve(outcome);
    }
  }
}
