/** Owns the work of a reception thread: a batch of received files is parsed, and those that are to be stored there are stored meanwhile. */

import { type Answer, errorValue } from '../answer.ts';
import { mayBeDicom } from '../dicom/part10.ts';
import { type Parsed, type ParseTask, parseEach } from '../dicom/parsing.ts';
import type { IsenError } from '../errors.ts';
import { beginTogether, type PackSpace } from './pack-thread.ts';

/** Received files that go to a thread together. */
export interface Batch {
  readonly files: readonly ParseTask[];
  /** Where those are stored that are; entries of `blobs` belong to `files`, undefined for one that is only parsed. */
  readonly put?: {
    readonly space: PackSpace;
    readonly blobs: readonly ({ readonly uuid: string; readonly at: number } | undefined)[];
  };
}

/** A parsed file, with the UUID of its blob where that was stored. */
export interface ParsedFile extends Parsed {
  readonly blob?: string;
}

/**
 * An answer for each file. Those that look like DICOM are on their way to the disk while they are parsed: of one that cannot be parsed
 * all of it may be there.
 */
export function parseAndPut({ files, put }: Batch): readonly Answer<ParsedFile>[] {
  if (put === undefined) return parseEach(files);
  const blobs = files.flatMap(({ bytes }, index) => {
    const blob = put.blobs[index];
    const looksRight = mayBeDicom(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    return blob === undefined || !looksRight ? [] : [{ ...blob, bytes, index }];
  });
  const stored = beginTogether(put.space, blobs);
  let answers: Answer<ParsedFile>[] = [];
  let errors: readonly (IsenError | undefined)[];
  try {
    answers = parseEach(files);
  } finally {
    // Whatever became of the parsing: until then the memory is the disk's.
    errors = stored();
  }
  for (const [at, { index, uuid }] of blobs.entries()) {
    const [answer, error] = [answers[index], errors[at]];
    if (answer === undefined || !('ok' in answer)) continue;
    answers[index] = error === undefined ? { ok: { ...answer.ok, blob: uuid } } : { error: errorValue(error) };
  }
  return answers;
}
