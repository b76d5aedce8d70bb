/** Owns which thread runs first when the cores are busy: the main one, which answers requests, before those that take in what is uploaded. */

import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { libc } from './libc.ts';

/** Nice values (setpriority(2)): what is parsed waits for what is committed, and both for the main thread. */
export const NICE = { parse: 10, commit: 5 } as const;

/** Policies (sched(7)): with the second a thread has the time that nobody else wants, at once taken from it by whoever wakes. */
const SCHED_OTHER = 0;
const SCHED_IDLE = 5;
const NO_PRIORITY = Buffer.alloc(4);

/** The capability by which a thread may leave SCHED_IDLE again, as a bit of `CapEff` (capabilities(7)). */
const CAP_SYS_NICE = 1n << 23n;

/** Milliseconds between two looks at the time that a thread got; and for which one that got next to none is an ordinary one. */
const LOOK = 1000;
const ORDINARY = 60_000;

/**
 * A thread is starved that at so many looks in a row has waited this share of the time for a core and run for less than a part of that: a
 * server that starts keeps its own threads waiting.
 */
const LOOKS = 2;
const WAITED = 0.5;
const PART = 20;

/** Gives the calling thread a nice value. Of Linux alone, where threads have one each; elsewhere all stay equal. */
function beNice(value: number): void {
  if (process.platform !== 'linux') return;
  try {
    // 0 is the caller: of the kernel's processes, which are our threads.
    setPriority(0, value);
  } catch {
    // Not allowed here: then all stay equal.
  }
}

/** Whether the process may have a thread come back from SCHED_IDLE to a nice value. */
function mayReturn(nice: number): boolean {
  try {
    const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
    const limit = /^Max nice priority\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '0';
    // RLIMIT_NICE counts from 20 downwards.
    return (BigInt(`0x${effective}`) & CAP_SYS_NICE) !== 0n || limit === 'unlimited' || 20 - nice <= Number(limit);
  } catch {
    return false;
  }
}

/** Milliseconds that the calling thread has run, and waited for a core. */
function timesOfThread(): { readonly ran: number; readonly waited: number } {
  const [ran = 0, waited = 0] = readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ').map(Number);
  return { ran: ran / 1e6, waited: waited / 1e6 };
}

/**
 * Has the calling thread give way to the others, for as long as it lives: by a nice value, and, where it may take that back, by running
 * only when nobody else would, so that a request is answered at once however much comes in. A thread that others keep from
 * running at all has its share by the nice value for a minute. What is answered looks whether that is so: a thread whose event loop
 * turns need not call it.
 */
export function giveWay(nice: number): () => void {
  beNice(nice);
  const setScheduler = libc('int sched_setscheduler(int, int, const void *)', 'threads that give way');
  const isIdle = setScheduler !== undefined && mayReturn(nice) && setScheduler(0, SCHED_IDLE, NO_PRIORITY) === 0;
  if (!isIdle) return () => {};
  let since = performance.now();
  let before = timesOfThread();
  let ordinaryUntil = 0;
  let starved = 0;
  const look = (): void => {
    const now = performance.now();
    if (now - since < LOOK / 2) return;
    const times = timesOfThread();
    const [ran, waited] = [times.ran - before.ran, times.waited - before.waited];
    starved = waited > (now - since) * WAITED && ran < waited / PART ? starved + 1 : 0;
    [since, before] = [now, times];
    if (ordinaryUntil === 0 && starved >= LOOKS) {
      setScheduler(0, SCHED_OTHER, NO_PRIORITY);
      ordinaryUntil = now + ORDINARY;
    } else if (ordinaryUntil !== 0 && now > ordinaryUntil) {
      setScheduler(0, SCHED_IDLE, NO_PRIORITY);
      ordinaryUntil = 0;
    }
  };
  setInterval(look, LOOK).unref();
  return look;
}
