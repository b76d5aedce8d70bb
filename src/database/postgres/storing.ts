/**
 * Owns storing instances that are not there yet, many at once: two round trips, whatever their number. Rows are written
 * in one order everywhere (patients, studies, series, instances; each by public id), so that processes which store the
 * same new patient wait for each other and never in a circle.
 */

import { LEVEL, type Level } from '../../dicom/levels.ts';
import { TABLE } from '../rows.ts';
import { completions } from './completion.ts';
import { type Transaction } from './transaction.ts';
import { columnNames, columnsOf, FILE_VALUES, fileValues, type ReadStore, hexOf } from './values.ts';

export const PARENT_LEVELS = ['Patient', 'Study', 'Series'] as const;

export type ParentLevel = (typeof PARENT_LEVELS)[number];

type Values = readonly unknown[];

/** What an `unnest` column is bound as, and how it becomes the column's value: bytes travel as hex. */
const bound = (type: string): string => (type === 'bytea' ? 'text' : type);
const taken = ({ name, type }: { name: string; type: string }): string =>
  type === 'bytea' ? `decode(x.${name}, 'hex')` : `x.${name}`;

/** The statement that adds rows of a level, arrays of one element a row; it answers the ids of those that were not there. */
function insertion(level: Level): string {
  const parent = LEVEL[level].parent;
  const columns = [
    { name: 'public_id', type: 'bytea' },
    ...(parent === undefined ? [] : [{ name: 'parent', type: 'bytea' }]),
    ...(level === 'Instance' ? FILE_VALUES : [{ name: 'active_at', type: 'bigint' }]),
    ...columnNames(level),
  ];
  const last = columns.length + 1;
  const derived =
    level === 'Instance'
      ? { names: ['revision'], values: ['0'] }
      : {
          names: ['stable_at', ...(level === 'Patient' ? ['recycling'] : [])],
          values: [`x.active_at + $${last}`, ...(level === 'Patient' ? ['x.active_at'] : [])],
        };
  const values = columns.map((column) =>
    column.name === 'parent' && parent !== undefined
      ? `(SELECT id FROM ${TABLE[parent]} WHERE public_id = ${taken(column)})`
      : taken(column),
  );
  return `INSERT INTO ${TABLE[level]} (${[...columns.map(({ name }) => name), ...derived.names].join()})
    SELECT ${[...values, ...derived.values].join()}
    FROM unnest(${columns.map(({ type }, index) => `$${index + 1}::${bound(type)}[]`).join()})
      AS x (${columns.map(({ name }) => name).join()})
    ON CONFLICT (public_id) DO NOTHING RETURNING encode(public_id, 'hex') AS id`;
}

const INSERTIONS: Readonly<Record<Level, string>> = {
  Patient: insertion('Patient'),
  Study: insertion('Study'),
  Series: insertion('Series'),
  Instance: insertion('Instance'),
};

/** Rows as the columns that `unnest` takes, in order of public id: the first value of each row. */
function transpose(rows: readonly Values[]): unknown[][] {
  const sorted = [...rows].sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));
  return (sorted[0] ?? []).map((_, column) => sorted.map((row) => row[column]));
}

const touching = (level: ParentLevel): string =>
  `WITH locked AS MATERIALIZED (
    SELECT p.id, x.at FROM unnest($1::text[], $2::bigint[]) AS x (id, at)
    JOIN ${TABLE[level]} p ON p.public_id = decode(x.id, 'hex') ORDER BY p.public_id FOR NO KEY UPDATE OF p
  )
  UPDATE ${TABLE[level]} p SET active_at = greatest(p.active_at, l.at), stable_at = coalesce(p.stable_at, l.at + $3)
  FROM locked l WHERE p.id = l.id`;

const TOUCHING: Readonly<Record<ParentLevel, string>> = {
  Patient: touching('Patient'),
  Study: touching('Study'),
  Series: touching('Series'),
};

