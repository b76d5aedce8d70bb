/** Owns what is asked about where things are sent to: modalities, peers, webhooks, and their queues. */

import { get, post, put, remove, url } from '../api.ts';

/** The kinds of destinations, as the API's paths name them. */
export const DESTINATIONS = ['modalities', 'peers', 'webhooks'] as const;
export type Destinations = (typeof DESTINATIONS)[number];

/** One destination as the API shows it and takes it; what it holds depends on the kind. */
export type Description = Readonly<Record<string, unknown>>;

/** All of a kind by name. */
export async function descriptions(
  kind: Destinations,
  signal?: AbortSignal,
): Promise<Readonly<Record<string, Description>>> {
  return get(kind, { signal, query: { expand: true } });
}

/** Adds or changes one. */
export async function describe(kind: Destinations, name: string, description: Description): Promise<void> {
  await put(url(kind, name), description);
}

/** Forgets one. */
export async function forgetDestination(kind: Destinations, name: string): Promise<void> {
  await remove(url(kind, name));
}

/** Seconds that a test waits for an answer. */
const PATIENCE = 10;

/** Asks a known modality whether it answers (C-ECHO). Throws ApiError with the reason. */
export async function echo(name: string): Promise<void> {
  await post(url('modalities', name, 'echo'), { Timeout: PATIENCE });
}

/** Asks one that is not known yet. */
export async function echoAddress(modality: Description): Promise<void> {
  await post('tools/dicom-echo', { ...modality, Timeout: PATIENCE });
}

/** What a peer says that it is. */
export interface PeerSystem {
  readonly Name?: string;
  readonly Version?: string;
  readonly Isen?: string;
}

/** Asks a peer what it is. */
export async function peerSystem(name: string): Promise<PeerSystem> {
  return get(url('peers', name, 'system'));
}

/** Sends a test to a webhook; answers the HTTP status that came back. */
export async function testWebhook(name: string): Promise<number> {
  return (await post<{ Status: number }>(url('webhooks', name, 'test'), '')).Status;
}

/** How it stands with one queue. */
export interface QueueStatus {
  readonly Paused: boolean;
  readonly Waiting: number;
  readonly Active: number;
  readonly Retrying: number;
  /** Of paused jobs. */
  readonly Held: number;
  readonly Failed: number;
  /** Seconds. */
  readonly OldestAge: number | null;
  /** A second, over the last ten. */
  readonly Rate: number;
  readonly Associations: number;
  readonly NextAttempt: string | null;
  readonly LastError: string;
}

/** One of all queues. */
export interface NamedQueue extends QueueStatus {
  readonly Kind: 'modality' | 'peer' | 'webhook';
  readonly Name: string;
  /** False where only the queue is left. */
  readonly Known: boolean;
}

/** The path of each kind of queue. */
export const DESTINATIONS_OF: Readonly<Record<NamedQueue['Kind'], Destinations>> = {
  modality: 'modalities',
  peer: 'peers',
  webhook: 'webhooks',
};

/** All queues. */
export async function queues(signal?: AbortSignal): Promise<readonly NamedQueue[]> {
  return get('queues', { signal });
}

/** One entry of a queue that is tried again or has failed. */
export interface QueueEntry {
  readonly Seq: number;
  readonly Instance?: string;
  readonly Change?: { readonly ChangeType: string; readonly ID: string; readonly ResourceType: string };
  readonly Route?: string;
  readonly Job?: string;
  readonly State: 'retrying' | 'failed';
  readonly Attempts: number;
  readonly Added: string;
  readonly Due?: string;
  readonly Reason: string;
}

/** One queue with a page of its entries. */
export interface Queue extends QueueStatus {
  readonly Entries: readonly QueueEntry[];
  readonly Last: number;
  readonly Done: boolean;
}

/** A queue, with up to `limit` entries beyond `since`. */
export async function queue(
  kind: Destinations,
  name: string,
  page: { readonly since: number; readonly limit: number },
  signal?: AbortSignal,
): Promise<Queue> {
  return get(url(kind, name, 'queue'), { signal, query: page });
}

/** What can be asked of a queue. */
export type QueueAction = 'retry' | 'pause' | 'resume';

/** Tries again what failed, pauses, or resumes. Of `retry` how many. */
export async function actOnQueue(kind: Destinations, name: string, action: QueueAction): Promise<number> {
  return (await post<{ Count?: number }>(url(kind, name, 'queue', action), '')).Count ?? 0;
}

/** Gives up everything in a queue. */
export async function purge(kind: Destinations, name: string): Promise<void> {
  await remove(url(kind, name, 'queue'));
}
