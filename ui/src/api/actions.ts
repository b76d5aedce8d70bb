/** Owns what is asked for to be done with resources: sending, modifying, anonymising, merging, splitting, deleting, downloading. */

import { get, post, url } from '../api.ts';
import { type Place, PLACE_OF } from './resources.ts';

/** A job that was begun. */
export interface Begun {
  readonly ID: string;
}

/** Where resources can be sent to. */
export interface Destinations {
  readonly modalities: readonly string[];
  readonly peers: readonly string[];
}

/** Every destination. */
export async function destinations(signal?: AbortSignal): Promise<Destinations> {
  const [modalities, peers] = await Promise.all([
    get<readonly string[]>('modalities', { signal }),
    get<readonly string[]>('peers', { signal }),
  ]);
  return { modalities, peers };
}

/** Begins to send. */
export async function send(kind: keyof Destinations, name: string, ids: readonly string[]): Promise<Begun> {
  return post(url(kind, name, 'store'), { Resources: ids, Asynchronous: true });
}

/** What is changed in copies, as the API takes it. */
export interface Changes {
  readonly Replace?: Readonly<Record<string, string>>;
  readonly Remove?: readonly string[];
  readonly Keep?: readonly string[];
  readonly Force?: boolean;
  readonly KeepSource?: boolean;
  readonly KeepPrivateTags?: boolean;
  readonly KeepLabels?: boolean;
}

/** Begins to modify these: one job for all of them. */
export async function modify(place: Place, Resources: readonly string[], changes: Changes): Promise<Begun> {
  const [only] = Resources;
  const body = { ...changes, Asynchronous: true };
  if (Resources.length === 1 && only !== undefined) return post(url(place, only, 'modify'), body);
  const [Level] = Object.entries(PLACE_OF).find(([, each]) => each === place) ?? [];
  return post('tools/bulk-modify', { ...body, Resources, Level });
}

/** Begins to anonymise these: one job for all of them. */
export async function anonymize(place: Place, Resources: readonly string[], changes: Changes): Promise<Begun> {
  const [only] = Resources;
  const body = { ...changes, Asynchronous: true };
  if (Resources.length === 1 && only !== undefined) return post(url(place, only, 'anonymize'), body);
  return post('tools/bulk-anonymize', { ...body, Resources });
}

/** Begins to move studies (or series) into one study. */
export async function merge(target: string, Resources: readonly string[], KeepSource: boolean): Promise<Begun> {
  return post(url('studies', target, 'merge'), { Resources, KeepSource, Asynchronous: true });
}

/** Begins to move series of a study into a new one. */
export async function split(
  study: string,
  Series: readonly string[],
  Replace: Readonly<Record<string, string>>,
  KeepSource: boolean,
): Promise<Begun> {
  return post(url('studies', study, 'split'), { Series, Replace, KeepSource, Asynchronous: true });
}

/** Deletes resources with everything below them. */
export async function deleteAll(Resources: readonly string[]): Promise<void> {
  await post('tools/bulk-delete', { Resources });
}

/** Ids that one address takes; more are packed by a job. */
export const MOST_STREAMED = 100;

/** Address of a ZIP archive (or one with a DICOMDIR) of some resources. */
export function archiveUrl(ids: readonly string[], media: boolean): string {
  const address = new URL(url('tools', media ? 'create-media' : 'create-archive'));
  address.searchParams.set('resources', ids.join(','));
  return address.href;
}

/** Begins to pack many resources; the archive is the output of the job. */
export async function pack(Resources: readonly string[], media: boolean): Promise<Begun> {
  return post(`tools/${media ? 'create-media' : 'create-archive'}`, { Resources, Asynchronous: true });
}

/** Address of the archive that a job packed. */
export function packedUrl(job: string): string {
  return url('jobs', job, 'archive');
}
