/** Owns which studies are selected, with what the list knew of them. */

import { signal } from '@preact/signals';
import type { Resource } from '../api/resources.ts';

/** The selected studies by id. */
export const selection = signal<ReadonlyMap<string, Resource>>(new Map());

/** Selects or leaves out some. */
export function select(studies: readonly Resource[], chosen: boolean): void {
  const next = new Map(selection.value);
  for (const study of studies) {
    if (chosen) next.set(study.ID, study);
    else next.delete(study.ID);
  }
  selection.value = next;
}

/** Leaves all out. */
export function clearSelection(): void {
  selection.value = new Map();
}
