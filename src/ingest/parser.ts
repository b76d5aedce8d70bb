/**
 * Owns the way of received files to the parsing threads: small ones that come together go together, because under load
 * waking a thread for each would cost more than its parsing.
 */

import { type Answer, errorOf } from '../answer.ts';
import { ARRIVAL, type Parsed, type ParseTask } from '../dicom/parsing.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { recordStage } from '../metrics.ts';
import type { Pool } from '../pool.ts';

/** Files, and bytes, that go to a thread together; a larger file goes alone. */
const MOST_FILES = 16;
const MOST_BYTES = 256 * 1024;

/** Files that may wait; one more is refused. Memory bounds them far below. */
const CAPACITY = 10_000;

/** A file that is parsed while it comes. */
export interface Coming {
  /** So many bytes are there. */
  advance(size: number): void;
  /** All are there, of this size. Undefined where that did not go well: then it is parsed as any other. */
  finish(size: number): Promise<Parsed | undefined>;
  /** What comes is not waited for any more. */
  giveUp(): void;
}

interface Waiting {
  readonly since: number;
  readonly task: ParseTask;
  readonly resolve: (parsed: Parsed) => void;
  readonly reject: (error: IsenError) => void;
}

export class Parser {
  readonly #pool: Pool<readonly ParseTask[], readonly Answer<Parsed>[]>;
  readonly #queue: Waiting[] = [];
  #running = 0;
  #gathering = false;
  #coming = false;

  constructor(pool: Pool<readonly ParseTask[], readonly Answer<Parsed>[]>) {
    this.#pool = pool;
  }

  /** Files waiting for a thread. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Throws BadFileFormat for what is not DICOM, Busy, Timeout. */
  parse(task: ParseTask): Promise<Parsed> {
    if (this.#queue.length >= CAPACITY) return Promise.reject(new IsenError('Busy', 'too many files wait for parsing'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ since: performance.now(), task, resolve, reject });
      if (this.#gathering) return;
      this.#gathering = true;
      // Files whose last bytes came in the same turn of the event loop go together.
      setImmediate(() => {
        this.#gathering = false;
        this.#dispatch();
      });
    });
  }

  /**
   * Begins with a file whose bytes come into shared `memory`, `size` of them being there; undefined where others want the threads. One
   * that comes slowly is given up within milliseconds.
   */
  begin(memory: Uint8Array, size: number): Coming | undefined {
    if (this.#pool.threads < 2 || this.#coming || this.#running > 0 || this.#queue.length > 0) return undefined;
    this.#coming = true;
    const arrival = new Int32Array(new SharedArrayBuffer(4));
    const say = (bytes: number, state: number): void => {
      Atomics.store(arrival, 0, bytes * 4 + state);
      Atomics.notify(arrival, 0);
    };
    Atomics.store(arrival, 0, size * 4 + ARRIVAL.coming);
    const began = performance.now();
    const parsed = this.#pool
      .run([{ bytes: memory, size: 0, hash: true, arrival }])
      .then(
        ([answer]) => (answer !== undefined && 'ok' in answer ? answer.ok : undefined),
        () => undefined,
      )
      .finally(() => {
        this.#coming = false;
      });
    return {
      advance: (bytes) => say(bytes, ARRIVAL.coming),
      giveUp: () => say(0, ARRIVAL.givenUp),
      async finish(bytes) {
        say(bytes, ARRIVAL.whole);
        const answer = await parsed;
        if (answer !== undefined) recordStage('parse', (performance.now() - began) / 1000);
        return answer;
      },
    };
  }

  /** A second thread is woken for a whole batch only: while the first works, the next batch gathers. */
  #dispatch(): void {
    while (this.#running < this.#pool.threads) {
      const { count, full } = this.#batch();
      if (count === 0 || (this.#running > 0 && !full)) return;
      void this.#run(this.#queue.splice(0, count));
    }
  }

  /** How many of the files that wait go together, and whether no more could. */
  #batch(): { readonly count: number; readonly full: boolean } {
    let bytes = 0;
    let count = 0;
    for (const { task } of this.#queue) {
      bytes += task.bytes.length;
      if (count > 0 && bytes > MOST_BYTES) return { count, full: true };
      count += 1;
      if (count === MOST_FILES || bytes >= MOST_BYTES) return { count, full: true };
    }
    return { count, full: false };
  }

  async #run(batch: readonly Waiting[]): Promise<void> {
    this.#running += 1;
    const began = performance.now();
    try {
      const answers = await this.#pool.run(batch.map(({ task }) => task));
      recordStage('parse', (performance.now() - began) / 1000, (began - (batch[0]?.since ?? began)) / 1000);
      for (const [index, { resolve, reject }] of batch.entries()) {
        const answer = answers[index];
        if (answer === undefined) reject(new IsenError('InternalError', 'an answer of the parser is missing'));
        else if ('error' in answer) reject(errorOf(answer.error));
        else resolve(answer.ok);
      }
    } catch (thrown) {
      await this.#failed(batch, asIsenError(thrown));
    } finally {
      this.#running -= 1;
      this.#dispatch();
    }
  }

  /** A thread died or took too long: of several files only the culprit may suffer. */
  async #failed(batch: readonly Waiting[], error: IsenError): Promise<void> {
    if (batch.length === 1) {
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const each of batch) {
      try {
        const [answer] = await this.#pool.run([each.task]);
        if (answer === undefined) each.reject(error);
        else if ('error' in answer) each.reject(errorOf(answer.error));
        else each.resolve(answer.ok);
      } catch (thrown) {
        each.reject(asIsenError(thrown));
      }
    }
  }
}
