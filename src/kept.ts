/** Owns values kept in memory by key: at most so much in all, and what was not asked for longest goes first. */

/** Texts (a unit is a character) or bytes. */
export class Kept<Value extends { readonly length: number }> {
  readonly #values = new Map<string, Value>();
  readonly #limit: number;
  #size = 0;

  /** `limit`: length of keys and values. A value that would take more than a sixteenth of it is not kept. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string): Value | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    // A Map keeps the order of insertion: the last to go.
    this.#values.delete(key);
    this.#values.set(key, value);
    return value;
  }

  /** Keeps a value; one that has the key already stays. */
  add(key: string, value: Value): void {
    const size = key.length + value.length;
    if (size > this.#limit / 16 || this.#values.has(key)) return;
    this.#values.set(key, value);
    this.#size += size;
    for (const [oldest, { length }] of this.#values) {
      if (this.#size <= this.#limit) break;
      this.#values.delete(oldest);
      this.#size -= oldest.length + length;
    }
  }

  clear(): void {
    this.#values.clear();
    this.#size = 0;
  }
}
