/**
 * Owns what a kind of job is. Some kinds work (a modification, an archive): they are run, and take one of the slots of
 * `ConcurrentJobs`. Others follow (a store job): their work is entries of other queues, which whoever drains those queues
 * does, and what becomes of the entries becomes of the job.
 */

import type { ErrorValue } from '../answer.ts';
import type { BlobWriter } from '../storage/storage.ts';
import type { Entry } from './queue.ts';

/** The public part of a job, `Content` of the REST API: any JSON object. */
export type Content = Readonly<Record<string, unknown>>;

/** A job that runs, as its kind sees it. */
export interface JobRun {
  readonly id: string;
  /** As it was submitted, or as it was last checkpointed. */
  readonly content: Content;
  /** What only the kind understands; of the last checkpoint where an earlier run was broken off. */
  readonly state: unknown;
  /** Says how far it is, from 0 to 1. Costs nothing. */
  progress(fraction: number): void;
  /**
   * Makes the state (and the content) durable: a run that is broken off, by a pause or a crash, goes on from here, so that
   * what was done since is done again. Throws CanceledJob where the job is nobody's to run any more.
   */
  checkpoint(state: unknown, content?: Content): Promise<void>;
  /**
   * Begins an output, `/jobs/{id}/{key}`, in place of one of that name: to be finished by the run. It is there for
   * clients once the job has ended with success, and goes with the job.
   */
  output(key: string, of: { readonly type: string; readonly filename: string }): Promise<BlobWriter>;
}

/** A kind that works. */
export interface WorkingKind {
  /** `Type` of the REST API. */
  readonly type: string;
  /** Milliseconds that one run may take; past them the job fails with Timeout. */
  readonly deadline: number;
  /**
   * Does the work and answers the content of the ended job. Throws IsenError where it fails. To be ended soon after `signal`
   * aborts, whatever it does then being forgotten.
   */
  run(job: JobRun, signal: AbortSignal): Promise<Content>;
}

/** What became of the entries of a job that follows. */
export interface Tally {
  readonly total: number;
  readonly waiting: number;
  readonly active: number;
  readonly retrying: number;
  readonly paused: number;
  /** Given up, or removed from their queues by somebody. */
  readonly failed: number;
  readonly done: number;
}

/**
 * A kind that follows. Its entries have the job's id as their group. Whoever drains their queues settles what succeeded as
 * `done` (the engine removes it then) and what is given up as `failed`.
 */
export interface FollowingKind {
  readonly type: string;
  /** The content of a job whose entries stand so. */
  follow(content: Content, tally: Tally): Content;
  /**
   * Why a job fails that has no entry under way and some that failed; undefined where it succeeds all the same. `first` is the
   * one that failed first, where it is still in its queue.
   */
  failure(content: Content, first: Entry | undefined): ErrorValue | undefined;
  /**
   * What is to be done yet, by one node, when all is sent that can be; undefined where nothing is, by the state with which the job was
   * submitted. It gets the values of the entries that succeeded. Throws IsenError where the job fails of it; a crash has it done again.
   */
  ending?(state: unknown): ((sent: AsyncIterable<unknown>) => Promise<void>) | undefined;
}

export type JobKind = WorkingKind | FollowingKind;
