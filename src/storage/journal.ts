/**
 * Owns the journal of small blobs: a synchronous write for each of them would make each wait for the file system's own bookkeeping, so many
 * go to the disk in one write to a file whose space is there already, while their own files are written when the system likes. A full
 * segment is written over only once the whole file system was synced; after a power cut, what is in the journal is put right. Nothing stays
 * in it for long: a server with little to do clears it, and one that is stopped removes it.
 */

import { randomBytes } from 'node:crypto';
import { constants, promises as fs } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { codeOf } from './descriptors.ts';
import { batchSize, blobsOf, writeSegmentHead } from './journal-batch.ts';
import type { JournalSpace } from './journal-thread.ts';
import { PAGE } from './pages.ts';

/** Bytes of a segment: at a hundred megabytes a second the file system is synced three times in that second. More often costs uploads. */
const SEGMENT = 32 << 20;

/** Segments at most: with all of them waiting for the disk, blobs are written one by one. */
const SEGMENTS = 4;

/** Bytes that a new segment leaves free. */
const LEAST_FREE = 256 << 20;

/** Milliseconds until something that failed is tried again, at first and at most. */
const RETRY = 1000;
const LONGEST_RETRY = 60_000;

/** Milliseconds that blobs stay in a segment that is not used, and such intervals for one that is. */
const KEPT = 60_000;
const KEPT_USED = 10;

/** Blobs that are put right side by side. */
const RESTORING = 8;

const NAME = /^journal-\d$/;

interface Segment {
  readonly path: string;
  readonly flags: number;
  readonly secret: string;
  /** Bytes given out. */
  at: number;
  /** Bytes that hold something, of this time or of one before. */
  used: number;
  /** Batches that are being written. */
  writing: number;
  full: boolean;
  /** Files of its blobs may be lost although the file system was synced since: it said once that something failed. */
  suspect: boolean;
  /** When the first and the last batch of this time were given space. */
  first: number;
  last: number;
}

/** Space of the journal that was given out. */
export interface Reserved {
  readonly space: JournalSpace;
  /** Whoever wrote there is done, or has given up. */
  release(): void;
}

export interface JournalOptions {
  /** Is there. */
  readonly folder: string;
  /** Makes everything durable that was written to the files of blobs before. A failure may be told once only. */
  readonly sync: () => Promise<void>;
  /** Writes the file of a blob anew and makes it durable, where it still is. */
  readonly rewrite: (uuid: string, bytes: Uint8Array) => Promise<void>;
  /** Milliseconds instead of {@link KEPT}. */
  readonly kept?: number;
}

export class Journal {
  readonly #folder: string;
  readonly #sync: () => Promise<void>;
  readonly #rewrite: JournalOptions['rewrite'];
  readonly #kept: number;
  readonly #segments: Segment[] = [];
  readonly #free: Segment[] = [];
  /** Full ones, to which nobody writes any more. */
  readonly #settling: Segment[] = [];
  readonly #closing = new AbortController();
  #current: Segment | undefined;
  #preparing: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  #clearing: Promise<void> | undefined;
  #watch: NodeJS.Timeout | undefined;

  constructor({ folder, sync, rewrite, kept = KEPT }: JournalOptions) {
    this.#folder = folder;
    this.#sync = sync;
    this.#rewrite = rewrite;
    this.#kept = kept;
  }

