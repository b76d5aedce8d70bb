/** Owns the rows of the log of exports. */

import { LEVELS, type Level } from '../../dicom/levels.ts';
import type { Export, ExportOperation, ExportsRequest, Outcome } from '../database.ts';
import { ancestorsOf } from '../found.ts';
import { dateText, isPublicId, levelNumber, publicId, TABLE } from '../rows.ts';
import type { Query } from './connection.ts';
import type { Transaction } from './transaction.ts';
import { hexOf, text } from './values.ts';

/** The identifier of each level, among its main tags. */
const IDENTIFIER: Readonly<Record<Level, string>> = {
  Patient: '0010,0020',
  Study: '0020,000d',
  Series: '0020,000e',
  Instance: '0008,0018',
};

/** Adds a row for the resource $1, if it is there. */
function insertion(level: Level): string {
  const path = [level, ...ancestorsOf(level)];
  const identifiers = LEVELS.map((each) =>
    path.includes(each) ? `coalesce(${TABLE[each]}.tags ->> '${IDENTIFIER[each]}', '')` : `''`,
  );
  const joins = path
    .slice(1)
    .map((each, index) => `JOIN ${TABLE[each]} ON ${TABLE[each]}.id = ${TABLE[path[index] ?? each]}.parent`);
  return `INSERT INTO exports
      (level, public_id, date, remote, patient_id, study_instance_uid, series_instance_uid, sop_instance_uid)
    SELECT ${levelNumber(level)}, ${TABLE[level]}.public_id, $2::bigint, $3::text, ${identifiers.join()}
    FROM ${TABLE[level]} ${joins.join(' ')} WHERE ${TABLE[level]}.public_id = decode($1, 'hex') RETURNING seq`;
}

export async function logExport(tx: Transaction, { level, id, remote }: ExportOperation): Promise<Outcome> {
  const there = isPublicId(id) && (await tx.row(insertion(level), hexOf(id), tx.seconds, text(remote))) !== undefined;
  return there ? { kind: 'done' } : { kind: 'refused', error: 'UnknownResource' };
}

interface ExportRow extends Omit<Export, 'level' | 'id' | 'date'> {
  readonly level: number;
  readonly hex: string;
  readonly date: number;
}

export async function readExports(
  query: Query,
  request: ExportsRequest,
): Promise<{ exports: readonly Export[]; more: boolean }> {
  const { since = 0, last = false } = request;
  const limit = last ? 1 : Math.max(0, request.limit);
  const rows = await query<ExportRow>(
    `SELECT seq, level, encode(public_id, 'hex') AS hex, date, remote, patient_id AS "patientId",
       study_instance_uid AS "studyInstanceUid", series_instance_uid AS "seriesInstanceUid",
       sop_instance_uid AS "sopInstanceUid"
     FROM exports WHERE seq > $1 ORDER BY seq ${last ? 'DESC' : 'ASC'} LIMIT $2`,
    [last ? 0 : since, limit + 1],
  );
  const exports = rows.slice(0, limit).map(
    ({ level, hex, date, ...others }): Export => ({
      ...others,
      level: LEVELS[level] ?? 'Patient',
      id: publicId(hex),
      date: dateText(date),
    }),
  );
  return { exports, more: !last && rows.length > limit };
}
