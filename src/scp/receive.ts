/**
 * Owns the way of a received data set into the memory of ingest: File Meta Information before it, every part as it comes, and giving the
 * memory back when others need it more or the sender is gone.
 */

import { asError, IsenError } from '../errors.ts';
import type { Ingest, Slab } from '../ingest/ingest.ts';
import type { DataSink } from '../scu/association.ts';

/** Milliseconds between two looks at how a data set comes, bytes that must come meanwhile, and slow looks that cost it its memory. */
const LOOK = 1000;
const LEAST_BYTES = 1024;
const SLOW_LOOKS = 2;

export class Reception implements DataSink {
  readonly #ready: Promise<void>;
  readonly #looks: NodeJS.Timeout;
  #slab: Slab | undefined;
  #failure: Error | undefined;
  #over = false;

  /** `head` is what stands before the data set in the file. */
  constructor(ingest: Ingest, head: Uint8Array) {
    let seen = 0;
    let slow = 0;
    this.#looks = setInterval(() => {
      const slab = this.#slab;
      if (slab === undefined) return;
      slow = slab.size - seen < LEAST_BYTES ? slow + 1 : 0;
      seen = slab.size;
      if (slow >= SLOW_LOOKS && slab.wanted) this.#fail(new IsenError('Busy', 'too slow while others wait'));
    }, LOOK);
    this.#ready = this.#begin(ingest, head);
  }

  async #begin(ingest: Ingest, head: Uint8Array): Promise<void> {
    try {
      // At once, most often: the first part, which comes with the command, then goes where it belongs without a copy.
      const slab = ingest.receiveNow() ?? (await ingest.receive());
      if (this.#over) return slab.release();
      this.#slab = slab;
      await slab.append(head);
    } catch (thrown) {
      this.#fail(asError(thrown));
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.abandon();
  }

  write(part: Uint8Array): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    const slab = this.#slab;
    if (slab !== undefined) return this.#append(slab, part);
    const copy = Uint8Array.from(part);
    return this.#ready.then(() => {
      if (this.#slab !== undefined) return this.#append(this.#slab, copy);
      throw this.#failure ?? new IsenError('NetworkProtocol', 'the sender is gone');
    });
  }

  #append(slab: Slab, part: Uint8Array): Promise<void> | undefined {
    try {
      return slab.append(part)?.catch((thrown: unknown) => {
        this.#fail(asError(thrown));
        throw thrown;
      });
    } catch (thrown) {
      this.#fail(asError(thrown));
      throw thrown;
    }
  }

  /** The whole file, now the caller's. Throws what receiving it failed of. */
  async finish(): Promise<Slab> {
    await this.#ready;
    clearInterval(this.#looks);
    const slab = this.#slab;
    this.#slab = undefined;
    this.#over = true;
    if (slab === undefined) throw this.#failure ?? new IsenError('NetworkProtocol', 'the sender is gone');
    return slab;
  }

  abandon(): void {
    this.#over = true;
    clearInterval(this.#looks);
    this.#slab?.release();
    this.#slab = undefined;
  }
}
