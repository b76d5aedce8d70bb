/** Owns how a planned search is spelt for SQLite: its dialect, and the statements that look through rows. */

import type { Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import type { Match } from '../database.ts';
import { beginningWith, literalPrefix } from '../find.ts';
import { allOf, type Condition, type Dialect, type Index, type Part, type Plan, upwards } from '../plan.ts';
import { publicIdBytes, TABLE } from '../rows.ts';
import { LIMIT } from './connection.ts';

/** A resource that matches. */
export interface Matching {
  readonly id: number;
  /** Its public id in upper-case hex, whose order is that of the bytes. */
  readonly key: string;
}

function compare(match: Match, value: string): Part {
  switch (match.match) {
    case 'equal':
      return { sql: `${value} = ?`, values: [match.value] };
    case 'list':
      return dialect.oneOf(value, match.values);
    case 'wildcard': {
      const prefix = literalPrefix(match.value);
      // A call of our own function costs more than the rest of a row.
      if (match.value === `${prefix}*`) return compare(beginningWith(prefix), value);
      return { sql: `wildcard(${value}, ?)`, values: [match.value] };
    }
    case 'range':
      return {
        sql: [
          ...(match.from === undefined && match.to === undefined ? [`${value} IS NOT NULL`] : []),
          ...(match.from === undefined ? [] : [`${value} >= ?`]),
          ...(match.to === undefined ? [] : [`${value} <= ?`]),
        ].join(' AND '),
        values: [match.from, match.to].filter((bound) => bound !== undefined),
      };
  }
}

/** SQLite calls our own functions (sqlite/reader) where it compares texts otherwise. */
export const dialect: Dialect = {
  publicId: (id) => ({ sql: '?', values: [publicIdBytes(id)] }),
  // Tags are constants of the dictionary: they need no quoting.
  tag: (alias, tag) => `(${alias}.tags ->> '$."${tag}"')`,
  metadata: (alias, name) => `(${alias}.metadata ->> '${name}')`,
  lastUpdate: {
    text: (alias) => `strftime('%Y%m%dT%H%M%S', ${alias}.last_update, 'unixepoch')`,
    column: 'last_update',
  },
  compare,
  loosely: (match, stored) => compare(match, `normalise(${stored})`),
  caselessly: (match, stored) => compare(match, `fold_case(${stored})`),
  // SQLite knows the cases of ASCII letters only.
  alike: (column, stored) => `${column} = upper(${stored})`,
  oneOf: (value, list) => ({ sql: `${value} IN (SELECT value FROM json_each(?))`, values: [JSON.stringify(list)] }),
};

/**
 * What an index narrows a search to: rows of one level, and whatever is below them down to the level searched. Every statement
 * is short; together they are the walk of sqlite/walk.
 */
export interface IndexWalk {
  /** Row ids (`id`) of the first of `levels`; takes a LIMIT. */
  readonly first: Part;
  /** From the level of the index down to the one searched. */
  readonly levels: readonly Level[];
  /**
   * {@link Matching} with `matches` 1 where every condition holds; takes more values. Where the index is of the level
   * searched: a JSON array of row ids. Else, of one parent whose own conditions hold: its row id twice, the row id to begin
   * behind, and how many.
   */
  readonly last: Part;
  /** The rows may turn out to be too many to be worth it. */
  readonly bounded: boolean;
}

/** The walk along an index of the plan. */
export function walkOf({ path, alias, conditions }: Plan, index: Index): IndexWalk {
  const levels = path.slice(path.indexOf(index.level));
  const last = levels.length === 1 ? amongRows(path, alias, conditions) : belowParent(path, alias, conditions);
  return { first: index.rows, levels, last, bounded: index.bounded };
}

/** FROM clause of a level and its ancestors, from the bottom up. CROSS JOIN keeps SQLite to the order written. */
export function joined(levels: readonly Level[], alias: (level: Level) => string): string {
  return levels
    .map((each, index) => {
      const table = `${TABLE[each]} ${alias(each)}`;
      const below = levels[index - 1];
      return below === undefined ? table : `CROSS JOIN ${table} ON ${alias(each)}.id = ${alias(below)}.parent`;
    })
    .join(' ');
}

/** {@link Matching} of every row that meets the conditions; its WHERE takes more. */
export function scanOf({ path, alias, conditions }: Plan): Part {
  const { sql, values } = allOf(conditions);
  return { sql: `SELECT r.id, hex(r.public_id) AS key FROM ${joined(upwards(path), alias)} WHERE ${sql}`, values };
}

/** The `last` of an {@link IndexWalk} over rows of the level itself. */
function amongRows(path: readonly Level[], alias: (level: Level) => string, conditions: readonly Condition[]): Part {
  const { sql, values } = allOf(conditions);
  return {
    sql: `SELECT r.id, r.public_id, ${sql} AS matches FROM ${joined(upwards(path), alias)}
      WHERE r.id IN (SELECT value FROM json_each(?))`,
    values,
  };
}

/** The same below one parent: what its ancestors and itself must meet is looked at once a statement, not once a row. */
function belowParent(path: readonly Level[], alias: (level: Level) => string, conditions: readonly Condition[]): Part {
  const level = path.at(-1);
  const above = upwards(path).slice(1);
  const parent = above[0];
  if (level === undefined || parent === undefined) throw new IsenError('InternalError');
  const own = allOf(conditions.filter((part) => part.level === level));
  const inherited = allOf(conditions.filter((part) => part.level !== level));
  return {
    sql: `SELECT r.id, r.public_id, ${own.sql} AS matches FROM ${TABLE[level]} r
      WHERE (SELECT ${inherited.sql} FROM ${joined(above, alias)} WHERE ${alias(parent)}.id = ?)
      AND r.parent = ? AND r.id > ? ORDER BY r.id ${LIMIT}`,
    values: [...own.values, ...inherited.values],
  };
}
