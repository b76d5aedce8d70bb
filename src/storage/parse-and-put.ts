/** Owns the work of a thread on received files: a batch is parsed, and those that are to be stored there are stored meanwhile. */

import { type Answer, answering, errorValue } from '../answer.ts';
import { mayBeDicom } from '../dicom/part10.ts';
import { type Parsed, type ParseTask, parsedOf, type Survey, surveyEach } from '../dicom/parsing.ts';
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

/** The UUID of the blob of a file, where it was stored. */
interface Put {
  readonly blob?: string;
}

/** A parsed file. */
export type ParsedFile = Parsed & Put;

/** What is known of a batch while it is on its way to the disk. */
export interface Underway {
  /** What parsing each file has shown, with the name of its blob, which may yet fail. */
  readonly answers: readonly Answer<Survey & Put>[];
  /**
   * Waits for the disk, and answers for each file what was wrong, or undefined. To be called in any case: until then the memory is the
   * disk's.
   */
  readonly stored: () => readonly (IsenError | undefined)[];
}

/**
 * Parses a batch, for who goes on with it in the same thread. What looks like DICOM is on its way to the disk meanwhile: of a file that
 * cannot be parsed all may be there.
 */
export function beginBatch({ files, put }: Batch): Underway {
  const blobs = files.flatMap(({ bytes }, index) => {
    const blob = put?.blobs[index];
    const looksRight = mayBeDicom(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    return blob === undefined || !looksRight ? [] : [{ ...blob, bytes, index }];
  });
  const wait = put === undefined ? () => [] : beginTogether(put.space, blobs);
  const stored = (): (IsenError | undefined)[] => {
    const errors: (IsenError | undefined)[] = files.map(() => undefined);
    for (const [at, error] of wait().entries()) errors[blobs[at]?.index ?? 0] = error;
    return errors;
  };
  try {
    const answers: Answer<Survey & Put>[] = surveyEach(files);
    for (const { index, uuid } of blobs) {
      const answer = answers[index];
      if (answer !== undefined && 'ok' in answer) answers[index] = { ok: { ...answer.ok, blob: uuid } };
    }
    return { answers, stored };
  } catch (thrown) {
    stored();
    throw thrown;
  }
}

/** An answer for each file: parsed, and durable where it has a blob. */
export function parseAndPut(batch: Batch): readonly Answer<ParsedFile>[] {
  const { answers, stored } = beginBatch(batch);
  const text = answering(({ blob, ...survey }: Survey & Put): ParsedFile => {
    return { ...parsedOf(survey), ...(blob !== undefined && { blob }) };
  });
  let parsed: readonly Answer<ParsedFile>[] = [];
  let errors: readonly (IsenError | undefined)[];
  try {
    parsed = answers.map((answer) => ('error' in answer ? answer : text(answer.ok)));
  } finally {
    errors = stored();
  }
  return parsed.map((answer, index) => {
    const error = errors[index];
    return 'error' in answer || error === undefined ? answer : { error: errorValue(error) };
  });
}
