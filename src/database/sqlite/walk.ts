/**
 * Owns walking through what an index narrows a search to, in windows of row ids. No statement stays open while the event loop
 * turns: an open one would hold the whole connection, and every other answer with it, to what was there when it began, and the
 * write-ahead log could not be emptied.
 */

import { IsenError } from '../../errors.ts';
import { TABLE } from '../rows.ts';
import { LIMIT } from './connection.ts';
import type { IndexWalk, Matching } from './search.ts';

/** Rows looked through between two turns of the event loop. */
const WINDOW = 2000;

/** Runs statements that are prepared once. */
export interface Queries {
  get<Row>(sql: string, ...values: unknown[]): Row | undefined;
}

/** How a walk goes. */
export interface Pace {
  /** Rows beyond which a `bounded` plan is given up. */
  readonly few: number;
  /** Lets others have their turn. */
  turn(): Promise<void>;
}

/** The rows of a statement in one: fetched one by one they cost several times as much. In runs by public id, cheap to sort. */
const gathered = (sql: string): string =>
  `SELECT count(*) AS seen, max(id) AS last, group_concat(iif(matches, id, NULL)) AS ids,
   group_concat(iif(matches, hex(public_id), NULL), '') AS keys FROM (SELECT * FROM (${sql}) ORDER BY public_id)`;

interface Gathered {
  readonly seen: number;
  readonly last: number | null;
  readonly ids: string | null;
  readonly keys: string | null;
}

/** Digits of a public id in hex. */
const KEY = 40;

/** The matches in no order, or undefined when a bounded plan led to too many rows. */
export async function walk(
  queries: Queries,
  plan: IndexWalk,
  { few, turn }: Pace,
): Promise<readonly Matching[] | undefined> {
  const { first, levels, last, bounded } = plan;
  const statement = gathered(last.sql);
  const matches: Matching[] = [];
  let seen = 0;
  let sinceTurn = 0;
  /** Counts rows looked through, and whether to go on. */
  const go = async (rows: number): Promise<boolean> => {
    seen += rows;
    if (bounded && seen > few) return false;
    // A parent without children is work as well.
    sinceTurn += rows + 1;
    if (sinceTurn >= WINDOW) {
      sinceTurn = 0;
      await turn();
    }
    return true;
  };
  const take = (...values: unknown[]): Gathered => {
    const row = queries.get<Gathered>(statement, ...last.values, ...values);
    if (row === undefined) throw new IsenError('InternalError');
    const ids = row.ids?.split(',') ?? [];
    for (const [index, id] of ids.entries())
      matches.push({ id: Number(id), key: row.keys?.slice(index * KEY, (index + 1) * KEY) ?? '' });
    return row;
  };
  const idsOf = (sql: string, ...values: unknown[]): number[] =>
    JSON.parse(
      queries.get<{ ids: string }>(`SELECT json_group_array(id) AS ids FROM (${sql})`, ...values)?.ids ?? '[]',
    ) as number[];

  /** Everything below the row `parent` of `levels[depth]`. */
  const descend = async (parent: number, depth: number): Promise<boolean> => {
    const child = levels[depth + 1];
    if (child === undefined) throw new IsenError('InternalError');
    for (let after = -1; ; ) {
      let rows: number;
      if (depth + 2 === levels.length) {
        const window = take(parent, parent, after, WINDOW);
        rows = window.seen;
        after = window.last ?? after;
        if (!(await go(rows))) return false;
      } else {
        const sql = `SELECT id FROM ${TABLE[child]} WHERE parent = ? AND id > ? ORDER BY id ${LIMIT}`;
        const ids = idsOf(sql, parent, after, WINDOW);
        rows = ids.length;
        after = ids.at(-1) ?? after;
        for (const id of ids) if (!(await descend(id, depth + 1))) return false;
      }
      if (rows < WINDOW) return true;
    }
  };

  const start = idsOf(`${first.sql} ${LIMIT}`, ...first.values, few + 1);
  if (bounded && start.length > few) return undefined;
  if (levels.length === 1) {
    for (let at = 0; at < start.length; at += WINDOW) {
      const some = start.slice(at, at + WINDOW);
      take(JSON.stringify(some));
      if (!(await go(some.length))) return undefined;
    }
  } else {
    for (const id of start) if (!(await descend(id, 0))) return undefined;
  }
  return matches;
}
