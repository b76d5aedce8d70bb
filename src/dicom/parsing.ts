/** Owns the work of a parsing thread on one received file: what the index keeps of it, and its MD5. */

import { createHash } from 'node:crypto';
import { type Summary, summarize } from './summary.ts';

export interface ParseTask {
  /** The file, or as much of its beginning as is in memory. Shared memory is read in place. */
  readonly bytes: Uint8Array;
  /** Bytes of the whole file. */
  readonly size: number;
  /** Whether to hash `bytes`. */
  readonly hash: boolean;
}

export interface Parsed {
  readonly summary: Summary;
  /** Lower-case hex; '' when not asked. */
  readonly md5: string;
}

/** Throws BadFileFormat for what is not DICOM. */
export function parse({ bytes, size, hash }: ParseTask): Parsed {
  // The summary first: what is not DICOM is not worth hashing.
  const summary = summarize(bytes, size);
  return { summary, md5: hash ? createHash('md5').update(bytes).digest('hex') : '' };
}
