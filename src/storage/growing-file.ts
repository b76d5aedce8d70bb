/** Owns a file that is written while its bytes still come into memory, past the page cache: what is left at the end is little. */

import { closeSync, constants, openSync } from 'node:fs';
import { asError } from '../errors.ts';
import { openFd, writeSome } from './descriptors.ts';
import { PAGE } from './pages.ts';
import type { GrowingBlob } from './storage.ts';

/** Bytes that are written at once, whole pages. */
const STEP = 128 << 10;

/** Bytes left at the end for which a step of their own past the page cache is worth it. */
const LEAST_DIRECT = 256 << 10;

export interface GrowingFileOptions {
  readonly uuid: string;
  readonly path: string;
  /** Resolves when a file may be made there. */
  readonly ready: () => Promise<void>;
  /** Flags of open(2) of the last write, which makes all of the file durable. */
  readonly lastFlags: number;
  /** Writes it all at once, where nothing is written yet. */
  readonly put: (bytes: Uint8Array) => Promise<void>;
  /** What is to be done instead where it fails before the end: it may leave the file, or some of it, behind. */
  readonly failed: (error: Error, bytes: Uint8Array) => Promise<void>;
  readonly remove: () => Promise<void>;
}

export class GrowingFile implements GrowingBlob {
  readonly #options: GrowingFileOptions;
  #bytes: Uint8Array = new Uint8Array(0);
  #fd: number | undefined;
  #written = 0;
  #ended = false;
  #failure: Error | undefined;
  #writing: Promise<void> | undefined;

  constructor(options: GrowingFileOptions) {
    this.#options = options;
  }

  get uuid(): string {
    return this.#options.uuid;
  }

  get idle(): Promise<void> | undefined {
    return this.#writing;
  }

  advance(bytes: Uint8Array): void {
    this.#bytes = bytes;
    if (this.#writing !== undefined || this.#failure !== undefined || this.#goal() <= this.#written) return;
    this.#writing = this.#write()
      .catch((thrown: unknown) => {
        this.#failure = asError(thrown);
      })
      .finally(() => {
        this.#writing = undefined;
      });
  }

  async finish(bytes: Uint8Array): Promise<void> {
    this.#ended = true;
    await this.#writing;
    const { path, lastFlags, failed, put } = this.#options;
    if (this.#fd === undefined && this.#failure === undefined) return put(bytes);
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const whole = Math.floor((bytes.length - 1) / PAGE) * PAGE;
      if (this.#fd !== undefined && whole - this.#written >= LEAST_DIRECT)
        this.#written += await writeSome(this.#fd, bytes, this.#written, whole);
      const fd = openSync(path, lastFlags | constants.O_CREAT, 0o644);
      try {
        for (let at = this.#written; at < bytes.length; ) at += await writeSome(fd, bytes, at, bytes.length);
      } finally {
        // What was written is on the disk already: closing waits for nothing, and costs less than a thread's turn.
        closeSync(fd);
      }
    } catch (thrown) {
      await failed(asError(thrown), bytes);
    } finally {
      this.#close();
    }
  }

  async abort(): Promise<void> {
    this.#ended = true;
    await this.#writing;
    this.#close();
    await this.#options.remove();
  }

  /** At least one byte is left for the synchronous write. */
  #goal(): number {
    return Math.floor((this.#bytes.length - 1) / STEP) * STEP;
  }

  async #write(): Promise<void> {
    const { path, ready } = this.#options;
    if (this.#fd === undefined) {
      await ready();
      const { O_WRONLY, O_CREAT, O_EXCL, O_DIRECT } = constants;
      this.#fd = await openFd(path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT);
    }
    while (!this.#ended && this.#goal() > this.#written)
      this.#written += await writeSome(this.#fd, this.#bytes, this.#written, this.#goal());
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
