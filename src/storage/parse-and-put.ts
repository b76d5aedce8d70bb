/** Owns the work of a reception thread: a batch of received files is parsed, and those that are to be stored there are stored together. */

import { type Answer, errorValue } from '../answer.ts';
import { type Parsed, type ParseTask, parseEach } from '../dicom/parsing.ts';
import { type PackSpace, putTogether, type SmallBlob } from './pack-thread.ts';

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

/** An answer for each file. One that cannot be parsed is not stored. */
export function parseAndPut({ files, put }: Batch): readonly Answer<ParsedFile>[] {
  const parsed = parseEach(files);
  if (put === undefined) return parsed;
  const blobs: (SmallBlob & { readonly index: number; readonly parsed: Parsed })[] = [];
  for (const [index, answer] of parsed.entries()) {
    const [file, blob] = [files[index], put.blobs[index]];
    if (file !== undefined && blob !== undefined && 'ok' in answer)
      blobs.push({ ...blob, bytes: file.bytes, index, parsed: answer.ok });
  }
  const answers: Answer<ParsedFile>[] = [...parsed];
  for (const [at, error] of putTogether(put.space, blobs).entries()) {
    const blob = blobs[at];
    if (blob === undefined) continue;
    answers[blob.index] =
      error === undefined ? { ok: { ...blob.parsed, blob: blob.uuid } } : { error: errorValue(error) };
  }
  return answers;
}
