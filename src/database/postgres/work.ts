/**
 * Owns the rows of durable work: adding, taking and settling entries, many a statement, with the counts that go with them,
 * and reading them. A transaction that writes them holds the lock of all work (transaction.ts).
 */

import {
  type Outcome,
  WORK_STATES,
  type Work,
  type WorkAddOperation,
  type WorkCount,
  type WorkRequest,
  type WorkSettleOperation,
  type WorkState,
  type WorkTakeOperation,
} from '../database.ts';
import type { Query } from './connection.ts';
import type { Transaction } from './transaction.ts';
import { text } from './values.ts';

/** A row of the table. */
interface WorkRow extends Omit<Work, 'state'> {
  readonly state: number;
}

/** Entries whose time came, that one taking makes ready: more than it takes, so that their priorities count. */
const PROMOTED = 1000;

const NAMES = ['seq', 'queue', 'id', '"group"', 'state', 'priority', 'due', 'attempts', 'added', 'reason', 'value'];
const COLUMNS = NAMES.join();

const number = (state: WorkState): number => WORK_STATES.indexOf(state);

function workOf(row: WorkRow): Work {
  return { ...row, state: WORK_STATES[row.state] ?? 'failed' };
}

/** Changes of the counts, gathered over one operation. */
class Counting {
  readonly #deltas = new Map<string, [queue: string, group: string, state: number, delta: number]>();

  add({ queue, group }: Pick<Work, 'queue' | 'group'>, state: WorkState, delta: 1 | -1): void {
    for (const each of group === '' ? [''] : ['', group]) {
      const key = JSON.stringify([queue, each, state]);
      const entry = this.#deltas.get(key);
      if (entry === undefined) this.#deltas.set(key, [queue, each, number(state), delta]);
      else entry[3] += delta;
    }
  }

