/** Owns a resource with all it belongs to, kept fresh while the server tells of changes. */

import { useEffect } from 'preact/hooks';
import { ApiError, get, url } from '../api.ts';
import { type Level, type Place, type Resource, resource } from '../api/resources.ts';
import { onChange } from '../live.ts';
import { type Fetched, useFetched } from '../parts/fetched.ts';

/** A resource, and what it is part of from the patient down. */
export interface Loaded {
  readonly itself: Resource;
  readonly parents: readonly Resource[];
  /** Another one whenever the resource is. */
  readonly version: string;
}

const ABOVE: Readonly<Record<Place, readonly Lowercase<Level>[]>> = {
  patients: [],
  studies: ['patient'],
  series: ['patient', 'study'],
  instances: ['patient', 'study', 'series'],
};
const TAGS: Readonly<Record<Place, readonly string[]>> = {
  patients: ['NumberOfPatientRelatedSeries', 'NumberOfPatientRelatedInstances'],
  studies: ['ModalitiesInStudy', 'NumberOfStudyRelatedSeries', 'NumberOfStudyRelatedInstances'],
  series: ['NumberOfSeriesRelatedInstances'],
  instances: [],
};
/** Milliseconds between two looks while changes come in. */
const REFRESH = 2500;
const RELEVANT = /^(New|Stable|Deleted|Updated|Modified|Anonymized)/;

async function load(place: Place, id: string, signal: AbortSignal): Promise<Loaded> {
  const [itself, ...parents] = await Promise.all([
    resource(place, id, signal, TAGS[place]),
    ...ABOVE[place].map(async (above) => get<Resource>(url(place, id, above), { signal })),
  ]);
  return { itself, parents, version: JSON.stringify([itself, parents]) };
}

/** Fetches the resource, and again when something changes. */
export function useLoaded(place: Place, id: string): Fetched<Loaded> {
  const loaded = useFetched(async (signal) => load(place, id, signal), [place, id]);
  const { reload } = loaded;
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onChange(({ ChangeType }) => {
      if (timer !== undefined || !RELEVANT.test(ChangeType)) return;
      timer = setTimeout(() => {
        timer = undefined;
        reload();
      }, REFRESH);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [place, id, reload]);
  return loaded;
}

/** Whether an error says that the resource is not there. */
export function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}
