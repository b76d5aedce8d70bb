/**
 * Owns what an index holds as rows that do not depend on its engine, so that one can be copied into another and both compared: its
 * tables, how their values are spelt meanwhile, and the port that each engine implements. The copy keeps every row id, since
 * rows refer to each other by them and the order of arrival is theirs.
 */

import { COUNTED } from './rows.ts';

/**
 * How a value is spelt in between: `hex` is bytes in lower case, `uuid` a text with hyphens, `seconds` and `milliseconds` are since the
 * epoch, and the values of `rank` have the order in which patients are recycled.
 */
export type ValueKind = 'integer' | 'text' | 'json' | 'hex' | 'uuid' | 'seconds' | 'milliseconds' | 'rank';

/** A row's values, in the order of its table's columns. */
export type Row = readonly (string | number | null)[];

export interface Table {
  readonly name: string;
  /** The first `key` columns are the primary key: numbers or texts, these in the order of their bytes in UTF-8. */
  readonly key: number;
  /** Kind by name. */
  readonly columns: Readonly<Record<string, ValueKind>>;
  /** Whether the engine gives out the first column. */
  readonly numbered: boolean;
}

const FILE = {
  uuid: 'uuid',
  size: 'integer',
  md5: 'hex',
  compressed_size: 'integer',
  compressed_md5: 'hex',
  compression: 'integer',
  revision: 'integer',
} as const satisfies Record<string, ValueKind>;

const RESOURCE = { tags: 'json', metadata: 'json', last_update: 'seconds', stable_at: 'milliseconds' } as const;

/** Property of an index that is being filled, of which its rows know nothing: the identity of the one that it is filled from. */
export const MIGRATION = 'Migration';

/** Property of an index whose files move: how far. */
export const MOVED_FILES = 'MigrationFiles';

const OWN: ReadonlySet<unknown> = new Set([MIGRATION, MOVED_FILES]);

/** Every table but the counters, each after those that its rows refer to. */
export const TABLES = [
  {
    name: 'patients',
    key: 1,
    numbered: true,
    columns: {
      id: 'integer',
      public_id: 'hex',
      ...RESOURCE,
      recycling: 'rank',
      patient_id: 'text',
      patient_name: 'text',
      patient_birth_date: 'text',
    },
  },
  {
    name: 'studies',
    key: 1,
    numbered: true,
    columns: {
      id: 'integer',
      public_id: 'hex',
      parent: 'integer',
      ...RESOURCE,
      study_instance_uid: 'text',
      accession_number: 'text',
      study_date: 'text',
      study_description: 'text',
      patient_name: 'text',
      patient_birth_date: 'text',
      patient_id: 'text',
    },
  },
  {
    name: 'series',
    key: 1,
    numbered: true,
    columns: { id: 'integer', public_id: 'hex', parent: 'integer', ...RESOURCE, series_instance_uid: 'text' },
  },
  {
    name: 'instances',
    key: 1,
    numbered: true,
    columns: {
      id: 'integer',
      public_id: 'hex',
      parent: 'integer',
      ...FILE,
      sop_instance_uid: 'text',
      tags: 'json',
      metadata: 'json',
    },
  },
  {
    name: 'attachments',
    key: 3,
    numbered: false,
    columns: { level: 'integer', resource: 'integer', content_type: 'integer', ...FILE },
  },
  {
    name: 'metadata',
    key: 3,
    numbered: false,
    columns: { level: 'integer', resource: 'integer', name: 'text', value: 'text', revision: 'integer' },
  },
  { name: 'labels', key: 3, numbered: false, columns: { level: 'integer', resource: 'integer', label: 'text' } },
  {
    name: 'changes',
    key: 1,
    numbered: false,
    columns: { seq: 'integer', type: 'integer', level: 'integer', public_id: 'hex', date: 'integer' },
  },
  {
    name: 'exports',
    key: 1,
    numbered: true,
    columns: {
      seq: 'integer',
      level: 'integer',
      public_id: 'hex',
      date: 'integer',
      remote: 'text',
      patient_id: 'text',
      study_instance_uid: 'text',
      series_instance_uid: 'text',
      sop_instance_uid: 'text',
    },
  },
  { name: 'removals', key: 1, numbered: false, columns: { uuid: 'uuid' } },
  { name: 'properties', key: 1, numbered: false, columns: { name: 'text', value: 'text' } },
  {
    name: 'work',
    key: 1,
    numbered: true,
    columns: {
      seq: 'integer',
      queue: 'text',
      id: 'text',
      group: 'text',
      state: 'integer',
      priority: 'integer',
      due: 'integer',
      attempts: 'integer',
      added: 'integer',
      reason: 'text',
      value: 'text',
    },
  },
  {
    name: 'work_counts',
    key: 3,
    numbered: false,
    columns: { group: 'text', queue: 'text', state: 'integer', count: 'integer' },
  },
] as const satisfies readonly Table[];

