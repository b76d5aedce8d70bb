/**
 * Owns the log of changes: how its rows get their numbers, and reading it.
 *
 * Without Redis the rows are numbered here, by the last statement of the transaction: the lock of the counters row, held
 * until the commit can be seen, lets no later number be seen before an earlier one, and leaves no gap when a transaction
 * fails. An announcer that numbers elsewhere takes the place of {@link logChanges}, and of nothing else.
 */

import { LEVELS } from '../../dicom/levels.ts';
import { CHANGE_TYPES, type Change, type ChangesRequest } from '../database.ts';
import { type ChangeRow, changeOf, COUNTED } from '../rows.ts';
import type { Query } from './connection.ts';
import { hexOf } from './values.ts';

/** What a transaction adds to the counters row. Sizes in bytes. */
export type Counters = Record<(typeof COUNTED)[number], number>;

const NEW_INSTANCE = CHANGE_TYPES.indexOf('NewInstance');

const LOG = `WITH counted AS (
    UPDATE counters SET ${COUNTED.map((name, index) => `${name} = ${name} + $${index + 1}`).join(', ')}, seq = seq + $9
    RETURNING seq
  ), logged AS (
    INSERT INTO changes SELECT counted.seq - $9 + x.number, x.type, x.level, decode(x.id, 'hex'), $10
    FROM counted CROSS JOIN unnest($11::smallint[], $12::smallint[], $13::text[]) WITH ORDINALITY AS x (type, level, id, number)
  )
  SELECT seq FROM counted`;

/** What {@link logChanges} needs of the transaction that it ends. */
interface LoggingTransaction {
  /** Seconds since the epoch. */
  readonly seconds: number;
  row<Row extends object>(sql: string, ...values: unknown[]): Promise<Row | undefined>;
}

/** Adds to the counters and logs `changes` in their order; the number of the last one, or of the last ever given. */
export async function logChanges(
  tx: LoggingTransaction,
  added: Counters,
  changes: readonly Omit<Change, 'seq'>[],
): Promise<number> {
  const row = await tx.row<{ seq: number }>(
    LOG,
    ...COUNTED.map((name) => added[name]),
    changes.length,
    tx.seconds,
    changes.map((change) => CHANGE_TYPES.indexOf(change.type)),
    changes.map((change) => LEVELS.indexOf(change.level)),
    changes.map((change) => hexOf(change.id)),
  );
  return row?.seq ?? 0;
}

const COLUMNS = `seq, type, level, encode(public_id, 'hex') AS id, date`;

interface Row {
  readonly seq: number;
  readonly type: number;
  readonly level: number;
  readonly id: string;
  readonly date: number;
}

/** Rows of the log, as the port describes them. */
export async function readChanges(
  query: Query,
  request: ChangesRequest,
): Promise<{ changes: readonly Change[]; more: boolean }> {
  const { since, to, limit, types } = request;
  if (limit <= 0 || types?.length === 0) return { changes: [], more: false };
  const backwards = to !== undefined && since === undefined;
  const order = `ORDER BY seq ${backwards ? 'DESC' : 'ASC'} LIMIT $3`;
  const range = 'seq > $1 AND seq <= $2';
  const numbers = types === undefined ? undefined : [...new Set(types.map((type) => CHANGE_TYPES.indexOf(type)))];
  const values: unknown[] = [since ?? 0, to ?? Number.MAX_SAFE_INTEGER, limit + 1];
  let sql = `SELECT ${COLUMNS} FROM changes WHERE ${range} ${order}`;
  if (numbers?.includes(NEW_INSTANCE) === true) {
    sql = `SELECT ${COLUMNS} FROM changes WHERE ${range} AND type = ANY ($4::smallint[]) ${order}`;
    values.push(numbers);
  } else if (numbers !== undefined) {
    // Types that have an index: at most so many rows of each, merged.
    const each = numbers.map(
      (type) => `(SELECT * FROM changes WHERE ${range} AND type = ${type} AND type <> 1 ${order})`,
    );
    sql = `SELECT ${COLUMNS} FROM (${each.join(' UNION ALL ')}) AS merged ${order}`;
  }
  const rows = await query<Row>(sql, values);
  const more = rows.length > limit;
  const kept = rows
    .slice(0, limit)
    .map((row) => changeOf([row.seq, row.type, row.level, row.id, row.date] satisfies ChangeRow));
  return { changes: backwards ? kept.reverse() : kept, more };
}
