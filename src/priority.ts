/** Owns which thread runs first when the cores are busy: the main one, which answers requests, before those that take in what is uploaded. */

import { setPriority } from 'node:os';

/** Nice values (setpriority(2)): what is parsed waits for what is committed, and both for the main thread. */
export const NICE = { parse: 10, commit: 5 } as const;

/** Gives the calling thread a nice value. Of Linux alone, where threads have one each; elsewhere all stay equal. */
export function beNice(value: number): void {
  if (process.platform !== 'linux') return;
  try {
    // 0 is the caller: of the kernel's processes, which are our threads.
    setPriority(0, value);
  } catch {
    // Not allowed here: then all stay equal.
  }
}
