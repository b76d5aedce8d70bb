/** Owns which thread runs first when the cores are busy: the main one, which answers requests, before those that take in what is uploaded. */

import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { libc, type Native } from './libc.ts';
import { log } from './log.ts';

/** Nice values (setpriority(2)): what is parsed waits for what is committed, and both for the main thread. */
export const NICE = { parse: 10, commit: 5 } as const;

/** Policies (sched(7)): with the second a thread has the time that nobody else wants, at once taken from it by whoever wakes. */
const SCHED_OTHER = 0;
const SCHED_IDLE = 5;
const NO_PRIORITY = Buffer.alloc(4);

/** The capability by which a thread may leave SCHED_IDLE again, as a bit of `CapEff` (capabilities(7)). */
const CAP_SYS_NICE = 1n << 23n;

/** Milliseconds between two looks at the threads, and looks between two searches for new ones: those that start are in each other's way. */
const LOOK = 200;
const SEARCH = 10;

/**
 * Milliseconds that a thread has waited for a core between two looks, and for each time that it ran, from which on others keep it from
 * running: where they merely come first, under any load, that is 3 ms at most.
 */
const WAITED = 40;
const WAIT = 8;

/** Looks at which one was, more than at which none was: programs that start keep everybody waiting for a moment. */
const LOOKS_KEPT = 4;

/** Milliseconds for which all are ordinary threads then, the first time and at most. */
const FIRST_PAUSE = 60_000;
const LONGEST_PAUSE = 3_600_000;

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

/** Whether the process may have its threads come back from SCHED_IDLE. */
function mayReturn(): boolean {
  try {
    const limit = /^Max nice priority\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '0';
    // RLIMIT_NICE counts from 20 downwards.
    if (limit === 'unlimited' || 20 - NICE.commit <= Number(limit)) return true;
    // What is a capability in a namespace of users only does not count.
    const isWhole = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
    const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
    return isWhole && (BigInt(`0x${effective}`) & CAP_SYS_NICE) !== 0n;
  } catch {
    return false;
  }
}

/** A thread that gives way: its statistics (Documentation/scheduler/sched-stats of the kernel), opened, and what they said last. */
interface Thread {
  readonly statistics: number;
  waited: number;
  runs: number;
}

/**
 * Has the threads with one of our nice values run only when nobody else would, where that can be taken back: a core that runs them counts as
 * free for whoever wakes, so that a request is answered at once however much comes in. When others keep them from running at all,
 * they have their share by the nice value for a while. What is answered ends it. Of Linux, with the right to it
 * (RLIMIT_NICE, CAP_SYS_NICE); elsewhere nothing happens.
 */
export function watchThreads(): () => void {
  const setScheduler = libc('int sched_setscheduler(int, int, const void *)', 'threads that give way');
  // A process that is as nice itself has other threads with these values.
  if (setScheduler === undefined || getPriority() >= NICE.commit || !mayReturn()) return () => {};
  const watch = new Watch(setScheduler);
  const timer = setInterval(() => watch.look(), LOOK).unref();
  return () => {
    clearInterval(timer);
    watch.end();
  };
}

class Watch {
  readonly #setScheduler: Native;
  readonly #threads = new Map<number, Thread>();
  readonly #buffer = Buffer.alloc(128);
  #looks = 0;
  #kept = 0;
  #ordinaryUntil = 0;
  #pause = FIRST_PAUSE;
  #idleSince = Number.NEGATIVE_INFINITY;

  constructor(setScheduler: Native) {
    this.#setScheduler = setScheduler;
  }

  look(): void {
    const now = performance.now();
    this.#looks += 1;
    if (this.#looks % SEARCH === 0) this.#search();
    // All are looked at: what one waited until now is not to be counted at the next look.
    const kept = [...this.#threads.keys()].filter((id) => this.#isKept(id));
    this.#kept = Math.max(0, this.#kept + (kept.length > 0 ? 1 : -1));
    if (this.#ordinaryUntil === 0 && this.#kept >= LOOKS_KEPT) {
      this.#kept = 0;
      // The same again soon after: they stay busy.
      this.#pause = now - this.#idleSince < this.#pause ? Math.min(this.#pause * 2, LONGEST_PAUSE) : FIRST_PAUSE;
      this.#ordinaryUntil = now + this.#pause;
      this.#all(SCHED_OTHER);
      log.generic.debug('the cores are busy with something else: reception gives way by its nice value alone');
    } else if (this.#ordinaryUntil !== 0 && now > this.#ordinaryUntil) {
      this.#ordinaryUntil = 0;
      this.#idleSince = now;
      this.#all(SCHED_IDLE);
    }
  }

  /** Finds threads that are new. */
  #search(): void {
    try {
      for (const name of readdirSync('/proc/self/task')) {
        const id = Number(name);
        if (this.#threads.has(id)) continue;
        const nice = getPriority(id);
        if (nice !== NICE.parse && nice !== NICE.commit) continue;
        const thread = { statistics: openSync(`/proc/self/task/${name}/schedstat`, 'r'), waited: 0, runs: 0 };
        this.#threads.set(id, thread);
        const known = this.#read(thread);
        // A kernel that does not count could not tell that a thread is kept from running.
        if (known.runs === 0) this.#forget(id);
        else {
          Object.assign(thread, known);
          this.#set(id, this.#ordinaryUntil === 0 ? SCHED_IDLE : SCHED_OTHER);
        }
      }
    } catch {
      // A thread that ended meanwhile, or no descriptor to be had: the next search finds the others.
    }
  }

  #read({ statistics }: Thread): { readonly waited: number; readonly runs: number } {
    const size = readSync(statistics, this.#buffer, 0, this.#buffer.length, 0);
    const [, waited = 0, runs = 0] = this.#buffer.toString('latin1', 0, size).split(' ').map(Number);
    return { waited: waited / 1e6, runs };
  }

  /** Whether others have kept a thread from running since the last look. */
  #isKept(id: number): boolean {
    const thread = this.#threads.get(id);
    if (thread === undefined) return false;
    try {
      const { waited, runs } = this.#read(thread);
      const [wait, times] = [waited - thread.waited, runs - thread.runs];
      Object.assign(thread, { waited, runs });
      return wait > WAITED && wait > times * WAIT;
    } catch {
      // It ended.
      this.#forget(id);
      return false;
    }
  }

  #forget(id: number): void {
    const thread = this.#threads.get(id);
    this.#threads.delete(id);
    if (thread !== undefined) closeSync(thread.statistics);
  }

  #set(id: number, policy: number): void {
    if (this.#setScheduler(id, policy, NO_PRIORITY) !== 0)
      log.generic.debug({ thread: id, policy }, 'the policy of a thread could not be set');
  }

  #all(policy: number): void {
    for (const id of this.#threads.keys()) this.#set(id, policy);
  }

  end(): void {
    for (const id of this.#threads.keys()) this.#forget(id);
  }
}
