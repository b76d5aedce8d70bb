/**
 * Owns receiving beside the main thread: a connection is lent to another thread, which reads so many bytes of it into memory that is given
 * with it, and gives it back. The main thread then neither copies a body nor makes 64 KB of garbage for each piece of it, and whoever
 * asks for something meanwhile is answered sooner. A thread of its own and not of a pool, because it serves all connections at once.
 */

import { Worker } from 'node:worker_threads';
import { IsenError } from './errors.ts';
import { FLAG, type InletData, MOST, Places, STATE } from './inlet-shared.ts';
import { addresses } from './libc.ts';
import { log } from './log.ts';
import { type Bell, duplicateOf, newBell } from './polling.ts';

/** Another thread that receives. */
export interface Inlet {
  /**
   * Reads from a TCP connection by its descriptor, that nobody else reads from meanwhile, until `bytes` (of shared memory) are full. Answers
   * how many came, fewer when the connection ended, was silent for 50 ms or took 100: how it goes on is the caller's to find
   * out. Undefined when as many connections as possible are lent already. Until then the memory is the thread's, and the connection
   * stays open even where its descriptor is closed. Throws InternalError when the thread is gone: what came is not known then.
   */
  receive(descriptor: number, bytes: Uint8Array): Promise<number> | undefined;
  /** Takes no more, and waits for what is lent: a tenth of a second at most. */
  close(): Promise<void>;
}

/** Starts it; undefined where the system's functions are not to be had. */
export function openInlet(): Inlet | undefined {
  const addressOf = addresses('bodies beside the main thread');
  const bell = addressOf && newBell();
  return addressOf && bell && new ThreadedInlet(bell, addressOf);
}

interface Waiter {
  readonly resolve: (come: number) => void;
  readonly reject: (error: Error) => void;
  /** Closes the descriptor that was made for it. */
  readonly end: () => void;
}

class ThreadedInlet implements Inlet {
  readonly #bell: Bell;
  readonly #addressOf: (bytes: Uint8Array) => number;
  readonly #places = new Places();
  readonly #waiters: (Waiter | undefined)[] = Array.from({ length: MOST }, () => undefined);
  readonly #free = Array.from({ length: MOST }, (_, place) => place);
  readonly #thread: Worker;
  readonly #ended: Promise<void>;
  /** Takes no more. */
  #over = false;
  #idle: (() => void) | undefined;

  constructor(bell: Bell, addressOf: (bytes: Uint8Array) => number) {
    this.#bell = bell;
    this.#addressOf = addressOf;
    const data: InletData = { ...this.#places.memory, bell: bell.descriptor };
    this.#thread = new Worker(new URL('../workers/receive.js', import.meta.url), { workerData: data });
    this.#thread.unref();
    this.#thread.on('message', () => this.#look());
    this.#thread.on('error', (error) => log.generic.error({ err: error }, 'the thread that receives bodies died'));
    this.#ended = new Promise((resolve) => {
      this.#thread.once('exit', () => {
        this.#lost();
        resolve();
      });
    });
  }

  receive(descriptor: number, bytes: Uint8Array): Promise<number> | undefined {
    const place = this.#over ? undefined : this.#free.pop();
    if (place === undefined) return undefined;
    // A descriptor of its own: the number of one that is closed is the next connection's.
    const own = duplicateOf(descriptor);
    if (own === undefined) {
      this.#free.push(place);
      return undefined;
    }
    this.#places.fill(place, own.descriptor, this.#addressOf(bytes), bytes.length);
    return new Promise((resolve, reject) => {
      this.#waiters[place] = { resolve, reject, end: () => own.close() };
      this.#places.pass(place, STATE.lent);
      if (this.#places.raise(FLAG.threadWoken)) this.#bell.ring();
    });
  }

  /** Takes back what has come back. */
  #look(): void {
    // Lowered before looking: what comes back from here on tells again.
    this.#places.lower(FLAG.mainWoken);
    for (const [place, waiter] of this.#waiters.entries()) {
      if (waiter === undefined || this.#places.state(place) !== STATE.back) continue;
      this.#giveUp(place);
      waiter.resolve(this.#places.come(place));
    }
    if (this.#free.length === MOST) this.#idle?.();
  }

  #giveUp(place: number): void {
    this.#waiters[place]?.end();
    this.#waiters[place] = undefined;
    this.#places.pass(place, STATE.free);
    this.#free.push(place);
  }

  /** The thread is gone. */
  #lost(): void {
    this.#over = true;
    for (const [place, waiter] of this.#waiters.entries()) {
      if (waiter === undefined) continue;
      this.#giveUp(place);
      waiter.reject(new IsenError('InternalError', 'the thread that receives bodies died'));
    }
    this.#bell.close();
    this.#idle?.();
  }

  async close(): Promise<void> {
    this.#over = true;
    // Now it is waited for.
    this.#thread.ref();
    if (this.#free.length < MOST) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    this.#places.raise(FLAG.ending);
    this.#bell.ring();
    await this.#ended;
  }
}
