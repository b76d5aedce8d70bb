/** Owns deleting: a subtree with everything that hangs on it, and recycling patients where space is limited. */

import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import type { DatabaseLimits, Remaining } from '../database.ts';
import { levelNumber, publicId, TABLE } from '../rows.ts';
import { LIMIT } from './connection.ts';
import { FILE_COLUMNS, type FileRow, type Transaction } from './transaction.ts';

/** SQL of the row ids of `bottom` that are below (or are) the row of `top` bound to its one parameter. */
function below(top: Level, bottom: Level): string {
  const parent = LEVEL[bottom].parent;
  if (top === bottom || parent === undefined) return 'SELECT ? AS id';
  return `SELECT id FROM ${TABLE[bottom]} WHERE parent IN (${below(top, parent)})`;
}

/** Deletes the row, what is below it and every ancestor that it leaves empty; answers the nearest ancestor left. */
export function deleteResource(tx: Transaction, level: Level, row: number): Remaining | undefined {
  let top = level;
  let id = row;
  let remaining: Remaining | undefined;
  for (let up = LEVEL[top].parent; up !== undefined; up = LEVEL[up].parent) {
    const parent = tx.row<{ id: number; public_id: Buffer; others: number }>(
      `SELECT p.id, p.public_id, EXISTS (SELECT 1 FROM ${TABLE[top]} o WHERE o.parent = p.id AND o.id <> c.id) AS others
       FROM ${TABLE[top]} c JOIN ${TABLE[up]} p ON p.id = c.parent WHERE c.id = ?`,
      id,
    );
    if (parent === undefined) throw new IsenError('Database', 'A resource has no parent');
    if (parent.others === 1) {
      remaining = { level: up, id: publicId(parent.public_id.toString('hex')) };
      break;
    }
    top = up;
    id = parent.id;
  }
  const levels = LEVELS.slice(LEVELS.indexOf(top)).reverse();
  for (const each of levels) deleteAdditions(tx, top, id, each);
  removeFiles(tx, top, id);
  // Children are logged before their parents.
  for (const each of levels) {
    const gone = tx.rows<{ public_id: Buffer }>(
      `SELECT public_id FROM ${TABLE[each]} WHERE id IN (${below(top, each)}) ORDER BY id`,
      id,
    );
    for (const { public_id } of gone) tx.log('Deleted', each, public_id);
    tx.counters[TABLE[each]] -= gone.length;
  }
  for (const each of levels) tx.run(`DELETE FROM ${TABLE[each]} WHERE id IN (${below(top, each)})`, id);
  return remaining;
}

/** Deletes `most` of the instances below the row where there are more; false, having changed nothing, where there are not. */
export function deleteSome(tx: Transaction, level: Level, row: number, most: number): boolean {
  if (level === 'Instance') return false;
  const some = tx.rows<FileRow & { id: number; parent: number; public_id: Buffer }>(
    `SELECT id, parent, public_id, ${FILE_COLUMNS} FROM instances WHERE parent IN (${below(level, 'Series')}) ${LIMIT}`,
    row,
    most + 1,
  );
  if (some.length <= most) return false;
  const gone = some.slice(0, most);
  const list = 'SELECT value FROM json_each(?)';
  const ids = JSON.stringify(gone.map(({ id }) => id));
  deleteAdditionsOf(tx, 'Instance', list, ids);
  for (const each of gone) {
    tx.removeFile(each, true);
    tx.log('Deleted', 'Instance', each.public_id);
  }
  tx.counters.instances -= gone.length;
  tx.run(`DELETE FROM instances WHERE id IN (${list})`, ids);
  const empty = tx.rows<{ id: number }>(
    `SELECT id FROM series s WHERE id IN (${list}) AND NOT EXISTS (SELECT 1 FROM instances WHERE parent = s.id)`,
    JSON.stringify([...new Set(gone.map(({ parent }) => parent))]),
  );
  for (const { id } of empty) deleteResource(tx, 'Series', id);
  return true;
}

/** Deletes labels, set metadata and user attachments of the rows of `bottom` below the row of `top`. */
export function deleteAdditions(tx: Transaction, top: Level, id: number, bottom: Level): void {
  deleteAdditionsOf(tx, bottom, below(top, bottom), id);
}

/** The same of the rows whose ids `rows` selects, which takes `value`. */
function deleteAdditionsOf(tx: Transaction, level: Level, rows: string, value: number | string): void {
  const where = `level = ${levelNumber(level)} AND resource IN (${rows})`;
  const files = tx.rows<FileRow>(`SELECT ${FILE_COLUMNS} FROM attachments WHERE ${where}`, value);
  for (const file of files) tx.removeFile(file, false);
  for (const table of ['attachments', 'metadata', 'labels']) tx.run(`DELETE FROM ${table} WHERE ${where}`, value);
}

/** Lists the DICOM files below a row as to be removed. */
export function removeFiles(tx: Transaction, top: Level, id: number): void {
  const files = tx.rows<FileRow>(`SELECT ${FILE_COLUMNS} FROM instances WHERE id IN (${below(top, 'Instance')})`, id);
  for (const file of files) tx.removeFile(file, true);
}

/** Whether `size` bytes and (`newPatients` 1) a patient more are within the limits. */
export function fits(tx: Transaction, limits: DatabaseLimits, size: number, newPatients: 0 | 1): boolean {
  const { maximumStorageSize, maximumPatientCount } = limits;
  return (
    (maximumStorageSize === 0 || tx.counters.disk_size + size <= maximumStorageSize) &&
    (maximumPatientCount === 0 || newPatients === 0 || tx.counters.patients < maximumPatientCount)
  );
}

/**
 * Deletes unprotected patients, the one whose last instance is oldest first, never the row `keep`, until what {@link fits}
 * asks fits. False, having changed nothing, when it cannot.
 */
export function makeRoom(
  tx: Transaction,
  limits: DatabaseLimits,
  size: number,
  newPatients: 0 | 1,
  keep: number,
): boolean {
  const { maximumStorageSize, mode } = limits;
  if (mode === 'Reject' || (maximumStorageSize > 0 && size > maximumStorageSize)) return false;
  return tx.attempt(() => {
    while (!fits(tx, limits, size, newPatients)) {
      const oldest = tx.row<{ id: number }>(
        'SELECT id FROM patients WHERE recycling IS NOT NULL AND id <> ? ORDER BY recycling LIMIT 1',
        keep,
      );
      if (oldest === undefined) return false;
      deleteResource(tx, 'Patient', oldest.id);
    }
    return true;
  });
}
