/**
 * Owns what is known by name while the server runs (modalities, peers, webhooks): that of the configuration, changed in memory only, or
 * that of the index, the same on every node.
 */

import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { alone } from './lease.ts';
import type { Queue } from './queue.ts';

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

/** Those of the configuration, changed in memory. Throws as {@link Notation.read} does. */
function configuredRegister<Known extends { readonly name: string }>(
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

export interface StoredRegisterOptions<Known extends { readonly name: string }> {
  /** The property of the index that holds their descriptions by name. */
  readonly property: string;
  readonly notation: Notation<Known>;
  readonly database: Pick<Database, 'property'>;
  readonly apply: Ingest['apply'];
  readonly queue: Pick<Queue, 'lease'>;
  /** Those of the configuration, over which the index holds the changes: descriptions by name, null of one that was removed. */
  readonly configured?: Readonly<Record<string, unknown>>;
}

type Descriptions = Readonly<Record<string, unknown>>;

/** Those of the index, on whichever node they were set. Throws as {@link Notation.read} does. */
export function storedRegister<Known extends { readonly name: string }>(
  options: StoredRegisterOptions<Known>,
): Register<Known> {
  const { property, notation, database, apply, queue, configured = {} } = options;
  const base = readAll(configured, notation, 'configuration');
  const over = (stored: Descriptions): ReadonlyMap<string, Known> => {
    const all = new Map(base);
    for (const [name, description] of Object.entries(stored)) {
      if (description === null) all.delete(name);
      else all.set(name, notation.read(name, description, 'rest'));
    }
    return all;
  };
  let text = '{}';
  let stored: Descriptions = {};
  let all = over(stored);
  const read = async (): Promise<ReadonlyMap<string, Known>> => {
    const current = (await database.property(property)) ?? '{}';
    if (current !== text) {
      stored = JSON.parse(current) as Descriptions;
      all = over(stored);
      text = current;
    }
    return all;
  };
  /** One change at a time over all nodes, each upon what the last one left; `undefined` changes nothing. */
  const change = (changed: (all: ReadonlyMap<string, Known>) => Descriptions | undefined): Promise<void> =>
    alone(queue, property, async () => {
      const after = changed(await read());
      if (after !== undefined) await apply({ kind: 'property', name: property, value: JSON.stringify(after) });
    });
  return {
    get: async (name) => (await read()).get(name),
    list: async () => byName(await read()),
    async put(name, description) {
      const known = notation.describe(notation.read(name, description, 'rest'));
      await change(() => ({ ...stored, [name]: known }));
    },
    async remove(name) {
      let known = false;
      await change((before) => {
        known = before.has(name);
        const { [name]: _, ...others } = stored;
        if (!known) return undefined;
        return base.has(name) ? { ...others, [name]: null } : others;
      });
      return known;
    },
  };
}

export interface RegisterOptions<Known extends { readonly name: string }>
  extends Omit<StoredRegisterOptions<Known>, 'configured' | 'database'> {
  readonly database: Pick<Database, 'property' | 'shared'>;
  readonly configured: Readonly<Record<string, unknown>>;
  /** Whether the index has all of them, and the configuration none. */
  readonly inDatabase: boolean;
}

/** Those of the index, or of the configuration: changed in memory only, unless other nodes share the index and are to see it. */
export function openRegister<Known extends { readonly name: string }>(
  options: RegisterOptions<Known>,
): Register<Known> {
  const { configured, inDatabase, ...stored } = options;
  if (inDatabase) return storedRegister(stored);
  if (!stored.database.shared) return configuredRegister(configured, stored.notation);
  return storedRegister({ ...stored, property: `Changed${stored.property}`, configured });
}
