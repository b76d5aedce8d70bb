/**
 * Owns room at the end of the write-ahead log: where the log grows, each commit has the file system write down its new size as well,
 * which takes longer than the commit itself. SQLite minds nothing that lies behind the last frame it knows.
 */

import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Database as Connection } from 'better-sqlite3';

/** Bytes that are added at once, and those below which they are. */
const STEP = 4 << 20;
const LEAST = 2 << 20;

/** Commits between two looks, and after one that found no room on the disk. */
const COMMITS = 16;
const PATIENCE = 1000;

/** Bytes of a frame besides its page. */
const FRAME_HEADER = 24;

export class LogRoom {
  readonly #db: Connection;
  readonly #frame: number;
  readonly #zeros = Buffer.alloc(STEP / 4);
  #fd: number | undefined;
  #commits = 0;

  constructor(db: Connection) {
    this.#db = db;
    this.#frame = FRAME_HEADER + Number(db.pragma('page_size', { simple: true }));
  }

  /** Bytes of the log that are used, now and then; undefined in between, and where it is not known. Outside of a transaction. */
  used(): number | undefined {
    if (this.#commits-- > 0) return undefined;
    this.#commits = COMMITS - 1;
    try {
      // A look that copies nothing.
      const [state] = this.#db.pragma('wal_checkpoint = NOOP') as { readonly log: number }[];
      return state && state.log * this.#frame;
    } catch {
      return undefined;
    }
  }

  /**
   * Sees to it that the log is longer than what is used of it. In a transaction that writes: nobody else does then. Throws nothing: without
   * room commits are slower only.
   */
  ensure(used: number): void {
    try {
      this.#fd ??= openSync(`${this.#db.name}-wal`, 'r+');
      const { size } = fstatSync(this.#fd);
      if (size - used < LEAST) this.#extend(this.#fd, size);
    } catch {
      this.#commits = PATIENCE;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** By zeros, since only what was written once costs no more. */
  #extend(fd: number, size: number): void {
    try {
      for (let at = size; at < size + STEP; ) at += writeSync(fd, this.#zeros, 0, this.#zeros.length, at);
    } catch (thrown) {
      ftruncateSync(fd, size);
      throw thrown;
    }
  }
}
