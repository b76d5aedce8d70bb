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

/** Every job that is remembered. */
export async function jobs(signal?: AbortSignal): Promise<readonly Job[]> {
  return get('jobs', { signal, query: { expand: true } });
}

/** Cancels, pauses, resumes or resubmits. */
export async function act(id: string, action: JobAction): Promise<void> {
  await post(url('jobs', id, action), '');
}

/** Forgets a job that has ended. */
export async function forget(id: string): Promise<void> {
  await remove(url('jobs', id));
}
