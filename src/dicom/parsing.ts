/** Owns the work of a parsing thread on received files: what the index keeps of each, and its MD5. */

import { createHash } from 'node:crypto';
import { type Answer, answering } from '../answer.ts';
import { md5Each } from '../md5.ts';
import { type Identifiers, summarize, type Summary } from './summary.ts';

export interface ParseTask {
  /** The file, or as much of its beginning as is in memory. Shared memory is read in place. */
  readonly bytes: Uint8Array;
  /** Bytes of the whole file. */
  readonly size: number;
  /** An element other than Pixel Data may go on past `bytes` as well; nothing is known of what follows it. */
  readonly cut?: boolean;
  /** Whether to hash: the file, where all of it is here, and its header. */
  readonly hash: boolean;
  /** MD5 of the whole file, where it is known: then the header alone is hashed. */
  readonly md5?: string;
  /** Others wait for what is parsed: what takes long, as a deflated data set or one of many elements may, throws BadFileFormat. */
  readonly quick?: boolean;
}

/** What is parsed quickly: about a millisecond. */
const QUICK = { maximumInflated: 1, maximumElements: 4096 };

/** Bytes of the smallest file that is hashed beside another. */
const LEAST_PAIRED = 128 << 10;

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

/** What is {@link Parsed} for who goes on with it in the same thread. */
export interface Survey {
  readonly summary: Summary;
  /** As that of {@link Parsed}. */
  readonly md5: string;
}

export const parsedOf = ({ summary, md5 }: Survey): Parsed => ({
  ids: summary.ids,
  summary: JSON.stringify(summary),
  md5,
});

/**
 * Several at once, because waking a thread costs more than parsing a small file, and two large ones are hashed faster side by side; each has
 * its own answer.
 */
export function surveyEach(tasks: readonly ParseTask[]): Answer<Survey>[] {
  if (tasks.filter(isPaired).length < 2) return tasks.map(answering(survey));
  // What is not DICOM is not worth hashing: that is seen first.
  const answers = tasks.map((task) => answering(survey)(isPaired(task) ? { ...task, md5: '' } : task));
  const left = tasks.flatMap((task, index) => {
    const answer = answers[index];
    return isPaired(task) && answer !== undefined && 'ok' in answer ? [{ index, task, seen: answer.ok }] : [];
  });
  const digests = md5Each(left.map(({ task }) => task.bytes));
  for (const [at, { index, seen }] of left.entries()) answers[index] = { ok: { ...seen, md5: digests[at] ?? '' } };
  return answers;
}

/** Whether it is to be hashed whole, and is large enough for the way to the code that hashes two. */
const isPaired = ({ bytes, size, hash, md5 }: ParseTask): boolean =>
  hash && md5 === undefined && bytes.length === size && size >= LEAST_PAIRED;

/** One file. Throws BadFileFormat for what is not DICOM. */
export const parse = (task: ParseTask): Parsed => parsedOf(survey(task));

/** The same as {@link surveyEach}, of one. Throws as `parse` does. */
export function survey({ bytes, size, hash, md5: known, cut = false, quick = false }: ParseTask): Survey {
  // The summary first: what is not DICOM is not worth hashing.
  const summary = summarize(bytes, { size, cut, ...(quick && QUICK) });
  const { Instance: metadata } = summary.metadata;
  let md5 = known ?? '';
  if (hash) {
    const whole = createHash('md5');
    const offset = Number(metadata['PixelDataOffset'] ?? 0);
    const header = offset <= bytes.length ? offset : 0;
    if (header > 0) {
      whole.update(bytes.subarray(0, header));
      // The rest goes on from here: no byte is hashed twice.
      metadata[HEADER_MD5] = whole.copy().digest('base64');
    }
    if (known === undefined && bytes.length === size) md5 = whole.update(bytes.subarray(header)).digest('hex');
  }
  return { summary, md5 };
}
