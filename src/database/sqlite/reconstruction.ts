/** Owns giving stored resources again what their files say. */

import { LEVELS } from '../../dicom/levels.ts';
import { normalise } from '../../dicom/match.ts';
import type { Outcome, ReconstructOperation } from '../database.ts';
import { IDENTIFIERS } from '../find.ts';
import { TABLE } from '../rows.ts';
import type { Transaction } from './transaction.ts';

export function reconstruct(tx: Transaction, { summary, levels }: ReconstructOperation): Outcome {
  if (tx.resource('Instance', summary.ids.Instance) === undefined) {
    return { kind: 'refused', error: 'UnknownResource' };
  }
  for (const level of LEVELS) {
    const row = levels.includes(level) ? tx.resource(level, summary.ids[level]) : undefined;
    if (row === undefined) continue;
    const identifiers = Object.entries(IDENTIFIERS[level]);
    const set = ['tags = ?', 'metadata = ?', ...identifiers.map(([column]) => `${column} = ?`)].join();
    const known = tx.row<{ metadata: string }>(`SELECT metadata FROM ${TABLE[level]} WHERE id = ?`, row.id);
    const metadata = JSON.parse(known?.metadata ?? '{}') as Record<string, string>;
    tx.run(
      `UPDATE ${TABLE[level]} SET ${set} WHERE id = ?`,
      JSON.stringify(summary.tags[level]),
      JSON.stringify({ ...metadata, ...summary.metadata[level] }),
      ...identifiers.map(([, tag]) => {
        const value = summary.tags[level][tag];
        return value === undefined ? null : normalise(value);
      }),
      row.id,
    );
  }
  return { kind: 'done' };
}
