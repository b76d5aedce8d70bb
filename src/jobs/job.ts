/** Owns what a job is made of: the value of its entry in the queue `jobs`, and what the outside sees of it. */

import { setImmediate as turn } from 'node:timers/promises';
import type { ErrorValue } from '../answer.ts';
import { IsenError } from '../errors.ts';
import type { Content } from './kinds.ts';
import type { Entry, EntryState, Queue } from './queue.ts';

/** The queue that holds a job an entry. */
export const JOBS = 'jobs';

/** Never due: a job that follows is not taken, it moves as its entries do. */
export const NEVER = Number.MAX_SAFE_INTEGER;

export const UNFINISHED: readonly EntryState[] = ['waiting', 'active', 'retrying', 'paused'];
export const FINISHED: readonly EntryState[] = ['failed', 'done'];

/** Entries read together. */
const PAGE = 200;

/** `State` of the REST API. */
export const JOB_STATES = {
  waiting: 'Pending',
  active: 'Running',
  retrying: 'Retry',
  paused: 'Paused',
  failed: 'Failure',
  done: 'Success',
} as const satisfies Record<EntryState, string>;

export type JobState = (typeof JOB_STATES)[EntryState];

/** A file that a job made. */
export interface Output {
  /** Blob of the storage. */
  readonly uuid: string;
  readonly type: string;
  readonly filename: string;
}

/** The value of the entry. Times in milliseconds since the epoch, with their fraction; durations in milliseconds. */
export interface StoredJob {
  readonly type: string;
  readonly content: Content;
  /** The kind's own. */
  readonly state: unknown;
  readonly userData?: unknown;
  readonly created: number;
  readonly completed?: number;
  /** Of the runs that are over. */
  readonly runtime: number;
  /** From 0 to 1. */
  readonly progress: number;
  /** Of the last run that failed. */
  readonly error?: ErrorValue;
  readonly outputs: Readonly<Record<string, Output>>;
  /** Of a job that follows. */
  readonly following?: {
    /** All of its entries; undefined while they are being added. */
    readonly total: number | undefined;
    /** Those that succeeded and are no longer in their queues. */
    readonly done: number;
    /** When the first was taken. */
    readonly started?: number;
    /** What became of what its kind does in the end, once that is over. */
    readonly ending?: 'done' | 'failed';
  };
}

/** A job as the outside sees it. */
export interface Job extends Omit<StoredJob, 'state' | 'following'> {
  readonly id: string;
  readonly state: JobState;
  readonly priority: number;
}

/** Milliseconds since the epoch, to the microsecond. */
export function preciseNow(): number {
  return performance.timeOrigin + performance.now();
}

export function storedJob(entry: Entry): StoredJob {
  return entry.value as StoredJob;
}

/** What an entry says. */
export function jobOf(entry: Entry): Job {
  const { state: _, following, ...job } = storedJob(entry);
  const runtime = following?.started === undefined ? job.runtime : (job.completed ?? preciseNow()) - following.started;
  return { ...job, id: entry.id, state: JOB_STATES[entry.state], priority: entry.priority, runtime };
}

/** The entry of a job. Throws UnknownResource where there is none. */
export async function entryOfJob(queue: Queue, id: string): Promise<Entry> {
  const [entry] = await queue.list({ queue: JOBS, id, limit: 1 });
  if (entry === undefined) throw new IsenError('UnknownResource', 'No such job');
  return entry;
}

/** The entries of jobs in some states, in order of submission or against it, page by page; `after` is a `seq`. */
export async function* walkJobs(
  queue: Queue,
  states: readonly EntryState[],
  after?: number,
  descending = false,
): AsyncGenerator<Entry, void> {
  let last = after;
  for (;;) {
    const page = await queue.list({
      queue: JOBS,
      states,
      limit: PAGE,
      descending,
      ...(last !== undefined && { after: last }),
    });
    yield* page;
    last = page.at(-1)?.seq;
    if (last === undefined) return;
    await turn();
  }
}
