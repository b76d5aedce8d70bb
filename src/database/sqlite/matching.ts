/**
 * Owns finding which resources match, whichever way is the shortest: along an index that narrows the search, through the table in order
 * of public id, or along the index that has the order asked for. All of it in short statements, between which others have their turn.
 */

import type { CountRequest, FindRequest } from '../database.ts';
import {
  allOf,
  compareKeys,
  type Keyed,
  type OrderKey,
  type Part,
  type Plan,
  planSearch,
  sortKey,
  upwards,
} from '../plan.ts';
import { publicIdBytes, TABLE } from '../rows.ts';
import { LIMIT } from './connection.ts';
import { dialect, joined, type Matching, scanOf, walkOf } from './search.ts';
import { type Queries, walk } from './walk.ts';

/** Rows that one statement looks through. */
const WINDOW = 2000;
/** The first of them, where few may be enough. */
const FIRST_WINDOW = 250;
/** Matches of an index beyond which looking through the whole table in order of id is the better plan. */
const FEW = 5000;
/** The same where all matches are wanted whatever their order. */
const MANY = 50_000;

/** What {@link findMatches} works with. */
export interface Room extends Queries {
  all<Row>(sql: string, ...values: unknown[]): Row[];
  /** Lets others have their turn. */
  turn(): Promise<void>;
}

/** What one statement finds and reads where an index leads to few rows. */
export interface Narrow {
  /** SELECT of row ids (`id`) of the level searched, at most {@link most} and one. */
  readonly rows: Part;
  readonly most: number;
  /** What those that match meet. */
  readonly where: Part;
}

/** A search along an index, if all that is asked is in the rows that it leads to; undefined where there is more to it. */
export function narrowSearch(request: FindRequest, most: number): Narrow | undefined {
  const plan = planSearch(request, dialect);
  const [index] = plan?.indexes ?? [];
  if (plan === undefined || index === undefined || plan.order.length > 0 || plan.path.length > 1) return undefined;
  const rows = { sql: `${index.rows.sql} ${LIMIT}`, values: [...index.rows.values, most + 1] };
  return { rows, most, where: allOf(plan.conditions) };
}

/** Those that match, in the order asked for, from the `since`-th on, at most `limit`. */
export async function findMatches(room: Room, request: FindRequest): Promise<readonly Matching[]> {
  const { since = 0, limit = Number.POSITIVE_INFINITY } = request;
  const plan = planSearch(request, dialect);
  const after = request.after === undefined ? Buffer.alloc(0) : publicIdBytes(request.after);
  if (plan === undefined || after === undefined) return [];
  if (plan.order.length > 0) return inOrder(room, plan, since, limit);
  const matches = await narrowed(room, plan, FEW);
  if (matches === undefined) return scan(room, plan, after, since, limit);
  const behind = after.toString('hex').toUpperCase();
  return matches
    .filter(({ key }) => key > behind)
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .slice(since, since + limit);
}

/** How many match. */
export async function countMatches(room: Room, request: CountRequest): Promise<number> {
  const plan = planSearch(request, dialect);
  if (plan === undefined) return 0;
  const { level, conditions } = plan;
  if (conditions.length === 0) return rowsOf(room, plan);
  const [index] = plan.indexes;
  if (index?.exact === true && conditions.length === 1 && index.level === level) {
    const { sql, values } = index.rows;
    return room.get<{ count: number }>(`SELECT count(*) AS count FROM (${sql})`, ...values)?.count ?? 0;
  }
  const matches = await narrowed(room, plan, MANY);
  return (matches ?? (await scan(room, plan, Buffer.alloc(0), 0, Number.POSITIVE_INFINITY))).length;
}

/** How many rows the level searched has. */
function rowsOf(room: Room, { level }: Plan): number {
  return room.get<{ count: number }>(`SELECT ${TABLE[level]} AS count FROM counters`)?.count ?? 0;
}

/** The matches among the rows of the best index, in no order; undefined where there is none, or where they are more than `few`. */
async function narrowed(room: Room, plan: Plan, few: number): Promise<readonly Matching[] | undefined> {
  const [index] = plan.indexes;
  return index && walk(room, walkOf(plan, index), { few, turn: () => room.turn() });
}

/** Looks through the table in order of public id, one window a turn of the event loop. */
async function scan(room: Room, plan: Plan, start: Buffer, since: number, limit: number): Promise<readonly Matching[]> {
  const { sql, values } = scanOf(plan);
  const table = TABLE[plan.level];
  const behind = (id: Buffer, offset: number): Buffer | undefined =>
    room.get<{ public_id: Buffer }>(
      `SELECT public_id FROM ${table} WHERE public_id > ? ORDER BY public_id LIMIT 1 OFFSET ?`,
      id,
      offset,
    )?.public_id;
  const matches: Matching[] = [];
  let skip = since;
  let after = start;
  if (plan.conditions.length === 0 && since > 0) {
    const last = behind(after, since - 1);
    if (last === undefined) return [];
    after = last;
    skip = 0;
  }
  for (;;) {
    const end = behind(after, WINDOW - 1);
    const upTo = end === undefined ? '' : 'AND r.public_id <= ?';
    const page = room.all<Matching>(
      `${sql} AND r.public_id > ? ${upTo} ORDER BY r.public_id ${LIMIT}`,
      ...values,
      after,
      ...(end === undefined ? [] : [end]),
      Math.min(skip + limit - matches.length, WINDOW),
    );
    const skipped = Math.min(skip, page.length);
    skip -= skipped;
    matches.push(...page.slice(skipped));
    if (end === undefined || matches.length >= limit) return matches;
    after = end;
    await room.turn();
  }
}

