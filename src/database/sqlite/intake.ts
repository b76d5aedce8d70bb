/** Owns taking in received files in the thread that commits: parsed, durable and in the index within one task, while the disk writes. */

import { parsedOf, type Survey } from '../../dicom/parsing.ts';
import { type Batch, beginBatch } from '../../storage/parse-and-put.ts';
import { type Arrival, asItCame, type Committed, type Outcome, type Taken, type TakenFile } from '../database.ts';
import type { ReadStore } from './task.ts';
import type { Writer } from './writer.ts';

/** A file on its way to the disk. */
interface Leaving extends Survey {
  readonly blob: string;
  /** Its place in the batch. */
  readonly at: number;
}

/** Thrown to undo a transaction of which not every file got to the disk. */
const NOT_DURABLE = new Error('a file is not durable');

const isStored = (outcome: Outcome): boolean => outcome.kind === 'stored' && outcome.status === 'Success';

/**
 * As the port promises, but that the log is not synced. Throws as `writer` does where the commit itself failed. `digests` waits for the MD5s of
 * the files, where somebody else computes them.
 */
export function takeIn(
  writer: Writer,
  { files, put }: Batch,
  arrivals: readonly Arrival[],
  digests?: () => readonly string[],
): Taken {
  // What is parsed here holds up everything that is committed.
  const quick = files.map((file) => ({ ...file, quick: true }));
  const { answers, stored } = beginBatch({ files: quick, ...(put && { put }) });
  let known: readonly string[] | undefined;
  const md5Of = ({ md5, at }: Leaving): string => known?.[at] ?? md5;
  const operationOf = (file: Leaving): ReadStore => ({
    kind: 'store',
    summary: file.summary,
    attachment: asItCame(file.blob, files[file.at]?.size ?? 0, md5Of(file)),
    metadata: arrivals[file.at]?.metadata ?? {},
    overwrite: arrivals[file.at]?.overwrite ?? 'Never',
  });
  let leaving = answers.flatMap((answer, at): Leaving[] => {
    const blob = 'ok' in answer ? answer.ok.blob : undefined;
    return 'ok' in answer && blob !== undefined ? [{ ...answer.ok, blob, at }] : [];
  });
  let errors: ReturnType<typeof stored> | undefined;
  let isEnding = false;
  /** The rows are written while the disk writes the files. */
  const durable = (): void => {
    errors ??= stored();
    if (leaving.some(({ at }) => errors?.[at] !== undefined)) throw NOT_DURABLE;
    isEnding = true;
  };
  const commit = (): Committed =>
    leaving.length === 0
      ? { outcomes: [], changes: [], removals: [] }
      : writer.commitUnsynced(leaving.map(operationOf), durable);
  let committed: Committed;
  try {
    known = digests?.();
    try {
      committed = commit();
    } catch (thrown) {
      if (thrown !== NOT_DURABLE) throw thrown;
      leaving = leaving.filter(({ at }) => errors?.[at] === undefined);
      committed = commit();
    }
  } catch (thrown) {
    // Before the commit itself nothing can have become durable: the usual way says what is wrong.
    if (isEnding) throw thrown;
    return { files: files.map(() => undefined), changes: [], removals: [] };
  } finally {
    errors ??= stored();
  }
  const { outcomes, changes, removals } = committed;
  const taken: (TakenFile | undefined)[] = files.map(() => undefined);
  for (const [index, file] of leaving.entries()) {
    const { summary, blob, at } = file;
    const outcome = outcomes[index];
    if (outcome === undefined) continue;
    const md5 = md5Of(file);
    // Nobody looks into the summary of what is stored: the text costs as much as the row.
    const parsed = isStored(outcome) ? { ids: summary.ids, summary: '', md5 } : parsedOf({ summary, md5 });
    taken[at] = { ...parsed, blob, outcome };
  }
  return { files: taken, changes, removals };
}
