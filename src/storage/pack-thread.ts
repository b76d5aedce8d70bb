/** Owns the storing of small blobs by the thread that has parsed them: all of them in one synchronous write to a pack. */

import { closeSync, openSync, writevSync } from 'node:fs';
import { asIsenError, IsenError } from '../errors.ts';
import { writeError } from './descriptors.ts';
import { spanOf, wholePages, writeEnd } from './pack-format.ts';
import { allocatePages, PAGE } from './pages.ts';

/** Blobs that go to the disk together at most. */
export const MOST_BLOBS = 32;

/** Packs that a thread holds open: blobs are added to four at a time. */
const HELD = 8;

/** Where blobs may be written. */
export interface PackSpace {
  readonly path: string;
  /** Flags of open(2) for the pack. */
  readonly flags: number;
  /** In hexadecimal digits. */
  readonly secret: string;
}

/** A blob to be stored: `bytes` lie from a page of shared memory on, and go to `at` bytes from the beginning of the pack. */
export interface SmallBlob {
  readonly uuid: string;
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** The one that was opened longest ago first. */
const packs = new Map<string, number>();
const ends = Buffer.from(allocatePages(MOST_BLOBS * 2 * PAGE));

function descriptorOf({ path, flags }: PackSpace): number {
  const open = packs.get(path);
  if (open !== undefined) return open;
  const [oldest] = packs;
  if (oldest !== undefined && packs.size >= HELD) {
    packs.delete(oldest[0]);
    closeSync(oldest[1]);
  }
  const fd = openSync(path, flags);
  packs.set(path, fd);
  return fd;
}

/** Writes blobs that lie one behind the other. */
function writeRun(space: PackSpace, run: readonly SmallBlob[]): void {
  const secret = Buffer.from(space.secret, 'hex');
  const pages = run.flatMap(({ uuid, bytes }, index) => {
    const end = writeEnd(ends.subarray(index * 2 * PAGE), secret, uuid, bytes);
    const whole = wholePages(bytes.length);
    return whole > 0 ? [bytes.subarray(0, whole), end] : [end];
  });
  const size = pages.reduce((sum, page) => sum + page.length, 0);
  const count = writevSync(descriptorOf(space), pages, run[0]?.at ?? 0);
  if (count < size) throw new IsenError('CannotWriteFile', `the disk took ${count} of ${size} bytes`);
}

/** Blobs with no gaps between them, and no more together than may be. */
function runsOf(blobs: readonly SmallBlob[]): SmallBlob[][] {
  const runs: SmallBlob[][] = [];
  let end = -1;
  for (const blob of blobs) {
    const run = runs.at(-1);
    if (run === undefined || blob.at !== end || run.length >= MOST_BLOBS) runs.push([blob]);
    else run.push(blob);
    end = blob.at + spanOf(blob.bytes.length);
  }
  return runs;
}

/**
 * Stores blobs; answers for each what was wrong, or undefined: then it would survive a power cut. Of one that failed some may be left.
 */
export function putTogether(space: PackSpace, blobs: readonly SmallBlob[]): readonly (IsenError | undefined)[] {
  return runsOf(blobs).flatMap((run) => {
    try {
      writeRun(space, run);
      return run.map(() => undefined);
    } catch (thrown) {
      const error = asIsenError(writeError(thrown));
      return run.map(() => error);
    }
  });
}
