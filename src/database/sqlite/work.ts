/** Owns the rows of durable work: adding, taking and settling entries, with the counts that go with them, and reading them. */

import type {
  NewWork,
  Outcome,
  Work,
  WorkAddOperation,
  WorkCount,
  WorkRequest,
  WorkSettlement,
  WorkSettleOperation,
  WorkState,
  WorkTakeOperation,
} from '../database.ts';
import { WORK_STATES } from '../database.ts';
import { LIMIT } from './connection.ts';
import type { Reader } from './reader.ts';
import type { Transaction } from './transaction.ts';

/** A row of the table. */
interface WorkRow extends Omit<Work, 'state'> {
  readonly state: number;
}

// Each index is named: without statistics SQLite takes one that sorts the whole queue for its first entry.

/** Entries whose time came, that one taking makes ready: more than it takes, so that their priorities count. */
const PROMOTED = 1000;

const COLUMNS = 'seq, queue, id, "group", state, priority, due, attempts, added, reason, value';

const number = (state: WorkState): number => WORK_STATES.indexOf(state);

function workOf(row: WorkRow): Work {
  return { ...row, state: WORK_STATES[row.state] ?? 'failed' };
}

/** Changes of the counts, gathered over one operation. */
class Counting {
  readonly #deltas = new Map<string, [queue: string, group: string, state: number, delta: number]>();

  add(queue: string, group: string, state: number, delta: 1 | -1): void {
    for (const each of group === '' ? [''] : ['', group]) {
      const key = `${state} ${queue.length} ${queue} ${each}`;
      const entry = this.#deltas.get(key);
      if (entry === undefined) this.#deltas.set(key, [queue, each, state, delta]);
      else entry[3] += delta;
    }
  }

  write(tx: Transaction): void {
    for (const [queue, group, state, delta] of this.#deltas.values()) {
      if (delta === 0) continue;
      tx.run(
        `INSERT INTO work_counts VALUES (?, ?, ?, ?)
         ON CONFLICT ("group", queue, state) DO UPDATE SET count = count + excluded.count`,
        queue,
        group,
        state,
        delta,
      );
      if (delta < 0) {
        tx.run(
          'DELETE FROM work_counts WHERE "group" = ? AND queue = ? AND state = ? AND count = 0',
          group,
          queue,
          state,
        );
      }
    }
  }
}

export function addWork(tx: Transaction, { entries }: WorkAddOperation): Outcome {
  const counting = new Counting();
  const waiting = number('waiting');
  const added: Work[] = [];
  for (const entry of entries) {
    const work: NewWork & Pick<Work, 'attempts' | 'added' | 'reason'> = {
      ...entry,
      attempts: 0,
      added: tx.now,
      reason: '',
    };
    const { changes, id } = tx.run(
      `INSERT INTO work (queue, id, "group", state, priority, due, attempts, added, reason, value)
       VALUES (?, ?, ?, ${waiting}, ?, ?, 0, ?, '', ?) ON CONFLICT (queue, id) DO NOTHING`,
      entry.queue,
      entry.id,
      entry.group,
      entry.priority,
      entry.due,
      tx.now,
      entry.value,
    );
    if (changes === 0) continue;
    counting.add(entry.queue, entry.group, waiting, 1);
    added.push({ ...work, seq: id, state: 'waiting' });
  }
  counting.write(tx);
  return { kind: 'work', entries: added };
}

export function takeWork(tx: Transaction, { queue, limit, now }: WorkTakeOperation): Outcome {
  tx.run(
    `UPDATE work SET due = 0 WHERE seq IN (
       SELECT seq FROM work INDEXED BY work_delayed WHERE queue = ? AND state <= 1 AND due > 0 AND due <= ? ORDER BY due ${LIMIT})`,
    queue,
    now,
    Math.max(limit, PROMOTED),
  );
  const rows = tx.rows<WorkRow>(
    `SELECT ${COLUMNS} FROM work INDEXED BY work_ready WHERE queue = ? AND state <= 1 AND due = 0 ORDER BY priority DESC, seq ${LIMIT}`,
    queue,
    limit,
  );
  const counting = new Counting();
  const active = number('active');
  const entries = rows.map((row): Work => {
    tx.run(`UPDATE work SET state = ${active}, attempts = attempts + 1 WHERE seq = ?`, row.seq);
    counting.add(queue, row.group, row.state, -1);
    counting.add(queue, row.group, active, 1);
    return { ...row, state: 'active', attempts: row.attempts + 1 };
  });
  counting.write(tx);
  return { kind: 'work', entries };
}

