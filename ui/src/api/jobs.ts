/** Owns what is asked about jobs. */

import { get, post, remove, url } from '../api.ts';

/** A job as the API shows it. Times in UTC, `20240131T134500.000000`. */
export interface Job {
  readonly ID: string;
  readonly Type: string;
  readonly State: 'Pending' | 'Running' | 'Success' | 'Failure' | 'Paused' | 'Retry';
  /** Per cent. */
  readonly Progress: number;
  readonly Priority: number;
  readonly CreationTime: string;
  readonly CompletionTime?: string;
  readonly EstimatedTimeOfArrival?: string;
  /** Seconds. */
  readonly EffectiveRuntime: number;
  readonly ErrorCode: number;
  readonly ErrorDescription: string;
  readonly ErrorDetails: string;
  readonly Content: Readonly<Record<string, unknown>>;
}

/** What can be asked of a job. */
export type JobAction = 'cancel' | 'pause' | 'resume' | 'resubmit';

/** One job. Throws ApiError (404) where it is not remembered any more. */
export async function job(id: string, signal?: AbortSignal): Promise<Job> {
  return get(url('jobs', id), { signal });
}

/** Which jobs are asked for. */
export interface Which {
  /** States, with commas between. */
  readonly state?: string;
  /** Only those that were submitted after the one with this id. */
  readonly since?: string;
}

/** The states of jobs that have not ended, as {@link Which} takes them. */
export const UNFINISHED = 'Pending,Running,Retry,Paused';

/** Jobs that are remembered, in the order of submission. Throws ApiError (404) where `since` is not remembered any more. */
export async function jobs(which: Which = {}, signal?: AbortSignal): Promise<readonly Job[]> {
  return get('jobs', { signal, query: { expand: true, ...which } });
}

/** Address of what a job made for download. */
export function outputUrl(id: string, key: string): string {
  return url('jobs', id, key);
}

/** Cancels, pauses, resumes or resubmits. */
export async function act(id: string, action: JobAction): Promise<void> {
  await post(url('jobs', id, action), '');
}

/** Forgets a job that has ended. */
export async function forget(id: string): Promise<void> {
  await remove(url('jobs', id));
}
