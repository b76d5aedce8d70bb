/** Owns a budget of bytes: who wants some waits until others have given back enough. */

import { IsenError } from './errors.ts';

/** Who may wait. */
const WAITING = 4096;

export class Budget {
  readonly #limit: number;
  readonly #turns: (() => void)[] = [];
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Does `work` with so many bytes of the budget; more than there are, alone. Throws Busy where too many wait already. */
  async with<Result>(size: number, work: () => Promise<Result>): Promise<Result> {
    while (this.#taken > 0 && this.#taken + size > this.#limit) {
      if (this.#turns.length >= WAITING) throw new IsenError('Busy');
      await new Promise<void>((resolve) => this.#turns.push(resolve));
    }
    this.#taken += size;
    try {
      return await work();
    } finally {
      this.#taken -= size;
      for (const turn of this.#turns.splice(0)) turn();
    }
  }
}
