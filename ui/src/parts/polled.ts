/** Owns what is asked again and again while it is looked at: one question at a time, none while the tab is hidden. */

import { type Fetched, useAsked } from './fetched.ts';

/** Asks with `work` at once, and again `pause` milliseconds after each answer. */
export function usePolled<T>(
  work: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
  pause: number,
): Fetched<T> {
  return useAsked(work, [pause, ...inputs], (ask, stopped) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      clearTimeout(timer);
      if (document.hidden) return;
      await ask();
      if (!stopped.aborted) timer = setTimeout(() => void look(), pause);
    };
    const seen = (): void => {
      if (!document.hidden) void look();
    };
    document.addEventListener('visibilitychange', seen);
    void look();
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  });
}
