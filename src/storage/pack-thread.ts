/** Owns the storing of small blobs by the thread that parses them: all of them with one write to a pack, while they are parsed. */

import { randomUUID } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { asIsenError, IsenError } from '../errors.ts';
import { writeError } from './descriptors.ts';
import { beginWrite } from './kernel-writes.ts';
import { LARGEST_PACKED, nameAt, spanOf, wholePages, writeEnd } from './pack-format.ts';
import { allocatePages, PAGE } from './pages.ts';

/** Blobs that go to the disk with one write at most. */
const MOST_BLOBS = 32;

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

/** Space in a pack, from `at` to before `end`, for blobs whose sizes nobody knows yet; who stores them names them (see `nameIn`). */
export interface PackRoom {
  readonly space: PackSpace;
  readonly pack: string;
  readonly at: number;
  readonly end: number;
}

/** The name of a blob of `size` bytes that goes to `at` in a room, and where the next one goes; undefined where it does not fit. */
export function nameIn(
  { pack, end }: PackRoom,
  at: number,
  size: number,
): { readonly uuid: string; readonly next: number } | undefined {
  const next = at + spanOf(size);
  return next > end || size > LARGEST_PACKED ? undefined : { uuid: nameAt({ pack, at, size }, randomUUID()), next };
}

/** A blob to be stored: `bytes` lie from a page of shared memory on, and go to `at` bytes from the beginning of the pack. */
export interface SmallBlob {
  readonly uuid: string;
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** The one that was opened longest ago first. */
const packs = new Map<string, number>();
/** Bytes that the end of a blob takes at most, and memory for the ends of those that are being stored: one batch at a time. */
const END = 2 * PAGE;
let ends = Buffer.from(allocatePages(MOST_BLOBS * END));

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

/** Begins the writing of blobs that lie one behind the other; `memory` is for their ends. What it answers waits for it. */
function beginRun(space: PackSpace, run: readonly SmallBlob[], memory: Buffer): () => void {
  const secret = Buffer.from(space.secret, 'hex');
  const pages = run.flatMap(({ uuid, bytes }, index) => {
    const end = writeEnd(memory.subarray(index * END), secret, uuid, bytes);
    const whole = wholePages(bytes.length);
    return whole > 0 ? [bytes.subarray(0, whole), end] : [end];
  });
  const size = pages.reduce((sum, page) => sum + page.length, 0);
  const finish = beginWrite(descriptorOf(space), pages, run[0]?.at ?? 0);
  return () => {
    const count = finish();
    if (count < size) throw new IsenError('CannotWriteFile', `the disk took ${count} of ${size} bytes`);
  };
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
 * Begins to store blobs, one batch of a thread at a time. What it answers waits for that, and answers for each what was wrong, or undefined:
 * then it would survive a power cut. Until then their bytes must not change. Of one that failed some may be left.
 */
export function beginTogether(space: PackSpace, blobs: readonly SmallBlob[]): () => readonly (IsenError | undefined)[] {
  if (ends.length < blobs.length * END) ends = Buffer.from(allocatePages(blobs.length * END));
  let at = 0;
  const runs = runsOf(blobs).map((run) => {
    const memory = ends.subarray(at * END);
    at += run.length;
    try {
      return { run, finish: beginRun(space, run, memory) };
    } catch (thrown) {
      return {
        run,
        finish: () => {
          throw thrown;
        },
      };
    }
  });
  return () =>
    runs.flatMap(({ run, finish }) => {
      try {
        finish();
        return run.map(() => undefined);
      } catch (thrown) {
        const error = asIsenError(writeError(thrown));
        return run.map(() => error);
      }
    });
}
