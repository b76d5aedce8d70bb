/**
 * Owns the known modalities while the server runs: those of the configuration, changed in memory only; those of the index
 * (`DicomModalitiesInDatabase`); or, where servers share an index, those of the configuration with the changes of any of them.
 */

import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { describeModality, readModality } from '../scu/modalities.ts';
import type { Modalities, Modality } from '../scu/modality.ts';
import { alone } from './lease.ts';
import type { Queue } from './queue.ts';

/** The property of the index that holds them: their descriptions by name. */
const PROPERTY = 'DicomModalities';

/** The property that holds the changes to those of the configuration: descriptions by name, null of one that was removed. */
const CHANGES = 'ChangedDicomModalities';

const byName = (modalities: ReadonlyMap<string, Modality>): readonly Modality[] =>
  [...modalities.values()].sort((a, b) => (a.name < b.name ? -1 : 1));

function readAll(descriptions: Readonly<Record<string, unknown>>): Map<string, Modality> {
  return new Map(
    Object.entries(descriptions).map(([name, description]) => [name, readModality(name, description)] as const),
  );
}

/** Those of `DicomModalities`. Throws as {@link readModality} does. */
export function configuredModalities(configured: Readonly<Record<string, unknown>>): Modalities {
  const modalities = readAll(configured);
  return {
    get: async (name) => modalities.get(name),
    list: async () => byName(modalities),
    async put(name, description) {
      modalities.set(name, readModality(name, description));
    },
    remove: async (name) => modalities.delete(name),
  };
}

export interface StoredModalitiesOptions {
  readonly database: Pick<Database, 'property'>;
  readonly apply: Ingest['apply'];
  readonly queue: Pick<Queue, 'lease'>;
  /** `DicomModalities`, over which those of the index are put; undefined where the index has all of them. */
  readonly configured?: Readonly<Record<string, unknown>>;
}

/** Those of the index, on whichever node they were set. Throws as {@link readModality} does. */
export function storedModalities({ database, apply, queue, configured }: StoredModalitiesOptions): Modalities {
  const name = configured === undefined ? PROPERTY : CHANGES;
  const base = Object.entries(configured ?? {});
  type Descriptions = Readonly<Record<string, unknown>>;
  const over = (stored: Descriptions): Map<string, Modality> =>
    readAll(Object.fromEntries([...base, ...Object.entries(stored)].filter(([, description]) => description !== null)));
  let text = '{}';
  let stored: Descriptions = {};
  let modalities: ReadonlyMap<string, Modality> = over(stored);
  const read = async (): Promise<ReadonlyMap<string, Modality>> => {
    const current = (await database.property(name)) ?? '{}';
    if (current !== text) {
      stored = JSON.parse(current) as Descriptions;
      modalities = over(stored);
      text = current;
    }
    return modalities;
  };
  /** One change at a time over all nodes, each upon what the last one left. */
  const change = async (changed: (stored: Descriptions) => Descriptions): Promise<void> =>
    alone(queue, 'modalities', async () => {
      await read();
      await apply({ kind: 'property', name, value: JSON.stringify(changed(stored)) });
    });
  return {
    get: async (of) => (await read()).get(of),
    list: async () => byName(await read()),
    async put(of, description) {
      const modality = describeModality(readModality(of, description));
      await change((before) => ({ ...before, [of]: modality }));
    },
    async remove(of) {
      let known = false;
      await change((before) => {
        known = modalities.has(of);
        const { [of]: _, ...others } = before;
        return base.some(([each]) => each === of) ? { ...others, [of]: null } : others;
      });
      return known;
    },
  };
}
