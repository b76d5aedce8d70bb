/** Owns what pages fetch: asked again when what it depends on changes, called off when nobody wants it any more. */

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { isAborted } from '../api.ts';

/** What is there of something that is fetched. While it is fetched again the old value stays. */
export interface Fetched<T> {
  readonly value: T | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  /** Fetches it again. */
  readonly reload: () => void;
}

/** Asks once, and keeps what came of it. */
type Ask = () => Promise<void>;

/**
 * Hands `work` to `begin` whenever one of `inputs` is another, to be asked as often as that wants, and keeps the last answer. What `begin`
 * answers ends it.
 */
export function useAsked<T>(
  work: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
  begin: (ask: Ask, stopped: AbortSignal) => () => void,
): Fetched<T> {
  const [state, setState] = useState<Omit<Fetched<T>, 'reload'>>({
    value: undefined,
    error: undefined,
    loading: true,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    const stop = new AbortController();
    const ask = async (): Promise<void> => {
      try {
        const value = await latest.current(stop.signal);
        if (!stop.signal.aborted) setState({ value, error: undefined, loading: false });
      } catch (error) {
        if (!stop.signal.aborted && !isAborted(error))
          setState((before) => ({ value: before.value, error, loading: false }));
      }
    };
    setState((before) => ({ ...before, loading: true }));
    const end = begin(ask, stop.signal);
    return () => {
      stop.abort();
      end();
    };
  }, [round, ...inputs]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  return { ...state, reload };
}

/** Fetches with `work` whenever one of `inputs` is another. */
export function useFetched<T>(work: (signal: AbortSignal) => Promise<T>, inputs: readonly unknown[]): Fetched<T> {
  return useAsked(work, inputs, (ask) => {
    void ask();
    return () => undefined;
  });
}