export function settleWork(tx: Transaction, { settlements }: WorkSettleOperation): Outcome {
  const counting = new Counting();
  const entries = settlements.flatMap((settlement) => settle(tx, settlement, counting) ?? []);
  counting.write(tx);
  return { kind: 'work', entries };
}

function settle(tx: Transaction, settlement: WorkSettlement, counting: Counting): Work | undefined {
  const { queue, id, state, from } = settlement;
  const found = tx.row<WorkRow>(`SELECT ${COLUMNS} FROM work WHERE queue = ? AND id = ?`, queue, id);
  if (found === undefined) return undefined;
  const row = workOf(found);
  if (from !== undefined && !from.includes(row.state)) return undefined;
  counting.add(queue, row.group, found.state, -1);
  if (state === 'removed') {
    tx.run('DELETE FROM work WHERE seq = ?', row.seq);
    return row;
  }
  counting.add(queue, row.group, number(state), 1);
  const { due = row.due, priority = row.priority, reason = row.reason, value = row.value } = settlement;
  const anew = state === 'waiting' && (row.state === 'failed' || row.state === 'done');
  const attempts = anew ? 0 : row.attempts;
  const next: Work = { ...row, state, due, priority, attempts, reason, value };
  tx.run(
    'UPDATE work SET state = ?, due = ?, priority = ?, attempts = ?, reason = ?, value = ? WHERE seq = ?',
    number(state),
    due,
    priority,
    attempts,
    reason,
    value,
    row.seq,
  );
  return next;
}

/** Reading of those rows. */
export class WorkReader {
  readonly #reader: Reader;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  list({ queue, id, group, states, after, descending = false, limit }: WorkRequest): Work[] {
    if (limit <= 0) return [];
    const order = descending ? 'DESC' : 'ASC';
    const start = after ?? (descending ? Number.MAX_SAFE_INTEGER : -1);
    if (id !== undefined) {
      const found = this.#reader.get<WorkRow>(`SELECT ${COLUMNS} FROM work WHERE queue = ? AND id = ?`, queue, id);
      const work = found && workOf(found);
      if (work === undefined || (descending ? work.seq >= start : work.seq <= start)) return [];
      return (group === undefined || work.group === group) && states?.includes(work.state) !== false ? [work] : [];
    }
    // Each state has its stretch of an index, in order of seq: what is merged is never more than the limit of each.
    const rows = [...new Set(states ?? WORK_STATES)].flatMap((state) =>
      this.#reader.all<WorkRow>(
        `SELECT ${COLUMNS} FROM work INDEXED BY ${group === undefined || group === '' ? 'work_state' : 'work_group'}
         WHERE queue = ? AND state = ? AND seq ${descending ? '<' : '>'} ?
         ${group === undefined ? '' : `AND "group" = ? ${group === '' ? '' : `AND "group" <> ''`}`}
         ORDER BY seq ${order} ${LIMIT}`,
        queue,
        number(state),
        start,
        ...(group === undefined ? [] : [group]),
        limit,
      ),
    );
    rows.sort((a, b) => (descending ? b.seq - a.seq : a.seq - b.seq));
    return rows.slice(0, limit).map(workOf);
  }

  counts(of: { readonly queue?: string; readonly group?: string } = {}): WorkCount[] {
    const { queue, group = '' } = of;
    const first = group === '' ? '' : `AND w."group" = c."group" AND w."group" <> ''`;
    const rows = this.#reader.all<Omit<WorkCount, 'state'> & { state: number }>(
      `SELECT c.queue, c.state, c.count,
         (SELECT w.added FROM work w INDEXED BY ${group === '' ? 'work_state' : 'work_group'} WHERE w.queue = c.queue AND w.state = c.state ${first} ORDER BY w.seq LIMIT 1) AS oldest
       FROM work_counts c WHERE c."group" = ? ${queue === undefined ? '' : 'AND c.queue = ?'} AND c.count > 0
       ORDER BY c.queue, c.state`,
      group,
      ...(queue === undefined ? [] : [queue]),
    );
    return rows.map((row) => ({ ...row, state: WORK_STATES[row.state] ?? 'failed' }));
  }

  next(queue: string): number | undefined {
    const row = this.#reader.get<{ due: number | null }>(
      `SELECT coalesce(
         (SELECT due FROM work INDEXED BY work_ready WHERE queue = ? AND state <= 1 AND due = 0 LIMIT 1),
         (SELECT min(due) FROM work INDEXED BY work_delayed WHERE queue = ? AND state <= 1 AND due > 0)) AS due`,
      queue,
      queue,
    );
    return row?.due ?? undefined;
  }
}