  write(tx: Transaction): void {
    const rows = [...this.#deltas.values()].filter(([, , , delta]) => delta !== 0);
    if (rows.length === 0) return;
    const [queues, groups] = [rows.map((row) => row[0]), rows.map((row) => row[1])];
    tx.send(
      `INSERT INTO work_counts AS c SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[])
       ON CONFLICT ("group", queue, state) DO UPDATE SET count = c.count + excluded.count`,
      queues,
      groups,
      rows.map((row) => row[2]),
      rows.map((row) => row[3]),
    );
    if (rows.every((row) => row[3] > 0)) return;
    tx.send(
      'DELETE FROM work_counts WHERE "group" = ANY ($1::text[]) AND queue = ANY ($2::text[]) AND count = 0',
      [...new Set(groups)],
      [...new Set(queues)],
    );
  }
}

export async function addWork(tx: Transaction, { entries }: WorkAddOperation): Promise<Outcome> {
  const rows = await tx.rows<WorkRow>(
    `INSERT INTO work (queue, id, "group", priority, due, value, state, attempts, added, reason)
     SELECT x.*, ${number('waiting')}, 0, $7, ''
     FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::text[]) AS x
     ON CONFLICT (queue, id) DO NOTHING RETURNING ${COLUMNS}`,
    entries.map((entry) => text(entry.queue)),
    entries.map((entry) => text(entry.id)),
    entries.map((entry) => text(entry.group)),
    entries.map((entry) => entry.priority),
    entries.map((entry) => entry.due),
    entries.map((entry) => entry.value),
    tx.now,
  );
  const counting = new Counting();
  for (const row of rows) counting.add(row, 'waiting', 1);
  counting.write(tx);
  return { kind: 'work', entries: rows.map(workOf) };
}

export async function takeWork(tx: Transaction, { queue, limit, now }: WorkTakeOperation): Promise<Outcome> {
  tx.send(
    `UPDATE work SET due = 0 WHERE seq = ANY (ARRAY(
       SELECT seq FROM work WHERE queue = $1 AND state <= 1 AND due > 0 AND due <= $2 ORDER BY due LIMIT $3))`,
    text(queue),
    now,
    Math.max(limit, PROMOTED),
  );
  const rows = await tx.rows<WorkRow>(
    `SELECT ${COLUMNS} FROM work WHERE queue = $1 AND state <= 1 AND due = 0 ORDER BY priority DESC, seq LIMIT $2`,
    text(queue),
    limit,
  );
  if (rows.length === 0) return { kind: 'work', entries: [] };
  tx.send(
    `UPDATE work SET state = ${number('active')}, attempts = attempts + 1 WHERE seq = ANY ($1::bigint[])`,
    rows.map(({ seq }) => seq),
  );
  const counting = new Counting();
  const entries = rows.map((row): Work => {
    const work = workOf(row);
    counting.add(work, work.state, -1);
    counting.add(work, 'active', 1);
    return { ...work, state: 'active', attempts: work.attempts + 1 };
  });
  counting.write(tx);
  return { kind: 'work', entries };
}

export async function settleWork(tx: Transaction, { settlements }: WorkSettleOperation): Promise<Outcome> {
  const key = (queue: string, id: string): string => JSON.stringify([text(queue), text(id)]);
  const rows = await tx.rows<WorkRow>(
    `SELECT w.* FROM unnest($1::text[], $2::text[]) AS x (queue, id) CROSS JOIN LATERAL (
       SELECT ${COLUMNS} FROM work WHERE work.queue = x.queue AND work.id = x.id LIMIT 1) AS w`,
    settlements.map(({ queue }) => text(queue)),
    settlements.map(({ id }) => text(id)),
  );
  const there = new Map(rows.map((row) => [key(row.queue, row.id), workOf(row)]));
  const changed = new Map<number, Work>();
  const removed: number[] = [];
  const counting = new Counting();
  const entries: Work[] = [];
  for (const { queue, id, state, from, ...others } of settlements) {
    const work = there.get(key(queue, id));
    if (work === undefined || from?.includes(work.state) === false) continue;
    counting.add(work, work.state, -1);
    if (state === 'removed') {
      there.delete(key(queue, id));
      changed.delete(work.seq);
      removed.push(work.seq);
      entries.push(work);
      continue;
    }
    counting.add(work, state, 1);
    const { due = work.due, priority = work.priority, value = work.value } = others;
    const reason = others.reason === undefined ? work.reason : text(others.reason);
    const anew = state === 'waiting' && (work.state === 'failed' || work.state === 'done');
    const next: Work = { ...work, state, due, priority, reason, value, attempts: anew ? 0 : work.attempts };
    there.set(key(queue, id), next);
    changed.set(work.seq, next);
    entries.push(next);
  }
  if (removed.length > 0) tx.send('DELETE FROM work WHERE seq = ANY ($1::bigint[])', removed);
  const written = [...changed.values()];
  if (written.length > 0) {
    tx.send(
      `UPDATE work SET state = x.state, due = x.due, priority = x.priority, attempts = x.attempts, reason = x.reason,
       value = x.value FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::integer[], $5::integer[], $6::text[],
       $7::text[]) AS x (seq, state, due, priority, attempts, reason, value) WHERE work.seq = x.seq`,
      written.map(({ seq }) => seq),
      written.map(({ state }) => number(state)),
      written.map(({ due }) => due),
      written.map(({ priority }) => priority),
      written.map(({ attempts }) => attempts),
      written.map(({ reason }) => reason),
      written.map(({ value }) => value),
    );
  }
  counting.write(tx);
  return { kind: 'work', entries };
}

/** Entries of a queue, as the port describes them. */
export async function listWork(query: Query, request: WorkRequest): Promise<Work[]> {
  const { queue, id, group, states, after, descending = false, limit } = request;
  if (limit <= 0 || states?.length === 0) return [];
  const order = `ORDER BY seq ${descending ? 'DESC' : 'ASC'} LIMIT $3`;
  const values: unknown[] = [text(queue), after ?? (descending ? Number.MAX_SAFE_INTEGER : -1), limit];
  const also = (condition: (place: string) => string, value: unknown): string => {
    values.push(value);
    return ` AND ${condition(`$${values.length}`)}`;
  };
  let where = `queue = $1 AND seq ${descending ? '<' : '>'} $2`;
  if (group !== undefined)
    where += also((place) => `"group" = ${place}${group === '' ? '' : ` AND "group" <> ''`}`, text(group));
  if (id !== undefined) {
    where += also((place) => `id = ${place}`, text(id));
    if (states !== undefined) where += also((place) => `state = ANY (${place}::smallint[])`, states.map(number));
    return (await query<WorkRow>(`SELECT ${COLUMNS} FROM work WHERE ${where} ${order}`, values)).map(workOf);
  }
  // Each state has its stretch of an index, in order of seq: what is merged is never more than the limit of each.
  const each = [...new Set(states ?? WORK_STATES)].map(
    (state) => `(SELECT ${COLUMNS} FROM work WHERE ${where} AND state = ${number(state)} ${order})`,
  );
  const sql = `SELECT * FROM (${each.join(' UNION ALL ')}) AS merged ${order}`;
  return (await query<WorkRow>(sql, values)).map(workOf);
}

/** Counts of entries, as the port describes them. */
export async function countWork(
  query: Query,
  of: { readonly queue?: string; readonly group?: string } = {},
): Promise<WorkCount[]> {
  const { queue, group = '' } = of;
  const first = group === '' ? '' : `AND w."group" = c."group" AND w."group" <> ''`;
  const rows = await query<Omit<WorkCount, 'state'> & { state: number }>(
    `SELECT c.queue, c.state, c.count, (SELECT w.added FROM work w
       WHERE w.queue = c.queue AND w.state = c.state ${first} ORDER BY w.seq LIMIT 1) AS oldest
     FROM work_counts c WHERE c."group" = $1 ${queue === undefined ? '' : 'AND c.queue = $2'} AND c.count > 0
     ORDER BY c.queue, c.state`,
    [text(group), ...(queue === undefined ? [] : [text(queue)])],
  );
  return rows.map((row) => ({ ...row, state: WORK_STATES[row.state] ?? 'failed' }));
}

/** Milliseconds since the epoch when the next entry of a queue is due. */
export async function nextWork(query: Query, queue: string): Promise<number | undefined> {
  const [row] = await query<{ due: number | null }>(
    `SELECT coalesce(
       (SELECT due FROM work WHERE queue = $1 AND state <= 1 AND due = 0 LIMIT 1),
       (SELECT min(due) FROM work WHERE queue = $1 AND state <= 1 AND due > 0)) AS due`,
    [text(queue)],
  );
  return row?.due ?? undefined;
}