  /** Space for a batch of blobs of these sizes; undefined while there is none. */
  reserve(sizes: readonly number[]): Reserved | undefined {
    if (this.#closing.signal.aborted) return undefined;
    const size = batchSize(sizes);
    if (this.#current === undefined || this.#current.at + size > SEGMENT) {
      this.#leaveCurrent();
      this.#current = this.#free.pop();
    }
    const segment = this.#current;
    if (this.#free.length === 0 && (segment === undefined || segment.at > SEGMENT / 2)) this.#prepare();
    if (segment === undefined) return undefined;
    const { path, flags, secret, at } = segment;
    segment.last = performance.now();
    if (at === PAGE) segment.first = segment.last;
    segment.at += size;
    segment.used = Math.max(segment.used, segment.at);
    segment.writing += 1;
    this.#watch ??= setTimeout(() => this.#look(), this.#kept).unref();
    return {
      space: { path, flags, secret, at },
      release: () => {
        segment.writing -= 1;
        this.#settle(segment);
      },
    };
  }

  /**
   * Makes the files of all blobs durable, and removes the journal: nobody writes to it any more. Killed meanwhile nothing is lost; where the
   * disk fails, what may be needed stays for the next start.
   */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#watch);
    await this.#preparing;
    await this.#clearing;
    this.#leaveCurrent();
    await this.#syncing;
    if (this.#free.length < this.#segments.length)
      log.generic.error('what was stored last may be in the journal alone: it stays, for the next start');
    for (const { path } of this.#free.splice(0)) await fs.rm(path, { force: true });
  }

  #leaveCurrent(): void {
    const segment = this.#current;
    this.#current = undefined;
    if (segment === undefined) return;
    segment.full = true;
    this.#settle(segment);
  }

  /** What a full segment holds is made durable, when nobody writes to it any more; then it is free. */
  #settle(segment: Segment): void {
    if (!segment.full || segment.writing > 0) return;
    this.#settling.push(segment);
    this.#syncing ??= this.#makeDurable().finally(() => {
      this.#syncing = undefined;
    });
  }

  async #makeDurable(): Promise<void> {
    for (let pause = RETRY; this.#settling.length > 0; ) {
      const segments = [...this.#settling];
      try {
        if (segments.some(({ suspect }) => !suspect))
          await this.#sync().catch((thrown: unknown) => this.#doubt(thrown));
        for (const { path } of segments.filter(({ suspect }) => suspect))
          for (const { uuid, bytes } of blobsOf(await readSegment(path))) await this.#rewrite(uuid, bytes);
      } catch (thrown) {
        log.generic.error({ err: thrown }, 'what was stored last is in the journal, and not yet in its files');
        if (this.#closing.signal.aborted) return;
        await sleep(pause, undefined, { ref: false, signal: this.#closing.signal }).catch(() => {});
        pause = Math.min(pause * 2, LONGEST_RETRY);
        continue;
      }
      pause = RETRY;
      this.#settling.splice(0, segments.length);
      for (const segment of segments) {
        segment.full = false;
        segment.suspect = false;
        segment.at = PAGE;
        this.#free.push(segment);
      }
    }
  }

  /**
   * The sync failed. What could not be written counts as written from now on, so that the next sync says nothing of it: every file whose
   * blob is not known to be durable is to be written anew.
   */
  #doubt(thrown: unknown): void {
    log.generic.error({ err: thrown }, 'the disk failed: what was stored last is written again, from the journal');
    for (const segment of this.#segments) if (segment.full || segment.at > PAGE) segment.suspect = true;
  }

  /** Blobs that may be deleted by now do not stay in the journal. */
  #look(): void {
    this.#watch = undefined;
    const now = performance.now();
    const isOld = ({ first, last }: Segment): boolean =>
      now - last >= this.#kept || now - first >= KEPT_USED * this.#kept;
    if (this.#current !== undefined && isOld(this.#current)) this.#leaveCurrent();
    const old = this.#free.filter((segment) => segment.used > PAGE && isOld(segment));
    for (const segment of old) this.#free.splice(this.#free.indexOf(segment), 1);
    this.#clearing = (async () => {
      await this.#clearing;
      for (const segment of old) {
        await clear(segment).catch((thrown: unknown) => {
          log.generic.warn({ err: thrown }, 'the journal could not be cleared');
        });
        this.#free.push(segment);
      }
    })();
    if (this.#segments.some(({ used }) => used > PAGE))
      this.#watch = setTimeout(() => this.#look(), this.#kept).unref();
  }

  #prepare(): void {
    if (this.#preparing !== undefined || this.#segments.length >= SEGMENTS) return;
    const path = join(this.#folder, `journal-${this.#segments.length}`);
    this.#preparing = prepare(path).then(
      (segment) => {
        this.#segments.push(segment);
        this.#free.push(segment);
        this.#preparing = undefined;
      },
      (thrown: unknown) => {
        log.generic.warn({ err: thrown }, 'small files are written one by one: there is no space for a journal');
        setTimeout(() => {
          this.#preparing = undefined;
        }, LONGEST_RETRY).unref();
      },
    );
  }
}

async function prepare(path: string): Promise<Segment> {
  const { bavail, bsize } = await fs.statfs(join(path, '..'));
  if (bavail * bsize < LEAST_FREE + SEGMENT) throw new IsenError('FullStorage');
  const secret = randomBytes(16).toString('hex');
  const file = await fs.open(path, 'wx', 0o600);
  try {
    const step = Buffer.alloc(1 << 20);
    writeSegmentHead(step.subarray(0, PAGE), secret);
    for (let at = 0; at < SEGMENT; ) {
      at += (await file.write(step, at % step.length, step.length - (at % step.length), at)).bytesWritten;
      if (at >= PAGE) step.fill(0, 0, PAGE);
    }
    await file.sync();
  } catch (thrown) {
    await fs.rm(path, { force: true });
    throw thrown;
  } finally {
    await file.close();
  }
  const plain = constants.O_WRONLY | constants.O_DSYNC;
  const direct = plain | (constants.O_DIRECT ?? 0);
  const flags = (await isOpened(path, direct)) ? direct : plain;
  const [first, last] = [0, 0];
  return { path, flags, secret, at: PAGE, used: PAGE, writing: 0, full: false, suspect: false, first, last };
}

/** Writes zeros over what a segment holds that is free. */
async function clear(segment: Segment): Promise<void> {
  const file = await fs.open(segment.path, 'r+');
  try {
    const zeros = Buffer.alloc(1 << 20);
    for (let at = PAGE; at < segment.used; )
      at += (await file.write(zeros, 0, Math.min(zeros.length, segment.used - at), at)).bytesWritten;
    await file.datasync();
    segment.used = PAGE;
  } finally {
    await file.close();
  }
}

/** Whether the file system opens a file with these flags. */
async function isOpened(path: string, flags: number): Promise<boolean> {
  try {
    await (await fs.open(path, flags)).close();
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === 'EINVAL') return false;
    throw thrown;
  }
}