/** Tells parents that instances came: `at` by id in hex, in microseconds; `stableAge` in milliseconds. */
export function touch(tx: Transaction, level: ParentLevel, at: ReadonlyMap<string, number>, stableAge: number): void {
  if (at.size === 0) return;
  const [ids = [], moments = []] = transpose([...at]);
  tx.send(TOUCHING[level], ids, moments, stableAge * 1000);
}

/**
 * Stores those of `operations` whose instance is not there, with the parents they need, and logs them; answers for each
 * whether it was stored. The second of two for the same instance is not.
 */
export async function insertInstances(
  tx: Transaction,
  stableAge: number,
  operations: readonly ReadStore[],
): Promise<boolean[]> {
  const first = new Map<string, ReadStore>();
  const parents = { Patient: new Map<string, Values>(), Study: new Map(), Series: new Map() };
  const moments = {
    Patient: new Map<string, number>(),
    Study: new Map<string, number>(),
    Series: new Map<string, number>(),
  };
  const instances: Values[] = [];
  for (const operation of operations) {
    const { ids } = operation.summary;
    const instance = hexOf(ids.Instance);
    if (first.has(instance)) continue;
    first.set(instance, operation);
    const at = tx.moment();
    let above: string[] = [];
    for (const level of PARENT_LEVELS) {
      const id = hexOf(ids[level]);
      // The first one makes the parent, the last one says when it was active.
      if (!parents[level].has(id)) parents[level].set(id, [id, ...above, 0, ...columnsOf(level, operation)]);
      moments[level].set(id, at);
      above = [id];
    }
    instances.push([instance, ...above, ...fileValues(operation.attachment), ...columnsOf('Instance', operation)]);
  }
  const inserting = PARENT_LEVELS.map((level) => {
    const place = level === 'Patient' ? 1 : 2;
    const rows = [...parents[level]].map(([id, row]) => row.with(place, moments[level].get(id)));
    return tx.rows<{ id: string }>(INSERTIONS[level], ...transpose(rows), stableAge * 1000);
  });
  const [[patients = [], studies = [], series = []], inserted, expecting] = await Promise.all([
    Promise.all(inserting),
    tx.rows<{ id: string }>(INSERTIONS.Instance, ...transpose(instances)),
    tx.rows<{ id: string; expected: string }>(
      `SELECT encode(public_id, 'hex') AS id, metadata ->> 'ExpectedNumberOfInstances' AS expected FROM series
       WHERE public_id = ANY (ARRAY(SELECT decode(unnest($1::text[]), 'hex')))
       AND metadata ->> 'ExpectedNumberOfInstances' IS NOT NULL`,
      [...parents.Series.keys()],
    ),
  ]);
  const made = { Patient: idsOf(patients), Study: idsOf(studies), Series: idsOf(series) };
  const stored = idsOf(inserted);
  const fresh = [...first].filter(([id]) => stored.has(id)).map(([, operation]) => operation);
  for (const level of PARENT_LEVELS) {
    const touched = new Set(fresh.map((operation) => hexOf(operation.summary.ids[level])));
    touch(tx, level, new Map([...moments[level]].filter(([id]) => touched.has(id) && !made[level].has(id))), stableAge);
    tx.count(level, made[level].size);
  }
  tx.count('Instance', fresh.length);
  // Only now are the rows of these series locked, so that of two processes the later one sees what the other stored.
  const completing = await completions(tx, expecting, fresh);
  for (const operation of fresh) {
    const { ids } = operation.summary;
    tx.account(1, operation.attachment.compressedSize, operation.attachment.uncompressedSize, true);
    tx.log('NewInstance', 'Instance', ids.Instance);
    for (const level of [...PARENT_LEVELS].reverse()) {
      if (made[level].delete(hexOf(ids[level]))) tx.log(`New${level}`, level, ids[level]);
    }
    if (completing.has(operation)) tx.log('CompletedSeries', 'Series', ids.Series);
  }
  const isFresh = new Set(fresh);
  return operations.map((operation) => isFresh.has(operation));
}

function idsOf(rows: readonly { readonly id: string }[]): Set<string> {
  return new Set(rows.map(({ id }) => id));
}
