/** Owns the work of a parsing thread on received files: what the index keeps of each, and its MD5. */

import { createHash } from 'node:crypto';
import { type Answer, answering } from '../answer.ts';
import { type Identifiers, summarize } from './summary.ts';

export interface ParseTask {
  /** The file, or as much of its beginning as is in memory. Shared memory is read in place. */
  readonly bytes: Uint8Array;
  /** Bytes of the whole file. */
  readonly size: number;
  /** An element other than Pixel Data may go on past `bytes` as well; nothing is known of what follows it. */
  readonly cut?: boolean;
  /** Whether to hash `bytes`. */
  readonly hash: boolean;
}

export interface Parsed {
  readonly ids: Identifiers;
  /** JSON text of its Summary: nobody on the way to the index looks into it, and text crosses threads cheaply. */
  readonly summary: string;
  /** Lower-case hex; '' when not asked. */
  readonly md5: string;
}

/** Several at once, because waking a thread costs more than parsing a small file; each has its own answer. */
export const parseEach = (tasks: readonly ParseTask[]): Answer<Parsed>[] => tasks.map(answering(parse));

/** One of them. Throws BadFileFormat for what is not DICOM. */
export function parse({ bytes, size, hash, cut = false }: ParseTask): Parsed {
  // The summary first: what is not DICOM is not worth hashing.
  const summary = summarize(bytes, size, cut);
  return {
    ids: summary.ids,
    summary: JSON.stringify(summary),
    md5: hash ? createHash('md5').update(bytes).digest('hex') : '',
  };
}
