/** Owns what is asked about patients, studies, series and instances: finding, counting, what one holds, labels, metadata, files. */

import { get, getText, post, put, remove, request, type RequestOptions, url } from '../api.ts';

/** The levels, as the API's paths name them. */
export const PLACES = ['patients', 'studies', 'series', 'instances'] as const;
export type Place = (typeof PLACES)[number];

/** The levels as the API names one of each. */
export type Level = 'Patient' | 'Study' | 'Series' | 'Instance';

/** The path of each level. */
export const PLACE_OF: Readonly<Record<Level, Place>> = {
  Patient: 'patients',
  Study: 'studies',
  Series: 'series',
  Instance: 'instances',
};

/** Values of tags by keyword. */
export type Tags = Readonly<Record<string, string>>;

/** A patient, study, series or instance as the API shows it; what a level has not is absent. */
export interface Resource {
  readonly ID: string;
  readonly Type: Level;
  readonly MainDicomTags: Tags;
  readonly PatientMainDicomTags?: Tags;
  readonly RequestedTags?: Tags;
  readonly Labels?: readonly string[];
  readonly LastUpdate?: string;
  readonly IsStable?: boolean;
  readonly IsProtected?: boolean;
  readonly ParentPatient?: string;
  readonly ParentStudy?: string;
  readonly ParentSeries?: string;
  readonly Studies?: readonly string[];
  readonly Series?: readonly string[];
  readonly Instances?: readonly string[];
  readonly FileSize?: number;
  readonly IndexInSeries?: number | null;
  readonly ExpectedNumberOfInstances?: number | null;
}

/** What is looked for with /tools/find. */
export interface Search {
  readonly Level: Level;
  readonly Query: Tags;
  readonly Labels?: readonly string[];
  readonly LabelsConstraint?: 'All' | 'Any' | 'None';
}

/** What rows are ordered by. */
export interface Order {
  readonly Type: 'DicomTag' | 'Metadata';
  readonly Key: string;
  readonly Direction: 'ASC' | 'DESC';
}

/** One page of what a search finds, with these tags besides the main ones. */
export async function find(
  search: Search,
  page: {
    readonly since: number;
    readonly limit: number;
    readonly order: readonly Order[];
    readonly tags: readonly string[];
  },
  signal?: AbortSignal,
): Promise<readonly Resource[]> {
  const body = {
    ...search,
    Expand: true,
    Since: page.since,
    Limit: page.limit,
    OrderBy: page.order,
    RequestedTags: page.tags,
    ResponseContent: ['MainDicomTags', 'Labels', 'Children', 'Parent', 'Metadata', 'Status', 'IsStable'],
  };
  return post('tools/find', body, { signal });
}

/** The ids of what a search finds, at most `limit`. */
export async function findIds(search: Search, limit: number): Promise<readonly string[]> {
  return post('tools/find', { ...search, Expand: false, Limit: limit });
}

/** How many a search finds. */
export async function countFound(search: Search, signal?: AbortSignal): Promise<number> {
  return (await post<{ Count: number }>('tools/count-resources', search, { signal })).Count;
}

/** Every label in use. */
export async function allLabels(signal?: AbortSignal): Promise<readonly string[]> {
  return get('tools/labels', { signal });
}

/** One resource. Throws ApiError (404) where there is none. */
export async function resource(
  place: Place,
  id: string,
  signal?: AbortSignal,
  tags: readonly string[] = [],
): Promise<Resource> {
  const query = tags.length === 0 ? {} : { 'requested-tags': tags.join(';') };
  return get(url(place, id), { signal, query });
}

/** Everything of one level below (or the ones above) a resource. */
export async function related(
  place: Place,
  id: string,
  of: string,
  signal?: AbortSignal,
  tags: readonly string[] = [],
): Promise<readonly Resource[]> {
  const query = tags.length === 0 ? {} : { 'requested-tags': tags.join(';') };
  return get(url(place, id, of), { signal, query });
}

/** Counts and sizes in bytes; what a level has not is absent. */
export interface Statistics {
  readonly CountStudies?: number;
  readonly CountSeries?: number;
  readonly CountInstances?: number;
  readonly DiskSize: string;
  readonly UncompressedSize: string;
}

/** What a resource holds. */
export async function statistics(place: Place, id: string, signal?: AbortSignal): Promise<Statistics> {
  return get(url(place, id, 'statistics'), { signal });
}

/** Deletes a resource with everything below it. */
export async function deleteResource(place: Place, id: string): Promise<void> {
  await remove(url(place, id));
}

/** Adds or takes away one label. */
export async function setLabel(place: Place, id: string, label: string, present: boolean): Promise<void> {
  if (present) await put(url(place, id, 'labels', label), '');
  else await remove(url(place, id, 'labels', label));
}

