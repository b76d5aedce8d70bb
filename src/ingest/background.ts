/**
 * Owns work that nobody waits for: it runs when something may be due, again when more is, and later when it failed. One step
 * at a time, each of them bounded.
 */

/** Milliseconds that a timer sleeps at most: waking early only looks again. */
const LONGEST = 3_600_000;

/** Milliseconds between two looks at what other nodes may have left. */
const LOOK = 5000;

export class Background {
  readonly #step: () => Promise<number | undefined>;
  readonly #retry: number;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #looking: NodeJS.Timeout | undefined;

  /**
   * `step` answers in how many milliseconds more is due, or undefined: when woken. It is tried again `retry` milliseconds
   * after a failure. With `shared` others may leave something to do and die, so that it wakes by itself.
   */
  constructor(step: () => Promise<number | undefined>, retry: number, shared: boolean) {
    this.#step = step;
    this.#retry = retry;
    if (shared) this.#looking = setInterval(() => this.wake(), LOOK);
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
    clearInterval(this.#looking);
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
