/** Owns giving stored resources again what their files say. */

import { LEVELS } from '../../dicom/levels.ts';
import { normalise } from '../../dicom/match.ts';
import type { Outcome, ReconstructOperation } from '../database.ts';
import { IDENTIFIERS } from '../find.ts';
import { TABLE } from '../rows.ts';
import type { Transaction } from './transaction.ts';
import { json, text } from './values.ts';

export async function reconstruct(tx: Transaction, { summary, levels }: ReconstructOperation): Promise<Outcome> {
  if ((await tx.resource('Instance', summary.ids.Instance)) === undefined) {
    return { kind: 'refused', error: 'UnknownResource' };
  }
  for (const level of LEVELS) {
    const row = levels.includes(level) ? await tx.resource(level, summary.ids[level]) : undefined;
    if (row === undefined) continue;
    const identifiers = Object.entries(IDENTIFIERS[level]);
    const set = ['tags = $2', 'metadata = $3', ...identifiers.map(([column], index) => `${column} = $${index + 4}`)];
    const known = await tx.row<{ metadata: string }>(`SELECT metadata FROM ${TABLE[level]} WHERE id = $1`, row);
    const metadata = JSON.parse(known?.metadata ?? '{}') as Record<string, string>;
    tx.send(
      `UPDATE ${TABLE[level]} SET ${set.join()} WHERE id = $1`,
      row,
      json(summary.tags[level]),
      json({ ...metadata, ...summary.metadata[level] }),
      ...identifiers.map(([, tag]) => {
        const value = summary.tags[level][tag];
        return value === undefined ? null : text(normalise(value));
      }),
    );
  }
  return { kind: 'done' };
}
