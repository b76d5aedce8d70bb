/**
 * Owns what crosses to the thread that writes. A batch travels as one JSON text: of the ways measured it costs the main
 * thread least, because the summaries are text already.
 */

import type { Level } from '../../dicom/levels.ts';
import type { Summary } from '../../dicom/summary.ts';
import type { Batch } from '../../storage/parse-and-put.ts';
import type { Attended, Attending } from '../attending.ts';
import type { Arrival, Committed, DatabaseLimits, Operation, StoreOperation, Taken } from '../database.ts';
import type { Commits } from './commits.ts';

/** What the thread is given when it starts. */
export interface WriterData {
  readonly path: string;
  readonly limits: DatabaseLimits;
  readonly commits: Commits;
  /** Descriptor of the bell that ends attending; undefined where nothing is attended to. */
  readonly bell: number | undefined;
  /** Main tags that are kept besides the built-in ones. */
  readonly kept: Partial<Record<Level, readonly string[]>>;
}

export type WriteTask =
  | { readonly kind: 'open' }
  /** `operations` is what {@link encodeOperations} makes. */
  | { readonly kind: 'commit'; readonly operations: string }
  | { readonly kind: 'take-in'; readonly batch: Batch; readonly arrivals: readonly Arrival[] }
  | ({ readonly kind: 'attend' } & Attending)
  | { readonly kind: 'checkpoint' }
  | { readonly kind: 'close' };

/** What a task answers. */
export type WriteAnswer = Committed | Taken | Attended | undefined;

/** A {@link StoreOperation} with its summary read. */
export interface ReadStore extends Omit<StoreOperation, 'summary' | 'ids'> {
  readonly summary: Summary;
}

/** An {@link Operation} as the writer gets it. */
export type ReadOperation = Exclude<Operation, StoreOperation> | ReadStore;

export function encodeOperations(operations: readonly Operation[]): string {
  return `[${operations.map(encode).join()}]`;
}

function encode(operation: Operation): string {
  if (operation.kind !== 'store') return JSON.stringify(operation);
  const { ids: _, summary, ...others } = operation;
  return `{"summary":${summary},${JSON.stringify(others).slice(1)}`;
}

export function decodeOperations(text: string): readonly ReadOperation[] {
  return JSON.parse(text) as ReadOperation[];
}
