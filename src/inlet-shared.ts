/** Owns what the main thread and the inlet's thread know together: the table of connections that are lent, in shared memory. */

/** Connections that are lent at a time at most. */
export const MOST = 64;

/** Whose a place of the table is: nobody's, the thread's, or the main thread's again. */
export const STATE = { free: 0, lent: 1, back: 2 } as const;

/** Words of a place: its state, the descriptor of the connection, and bytes wanted and come. */
const WORDS = 4;
const [DESCRIPTOR, WANTED, COME] = [1, 2, 3] as const;

/** Words before the places: whether each side was woken and has not looked since, and whether the thread is to end. */
export const FLAG = { threadWoken: 0, mainWoken: 1, ending: 2 } as const;
const FLAGS = Object.keys(FLAG).length;

/** Handed to the thread. */
export interface InletData {
  readonly words: SharedArrayBuffer;
  readonly addresses: SharedArrayBuffer;
  /** The eventfd(2) that wakes the thread. */
  readonly bell: number;
}

/** The table. Only who owns a place writes to it, and its state last. */
export class Places {
  readonly words: Int32Array;
  readonly #addresses: Float64Array;

  /** Over the memory of another thread, or over some of its own. */
  constructor(
    { words, addresses }: Pick<InletData, 'words' | 'addresses'> = {
      words: new SharedArrayBuffer((FLAGS + MOST * WORDS) * 4),
      addresses: new SharedArrayBuffer(MOST * 8),
    },
  ) {
    this.words = new Int32Array(words);
    this.#addresses = new Float64Array(addresses);
  }

  /** What the thread is to be handed of it. */
  get memory(): Pick<InletData, 'words' | 'addresses'> {
    return {
      words: this.words.buffer as SharedArrayBuffer,
      addresses: this.#addresses.buffer as SharedArrayBuffer,
    };
  }

  state(place: number): number {
    return Atomics.load(this.words, FLAGS + place * WORDS);
  }

  /** Gives a place, whole, to the other side. */
  pass(place: number, state: number): void {
    Atomics.store(this.words, FLAGS + place * WORDS, state);
  }

  fill(place: number, descriptor: number, address: number, wanted: number): void {
    const at = FLAGS + place * WORDS;
    this.words[at + DESCRIPTOR] = descriptor;
    this.words[at + WANTED] = wanted;
    this.words[at + COME] = 0;
    this.#addresses[place] = address;
  }

  descriptor(place: number): number {
    return this.words[FLAGS + place * WORDS + DESCRIPTOR] ?? -1;
  }

  wanted(place: number): number {
    return this.words[FLAGS + place * WORDS + WANTED] ?? 0;
  }

  come(place: number): number {
    return this.words[FLAGS + place * WORDS + COME] ?? 0;
  }

  setCome(place: number, bytes: number): void {
    this.words[FLAGS + place * WORDS + COME] = bytes;
  }

  address(place: number): number {
    return this.#addresses[place] ?? 0;
  }

  /** Raises a flag; whether it was down. */
  raise(flag: number): boolean {
    return Atomics.exchange(this.words, flag, 1) === 0;
  }

  lower(flag: number): void {
    Atomics.store(this.words, flag, 0);
  }

  isRaised(flag: number): boolean {
    return Atomics.load(this.words, flag) === 1;
  }
}
