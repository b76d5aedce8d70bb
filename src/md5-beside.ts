/**
 * Owns hashing beside a thread that goes on with something else meanwhile, and then waits: it has no event loop at hand to be told in. A helper
 * who is late is not waited for.
 */

import { type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { md5Each } from './md5.ts';

/** Files that are hashed at a time at most. */
const MOST = 32;

/** Words: whether the thread is there, how often was asked, how it stands, how many files there are, and of each the number of its memory, where it begins in it, its bytes. */
const [READY, ASKED, STATE, COUNT, FILES] = [0, 1, 2, 3, 4] as const;
const FILE = 3;
const IDLE = 0;
const WAITING = 1;
const BEGUN = 2;

/** Milliseconds after which what was begun is not waited for any longer. */
const PATIENCE = 100;

/** Milliseconds that a thread has to load. */
const LOADING = 2000;

/** Bytes of an MD5. */
const DIGEST = 16;

/** Handed to the thread. */
export interface HashingData {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly digests: Uint8Array<SharedArrayBuffer>;
}

/** A file in shared memory. One memory is another object in each message that brings it, so that it has a number. */
export interface HashedFile {
  readonly memoryId: number;
  readonly bytes: Uint8Array;
}

/** What the thread is told of a memory that is new. */
interface Memory {
  readonly memoryId: number;
  readonly memory: ArrayBufferLike;
}

/** A thread that hashes. */
export class HashingBeside {
  readonly #data: HashingData = {
    words: new Int32Array(new SharedArrayBuffer((FILES + MOST * FILE) * Int32Array.BYTES_PER_ELEMENT)),
    digests: new Uint8Array(new SharedArrayBuffer(MOST * DIGEST)),
  };
  readonly #worker: Worker;
  /** Numbers of memories that the thread has. */
  readonly #known = new Set<number>();

  constructor() {
    this.#worker = new Worker(new URL('../workers/hash.js', import.meta.url), { workerData: this.#data });
    // Without it everything is hashed here.
    this.#worker.on('error', () => {});
    this.#worker.unref();
  }

  /**
   * Begins to hash files in shared memory, which must not change meanwhile. What it answers waits for their MD5s in lower-case hex, or computes
   * them itself; the next call begins when that was called.
   */
  begin(files: readonly HashedFile[]): () => readonly string[] {
    const { words, digests } = this.#data;
    const here = (): readonly string[] => md5Each(files.map(({ bytes }) => bytes));
    if (files.length > MOST || Atomics.load(words, STATE) !== IDLE) return here;
    for (const [at, { memoryId, bytes }] of files.entries()) {
      words.set([memoryId, bytes.byteOffset, bytes.length], FILES + at * FILE);
      if (this.#known.has(memoryId)) continue;
      this.#known.add(memoryId);
      this.#worker.postMessage({ memoryId, memory: bytes.buffer } satisfies Memory);
    }
    words[COUNT] = files.length;
    Atomics.store(words, STATE, WAITING);
    Atomics.add(words, ASKED, 1);
    Atomics.notify(words, ASKED);
    return () => {
      if (Atomics.compareExchange(words, STATE, WAITING, IDLE) === WAITING) return here();
      if (Atomics.wait(words, STATE, BEGUN, PATIENCE) === 'timed-out') return here();
      const bytes = Buffer.from(digests);
      return files.map((_, at) => bytes.toString('hex', at * DIGEST, (at + 1) * DIGEST));
    };
  }

  /** Waits until the thread is there: one that is ended while it loads its modules would end the process. */
  close(): void {
    Atomics.wait(this.#data.words, READY, 0, LOADING);
  }
}

/** The work of the thread: it never returns. `port` brings memory that is new. */
export function hashUntilEnd({ words, digests }: HashingData, port: MessagePort): void {
  const memories = new Map<number, ArrayBufferLike>();
  Atomics.store(words, READY, 1);
  Atomics.notify(words, READY);
  for (let seen = 0; ; ) {
    Atomics.wait(words, ASKED, seen);
    seen = Atomics.load(words, ASKED);
    if (Atomics.compareExchange(words, STATE, WAITING, BEGUN) !== WAITING) continue;
    // Only now, since what was asked for may be later than what woke this.
    for (let come = receiveMessageOnPort(port); come !== undefined; come = receiveMessageOnPort(port)) {
      const { memoryId, memory } = come.message as Memory;
      memories.set(memoryId, memory);
    }
    const files = Array.from({ length: words[COUNT] ?? 0 }, (_, at) => {
      const [memoryId = 0, offset, length] = words.subarray(FILES + at * FILE);
      const memory = memories.get(memoryId);
      if (memory === undefined) throw new Error('memory that nobody told of');
      return new Uint8Array(memory, offset, length);
    });
    for (const [at, digest] of md5Each(files).entries()) digests.set(Buffer.from(digest, 'hex'), at * DIGEST);
    Atomics.store(words, STATE, IDLE);
    Atomics.notify(words, STATE);
  }
}
