/** Owns a budget of bytes: who wants some waits until others have given back enough. First come, first served. */

import { IsenError } from './errors.ts';

/** Who may wait. */
const WAITING = 4096;

export class Budget {
  readonly #limit: number;
  readonly #patience: number;
  readonly #waiters: { readonly size: number; readonly give: () => void }[] = [];
  #taken = 0;

  /** `patience`: milliseconds that anybody waits for their turn. */
  constructor(limit: number, patience = 30_000) {
    this.#limit = limit;
    this.#patience = patience;
  }

  /** Does `work` with so many bytes of the budget; see {@link take}. */
  async with<Result>(size: number, work: () => Promise<Result>): Promise<Result> {
    const giveBack = await this.take(size);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }

  /**
   * So many bytes of the budget (more than there are: alone) until what it answers is called, once or more often. Throws Busy
   * where too many wait already or the turn does not come.
   */
  async take(size: number): Promise<() => void> {
    if (this.#waiters.length > 0 || !this.#fits(size)) await this.#turn(size);
    else this.#taken += size;
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#taken -= size;
      this.#serve();
    };
  }

  #fits(size: number): boolean {
    return this.#taken === 0 || this.#taken + size <= this.#limit;
  }

  /** Resolves when the bytes are taken for the caller. */
  async #turn(size: number): Promise<void> {
    if (this.#waiters.length >= WAITING) throw new IsenError('Busy');
    await new Promise<void>((resolve, reject) => {
      const waiter = {
        size,
        give: () => {
          clearTimeout(timer);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(new IsenError('Busy', 'the memory for what is being read is taken'));
        // A large one may have held up the small ones behind it.
        this.#serve();
      }, this.#patience);
      this.#waiters.push(waiter);
    });
  }

  #serve(): void {
    for (let next = this.#waiters[0]; next !== undefined && this.#fits(next.size); next = this.#waiters[0]) {
      this.#waiters.shift();
      this.#taken += next.size;
      next.give();
    }
  }
}
