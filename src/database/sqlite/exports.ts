/** Owns the rows of the log of exports. */

import { LEVELS } from '../../dicom/levels.ts';
import type { Export, ExportOperation, ExportsRequest, Outcome } from '../database.ts';
import { LIMIT } from './connection.ts';
import type { Reader } from './reader.ts';
import { dateText, levelNumber, publicId, TABLE } from '../rows.ts';
import type { Transaction } from './transaction.ts';

interface ExportRow extends Omit<Export, 'level' | 'id' | 'date'> {
  readonly level: number;
  readonly publicId: string;
  readonly date: number;
}

/** The identifier of each level, among its main tags. */
const IDENTIFIER = ['0010,0020', '0020,000d', '0020,000e', '0008,0018'] as const;

export function logExport(tx: Transaction, { level, id, remote }: ExportOperation): Outcome {
  const resource = tx.resource(level, id);
  if (resource === undefined) return { kind: 'refused', error: 'UnknownResource' };
  const identifiers = ['', '', '', ''];
  let row: number | null = resource.id;
  for (let at = levelNumber(level); at >= 0 && row !== null; at--) {
    const found: { identifier: string | null; parent: number | null } | undefined = tx.row(
      `SELECT tags ->> '${IDENTIFIER[at]}' AS identifier, ${at === 0 ? 'NULL AS' : ''} parent
       FROM ${TABLE[LEVELS[at] ?? 'Patient']} WHERE id = ?`,
      row,
    );
    identifiers[at] = found?.identifier ?? '';
    row = found?.parent ?? null;
  }
  tx.run(
    `INSERT INTO exports (level, public_id, date, remote, patient_id, study_instance_uid, series_instance_uid, sop_instance_uid)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    levelNumber(level),
    resource.bytes,
    tx.seconds,
    remote,
    ...identifiers,
  );
  return { kind: 'done' };
}

export function readExports(reader: Reader, request: ExportsRequest): { exports: readonly Export[]; more: boolean } {
  const { since = 0, last = false } = request;
  const limit = last ? 1 : Math.max(0, request.limit);
  const rows = reader.all<ExportRow>(
    `SELECT seq, level, hex(public_id) AS publicId, date, remote, patient_id AS patientId,
       study_instance_uid AS studyInstanceUid, series_instance_uid AS seriesInstanceUid, sop_instance_uid AS sopInstanceUid
     FROM exports WHERE seq > ? ORDER BY seq ${last ? 'DESC' : 'ASC'} ${LIMIT}`,
    last ? 0 : since,
    limit + 1,
  );
  const exports = rows.slice(0, limit).map(
    ({ level, publicId: hex, date, ...others }): Export => ({
      ...others,
      level: LEVELS[level] ?? 'Patient',
      id: publicId(hex),
      date: dateText(date),
    }),
  );
  return { exports, more: !last && rows.length > limit };
}
