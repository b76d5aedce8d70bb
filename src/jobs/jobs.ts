/** Owns what the doors ask of jobs: to be done, waited for, shown, and acted upon. */

import type { Job, JobState, Output } from './job.ts';
import type { Content, JobKind } from './kinds.ts';
import type { NewEntry } from './queue.ts';

/** A job to be done. */
export interface Submission {
  readonly type: string;
  readonly content: Content;
  /** The kind's own. */
  readonly state?: unknown;
  /** Higher is done first; 0 where it is not given. */
  readonly priority?: number;
  /** `UserData`: given back as it is. */
  readonly userData?: unknown;
}

/** Work of a job that follows: the engine adds the group, and the job's id before the entry's. */
export type Delivery = Omit<NewEntry, 'group'>;

export interface JobsRequest {
  readonly states?: readonly JobState[];
  readonly type?: string;
  /** Only jobs submitted after this one. */
  readonly since?: string;
  readonly limit?: number;
}

export interface Jobs {
  /** Adds a kind, before the start. */
  register(kind: JobKind): void;
  /** Goes on with what an earlier run left. */
  start(): Promise<void>;
  /** Queues a job that works. Answers its id, once it is durable. */
  submit(submission: Submission): Promise<string>;
  /**
   * Queues a job that follows, with its entries. Answers its id, once all of them are durable; a crash before that leaves
   * neither. Throws Busy where a queue is full.
   */
  deliver(submission: Submission, entries: Iterable<Delivery> | AsyncIterable<Delivery>): Promise<string>;
  /**
   * Waits for a job that was just submitted to end, and answers its content; throws its error where it failed. Where `signal` aborts only the waiting
   * ends (with CanceledJob): as in the reference, the job goes on.
   */
  wait(id: string, signal: AbortSignal): Promise<Content>;
  get(id: string): Promise<Job | undefined>;
  /** In order of submission. */
  list(request?: JobsRequest): AsyncIterable<Job>;
  /** Jobs by state. */
  count(): Promise<Readonly<Record<JobState, number>>>;
  /** Fails a job that has not ended; nothing for one that has. Throws BadRequest for an unknown one, as the others do. */
  cancel(id: string): Promise<void>;
  /** Stops a job until it is resumed; nothing for one that has ended. */
  pause(id: string): Promise<void>;
  /** Throws BadRequest for one that is not paused. */
  resume(id: string): Promise<void>;
  /** Queues a failed job again. Throws BadRequest for another. */
  resubmit(id: string): Promise<void>;
  /** Forgets an ended job. Throws UnknownResource, and BadSequenceOfCalls for one that has not ended. */
  remove(id: string): Promise<void>;
  /** An output of a job that succeeded. Throws InexistentItem. */
  output(id: string, key: string): Promise<Output>;
  removeOutput(id: string, key: string): Promise<void>;
  /** Breaks off what runs, to go on at the next start. */
  close(): Promise<void>;
}
