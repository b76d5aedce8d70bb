/**
 * Owns what is known by name while the server runs (modalities, peers, webhooks): that of the configuration, changed in memory only, or
 * that of the index, the same on every node.
 */

import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';

/** Where a description comes from: whoever may write the configuration is trusted with more. */
export type Source = 'configuration' | 'rest';

/** Things known by name. */
export interface Register<Known> {
  get(name: string): Promise<Known | undefined>;
  /** Sorted by name. */
  list(): Promise<readonly Known[]>;
  /** Adds or replaces one. Throws BadFileFormat and the like for a description that is none. */
  put(name: string, description: unknown): Promise<void>;
  /** Whether it was there. */
  remove(name: string): Promise<boolean>;
}

/** How one kind of thing is written down. */
export interface Notation<Known extends { readonly name: string }> {
  /** Throws IsenError for a description that is none. */
  read(name: string, description: unknown, source: Source): Known;
  /** What {@link Notation.read} reads again. */
  describe(known: Known): unknown;
}

const byName = <Known extends { readonly name: string }>(all: ReadonlyMap<string, Known>): readonly Known[] =>
  [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));

function readAll<Known extends { readonly name: string }>(
  descriptions: Readonly<Record<string, unknown>>,
  { read }: Notation<Known>,
  source: Source,
): Map<string, Known> {
  const entries = Object.entries(descriptions);
  return new Map(entries.map(([name, description]) => [name, read(name, description, source)] as const));
}

/** Those of the configuration. Throws as {@link Notation.read} does. */
export function configuredRegister<Known extends { readonly name: string }>(
  configured: Readonly<Record<string, unknown>>,
  notation: Notation<Known>,
): Register<Known> {
  const all = readAll(configured, notation, 'configuration');
  return {
    get: async (name) => all.get(name),
    list: async () => byName(all),
    async put(name, description) {
      all.set(name, notation.read(name, description, 'rest'));
    },
    remove: async (name) => all.delete(name),
  };
}

/** Those of the index, on whichever node they were set; `property` holds their descriptions by name. */
export function storedRegister<Known extends { readonly name: string }>(
  property: string,
  notation: Notation<Known>,
  database: Pick<Database, 'property'>,
  apply: Ingest['apply'],
): Register<Known> {
  let text = '{}';
  let all: ReadonlyMap<string, Known> = new Map();
  const read = async (): Promise<ReadonlyMap<string, Known>> => {
    const current = (await database.property(property)) ?? '{}';
    if (current !== text) {
      all = readAll(JSON.parse(current) as Record<string, unknown>, notation, 'rest');
      text = current;
    }
    return all;
  };
  const write = async (changed: ReadonlyMap<string, Known>): Promise<void> => {
    const descriptions = byName(changed).map((known) => [known.name, notation.describe(known)] as const);
    await apply({ kind: 'property', name: property, value: JSON.stringify(Object.fromEntries(descriptions)) });
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
    put: (name, description) =>
      inTurn(async () => write(new Map([...(await read()), [name, notation.read(name, description, 'rest')]]))),
    remove: (name) =>
      inTurn(async () => {
        const changed = new Map(await read());
        const known = changed.delete(name);
        if (known) await write(changed);
        return known;
      }),
  };
}
