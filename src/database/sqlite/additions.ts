/** Owns what users and jobs add to a resource: metadata, attachments, labels, protection; with their revisions. */

import { LEVEL, type Level } from '../../dicom/levels.ts';
import {
  type AttachmentOperation,
  type DatabaseLimits,
  DICOM_ATTACHMENT,
  type LabelOperation,
  type MetadataOperation,
  type Outcome,
  type ProtectOperation,
} from '../database.ts';
import { FIRST_USER_ATTACHMENT, isBuiltInMetadata } from '../metadata.ts';
import { type Current, isRefused, valueMd5 } from '../revisions.ts';
import { fits, makeRoom } from './removal.ts';
import { levelNumber, TABLE } from '../rows.ts';
import { attachmentValues } from './rows.ts';
import { FILE_COLUMNS, type FileRow, type Transaction } from './transaction.ts';

const unknown: Outcome = { kind: 'refused', error: 'UnknownResource' };

export function protect(tx: Transaction, { id, protected: wanted }: ProtectOperation): Outcome {
  const patient = tx.resource('Patient', id);
  if (patient === undefined) return unknown;
  if (wanted) {
    tx.run('UPDATE patients SET recycling = NULL WHERE id = ?', patient.id);
  } else {
    // A patient that is given free again goes last.
    const next = ++tx.counters.recycling;
    tx.run('UPDATE patients SET recycling = ? WHERE id = ? AND recycling IS NULL', next, patient.id);
  }
  return { kind: 'done' };
}

export function setMetadata(tx: Transaction, operation: MetadataOperation): Outcome {
  const { level, id, name, value, expected } = operation;
  const resource = tx.resource(level, id);
  if (resource === undefined) return unknown;
  const key = [levelNumber(level), resource.id, name];
  const set = tx.row<{ value: string; revision: number }>(
    'SELECT value, revision FROM metadata WHERE level = ? AND resource = ? AND name = ?',
    ...key,
  );
  const row = tx.row<{ metadata: string }>(`SELECT metadata FROM ${TABLE[level]} WHERE id = ?`, resource.id);
  const { [name]: inRow, ...others } = JSON.parse(row?.metadata ?? '{}') as Record<string, string>;
  const current = set?.revision ?? (inRow === undefined ? undefined : 0);
  const md5 = expected === undefined ? '' : valueMd5(set?.value ?? inRow ?? '');
  if (isRefused(expected, current === undefined ? undefined : { revision: current, md5 }))
    return { kind: 'refused', error: 'Revision' };
  if (value === undefined && current === undefined) return unknown;
  let next = current ?? 0;
  if (value === undefined) {
    tx.run('DELETE FROM metadata WHERE level = ? AND resource = ? AND name = ?', ...key);
    if (inRow !== undefined) {
      tx.run(`UPDATE ${TABLE[level]} SET metadata = ? WHERE id = ?`, JSON.stringify(others), resource.id);
    }
  } else {
    next = current === undefined ? 0 : current + 1;
    tx.run('INSERT OR REPLACE INTO metadata VALUES (?, ?, ?, ?, ?)', ...key, value, next);
  }
  if (!isBuiltInMetadata(name)) tx.log('UpdatedMetadata', level, resource.bytes);
  return { kind: 'written', revision: next };
}

export function setAttachment(tx: Transaction, limits: DatabaseLimits, operation: AttachmentOperation): Outcome {
  const { level, id, contentType, attachment, expected } = operation;
  const resource = tx.resource(level, id);
  if (resource === undefined) return unknown;
  // The DICOM file lies in the row of its instance.
  const dicom = contentType === DICOM_ATTACHMENT && level === 'Instance';
  const where = dicom ? 'instances WHERE id = ?' : 'attachments WHERE level = ? AND resource = ? AND content_type = ?';
  const key = dicom ? [resource.id] : [levelNumber(level), resource.id, contentType];
  const old = tx.row<FileRow & Current>(
    `SELECT ${FILE_COLUMNS}, revision, ifnull(lower(hex(md5)), '') AS md5 FROM ${where}`,
    ...key,
  );
  if (isRefused(expected, old)) return { kind: 'refused', error: 'Revision' };
  if (attachment === undefined && old === undefined) return unknown;
  const growth = (attachment?.compressedSize ?? 0) - (old?.disk ?? 0);
  if (
    growth > 0 &&
    !fits(tx, limits, growth, 0) &&
    !makeRoom(tx, limits, growth, 0, patientOf(tx, level, resource.id))
  ) {
    return { kind: 'refused', error: 'FullStorage' };
  }
  if (old !== undefined) tx.removeFile(old, dicom);
  let next = old?.revision ?? 0;
  if (attachment === undefined) {
    tx.run(`DELETE FROM ${where}`, ...key);
  } else {
    next = old === undefined ? 0 : next + 1;
    const values = [...attachmentValues(attachment), next];
    tx.account(1, attachment.compressedSize, attachment.uncompressedSize, dicom);
    if (dicom) {
      tx.run(
        `UPDATE instances SET uuid = ?, size = ?, md5 = ?, compressed_size = ?, compressed_md5 = ?, compression = ?,
         revision = ? WHERE id = ?`,
        ...values,
        ...key,
      );
    } else {
      tx.run('INSERT OR REPLACE INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', ...key, ...values);
    }
  }
  if (contentType >= FIRST_USER_ATTACHMENT) tx.log('UpdatedAttachment', level, resource.bytes);
  return { kind: 'written', revision: next };
}

/** Row id of the patient of a row. */
function patientOf(tx: Transaction, level: Level, row: number): number {
  const up = LEVEL[level].parent;
  if (up === undefined) return row;
  const parent = tx.row<{ parent: number }>(`SELECT parent FROM ${TABLE[level]} WHERE id = ?`, row);
  return patientOf(tx, up, parent?.parent ?? -1);
}

export function setLabel(tx: Transaction, { level, id, label, present }: LabelOperation): Outcome {
  const resource = tx.resource(level, id);
  if (resource === undefined) return unknown;
  const sql = present
    ? 'INSERT OR IGNORE INTO labels VALUES (?, ?, ?)'
    : 'DELETE FROM labels WHERE level = ? AND resource = ? AND label = ?';
  tx.run(sql, levelNumber(level), resource.id, label);
  return { kind: 'written', revision: 0 };
}
