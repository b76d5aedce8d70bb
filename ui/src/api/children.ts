/** Owns what is asked about what stands below and above a resource, and the bytes of an instance. */

import { post, request, url } from '../api.ts';
import type { Resource } from './resources.ts';

/** The first instances of a series, in the order of their numbers. */
export async function instancesOf(series: string, most: number, signal?: AbortSignal): Promise<readonly Resource[]> {
  const body = {
    Level: 'Instance',
    Query: {},
    ParentSeries: series,
    Limit: most,
    OrderBy: [{ Type: 'DicomTagAsInt', Key: 'InstanceNumber', Direction: 'ASC' }],
    ResponseContent: ['MainDicomTags', 'Labels', 'Parent'],
  };
  return post('tools/find', body, { signal });
}

/** Those of some resources that are (still) there. */
export async function existing(Resources: readonly string[]): Promise<readonly Resource[]> {
  return post('tools/bulk-content', { Resources, Metadata: false });
}

/** Some bytes of the file of an instance. */
export async function fileBytes(id: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
  const headers = { Range: `bytes=${offset}-${offset + length - 1}` };
  const response = await request('GET', url('instances', id, 'file'), { headers, signal });
  return new Uint8Array(await response.arrayBuffer());
}