/** Columns of the counters row that both engines have. */
export const COUNTERS = [...COUNTED, 'seq'] as const;

/** What an index says of itself beside its rows. */
export interface Totals {
  readonly counters: Readonly<Record<(typeof COUNTERS)[number], number>>;
  /** The last number that the engine has given out, of each table whose rows it numbers. */
  readonly given: Readonly<Record<string, number>>;
}

/** An index as rows. Every method throws IsenError `Database` or `DatabaseUnavailable` when the engine fails. */
export interface IndexRows {
  /** The same for the same index, whatever it is called. */
  readonly identity: string;
  /**
   * Keeps every server (and every other copy) away until it is closed, and brings the schema to this program's version; makes the index
   * where there is none, unless it is to be read (`InexistentFile`). Throws `Database` when a server uses it. To be called before all others.
   */
  lock(use: 'source' | 'target'): Promise<void>;
  /** The first rows of a table whose key is greater than that of `after`, in ascending order. */
  read(table: Table, after: Row | undefined, limit: number): Promise<readonly Row[]>;
  count(table: Table): Promise<number>;
  /** The row as this engine gives it back. */
  kept(table: Table, row: Row): Row;
  /** In one durable transaction: the rows with the keys of `removed` go, then `added` come. */
  write(table: Table, removed: readonly Row[], added: readonly Row[]): Promise<void>;
  totals(): Promise<Totals>;
  setTotals(totals: Totals): Promise<void>;
  property(name: string): Promise<string | undefined>;
  /** Durably; undefined removes it. */
  setProperty(name: string, value: string | undefined): Promise<void>;
  close(): Promise<void>;
}

/** Rows read together. */
const PAGE = 1000;

/** The rows of a table in order, without what belongs to a copy. */
export async function* rowsOf(index: IndexRows, table: Table): AsyncGenerator<Row, undefined> {
  let after: Row | undefined;
  for (;;) {
    const rows = await index.read(table, after, PAGE);
    for (const row of rows) if (table.name !== 'properties' || !OWN.has(row[0])) yield row;
    after = rows.at(-1);
    if (rows.length < PAGE) return undefined;
  }
}

/** Negative where the key of `a` comes first, 0 where both are the same. */
export function compareKeys(table: Table, a: Row, b: Row): number {
  for (let at = 0; at < table.key; at++) {
    const [x, y] = [a[at], b[at]];
    if (x === y) continue;
    if (typeof x === 'number' && typeof y === 'number') return x - y;
    return Buffer.compare(Buffer.from(String(x)), Buffer.from(String(y)));
  }
  return 0;
}

/** A place where two tables are not the same; a row is as the target keeps it. */
export interface Difference {
  readonly source: Row | undefined;
  readonly target: Row | undefined;
}

/**
 * Compares a table of two indices, row by row; `seen` hears of each row that is the same in both.
 */
export async function* differences(
  source: IndexRows,
  target: IndexRows,
  table: Table,
  seen: () => void = () => {},
): AsyncGenerator<Difference, void> {
  const [left, right] = [rowsOf(source, table), rowsOf(target, table)];
  const next = async (): Promise<Row | undefined> => {
    const { value } = await left.next();
    return value && target.kept(table, value);
  };
  let [ours, theirs] = [await next(), (await right.next()).value];
  while (ours !== undefined || theirs !== undefined) {
    const order = ours === undefined ? 1 : theirs === undefined ? -1 : compareKeys(table, ours, theirs);
    if (order !== 0) yield order < 0 ? { source: ours, target: undefined } : { source: undefined, target: theirs };
    else if (ours?.some((value, at) => value !== theirs?.[at]) === true) yield { source: ours, target: theirs };
    else seen();
    if (order <= 0) ours = await next();
    if (order >= 0) theirs = (await right.next()).value;
  }
}
