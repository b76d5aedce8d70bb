/**
 * Owns what crosses to the thread that writes: operations with the maps of an instance to store already as JSON text,
 * which is both what the rows hold and much cheaper to clone than objects.
 */

import { LEVELS } from '../../dicom/levels.ts';
import type { ErrorValue } from '../../answer.ts';
import type { Attachment, Committed, DatabaseLimits, Operation, OverwriteMode, StoreOperation } from '../database.ts';

/** A {@link StoreOperation} on its way; arrays go from Patient to Instance. */
export interface StoreRecord {
  readonly kind: 'store';
  /** The four public ids, 44 characters each, joined. */
  readonly ids: string;
  readonly tags: readonly string[];
  readonly metadata: readonly string[];
  readonly sopInstanceUid: string | undefined;
  readonly remoteAET: string | undefined;
  readonly attachment: Attachment;
  readonly overwrite: OverwriteMode;
}

export type OperationRecord = StoreRecord | Exclude<Operation, StoreOperation>;

/** What the thread is given when it starts. */
export interface WriterData {
  readonly path: string;
  readonly limits: DatabaseLimits;
}

export type WriteTask =
  | { readonly kind: 'open' }
  | { readonly kind: 'commit'; readonly operations: readonly OperationRecord[] }
  | { readonly kind: 'checkpoint' }
  | { readonly kind: 'close' };

/** A failure is a value: the class of an Error does not survive the way between threads. */
export type WriteAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'committed'; readonly committed: Committed }
  | { readonly kind: 'failed'; readonly error: ErrorValue };

/** The record of an operation. */
export function recordOf(operation: Operation): OperationRecord {
  if (operation.kind !== 'store') return operation;
  const { summary, attachment, metadata, overwrite } = operation;
  return {
    kind: 'store',
    ids: LEVELS.map((level) => summary.ids[level]).join(''),
    tags: LEVELS.map((level) => JSON.stringify(summary.tags[level])),
    metadata: LEVELS.map((level) =>
      JSON.stringify(level === 'Instance' ? { ...summary.metadata.Instance, ...metadata } : summary.metadata[level]),
    ),
    sopInstanceUid: summary.tags.Instance['0008,0018'],
    remoteAET: metadata['RemoteAET'],
    attachment,
    overwrite,
  };
}
