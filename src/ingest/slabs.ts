/**
 * Owns the memory of uploads: a budget of shared slabs that is also the back-pressure (no free slab, no reading).
 *
 * A slab is a SharedArrayBuffer, so that the main thread fills it, libuv writes it to disk and a worker parses and hashes
 * it without a copy. Every buffer is used again, the hottest first, and none is ever given up: shared memory is freed when
 * each thread that saw it has collected its garbage, which one that makes little garbage does not.
 */

import { createHash, type Hash } from 'node:crypto';
import type { Parsed } from '../dicom/parsing.ts';
import { IsenError } from '../errors.ts';
import { allocatePages } from '../storage/pages.ts';
import type { BlobWriter, Storage } from '../storage/storage.ts';
import type { Slab } from './ingest.ts';

/** Bytes of a pooled slab. */
export const SLAB = 1 << 20;

/**
 * Bytes of a large buffer, for a body that passes its slab; half of the budget is for them. A body that passes this as well,
 * or finds none, goes to storage as it comes: its beginning alone stays in memory.
 */
const LARGE = 16 << 20;

export interface SlabOptions {
  /** Bytes that all uploads together may hold (`MaximumInFlightMB`). */
  readonly budget: number;
  /** Bytes of the largest body (`MaximumRequestBodySizeMB`). */
  readonly largestBody: number;
  /** Milliseconds that an upload waits for its turn. */
  readonly patience: number;
  /** Uploads that may wait for their turn; one more is refused at once. */
  readonly waiting: number;
}

/** The slab of {@link SlabPool}: what {@link Slab} promises, and what ingest needs besides. */
export interface PooledSlab extends Slab {
  /** The blob belongs to the index now: release no longer removes it. */
  adopt(): void;
  /** What parsing them has shown, where somebody did. */
  readonly parsed?: Parsed;
}

/** A whole file that lies in memory of somebody else's, parsed. */
export function lentSlab(bytes: Uint8Array, parsed: Parsed): PooledSlab {
  return {
    parsed,
    wanted: false,
    size: bytes.length,
    head: bytes,
    blob: undefined,
    append() {
      throw new IsenError('BadSequenceOfCalls', 'this file is whole');
    },
    room: () => bytes.subarray(bytes.length),
    filled() {},
    finish: async () => undefined,
    adopt() {},
    release() {},
  };
}

export class SlabPool {
  readonly #options: SlabOptions;
  readonly #storage: Storage;
  readonly #idle: SharedArrayBuffer[] = [];
  readonly #idleLarge: SharedArrayBuffer[] = [];
  /** Large buffers and bytes of slabs that may yet be taken. */
  #larges: number;
  #free: number;
  readonly #waiters: { give: () => void }[] = [];
  #held = 0;

  constructor(storage: Storage, options: SlabOptions) {
    this.#storage = storage;
    this.#options = options;
    this.#larges = Math.floor(options.budget / 2 / LARGE);
    this.#free = options.budget - this.#larges * LARGE;
  }

  /** Bytes held by uploads now. */
  get held(): number {
    return this.#held;
  }

  /** Uploads waiting for their turn. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /** A slab when one is free, within the patience, or at once past the budget (`overdraw`). Throws Busy. */
  async take(overdraw = false): Promise<PooledSlab> {
    if (overdraw) this.#free -= SLAB;
    else if (this.#waiters.length > 0 || !this.#reserve()) await this.#turn();
    return this.#slab(overdraw);
  }

  /** A slab if one is free at once. */
  takeNow(): PooledSlab | undefined {
    return this.#waiters.length > 0 || !this.#reserve() ? undefined : this.#slab(false);
  }

  #slab(overdraw: boolean): PooledSlab {
    this.#held += SLAB;
    return new PoolSlab(this.#idle.pop() ?? allocatePages(SLAB), this.#storage, this.#options.largestBody, {
      grow: (from) => {
        if (this.#larges === 0) return undefined;
        this.#larges -= 1;
        this.#held += LARGE;
        const buffer = this.#idleLarge.pop() ?? allocatePages(LARGE);
        this.#give(from);
        return buffer;
      },
      give: (buffer) => this.#give(buffer),
      wanted: () => !overdraw && this.#waiters.length > 0,
    });
  }

  #reserve(): boolean {
    if (this.#free < SLAB) return false;
    this.#free -= SLAB;
    return true;
  }

