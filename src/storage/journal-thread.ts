/**
 * Owns the storing of small blobs by the thread that has parsed them: each as a file of its own, which the system writes when it will, and
 * all of them together in one synchronous write to the journal.
 */

import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, writeSync, writevSync } from 'node:fs';
import { asIsenError, IsenError } from '../errors.ts';
import { writeError } from './descriptors.ts';
import { type BatchEntry, padded, writeContents } from './journal-batch.ts';
import { allocatePages, PAGE } from './pages.ts';

/** Where a batch may be written: space of a segment of the journal. */
export interface JournalSpace {
  readonly path: string;
  /** Flags of open(2) for the segment. */
  readonly flags: number;
  readonly secret: string;
  /** Bytes from the beginning of the segment. */
  readonly at: number;
}

/** A blob to be stored: `bytes` lie from a page of shared memory on, whose rest of the last page is free. `md5` is '' where it is not known. */
export interface SmallBlob {
  readonly uuid: string;
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly md5: string;
}

/** Segments that this thread has opened: a handful in the life of a server. */
const segments = new Map<string, number>();
const contents = Buffer.from(allocatePages(PAGE));

function descriptorOf({ path, flags }: JournalSpace): number {
  const open = segments.get(path) ?? openSync(path, flags);
  segments.set(path, open);
  return open;
}

function writeFile({ path, bytes }: SmallBlob): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
  } finally {
    closeSync(fd);
  }
}

/** The whole pages of a blob; what follows it in the last one is none of its bytes, and is cleared. */
function pagesOf({ bytes }: SmallBlob): Uint8Array {
  const pages = new Uint8Array(bytes.buffer, bytes.byteOffset, padded(bytes.length));
  pages.fill(0, bytes.length);
  return pages;
}

/**
 * Stores blobs; answers for each what was wrong, or undefined: then it would survive a power cut. Of one that failed some may be left.
 */
export function putTogether(space: JournalSpace, blobs: readonly SmallBlob[]): readonly (IsenError | undefined)[] {
  const errors: (IsenError | undefined)[] = blobs.map((blob) => {
    try {
      writeFile(blob);
      return undefined;
    } catch (thrown) {
      return writeError(thrown);
    }
  });
  const written = blobs.filter((_, index) => errors[index] === undefined);
  if (written.length === 0) return errors;
  try {
    const entries = written.map<BatchEntry>(({ uuid, bytes, md5 }) => ({
      uuid,
      size: bytes.length,
      md5: md5 || createHash('md5').update(bytes).digest('hex'),
    }));
    writeContents(contents, space.secret, entries);
    const pages = [contents, ...written.map(pagesOf)];
    const size = pages.reduce((sum, page) => sum + page.length, 0);
    const count = writevSync(descriptorOf(space), pages, space.at);
    if (count < size) throw new IsenError('CannotWriteFile', `the journal took ${count} of ${size} bytes`);
  } catch (thrown) {
    const error = asIsenError(writeError(thrown));
    return errors.map((each) => each ?? error);
  }
  return errors;
}