async function inOrder(room: Room, plan: Plan, since: number, limit: number): Promise<readonly Matching[]> {
  const most = since + limit;
  const [first] = plan.order;
  if (first?.column !== undefined && limit !== Number.POSITIVE_INFINITY) {
    // Along the index of the order some `most × rows ÷ matches` rows are looked at: as many as the matches, where these are so few.
    const few = Math.max(FEW, Math.min(MANY, Math.ceil(Math.sqrt(most * rowsOf(room, plan)))));
    const matches = await narrowed(room, plan, few);
    if (matches === undefined) return alongOrder(room, plan, first, since, limit);
    return sorted(room, plan, matches, since, most);
  }
  const matches =
    (await narrowed(room, plan, MANY)) ?? (await scan(room, plan, Buffer.alloc(0), 0, Number.POSITIVE_INFINITY));
  return sorted(room, plan, matches, since, most);
}

/** Some matches, put in order; of many only as many are held as are asked for. */
async function sorted(
  room: Room,
  plan: Plan,
  matches: readonly Matching[],
  since: number,
  most: number,
): Promise<readonly Matching[]> {
  const { path, alias, order } = plan;
  const byKeys = compareKeys(order);
  const sql = `SELECT json_group_array(json_array(${['r.id', ...order.map(({ value }) => value)].join()})) AS rows
    FROM ${joined(upwards(path), alias)} WHERE r.id IN (SELECT value FROM json_each(?))`;
  const keyOf = new Map<number, string>();
  let rows: Keyed[] = [];
  for (let at = 0; at < matches.length; at += WINDOW) {
    if (at > 0) await room.turn();
    const window = matches.slice(at, at + WINDOW);
    for (const { id, key } of window) keyOf.set(id, key);
    const text = room.get<{ rows: string }>(sql, JSON.stringify(window.map(({ id }) => id)))?.rows ?? '[]';
    for (const [id, ...stored] of JSON.parse(text) as [number, ...(string | number | null)[]][]) {
      rows.push({ id, keys: order.map((each, index) => sortKey(each, stored[index] ?? null)) });
    }
    if (rows.length <= 2 * most + WINDOW) continue;
    rows = rows.sort(byKeys).slice(0, most);
    const kept = new Set(rows.map(({ id }) => id));
    for (const id of keyOf.keys()) if (!kept.has(id)) keyOf.delete(id);
  }
  return rows
    .sort(byKeys)
    .slice(since, most)
    .map(({ id }) => ({ id, key: keyOf.get(id) ?? '' }));
}

/** A place in an index: the value of its column, and the row. */
interface Place {
  readonly value: string | number | null;
  readonly id: number;
}

/** Looks through the rows in the order of the first key, along its index, until there are enough. */
async function alongOrder(
  room: Room,
  plan: Plan,
  { column, descending }: OrderKey,
  since: number,
  limit: number,
): Promise<readonly Matching[]> {
  const { conditions, order, level } = plan;
  const most = since + limit;
  const bounds = plan.indexes.filter((index) => index.column === column && index.level === level);
  const range = allOf(bounds.map(({ where }) => where));
  const direction = descending ? 'DESC' : 'ASC';
  /** Rows of the index that meet one more condition, in order. */
  const rows = (condition: string, values: readonly unknown[], count: number, offset = 0): Place[] =>
    room.all<Place>(
      `SELECT r.${column} AS value, r.id FROM ${TABLE[level]} r WHERE ${range.sql} AND ${condition}
       ORDER BY r.${column} ${direction}, r.id ${direction} ${LIMIT} OFFSET ?`,
      ...range.values,
      ...values,
      count,
      offset,
    );
  const beyond = descending ? '<' : '>';
  /** The next rows behind a place: those of the same value, then the others. */
  const following = (place: Place | undefined, count: number): Place[] => {
    if (place === undefined) return rows('1 = 1', [], count);
    const found = rows(`r.${column} IS ? AND r.id ${beyond} ?`, [place.value, place.id], count);
    const more = (condition: string, values: readonly unknown[]): void => {
      if (found.length < count) found.push(...rows(condition, values, count - found.length));
    };
    if (place.value !== null) more(`r.${column} ${beyond} ?`, [place.value]);
    else if (!descending) more(`r.${column} IS NOT NULL`, []);
    if (descending && place.value !== null) more(`r.${column} IS NULL`, []);
    return found;
  };

  // Where every row of the range matches they need not be looked at to be skipped.
  const isWhole = conditions.length === bounds.length && bounds.every(({ exact }) => exact) && order.length === 1;
  const skipped = isWhole ? since : 0;
  const scanned = scanOf(plan);
  const matches: Matching[] = [];
  let place: Place | undefined;
  if (skipped > 0) {
    place = rows('1 = 1', [], 1, skipped - 1)[0];
    if (place === undefined) return [];
  }
  for (let size = Math.max(FIRST_WINDOW, Math.min(limit, WINDOW)); ; size = WINDOW) {
    const window = following(place, size);
    const list = JSON.stringify(window.map(({ id }) => id));
    const sql = `${scanned.sql} AND r.id IN (SELECT value FROM json_each(?))`;
    const met = new Map(room.all<Matching>(sql, ...scanned.values, list).map((each) => [each.id, each]));
    for (const { id } of window) {
      const match = met.get(id);
      if (match !== undefined) matches.push(match);
    }
    const last = window.at(-1);
    const isEnd = last === undefined || window.length < size;
    if (skipped + matches.length >= most || isEnd) {
      if (order.length === 1) return matches.slice(since - skipped, most - skipped);
      // Rows that the first key does not tell apart may go on behind the window.
      if (isEnd || last.value !== following(last, 1)[0]?.value) return sorted(room, plan, matches, since, most);
    }
    place = last;
    await room.turn();
  }
}
