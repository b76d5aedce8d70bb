/** Owns what users and jobs add to a resource: metadata, attachments, labels, protection; with their revisions. */

import { LEVELS, type Level } from '../../dicom/levels.ts';
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
import { levelNumber, isPublicId, TABLE } from '../rows.ts';
import { fits, makeRoom } from './removal.ts';
import { type FileRow, fileColumns, type Transaction } from './transaction.ts';
import { FILE_VALUES, fileValues, json, text, hexOf } from './values.ts';

const UNKNOWN: Outcome = { kind: 'refused', error: 'UnknownResource' };

export async function protect(tx: Transaction, { id, protected: wanted }: ProtectOperation): Promise<Outcome> {
  const patient = await tx.resource('Patient', id);
  if (patient === undefined) return UNKNOWN;
  if (wanted) tx.send('UPDATE patients SET recycling = NULL WHERE id = $1', patient);
  // A patient that is given free again goes last.
  else tx.send('UPDATE patients SET recycling = $2 WHERE id = $1 AND recycling IS NULL', patient, tx.moment());
  return { kind: 'done' };
}

export async function setMetadata(tx: Transaction, operation: MetadataOperation): Promise<Outcome> {
  const { level, id, expected } = operation;
  const name = text(operation.name);
  if (!isPublicId(id)) return UNKNOWN;
  const row = await tx.row<{ id: number; metadata: string; value: string | null; revision: number | null }>(
    `SELECT r.id, r.metadata, m.value, m.revision FROM ${TABLE[level]} r LEFT JOIN metadata m
     ON m.level = ${levelNumber(level)} AND m.resource = r.id AND m.name = $2 WHERE r.public_id = decode($1, 'hex')`,
    hexOf(id),
    name,
  );
  if (row === undefined) return UNKNOWN;
  const { [name]: inRow, ...others } = JSON.parse(row.metadata) as Record<string, string>;
  const current = row.revision ?? (inRow === undefined ? undefined : 0);
  const md5 = expected === undefined ? '' : valueMd5(row.value ?? inRow ?? '');
  if (isRefused(expected, current === undefined ? undefined : { revision: current, md5 }))
    return { kind: 'refused', error: 'Revision' };
  if (operation.value === undefined && current === undefined) return UNKNOWN;
  const key = [levelNumber(level), row.id, name];
  let next = current ?? 0;
  if (operation.value === undefined) {
    tx.send('DELETE FROM metadata WHERE level = $1 AND resource = $2 AND name = $3', ...key);
    if (inRow !== undefined) {
      tx.send(`UPDATE ${TABLE[level]} SET metadata = $2 WHERE id = $1`, row.id, json(others));
    }
  } else {
    next = current === undefined ? 0 : current + 1;
    tx.send(
      `INSERT INTO metadata VALUES ($1, $2, $3, $4, $5) ON CONFLICT (level, resource, name)
       DO UPDATE SET value = excluded.value, revision = excluded.revision`,
      ...key,
      text(operation.value),
      next,
    );
  }
  if (!isBuiltInMetadata(name)) tx.log('UpdatedMetadata', level, id);
  return { kind: 'written', revision: next };
}

const FILE_NAMES = FILE_VALUES.map(({ name }) => name);
const filePlaces = (from: number): string[] =>
  FILE_VALUES.map(({ type }, index) => (type === 'bytea' ? `decode($${index + from}, 'hex')` : `$${index + from}`));

const SET_DICOM = `UPDATE instances SET (${[...FILE_NAMES, 'revision'].join()}) = ROW (${[...filePlaces(3), '$2'].join()})
  WHERE id = $1`;
const SET_ATTACHMENT = `INSERT INTO attachments (level, resource, content_type, revision, ${FILE_NAMES.join()})
  VALUES ($1, $2, $3, $4, ${filePlaces(5).join()}) ON CONFLICT (level, resource, content_type) DO UPDATE SET
  ${[...FILE_NAMES, 'revision'].map((name) => `${name} = excluded.${name}`).join()}`;

/** Columns of {@link Current}. */
const CURRENT = `revision, coalesce(encode(md5, 'hex'), '') AS md5`;

export async function setAttachment(
  tx: Transaction,
  limits: DatabaseLimits,
  operation: AttachmentOperation,
): Promise<Outcome> {
  const { level, id, contentType, attachment, expected } = operation;
  const resource = await tx.resource(level, id);
  if (resource === undefined) return UNKNOWN;
  // The DICOM file lies in the row of its instance.
  const dicom = contentType === DICOM_ATTACHMENT && level === 'Instance';
  const key = dicom ? [resource] : [levelNumber(level), resource, contentType];
  const old = await tx.row<FileRow & Current>(
    dicom
      ? `SELECT ${fileColumns('i')}, ${CURRENT} FROM instances i WHERE id = $1`
      : `SELECT ${fileColumns('a')}, ${CURRENT} FROM attachments a WHERE level = $1 AND resource = $2 AND content_type = $3`,
    ...key,
  );
  if (isRefused(expected, old)) return { kind: 'refused', error: 'Revision' };
  if (attachment === undefined && old === undefined) return UNKNOWN;
  const growth = (attachment?.compressedSize ?? 0) - (old?.disk ?? 0);
  if (
    growth > 0 &&
    !fits(tx, limits, growth, 0) &&
    !(await makeRoom(tx, limits, growth, 0, await patientOf(tx, level, resource)))
  ) {
    return { kind: 'refused', error: 'FullStorage' };
  }
  if (old !== undefined) tx.removeFiles([old], dicom);
  let next = old?.revision ?? 0;
  if (attachment === undefined) {
    tx.send('DELETE FROM attachments WHERE level = $1 AND resource = $2 AND content_type = $3', ...key);
  } else {
    next = old === undefined ? 0 : next + 1;
    tx.account(1, attachment.compressedSize, attachment.uncompressedSize, dicom);
    tx.send(dicom ? SET_DICOM : SET_ATTACHMENT, ...key, next, ...fileValues(attachment));
  }
  if (contentType >= FIRST_USER_ATTACHMENT) tx.log('UpdatedAttachment', level, id);
  return { kind: 'written', revision: next };
}

/** Row id of the patient of a row. */
async function patientOf(tx: Transaction, level: Level, row: number): Promise<number | undefined> {
  const path = LEVELS.slice(1, LEVELS.indexOf(level) + 1);
  const id = path.reduceRight((inner, each) => `(SELECT parent FROM ${TABLE[each]} WHERE id = ${inner})`, '$1::bigint');
  return (await tx.row<{ id: number }>(`SELECT ${id} AS id`, row))?.id;
}

export async function setLabel(tx: Transaction, { level, id, label, present }: LabelOperation): Promise<Outcome> {
  const resource = await tx.resource(level, id);
  if (resource === undefined) return UNKNOWN;
  tx.send(
    present
      ? 'INSERT INTO labels VALUES ($1, $2, $3) ON CONFLICT DO NOTHING'
      : 'DELETE FROM labels WHERE level = $1 AND resource = $2 AND label = $3',
    levelNumber(level),
    resource,
    text(label),
  );
  return { kind: 'written', revision: 0 };
}
