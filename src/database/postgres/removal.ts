/** Owns deleting: a subtree with everything that hangs on it, and recycling patients where space is limited. */

import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import type { DatabaseLimits, Remaining } from '../database.ts';
import { levelNumber, publicId, TABLE } from '../rows.ts';
import { type FileRow, fileColumns, type Transaction } from './transaction.ts';

/** For each level, the row's ancestors from itself up, and whether each has siblings: what the deletion leaves. */
function chain(level: Level): string {
  const path = LEVELS.slice(0, LEVELS.indexOf(level) + 1).reverse();
  const columns = path.flatMap((each, index) => {
    const parent = path[index + 1];
    return [
      `${TABLE[each]}.id AS id${index}`,
      `encode(${TABLE[each]}.public_id, 'hex') AS hex${index}`,
      parent === undefined
        ? `false AS siblings${index}`
        : `EXISTS (SELECT 1 FROM ${TABLE[each]} o WHERE o.parent = ${TABLE[parent]}.id AND o.id <> ${TABLE[each]}.id) AS siblings${index}`,
    ];
  });
  const joins = path
    .slice(1)
    .map((each, index) => `JOIN ${TABLE[each]} ON ${TABLE[each]}.id = ${TABLE[path[index] ?? each]}.parent`);
  return `SELECT ${columns.join()} FROM ${TABLE[level]} ${joins.join(' ')} WHERE ${TABLE[level]}.id = $1`;
}

/** Rows at and below row $1 of `top`, deepest first; files only of instances. */
function subtree(top: Level): string {
  const levels = LEVELS.slice(LEVELS.indexOf(top));
  const set = (level: Level): string => `at${levelNumber(level)}`;
  const sets = levels.map((level) => {
    const parent = LEVEL[level].parent;
    const where =
      level === top || parent === undefined ? 'id = $1' : `parent = ANY (ARRAY(SELECT id FROM ${set(parent)}))`;
    return `${set(level)} AS MATERIALIZED (SELECT id FROM ${TABLE[level]} WHERE ${where})`;
  });
  const rows = [...levels].reverse().map((level) => {
    const file = level === 'Instance' ? fileColumns('r') : 'NULL::uuid AS uuid, 0::bigint AS size, 0::bigint AS disk';
    return `SELECT ${levelNumber(level)} AS level, r.id, encode(r.public_id, 'hex') AS hex, ${file}
      FROM ${TABLE[level]} r WHERE r.id = ANY (ARRAY(SELECT id FROM ${set(level)}))`;
  });
  return `WITH ${sets.join()} SELECT * FROM (${rows.join(' UNION ALL ')}) AS gone ORDER BY level DESC, id`;
}

const CHAINS = new Map(LEVELS.map((level) => [level, chain(level)]));
const SUBTREES = new Map(LEVELS.map((level) => [level, subtree(level)]));

interface GoneRow extends FileRow {
  readonly level: number;
  readonly id: number;
  readonly hex: string;
}

/** Deletes the row, what is below it and every ancestor that it leaves empty; answers the nearest ancestor left. */
export async function deleteResource(tx: Transaction, level: Level, row: number): Promise<Remaining | undefined> {
  const found = await tx.row<Record<string, unknown>>(CHAINS.get(level) ?? '', row);
  if (found === undefined) throw new IsenError('Database', 'A resource has no parent');
  let [top, height] = [level, 0];
  let remaining: Remaining | undefined;
  for (let up = LEVEL[top].parent; up !== undefined; up = LEVEL[up].parent) {
    if (found[`siblings${height}`] === true) {
      remaining = { level: up, id: publicId(String(found[`hex${height + 1}`])) };
      break;
    }
    top = up;
    height++;
  }
  const rows = await tx.rows<GoneRow>(SUBTREES.get(top) ?? '', found[`id${height}`]);
  const additions: Promise<void>[] = [];
  // Children are logged before their parents.
  for (const each of LEVELS.slice(LEVELS.indexOf(top)).reverse()) {
    const gone = rows.filter((of) => of.level === levelNumber(each));
    additions.push(deleteRows(tx, each, gone));
  }
  await Promise.all(additions);
  return remaining;
}

