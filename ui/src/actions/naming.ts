/** Owns how resources are called in sentences. */

import type { Place, Resource } from '../api/resources.ts';
import { personName } from '../format.ts';
import { t } from '../texts.ts';

/** `3 studies`. */
export function countOf(place: Place, n: number): string {
  return t.common[place](n);
}

/** What one resource is called: its patient, and what it is about. */
export function nameOf(resource: Resource): string {
  const tags = { ...resource.PatientMainDicomTags, ...resource.MainDicomTags };
  const about = tags['SeriesDescription'] ?? tags['StudyDescription'];
  const parts = [personName(tags['PatientName']), about].filter((part) => part !== undefined && part !== '');
  return parts.length > 0 ? parts.join(' · ') : (tags['PatientID'] ?? resource.ID);
}

/** One by its name, several by their number. */
export function targetsOf(place: Place, resources: readonly Resource[]): string {
  const [first] = resources;
  return resources.length === 1 && first !== undefined ? nameOf(first) : countOf(place, resources.length);
}
