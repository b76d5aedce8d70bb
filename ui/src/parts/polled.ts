/** Owns what is asked again and again while it is looked at: one question at a time, none while the tab is hidden. */

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { isAborted } from '../api.ts';
import type { Fetched } from './fetched.ts';

/** Asks with `work` at once, and again `pause` milliseconds after each answer. */
export function usePolled<T>(
  work: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
  pause: number,
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
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      clearTimeout(timer);
      if (document.hidden) return;
      try {
        const value = await latest.current(stop.signal);
        if (!stop.signal.aborted) setState({ value, error: undefined, loading: false });
      } catch (error) {
        if (stop.signal.aborted || isAborted(error)) return;
        setState((before) => ({ value: before.value, error, loading: false }));
      }
      if (!stop.signal.aborted) timer = setTimeout(() => void look(), pause);
    };
    const seen = (): void => {
      if (!document.hidden) void look();
    };
    document.addEventListener('visibilitychange', seen);
    void look();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [round, pause, ...inputs]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  return { ...state, reload };
}