/** Of anything that is larger the beginning. */
async function readSegment(path: string): Promise<Buffer> {
  const file = await fs.open(path, 'r');
  try {
    const segment = Buffer.alloc(Math.min((await file.stat()).size, SEGMENT));
    let at = 0;
    for (let count = -1; at < segment.length && count !== 0; at += count)
      count = (await file.read(segment, at, segment.length - at, at)).bytesRead;
    return segment.subarray(0, at);
  } finally {
    await file.close();
  }
}

/** The journals that an earlier run left in `folder`. */
export async function journalsLeft(folder: string): Promise<readonly string[]> {
  return (await fs.readdir(folder)).filter((each) => NAME.test(each)).map((name) => join(folder, name));
}

/** Gives every blob that is in the journal at `path` to `restoreBlob`, some side by side. Throws CorruptedFile, and as that does. */
export async function restore(
  path: string,
  restoreBlob: (uuid: string, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  let segment: Buffer;
  try {
    segment = await readSegment(path);
  } catch (thrown) {
    const details = `the journal ${path} cannot be read (${asError(thrown).message}); without it images stored last may be missing`;
    throw new IsenError('CorruptedFile', details, { cause: thrown });
  }
  const blobs = blobsOf(segment);
  const worker = async (): Promise<void> => {
    for (const { uuid, bytes } of blobs) await restoreBlob(uuid, bytes);
  };
  await Promise.all(Array.from({ length: RESTORING }, worker));
}
