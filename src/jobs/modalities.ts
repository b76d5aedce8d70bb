/**
 * Owns the known modalities while the server runs: those of the configuration, changed in memory only, or
 * (`DicomModalitiesInDatabase`) those of the index.
 */

import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { describeModality, readModality } from '../scu/modalities.ts';
import type { Modalities, Modality } from '../scu/modality.ts';

/** The property of the index that holds them: their descriptions by name. */
const PROPERTY = 'DicomModalities';

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

/** Those of the index, on whichever node they were set. */
export function storedModalities(database: Pick<Database, 'property'>, apply: Ingest['apply']): Modalities {
  let text = '{}';
  let modalities: ReadonlyMap<string, Modality> = new Map();
  const read = async (): Promise<ReadonlyMap<string, Modality>> => {
    const current = (await database.property(PROPERTY)) ?? '{}';
    if (current !== text) {
      modalities = readAll(JSON.parse(current) as Record<string, unknown>);
      text = current;
    }
    return modalities;
  };
  const write = async (changed: ReadonlyMap<string, Modality>): Promise<void> => {
    const descriptions = byName(changed).map((modality) => [modality.name, describeModality(modality)] as const);
    await apply({ kind: 'property', name: PROPERTY, value: JSON.stringify(Object.fromEntries(descriptions)) });
  };
  let turn: Promise<unknown> = Promise.resolve();
  /** One change at a time, each upon what the last one left. */
  const inTurn = <Result>(change: () => Promise<Result>): Promise<Result> => {
    const result = turn.then(change);
    turn = result.catch(() => {});
    return result;
  };
  return {
    get: async (name) => (await read()).get(name),
    list: async () => byName(await read()),
    put: (name, description) => {
      return inTurn(async () => write(new Map([...(await read()), [name, readModality(name, description)]])));
    },
    remove: (name) =>
      inTurn(async () => {
        const changed = new Map(await read());
        const known = changed.delete(name);
        if (known) await write(changed);
        return known;
      }),
  };
}
