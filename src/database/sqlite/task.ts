/**
 * Owns what crosses to the thread that writes. A batch travels as one JSON text: of the ways measured it costs the main
 * thread least (5 µs an instance; cloning the objects costs both sides together 18, this 12).
 */

import type { ErrorValue } from '../../answer.ts';
import type { Committed, DatabaseLimits, Operation } from '../database.ts';

/** What the thread is given when it starts. */
export interface WriterData {
  readonly path: string;
  readonly limits: DatabaseLimits;
}

export type WriteTask =
  | { readonly kind: 'open' }
  /** `operations` is what {@link encodeOperations} makes. */
  | { readonly kind: 'commit'; readonly operations: string }
  | { readonly kind: 'checkpoint' }
  | { readonly kind: 'close' };

/** A failure is a value: the class of an Error does not survive the way between threads. */
export type WriteAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'committed'; readonly committed: Committed }
  | { readonly kind: 'failed'; readonly error: ErrorValue };

export function encodeOperations(operations: readonly Operation[]): string {
  return JSON.stringify(operations);
}

export function decodeOperations(text: string): readonly Operation[] {
  return JSON.parse(text) as Operation[];
}
