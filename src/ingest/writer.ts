/**
 * Owns the group commit: the single writer of a process. While one transaction is on its way to the disk the next
 * operations gather, so that many clients share each sync and a lone one waits for nobody.
 */

import type { Committed, Database, Operation, Outcome } from '../database/database.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { recordStage } from '../metrics.ts';

/** Operations of one transaction at most: bounds the time that a reader or a shutdown waits behind it. */
const LARGEST_BATCH = 256;

/** What a commit did besides its outcomes. */
type Effects = Omit<Committed, 'outcomes'>;

/** A commit that somebody else makes, in its turn. */
interface Turn {
  readonly since: number;
  readonly work: () => Promise<void>;
}

interface Pending {
  readonly since: number;
  /** Of one transaction, whatever happens. */
  readonly operations: readonly Operation[];
  readonly resolve: (outcomes: readonly Outcome[]) => void;
  readonly reject: (error: IsenError) => void;
}

/** What operations count towards the size of a batch: each entry of durable work is a row. */
function weigh(operations: readonly Operation[]): number {
  let weight = 0;
  for (const operation of operations) {
    if (operation.kind === 'work-add') weight += operation.entries.length;
    else if (operation.kind === 'work-settle') weight += operation.settlements.length;
    else weight += 1;
  }
  return weight;
}

const isTurn = (waiting: Pending | Turn | undefined): waiting is Turn => waiting !== undefined && 'work' in waiting;

export class Writer {
  readonly #database: Database;
  readonly #committed: (result: Effects) => Promise<void>;
  readonly #capacity: number;
  readonly #queue: (Pending | Turn)[] = [];
  #running: Promise<void> | undefined;
  /** Resolves when every commit made in turn was heard of. */
  #heard: Promise<void> = Promise.resolve();

  /** `committed` hears of every commit, in order, before its callers are answered. */
  constructor(database: Database, capacity: number, committed: (result: Effects) => Promise<void>) {
    this.#database = database;
    this.#capacity = capacity;
    this.#committed = committed;
  }

  /** Operations, and turns, that wait. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** What became of `operation`, once durable. Throws Busy when too many wait, Database when the engine failed. */
  submit(operation: Operation): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#push([operation], ([outcome]) => resolve(outcome as Outcome), reject);
    });
  }

  /** The same for several in one transaction: all of them are durable, or none. */
  submitAll(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    return new Promise((resolve, reject) => this.#push(operations, resolve, reject));
  }

  /**
   * Has `work` make a commit of its own, none else meanwhile, which is durable when `durable` resolves: until then others are made. What
   * `work` answers is answered once its commit is durable and was heard of.
   */
  inTurn<Result extends Effects & { readonly durable: Promise<void> }>(
    work: () => Promise<Result | undefined>,
  ): Promise<Result | undefined> {
    return new Promise((resolve, reject) => {
      const turn = async (): Promise<void> => {
        try {
          const result = await work();
          if (result === undefined) return resolve(undefined);
          result.durable.catch(() => {});
          this.#heard = this.#heard
            .then(() => result.durable)
            .then(() => this.#committed(result).catch(() => {}))
            .then(
              () => resolve(result),
              (thrown: unknown) => reject(asIsenError(thrown)),
            );
        } catch (thrown) {
          reject(asIsenError(thrown));
        }
      };
      this.#queue.push({ since: performance.now(), work: turn });
      this.#running ??= this.#run();
    });
  }

  /** Hears of commits that were made without a turn, and are durable. */
  hear(result: Effects): void {
    this.#heard = this.#heard.then(() => this.#committed(result).catch(() => {}));
  }

  #push(operations: readonly Operation[], resolve: Pending['resolve'], reject: Pending['reject']): void {
    if (this.#queue.length >= this.#capacity) {
      reject(new IsenError('Busy', 'too many changes are waiting'));
      return;
    }
    this.#queue.push({ since: performance.now(), operations, resolve, reject });
    this.#running ??= this.#run();
  }

  /** Resolves when nothing waits any more. */
  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    await this.#heard;
  }

  async #run(): Promise<void> {
    // Uploads that end in the same turn of the event loop belong in the first batch as well.
    if (!isTurn(this.#queue[0])) await new Promise(setImmediate);
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      if (!isTurn(first)) {
        await this.#commit(this.#next());
        continue;
      }
      this.#queue.shift();
      const began = performance.now();
      await first.work();
      recordStage('commit', (performance.now() - began) / 1000, (began - first.since) / 1000);
    }
    this.#running = undefined;
  }

  /** The next of those that wait, up to a batch. */
  #next(): readonly Pending[] {
    let weight = 0;
    const batch: Pending[] = [];
    for (const pending of this.#queue) {
      if (isTurn(pending)) break;
      weight += weigh(pending.operations);
      if (batch.length > 0 && weight > LARGEST_BATCH) break;
      batch.push(pending);
    }
    this.#queue.splice(0, batch.length);
    return batch;
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    let result: Committed;
    const began = performance.now();
    try {
      result = await this.#database.commit(batch.flatMap(({ operations }) => operations));
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
    await this.#heard;
    await this.#committed(result).catch(() => {});
    let at = 0;
    for (const { operations, resolve, reject } of batch) {
      const outcomes = result.outcomes.slice(at, at + operations.length);
      at += operations.length;
      if (outcomes.length < operations.length) reject(new IsenError('Database', 'an outcome is missing'));
      else resolve(outcomes);
    }
  }
}
