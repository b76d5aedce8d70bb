/** Owns how long a peer's silence is borne while it is waited for. */

/** What a {@link Silence} needs of its connection. */
export interface SilenceOptions {
  /** The peer is not listened to just now: its silence is ours. */
  readonly excused: () => boolean;
  /** It lasted too long. */
  readonly late: () => void;
}

export class Silence {
  readonly #options: SilenceOptions;
  #since = performance.now();
  #attentive = true;
  #look: NodeJS.Timeout | undefined;

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  /** Whether it counts: not while the peer waits for us. It begins anew. */
  set attentive(value: boolean) {
    this.#attentive = value;
    this.broken();
  }

  /** It begins anew. */
  broken(): void {
    this.#since = performance.now();
  }

  /** Bears it for `patience` milliseconds from the last word on; 0 and infinity are without end. */
  watch(patience: number): void {
    this.stop();
    if (patience === 0 || patience === Number.POSITIVE_INFINITY) return;
    const look = (): void => {
      const counts = this.#attentive && !this.#options.excused();
      const left = this.#since + patience - performance.now();
      if (counts && left <= 0) this.#options.late();
      else this.#look = setTimeout(look, counts ? left + 1 : patience);
    };
    this.#look = setTimeout(look, patience);
  }

  stop(): void {
    clearTimeout(this.#look);
  }
}
