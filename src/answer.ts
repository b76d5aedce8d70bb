/** Owns what a worker thread answers: a result, or an error as a value, because structured cloning strips a class. */

import { asIsenError, type ErrorName, IsenError } from './errors.ts';

/** An {@link IsenError} as a plain value that survives structured cloning between threads. */
export interface ErrorValue {
  readonly code: ErrorName;
  readonly details: string | undefined;
}

/** What a worker answers. */
export type Answer<Result> = { readonly ok: Result } | { readonly error: ErrorValue };

/** Wraps a worker's function for the pool: what it throws becomes an {@link Answer}. */
export function answering<Task, Result>(work: (task: Task) => Result): (task: Task) => Answer<Result> {
  return (task) => {
    try {
      return { ok: work(task) };
    } catch (thrown) {
      return { error: errorValue(thrown) };
    }
  };
}

/** The same for work that takes more than one turn. */
export function answeringLater<Task, Result>(
  work: (task: Task) => Promise<Result>,
): (task: Task) => Promise<Answer<Result>> {
  return async (task) => {
    try {
      return { ok: await work(task) };
    } catch (thrown) {
      return { error: errorValue(thrown) };
    }
  };
}

/** An error as what a worker answers. */
export function errorValue(thrown: unknown): ErrorValue {
  const error = asIsenError(thrown);
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  return { code: error.code, details: error.details ?? cause };
}

/** The error of an {@link Answer}, to be thrown on this side. */
export function errorOf({ code, details }: ErrorValue): IsenError {
  return new IsenError(code, details);
}
