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
  /** Whether to hash: the file, where all of it is here, and its header. */
  readonly hash: boolean;
}

/**
 * The name under which the index keeps the MD5 (base64) of the bytes before Pixel Data with the metadata of an instance: the header
 * of a stored file is read alone, and nothing altered may be taken for what was stored. Clients do not see it.
 */
export const HEADER_MD5 = 'HeaderMD5';

export interface Parsed {
  readonly ids: Identifiers;
  /** JSON text of its Summary: nobody on the way to the index looks into it, and text crosses threads cheaply. */
  readonly summary: string;
  /** Of the whole file in lower-case hex; '' when not asked, or when only its beginning is here. */
  readonly md5: string;
}

/** Several at once, because waking a thread costs more than parsing a small file; each has its own answer. */
export const parseEach = (tasks: readonly ParseTask[]): Answer<Parsed>[] => tasks.map(answering(parse));

/** One of them. Throws BadFileFormat for what is not DICOM. */
export function parse({ bytes, size, hash, cut = false }: ParseTask): Parsed {
  // The summary first: what is not DICOM is not worth hashing.
  const summary = summarize(bytes, size, cut);
  const { Instance: metadata } = summary.metadata;
  let md5 = '';
  if (hash) {
    const whole = createHash('md5');
    const offset = Number(metadata['PixelDataOffset'] ?? 0);
    const header = offset <= bytes.length ? offset : 0;
    if (header > 0) {
      whole.update(bytes.subarray(0, header));
      // The rest goes on from here: no byte is hashed twice.
      metadata[HEADER_MD5] = whole.copy().digest('base64');
    }
    if (bytes.length === size) md5 = whole.update(bytes.subarray(header)).digest('hex');
  }
  return { ids: summary.ids, summary: JSON.stringify(summary), md5 };
}
