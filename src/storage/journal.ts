/**
 * Owns the journal of small blobs: a synchronous write for each of them would make each wait for the file system's own bookkeeping, so many
 * go to the disk in one write to a file whose space is there already, while their own files are written when the system likes. A full
 * segment is written over only once the whole file system was synced; after a power cut, what is in the journal is put right.
 */

import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, promises as fs } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { asError, IsenError } from '../errors.ts';
import { libc } from '../libc.ts';
import { log } from '../log.ts';
import { codeOf } from './descriptors.ts';
import { batchSize, blobsOf, writeSegmentHead } from './journal-batch.ts';
import type { JournalSpace } from './journal-thread.ts';
import { PAGE } from './pages.ts';

/** Bytes of a segment: at a hundred megabytes a second the file system is synced three times in that second. More often costs uploads. */
const SEGMENT = 32 << 20;

/** Segments at most: with all of them waiting for the disk, blobs are written one by one. */
const SEGMENTS = 4;

/** Milliseconds until something that failed is tried again. */
const RETRY = 1000;
const RETRY_PREPARING = 60_000;

const NAME = /^journal-\d$/;

interface Segment {
  readonly path: string;
  readonly flags: number;
  readonly secret: string;
  /** Bytes given out. */
  at: number;
  /** Batches that are being written. */
  writing: number;
  full: boolean;
}

/** Has all of a file system written, that of the folder at `path`; undefined where the system cannot be asked for it. */
export function wholeSync(path: string): (() => Promise<void>) | undefined {
  const syncfs = libc('int syncfs(int)', 'a journal of small files');
  if (syncfs === undefined) return undefined;
  return async () => {
    const fd = openSync(path, constants.O_RDONLY);
    try {
      await new Promise<void>((resolve, reject) => {
        syncfs.async(fd, (error, result) => {
          if (error === null && result === 0) resolve();
          else reject(new IsenError('CannotWriteFile', `syncing the file system of ${path} failed`, { cause: error }));
        });
      });
    } finally {
      closeSync(fd);
    }
  };
}

/** Space of the journal that was given out. */
export interface Reserved {
  readonly space: JournalSpace;
  /** Whoever wrote there is done, or has given up. */
  release(): void;
}

export class Journal {
  readonly #folder: string;
  readonly #sync: () => Promise<void>;
  readonly #free: Segment[] = [];
  #current: Segment | undefined;
  #made = 0;
  #preparing = false;

  /** `folder` is there; `sync` makes everything durable that was written to the files of blobs before. */
  constructor(folder: string, sync: () => Promise<void>) {
    this.#folder = folder;
    this.#sync = sync;
  }

  /** Space for a batch of blobs of these sizes; undefined while there is none. */
  reserve(sizes: readonly number[]): Reserved | undefined {
    const size = batchSize(sizes);
    if (this.#current === undefined || this.#current.at + size > SEGMENT) {
      const full = this.#current;
      this.#current = this.#free.pop();
      if (full !== undefined) {
        full.full = true;
        this.#settle(full);
      }
    }
    const segment = this.#current;
    if (this.#free.length === 0 && (segment === undefined || segment.at > SEGMENT / 2)) this.#prepare();
    if (segment === undefined) return undefined;
    const { path, flags, secret, at } = segment;
    segment.at += size;
    segment.writing += 1;
    return {
      space: { path, flags, secret, at },
      release: () => {
        segment.writing -= 1;
        this.#settle(segment);
      },
    };
  }

  /** What a full segment holds is made durable, when nobody writes to it any more; then it is free. */
  #settle(segment: Segment): void {
    if (!segment.full || segment.writing > 0) return;
    void (async () => {
      for (;;) {
        try {
          await this.#sync();
          break;
        } catch (thrown) {
          log.generic.error({ err: thrown }, 'what was stored last is in the journal, and not yet in its files');
          await sleep(RETRY, undefined, { ref: false });
        }
      }
      segment.full = false;
      segment.at = PAGE;
      this.#free.push(segment);
    })();
  }

  #prepare(): void {
    if (this.#preparing || this.#made >= SEGMENTS) return;
    this.#preparing = true;
    const path = join(this.#folder, `journal-${this.#made}`);
    this.#segment(path).then(
      (segment) => {
        this.#made += 1;
        this.#preparing = false;
        this.#free.push(segment);
      },
      (thrown: unknown) => {
        log.generic.warn({ err: thrown }, 'small files are written one by one: there is no space for a journal');
        setTimeout(() => {
          this.#preparing = false;
        }, RETRY_PREPARING).unref();
      },
    );
  }

  async #segment(path: string): Promise<Segment> {
    const secret = randomBytes(16).toString('hex');
    // What the last run left here was put right at the start of this one: before it goes that must be durable.
    await this.#sync();
    const file = await fs.open(path, 'w', 0o600);
    try {
      const step = Buffer.alloc(1 << 20);
      writeSegmentHead(step.subarray(0, PAGE), secret);
      for (let at = 0; at < SEGMENT; at += step.length) {
        await file.write(step, 0, step.length, at);
        step.fill(0, 0, PAGE);
      }
      await file.sync();
    } catch (thrown) {
      await fs.rm(path, { force: true });
      throw thrown;
    } finally {
      await file.close();
    }
    const flags = constants.O_WRONLY | constants.O_DSYNC;
    const direct = flags | (constants.O_DIRECT ?? 0);
    return { path, flags: (await isOpened(path, direct)) ? direct : flags, secret, at: PAGE, writing: 0, full: false };
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

/** Gives every blob that is in the journals of `folder` to `restore`, one after another. Throws CannotReadFile… as that and reading do. */
export async function restore(
  folder: string,
  restoreBlob: (uuid: string, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  for (const name of (await fs.readdir(folder)).filter((each) => NAME.test(each))) {
    let segment: Buffer;
    try {
      segment = await fs.readFile(join(folder, name));
    } catch (thrown) {
      throw new IsenError('CorruptedFile', `the journal ${name} cannot be read: ${asError(thrown).message}`, {
        cause: thrown,
      });
    }
    for (const { uuid, bytes } of blobsOf(segment)) await restoreBlob(uuid, bytes);
  }
}