/** Deletes rows of `level`, which have no children any more. */
async function deleteRows(tx: Transaction, level: Level, gone: readonly Omit<GoneRow, 'level'>[]): Promise<void> {
  const ids = gone.map(({ id }) => id);
  const additions = deleteAdditions(tx, level, ids);
  if (level === 'Instance') tx.removeFiles(gone, true);
  for (const { hex } of gone) tx.log('Deleted', level, publicId(hex));
  tx.count(level, -gone.length);
  tx.send(`DELETE FROM ${TABLE[level]} WHERE id = ANY ($1::bigint[])`, ids);
  await additions;
}

/** SELECT of the row ids of `bottom` below (or of) row $1 of `top`. */
function below(top: Level, bottom: Level): string {
  const parent = LEVEL[bottom].parent;
  if (top === bottom || parent === undefined) return 'SELECT $1::bigint';
  return `SELECT id FROM ${TABLE[bottom]} WHERE parent IN (${below(top, parent)})`;
}

/** Deletes `most` of the instances below the row where there are more; false, having changed nothing, where there are not. */
export async function deleteSome(tx: Transaction, level: Level, row: number, most: number): Promise<boolean> {
  const some = await tx.rows<Omit<GoneRow, 'level'> & { parent: number }>(
    `SELECT r.id, r.parent, encode(r.public_id, 'hex') AS hex, ${fileColumns('r')} FROM instances r
     WHERE r.id IN (${below(level, 'Instance')}) LIMIT $2`,
    row,
    most + 1,
  );
  if (some.length <= most) return false;
  const gone = some.slice(0, most);
  await deleteRows(tx, 'Instance', gone);
  const parents = [...new Set(gone.map(({ parent }) => parent))];
  const empty = await tx.rows<{ id: number }>(
    `SELECT s.id FROM series s WHERE s.id = ANY ($1::bigint[]) AND NOT EXISTS (SELECT 1 FROM instances WHERE parent = s.id)`,
    parents,
  );
  for (const { id } of empty) await deleteResource(tx, 'Series', id);
  return true;
}

/** Deletes labels, set metadata and user attachments of rows of `level`. */
export async function deleteAdditions(tx: Transaction, level: Level, ids: readonly number[]): Promise<void> {
  const where = `WHERE level = ${levelNumber(level)} AND resource = ANY ($1::bigint[])`;
  const files = tx.rows<FileRow>(`DELETE FROM attachments ${where} RETURNING ${fileColumns('attachments')}`, ids);
  for (const table of ['metadata', 'labels']) tx.send(`DELETE FROM ${table} ${where}`, ids);
  tx.removeFiles(await files, false);
}

/** Whether `size` bytes and `newPatients` patients more are within the limits. */
export function fits(tx: Transaction, limits: DatabaseLimits, size: number, newPatients: number): boolean {
  const { maximumStorageSize, maximumPatientCount } = limits;
  return (
    (maximumStorageSize === 0 || tx.total('disk_size') + size <= maximumStorageSize) &&
    (maximumPatientCount === 0 || newPatients === 0 || tx.total('patients') + newPatients <= maximumPatientCount)
  );
}

/** Patients whose place in the order of recycling is brought up to date at once. */
const STALE = 1000;

/** The unprotected patient whose last instance is oldest, never the row `keep`. */
async function oldest(tx: Transaction, keep: number | undefined): Promise<number | undefined> {
  for (;;) {
    const first = await tx.row<{ id: number; stale: boolean }>(
      `SELECT id, active_at > recycling AS stale FROM patients WHERE recycling IS NOT NULL AND id <> $1
       ORDER BY recycling LIMIT 1`,
      keep ?? -1,
    );
    if (first?.stale !== true) return first?.id;
    await tx.rows(
      `UPDATE patients SET recycling = active_at WHERE active_at > recycling AND id = ANY (ARRAY(
         SELECT id FROM patients WHERE recycling IS NOT NULL ORDER BY recycling LIMIT ${STALE}))`,
    );
  }
}

/**
 * Deletes unprotected patients, the one whose last instance is oldest first, never the row `keep`, until what {@link fits}
 * asks fits. False, having changed nothing, when it cannot.
 */
export async function makeRoom(
  tx: Transaction,
  limits: DatabaseLimits,
  size: number,
  newPatients: number,
  keep: number | undefined,
): Promise<boolean> {
  const { maximumStorageSize, mode } = limits;
  if (mode === 'Reject' || (maximumStorageSize > 0 && size > maximumStorageSize)) return false;
  return tx.attempt(async () => {
    while (!fits(tx, limits, size, newPatients)) {
      const id = await oldest(tx, keep);
      if (id === undefined) return false;
      await deleteResource(tx, 'Patient', id);
    }
    return true;
  });
}