  async #turn(): Promise<void> {
    if (this.#waiters.length >= this.#options.waiting) throw new IsenError('Busy', 'too many uploads are waiting');
    await new Promise<void>((resolve, reject) => {
      const waiter = {
        give: () => {
          clearTimeout(timer);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(new IsenError('Busy', 'the memory for uploads in flight is taken'));
      }, this.#options.patience);
      this.#waiters.push(waiter);
    });
  }

  #give(buffer: SharedArrayBuffer): void {
    this.#held -= buffer.byteLength;
    if (buffer.byteLength === LARGE) {
      this.#idleLarge.push(buffer);
      this.#larges += 1;
      return;
    }
    this.#idle.push(buffer);
    this.#free += SLAB;
    while (this.#waiters.length > 0 && this.#reserve()) this.#waiters.shift()?.give();
  }
}

interface Memory {
  /** A large buffer in exchange for `from`, or undefined when there is none. The caller copies `from` at once. */
  grow(from: SharedArrayBuffer): SharedArrayBuffer | undefined;
  give(buffer: SharedArrayBuffer): void;
  /** Whether others wait for what this upload would give. */
  wanted(): boolean;
}

class PoolSlab implements PooledSlab {
  readonly #memory: Memory;
  readonly #storage: Storage;
  readonly #largestBody: number;
  #buffer: SharedArrayBuffer | undefined;
  #view: Buffer;
  #inMemory = 0;
  #size = 0;
  #spill:
    | { readonly uuid: string; readonly writer: Promise<BlobWriter>; readonly hash: Hash; md5: string | undefined }
    | undefined;
  #adopted = false;

  constructor(buffer: SharedArrayBuffer, storage: Storage, largestBody: number, memory: Memory) {
    this.#buffer = buffer;
    this.#view = Buffer.from(buffer, 0, buffer.byteLength);
    this.#storage = storage;
    this.#largestBody = largestBody;
    this.#memory = memory;
  }

  get wanted(): boolean {
    return this.#memory.wanted();
  }

  get size(): number {
    return this.#size;
  }

  get head(): Uint8Array {
    return this.#view.subarray(0, this.#inMemory);
  }

  get blob(): string | undefined {
    return this.#spill?.uuid;
  }

  append(chunk: Uint8Array): Promise<void> | undefined {
    const size = this.#size + chunk.length;
    if (size > this.#largestBody) {
      throw new IsenError('BadRequest', 'the body is larger than MaximumRequestBodySizeMB', { http: 413 });
    }
    if (this.#spill === undefined && size > this.#view.length) this.#enlarge(size);
    this.#size = size;
    // A copy: the chunk is the caller's again at once, and `slice` of a Buffer is a view.
    if (this.#spill !== undefined) return this.#pour(Uint8Array.from(chunk));
    // A copy by memcpy. To shared memory `set` goes byte by byte where the two are not aligned alike: 32 µs for 64 KB, not 2.
    if (chunk.length > 0) this.#view.fill(chunk, this.#inMemory, size);
    this.#inMemory = size;
    return undefined;
  }

  room(): Uint8Array {
    if (this.#spill === undefined && this.#inMemory === this.#view.length) this.#enlarge(this.#size + 1);
    return this.#spill === undefined ? this.#view.subarray(this.#inMemory) : this.#view.subarray(this.#view.length);
  }

  filled(size: number): void {
    this.#size += size;
    this.#inMemory += size;
  }

  /** A larger buffer, or, when the budget has none or the body is too large for it, the way to storage. Never waits. */
  #enlarge(size: number): void {
    const buffer = this.#buffer;
    if (buffer === undefined) throw new IsenError('BadSequenceOfCalls', 'this upload has ended');
    const old = this.head;
    const larger = size > LARGE || buffer.byteLength === LARGE ? undefined : this.#memory.grow(buffer);
    if (larger === undefined) {
      // It goes there in pieces; what is in memory stays as it is.
      const uuid = this.#storage.name();
      const hash = createHash('md5');
      this.#spill = { uuid, writer: this.#begin(uuid, hash), hash, md5: undefined };
      this.#spill.writer.catch(() => {});
    } else {
      this.#buffer = larger;
      this.#view = Buffer.from(larger, 0, larger.byteLength);
      if (old.length > 0) this.#view.fill(old, 0, old.length);
    }
  }

  async #begin(uuid: string, hash: Hash): Promise<BlobWriter> {
    const writer = await this.#storage.create(uuid);
    const head = this.head;
    // In steps, because hashing 64 MB at once would stop the event loop for 90 ms.
    for (let at = 0; at < head.length; at += SLAB) {
      const step = head.subarray(at, at + SLAB);
      hash.update(step);
      await writer.write(step);
    }
    return writer;
  }

  async #pour(chunk: Uint8Array): Promise<void> {
    const spill = this.#spill;
    if (spill === undefined) return;
    const writer = await spill.writer;
    spill.hash.update(chunk);
    await writer.write(chunk);
  }

  async finish(): Promise<{ uuid: string; md5: string } | undefined> {
    const spill = this.#spill;
    if (spill === undefined) return undefined;
    if (spill.md5 === undefined) {
      await (await spill.writer).finish();
      spill.md5 = spill.hash.digest('hex');
    }
    return { uuid: spill.uuid, md5: spill.md5 };
  }

  adopt(): void {
    this.#adopted = true;
  }

  release(): void {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    this.#buffer = undefined;
    const spill = this.#spill;
    if (spill === undefined) {
      this.#memory.give(buffer);
      return;
    }
    void spill.writer
      .then(async (writer) => {
        if (spill.md5 === undefined) await writer.abort();
        else if (!this.#adopted) await this.#storage.remove(spill.uuid);
      })
      // What could not be removed now is provisional still, and found by the next start.
      .catch(() => {})
      .finally(() => this.#memory.give(buffer));
  }
}
