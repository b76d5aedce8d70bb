/**
 * Owns the file of the write-ahead log as the disk sees it. SQLite as it is built for Node syncs it by fsync(2), which writes down the time
 * of its last change as well, and takes that much longer: here it is fdatasync(2). And there is room at its end: where the log grows, each
 * commit has the file system write down its new size, too. SQLite minds nothing that lies behind the last frame it knows.
 */

import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Database as Connection } from 'better-sqlite3';
import { IsenError } from '../../errors.ts';
import { type Commits, distrust, isDoubtful, trust } from './commits.ts';

/** Bytes that are added at once, and those below which they are. */
const STEP = 4 << 20;
const LEAST = 2 << 20;

/** Commits between two looks, and after one that found no room on the disk. */
const COMMITS = 16;
const PATIENCE = 1000;

/** Bytes of a frame besides its page. */
const FRAME_HEADER = 24;

/** What a commit fails with that may be durable, or not: DatabaseUnavailable. */
export const unwritten = (cause?: unknown): IsenError =>
  new IsenError('DatabaseUnavailable', 'the log of the index could not be written down', { cause });

export class LogFile {
  readonly #db: Connection;
  readonly #frame: number;
  readonly #shared: Commits;
  readonly #zeros = Buffer.alloc(STEP / 4);
  #fd: number | undefined;
  #commits = 0;

  /** From now on a commit of `db` is durable once {@link sync} has returned. */
  constructor(db: Connection, commits: Commits) {
    this.#db = db;
    this.#shared = commits;
    db.pragma('synchronous = NORMAL');
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
      const fd = this.open();
      const { size } = fstatSync(fd);
      if (size - used < LEAST) this.#extend(fd, size);
    } catch {
      this.#commits = PATIENCE;
    }
  }

  /** The log, which is the same file as long as a connection is open. Throws where it cannot be opened: before a commit, not after it. */
  open(): number {
    this.#fd ??= openSync(`${this.#db.name}-wal`, 'r+');
    return this.#fd;
  }

  /** Returns when what was committed would survive a power cut. Throws DatabaseUnavailable when nobody knows whether it would. */
  sync(): void {
    try {
      fdatasyncSync(this.open());
    } catch (thrown) {
      distrust(this.#shared);
      throw unwritten(thrown);
    }
    // What another sync found out is true of this one too.
    if (isDoubtful(this.#shared)) throw unwritten();
  }

  /** Has what is in doubt, and is still in memory, written into the file of the index, and a new log begun. Throws DatabaseUnavailable where that fails. */
  mend(): void {
    if (!isDoubtful(this.#shared)) return;
    const [state] = this.#db.pragma('wal_checkpoint = TRUNCATE') as { readonly busy: number }[];
    if (state?.busy !== 0) throw unwritten();
    trust(this.#shared);
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
