/** Owns bytes that come in parts and are wanted whole, within a bound for each and one for all together. */

import { IsenError } from '../errors.ts';

/** Bytes that all of them may hold together. */
const MOST_TOGETHER = 256 << 20;

/** First size; doubled as it fills, so that a small message costs little and a peer that sends byte by byte not more. */
const FIRST = 1024;

let together = 0;

export class Gathered {
  readonly #maximum: number;
  #bytes = Buffer.alloc(0);
  #size = 0;

  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /** Copies a part; false when it does not fit. Throws NotEnoughMemory when others hold too much. */
  add(part: Uint8Array): boolean {
    const size = this.#size + part.length;
    if (size > this.#maximum) return false;
    if (size > this.#bytes.length) this.#grow(Math.min(this.#maximum, Math.max(size, 2 * this.#bytes.length, FIRST)));
    this.#bytes.set(part, this.#size);
    this.#size = size;
    return true;
  }

  #grow(capacity: number): void {
    if (together + capacity > MOST_TOGETHER) {
      throw new IsenError('NotEnoughMemory', 'too many data sets are being received');
    }
    together += capacity - this.#bytes.length;
    const larger = Buffer.allocUnsafeSlow(capacity);
    this.#bytes.copy(larger, 0, 0, this.#size);
    this.#bytes = larger;
  }

  /** What was gathered; it begins anew. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#size);
    this.clear();
    return taken;
  }

  clear(): void {
    together -= this.#bytes.length;
    this.#bytes = Buffer.alloc(0);
    this.#size = 0;
  }
}
