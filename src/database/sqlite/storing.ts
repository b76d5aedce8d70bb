/** Owns storing an instance: its row, the parents it needs, and what happens to one that is there already. */

import { LEVELS, type Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import type { Attachment, DatabaseLimits, Outcome } from '../database.ts';
import { normalise } from '../../dicom/match.ts';
import { PARENT_LEVELS, type Parent, type Parents } from './parents.ts';
import { deleteAdditions, fits, makeRoom, removeFiles } from './removal.ts';
import { publicIdBytes } from '../rows.ts';
import { attachmentValues } from './rows.ts';
import type { ReadStore } from './task.ts';
import type { Transaction } from './transaction.ts';

const success: Outcome = { kind: 'stored', status: 'Success' };
const alreadyStored: Outcome = { kind: 'stored', status: 'AlreadyStored' };

type IdBytes = Readonly<Record<Level, Buffer>>;

export function storeInstance(
  tx: Transaction,
  parents: Parents,
  limits: DatabaseLimits,
  operation: ReadStore,
): Outcome {
  const { summary, attachment, overwrite } = operation;
  const bytes = bytesOf(operation);

  // With limits or overwriting the row is looked for first; else the insertion itself says whether it was there.
  const limited = limits.maximumStorageSize > 0 || limits.maximumPatientCount > 0;
  if (limited || overwrite !== 'Never') {
    const there = tx.row<{ id: number; size: number; md5: Buffer | null }>(
      'SELECT id, size, md5 FROM instances WHERE public_id = ?',
      bytes.Instance,
    );
    if (there !== undefined) {
      if (overwrite === 'Never') return alreadyStored;
      if (overwrite === 'IfChanged' && isSame(there, attachment)) return alreadyStored;
      return overwriteInstance(tx, parents, operation, bytes, there.id);
    }
    if (limited) {
      const patient = parents.get('Patient', summary.ids.Patient, bytes.Patient);
      const newPatients = patient === undefined ? 1 : 0;
      if (!fits(tx, limits, attachment.compressedSize, newPatients)) {
        parents.flush();
        const room = makeRoom(tx, limits, attachment.compressedSize, newPatients, patient?.id ?? -1);
        parents.forget();
        if (!room) return { kind: 'refused', error: 'FullStorage' };
      }
    }
  }

  const chain: Parent[] = [];
  const made: Level[] = [];
  for (const level of PARENT_LEVELS) {
    let parent = parents.get(level, summary.ids[level], bytes[level]);
    if (parent === undefined) {
      parent = parents.insert(level, bytes[level], chain.at(-1)?.id ?? 0, operation);
      made.unshift(level);
    }
    chain.push(parent);
  }
  const series = chain.at(-1);
  if (series === undefined || !insertInstance(tx, operation, bytes.Instance, series.id)) return alreadyStored;
  for (const parent of chain) parents.touch(parent);
  tx.log('NewInstance', 'Instance', bytes.Instance);
  for (const level of made) tx.log(`New${level}`, level, bytes[level]);
  if (series.completeness !== undefined) series.completeness.present++;
  logIfComplete(tx, series, bytes.Series);
  return success;
}

function bytesOf({ summary }: ReadStore): IdBytes {
  const bytes = LEVELS.map((level) => {
    const found = publicIdBytes(summary.ids[level]);
    if (found === undefined) throw new IsenError('ParameterOutOfRange', 'Not a public identifier');
    return [level, found] as const;
  });
  return Object.fromEntries(bytes) as IdBytes;
}

function isSame(row: { readonly size: number; readonly md5: Buffer | null }, attachment: Attachment): boolean {
  return row.size === attachment.uncompressedSize && (row.md5?.toString('hex') ?? '') === attachment.uncompressedMD5;
}

/** False when the instance was there already. */
function insertInstance(tx: Transaction, operation: ReadStore, bytes: Buffer, series: number): boolean {
  const { summary, attachment, metadata } = operation;
  const uid = summary.tags.Instance['0008,0018'];
  const { changes } = tx.run(
    `INSERT INTO instances (public_id, parent, uuid, size, md5, compressed_size, compressed_md5, compression, revision,
     sop_instance_uid, tags, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT (public_id) DO NOTHING`,
    bytes,
    series,
    ...attachmentValues(attachment),
    uid === undefined ? null : normalise(uid),
    JSON.stringify(summary.tags.Instance),
    JSON.stringify({ ...summary.metadata.Instance, ...metadata }),
  );
  if (changes === 0) return false;
  tx.counters.instances++;
  tx.account(1, attachment.compressedSize, attachment.uncompressedSize, true);
  return true;
}

/** Replaces an instance. Ancestors that hold nothing else take the new file's tags too. */
function overwriteInstance(
  tx: Transaction,
  parents: Parents,
  operation: ReadStore,
  bytes: IdBytes,
  row: number,
): Outcome {
  deleteAdditions(tx, 'Instance', row, 'Instance');
  removeFiles(tx, 'Instance', row);
  tx.run('DELETE FROM instances WHERE id = ?', row);
  tx.counters.instances--;
  const series = parents.get('Series', operation.summary.ids.Series, bytes.Series);
  if (series === undefined) throw new IsenError('Database', 'An instance has no series');
  insertInstance(tx, operation, bytes.Instance, series.id);
  tx.log('NewInstance', 'Instance', bytes.Instance);
  let only = true;
  for (const level of [...PARENT_LEVELS].reverse()) {
    const parent = parents.get(level, operation.summary.ids[level], bytes[level]);
    if (parent === undefined) throw new IsenError('Database', 'An instance has no ancestors');
    parents.touch(parent);
    only &&= parents.hasOneChild(parent);
    if (only) parents.replace(parent, operation);
  }
  logIfComplete(tx, series, bytes.Series);
  return success;
}

/** A series is complete when its instances have the indexes 1 to the expected number, each once. */
function logIfComplete(tx: Transaction, series: Parent, bytes: Buffer): void {
  const { completeness } = series;
  if (completeness === undefined || completeness.present !== completeness.expected) return;
  const row = tx.row<{ count: number }>(
    `SELECT count(DISTINCT CAST(metadata ->> 'IndexInSeries' AS INTEGER)) AS count FROM instances
     WHERE parent = ? AND CAST(metadata ->> 'IndexInSeries' AS INTEGER) BETWEEN 1 AND ?`,
    series.id,
    completeness.expected,
  );
  if (row?.count === completeness.expected) tx.log('CompletedSeries', 'Series', bytes);
}
