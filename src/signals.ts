/** Owns waiting for the first of several signals, without leaving anything on those that live long. */

/** A signal that aborts with the first of `signals`, or (`patience` milliseconds given) by then. `end` lets go of them all. */
export function firstOf(
  signals: readonly AbortSignal[],
  patience?: number,
): { readonly signal: AbortSignal; readonly end: () => void } {
  const first = new AbortController();
  const abort = (): void => first.abort();
  const timer = patience === undefined ? undefined : setTimeout(abort, patience);
  for (const each of signals) {
    if (each.aborted) abort();
    else each.addEventListener('abort', abort, { once: true });
  }
  return {
    signal: first.signal,
    end() {
      clearTimeout(timer);
      for (const each of signals) each.removeEventListener('abort', abort);
    },
  };
}
