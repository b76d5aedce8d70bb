/**
 * Owns the way of received files to the parsing threads: small ones that come together go together, because under load
 * waking a thread for each would cost more than its parsing.
 */

import { type Answer, errorOf } from '../answer.ts';
import type { Parsed, ParseTask } from '../dicom/parsing.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Pool } from '../pool.ts';

/** Files, and bytes, that go to a thread together; a larger file goes alone. */
const MOST_FILES = 16;
const MOST_BYTES = 256 * 1024;

/** Files that may wait; one more is refused. Memory bounds them far below. */
const CAPACITY = 10_000;

interface Waiting {
  readonly task: ParseTask;
  readonly resolve: (parsed: Parsed) => void;
  readonly reject: (error: IsenError) => void;
}

export class Parser {
  readonly #pool: Pool<readonly ParseTask[], readonly Answer<Parsed>[]>;
  readonly #queue: Waiting[] = [];
  #running = 0;
  #gathering = false;

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
      this.#queue.push({ task, resolve, reject });
      if (this.#gathering) return;
      this.#gathering = true;
      // Files whose last bytes came in the same turn of the event loop go together.
      setImmediate(() => {
        this.#gathering = false;
        this.#dispatch();
      });
    });
  }

  #dispatch(): void {
    while (this.#running < this.#pool.threads && this.#queue.length > 0) void this.#run(this.#batch());
  }

  /** The next files: a fair share for each idle thread, within the bounds. */
  #batch(): Waiting[] {
    const share = Math.ceil(this.#queue.length / (this.#pool.threads - this.#running));
    let bytes = 0;
    let count = 0;
    for (const { task } of this.#queue) {
      bytes += task.bytes.length;
      if (count > 0 && (count >= MOST_FILES || count >= share || bytes > MOST_BYTES)) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #run(batch: readonly Waiting[]): Promise<void> {
    this.#running += 1;
    try {
      const answers = await this.#pool.run(batch.map(({ task }) => task));
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
