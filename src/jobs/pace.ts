/** Owns how fast one queue goes: the rate that it may have, the one that it had, and how much is taken from it at once. */

import type { Sending } from '../scu/modality.ts';

/** Entries taken together at most; fewer where that would be more than {@link AHEAD} milliseconds of work, so that priorities count. */
const MOST = 64;
const AHEAD = 500;

/** Seconds over which the rate is said. */
const WINDOW = 10;

/** The pace of one queue. */
export class Pace {
  /** Milliseconds that sending an instance takes, on average. */
  #average = 10;
  /** When the next instance may go, by the rate. */
  #slot = 0;
  /** Instances sent in each of the last seconds. */
  readonly #sent = new Map<number, number>();

  /** Milliseconds until the next instance may go, which is the caller's then. */
  reserve({ rateLimit }: Sending): number {
    if (rateLimit <= 0) return 0;
    const now = Date.now();
    const at = Math.max(now, this.#slot);
    this.#slot = at + 1000 / rateLimit;
    return at - now;
  }

  /** Entries to take at once, shared among those that work on the queue. */
  together({ rateLimit, maximumAssociations }: Sending): number {
    const pace = rateLimit > 0 ? Math.max(this.#average, 1000 / rateLimit) : this.#average;
    return Math.max(1, Math.min(MOST, Math.floor(AHEAD / pace / maximumAssociations)));
  }

  /** An instance was sent, or refused, in so many milliseconds. */
  took(milliseconds: number): void {
    this.#average += (milliseconds - this.#average) / 8;
  }

  /** An instance arrived. */
  count(): void {
    const second = Math.floor(Date.now() / 1000);
    this.#sent.set(second, (this.#sent.get(second) ?? 0) + 1);
    for (const old of this.#sent.keys()) {
      if (old >= second - WINDOW) break;
      this.#sent.delete(old);
    }
  }

  /** Instances a second, over the last ten. */
  get rate(): number {
    const now = Math.floor(Date.now() / 1000);
    let count = 0;
    for (const [second, sent] of this.#sent) if (second >= now - WINDOW && second < now) count += sent;
    return count / WINDOW;
  }
}
