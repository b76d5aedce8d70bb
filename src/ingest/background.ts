/**
 * Owns work that nobody waits for: it runs when something may be due, again when more is, and later when it failed. One step
 * at a time, each of them bounded.
 */

/** Milliseconds that a timer sleeps at most: waking early only looks again. */
const LONGEST = 3_600_000;

export class Background {
  readonly #step: () => Promise<number | undefined>;
  readonly #retry: number;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  /**
   * `step` answers in how many milliseconds more is due, or undefined: when woken. It is tried again `retry` milliseconds
   * after a failure.
   */
  constructor(step: () => Promise<number | undefined>, retry: number) {
    this.#step = step;
    this.#retry = retry;
  }

  /** There may be something to do, unless it sleeps until then already. */
  wake(): void {
    this.#again = true;
    if (!this.#closed && this.#timer === undefined) this.#running ??= this.#run();
  }

  /** Ends after the step that runs. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      const wait = await this.#step().catch(() => this.#retry);
      if (wait === undefined) continue;
      this.#again = true;
      if (wait > 0) {
        this.#sleep(wait);
        break;
      }
    }
    this.#running = undefined;
  }

  #sleep(milliseconds: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.wake();
      },
      Math.min(milliseconds, LONGEST),
    );
  }
}
