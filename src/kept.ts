/** Owns texts kept in memory by key: at most so many characters in all, and what was not asked for longest goes first. */

export class KeptTexts {
  readonly #texts = new Map<string, string>();
  readonly #limit: number;
  #size = 0;

  /** `limit`: characters of keys and texts. A text that would take more than a sixteenth of them is not kept. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string): string | undefined {
    const text = this.#texts.get(key);
    if (text === undefined) return undefined;
    // A Map keeps the order of insertion: the last to go.
    this.#texts.delete(key);
    this.#texts.set(key, text);
    return text;
  }

  /** Keeps a text; one that has the key already stays. */
  add(key: string, text: string): void {
    const size = key.length + text.length;
    if (size > this.#limit / 16 || this.#texts.has(key)) return;
    this.#texts.set(key, text);
    this.#size += size;
    for (const [oldest, { length }] of this.#texts) {
      if (this.#size <= this.#limit) break;
      this.#texts.delete(oldest);
      this.#size -= oldest.length + length;
    }
  }

  clear(): void {
    this.#texts.clear();
    this.#size = 0;
  }
}