/** Metadata by name. */
export async function metadata(place: Place, id: string, signal?: AbortSignal): Promise<Tags> {
  return get(url(place, id, 'metadata'), { signal, query: { expand: true } });
}

/** Sets one metadata (`undefined` deletes it); `isNew` where there is none of this name to be replaced. */
export async function setMetadata(
  place: Place,
  id: string,
  name: string,
  value: string | undefined,
  isNew: boolean,
): Promise<void> {
  const address = url(place, id, 'metadata', name);
  const options = isNew ? {} : await revisionOf(address);
  if (value === undefined) await remove(address, options);
  else await put(address, value, options);
}

/** The header that says which revision is replaced, where the server counts them. */
async function revisionOf(address: string): Promise<RequestOptions> {
  try {
    const tag = (await request('GET', address)).headers.get('ETag');
    return tag === null ? {} : { headers: { 'If-Match': tag } };
  } catch {
    return {};
  }
}

/** One attached file. */
export interface Attachment {
  readonly name: string;
  /** Bytes, as the client gets it. */
  readonly size: number;
  readonly md5: string;
}

/** The files of a resource. */
export async function attachments(place: Place, id: string, signal?: AbortSignal): Promise<readonly Attachment[]> {
  const names = await get<readonly string[]>(url(place, id, 'attachments'), { signal });
  return Promise.all(
    names.map(async (name) => {
      const of = (what: string): Promise<string> => getText(url(place, id, 'attachments', name, what), { signal });
      const [size, md5] = await Promise.all([of('size'), of('md5').catch(() => '')]);
      return { name, size: Number(size), md5 };
    }),
  );
}

/** Adds a file under a name, or replaces it (`isNew`: there is none of this name). */
export async function attach(place: Place, id: string, name: string, file: Blob, isNew: boolean): Promise<void> {
  const address = url(place, id, 'attachments', name);
  await put(address, file, { ...(isNew ? {} : await revisionOf(`${address}/size`)), deadline: LONG });
}

/** Milliseconds that a file may take. */
const LONG = 30 * 60_000;

/** Takes a file away. */
export async function detach(place: Place, id: string, name: string): Promise<void> {
  const address = url(place, id, 'attachments', name);
  await remove(address, await revisionOf(`${address}/size`));
}

/** Whether a patient is kept when room is made. */
export async function setProtected(patient: string, kept: boolean): Promise<void> {
  await put(url('patients', patient, 'protected'), kept ? '1' : '0');
}

/** One element of a dataset, as `/tags` shows it: the values of a sequence are datasets again. */
export interface Element {
  readonly Name: string;
  readonly PrivateCreator?: string;
  readonly Type: 'String' | 'Sequence' | 'Null' | 'TooLong' | 'Binary';
  readonly Value: string | readonly Dataset[] | null;
}

/** Elements by tag (`0010,0010`). */
export type Dataset = Readonly<Record<string, Element>>;

/** The dataset of an instance. */
export async function tags(id: string, signal?: AbortSignal): Promise<Dataset> {
  return get(url('instances', id, 'tags'), { signal });
}

/** The file meta information of an instance. */
export async function header(id: string, signal?: AbortSignal): Promise<Dataset> {
  return get(url('instances', id, 'header'), { signal });
}

/** What all instances of a series, study or patient have in common. */
export async function sharedTags(place: Place, id: string, signal?: AbortSignal): Promise<Dataset> {
  return get(url(place, id, 'shared-tags'), { signal });
}

/** The bytes of one element, by its path (`0040,a730/0/0040,a160`), at most `most` of them. */
export async function rawElement(id: string, path: string, most: number, signal?: AbortSignal): Promise<Uint8Array> {
  const response = await request('GET', `${url('instances', id, 'content')}/${path}`, { signal });
  const reader = response.body?.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (reader !== undefined && size < most) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    size += value.length;
  }
  await reader?.cancel();
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all.subarray(0, most);
}

/** Number of frames of an instance. */
export async function frames(id: string, signal?: AbortSignal): Promise<number> {
  return (await get<readonly string[]>(url('instances', id, 'frames'), { signal })).length;
}

/** Address of a picture of an instance, at most `size` pixels wide and high. */
export function pictureUrl(id: string, size: number, frame = 0): string {
  const address = new URL(url('instances', id, 'frames', String(frame), 'rendered'));
  address.searchParams.set('width', String(size));
  address.searchParams.set('height', String(size));
  address.searchParams.set('smooth', 'true');
  return address.href;
}

/** Resources of any level by their ids; those that are gone are left out. */
export async function bulk(Resources: readonly string[], signal?: AbortSignal): Promise<readonly Resource[]> {
  return post('tools/bulk-content', { Resources }, { signal });
}
