/** Owns when patients, studies and series become stable: `stable_at` says when to look, `active_at` whether it is time. */

import type { StabilizeOperation } from '../database.ts';
import { publicId, TABLE } from '../rows.ts';
import type { Query } from './connection.ts';
import { PARENT_LEVELS } from './storing.ts';
import type { Transaction } from './transaction.ts';

/** Marks what is due, series first; answers how many. `stableAge` in milliseconds. */
export async function stabilize(
  tx: Transaction,
  stableAge: number,
  { now, limit }: StabilizeOperation,
): Promise<number> {
  let count = 0;
  for (const level of [...PARENT_LEVELS].reverse()) {
    const table = TABLE[level];
    // Those that got instances since they were last looked at wait on.
    tx.send(
      `UPDATE ${table} SET stable_at = active_at + $2 WHERE stable_at <= $1 AND active_at + $2 > $1`,
      now * 1000,
      stableAge * 1000,
    );
    const due = await tx.rows<{ id: number; hex: string }>(
      `SELECT id, encode(public_id, 'hex') AS hex FROM ${table} WHERE stable_at <= $1 ORDER BY stable_at, id LIMIT $2`,
      now * 1000,
      limit - count,
    );
    const ids = due.map(({ id }) => id);
    tx.send(`UPDATE ${table} SET stable_at = NULL WHERE id = ANY ($1::bigint[])`, ids);
    for (const { hex } of due) tx.log(`Stable${level}`, level, publicId(hex));
    count += due.length;
  }
  return count;
}

/** Milliseconds since the epoch when to look next: no resource is stable before. Undefined when none waits. */
export async function nextStable(query: Query): Promise<number | undefined> {
  const each = PARENT_LEVELS.map((level) => `(SELECT min(stable_at) FROM ${TABLE[level]} WHERE stable_at IS NOT NULL)`);
  const [row] = await query<{ at: number | null }>(`SELECT least(${each.join()}) AS at`, []);
  return row?.at == null ? undefined : Math.ceil(row.at / 1000);
}
