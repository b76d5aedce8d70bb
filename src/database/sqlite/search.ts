/** Owns how a search becomes SQL: which index narrows it, and the condition that each candidate must meet. */

import { LEVELS, type Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import type { Constraint, FindRequest } from '../database.ts';
import { identifierColumn, levelOfTag, levelsBetween, literalPrefix, normaliseConstraint } from '../find.ts';
import { publicIdBytes, TABLE } from '../rows.ts';

/** A resource that matches. */
export interface Matching {
  readonly id: number;
  /** Its public id in upper-case hex, whose order is that of the bytes. */
  readonly key: string;
}

interface Part {
  readonly sql: string;
  readonly values: unknown[];
}

/** What the row of a level must meet. */
interface Condition extends Part {
  readonly level: Level;
}

/**
 * What an index narrows a search to: rows of one level, and whatever is below them down to the level searched. Every statement
 * is short; together they are the walk of sqlite/walk.
 */
export interface IndexPlan {
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

/** Two ways to the same answer. */
export interface Plan {
  readonly index: IndexPlan | undefined;
  /** Yields {@link Matching}; its WHERE takes more conditions. `all` when it has none yet. */
  readonly scan: Part & { readonly all: boolean };
}

const ALIAS: Readonly<Record<Level, string>> = { Patient: 'p', Study: 't', Series: 'e', Instance: 'i' };

/** The plan of a search, or undefined when nothing can match. */
export function matchingPlan(request: FindRequest): Plan | undefined {
  const { level, id, of } = request;
  const conditions: Condition[] = [];
  const indexed: (Part & { rank: number; level: Level })[] = [];
  // The statement joins from the level searched up to the highest one that a condition needs.
  let top = level;
  const need = (wanted: Level): void => {
    if (LEVELS.indexOf(wanted) < LEVELS.indexOf(top)) top = wanted;
  };
  const alias = (at: Level): string => (at === level ? 'r' : ALIAS[at]);

  if (id !== undefined) {
    const bytes = publicIdBytes(id);
    if (bytes === undefined) return undefined;
    const part = { sql: 'r.public_id = ?', values: [bytes], level };
    conditions.push(part);
    indexed.push({ ...part, rank: 0 });
  }
  if (of !== undefined) {
    const bytes = publicIdBytes(of.id);
    if (bytes === undefined) return undefined;
    const at = LEVELS.indexOf(of.level) < LEVELS.indexOf(level) ? of.level : level;
    need(at);
    const part = { ...related(level, of.level, alias, bytes), level: at };
    conditions.push(part);
    indexed.push({ ...part, rank: 1 });
  }
  for (const constraint of request.where ?? []) {
    const at = levelOfTag(level, constraint.tag);
    need(at);
    for (const part of conditionsOf(constraint, at, alias(at))) conditions.push({ ...part, level: at });
    const narrowed = indexable(constraint, at, alias(at));
    if (narrowed !== undefined) indexed.push({ ...narrowed, level: at });
  }

  const path = [...levelsBetween(top, level)];
  const where = conditions.map((part) => part.sql);
  const values = conditions.flatMap((part) => part.values);
  const best = indexed.sort((a, b) => a.rank - b.rank)[0];
  const scan = {
    sql: `SELECT r.id, hex(r.public_id) AS key FROM ${upwards([...path].reverse(), alias)}
      WHERE ${['1', ...where].join(' AND ')}`,
    values,
    all: conditions.length === 0,
  };
  if (best === undefined) return { index: undefined, scan };
  const levels = path.slice(path.indexOf(best.level));
  return {
    index: {
      first: {
        sql: `SELECT ${alias(best.level)}.id FROM ${TABLE[best.level]} ${alias(best.level)} WHERE ${best.sql}`,
        values: best.values,
      },
      levels,
      last: levels.length === 1 ? amongRows(path, conditions, alias) : belowParent(path, conditions, alias),
      bounded: best.rank > 2,
    },
    scan,
  };
}

/** FROM clause of a level and its ancestors. CROSS JOIN keeps SQLite to the order written: from the bottom up. */
function upwards(levels: readonly Level[], alias: (level: Level) => string): string {
  return levels
    .map((each, index) => {
      const table = `${TABLE[each]} ${alias(each)}`;
      const below = levels[index - 1];
      return below === undefined ? table : `CROSS JOIN ${table} ON ${alias(each)}.id = ${alias(below)}.parent`;
    })
    .join(' ');
}

const all = (conditions: readonly Condition[]): string => conditions.map(({ sql }) => `(${sql})`).join(' AND ') || '1';

/** The `last` of an {@link IndexPlan} over rows of the level itself. */
function amongRows(path: readonly Level[], conditions: readonly Condition[], alias: (level: Level) => string): Part {
  return {
    sql: `SELECT r.id, r.public_id, ${all(conditions)} AS matches FROM ${upwards([...path].reverse(), alias)}
      WHERE r.id IN (SELECT value FROM json_each(?))`,
    values: conditions.flatMap((part) => part.values),
  };
}

/** The same below one parent: what its ancestors and itself must meet is looked at once a statement, not once a row. */
function belowParent(path: readonly Level[], conditions: readonly Condition[], alias: (level: Level) => string): Part {
  const level = path.at(-1);
  const above = path.slice(0, -1).reverse();
  const parent = above[0];
  if (level === undefined || parent === undefined) throw new IsenError('InternalError');
  const own = conditions.filter((part) => part.level === level);
  const inherited = conditions.filter((part) => part.level !== level);
  return {
    sql: `SELECT r.id, r.public_id, ${all(own)} AS matches FROM ${TABLE[level]} r
      WHERE (SELECT ${all(inherited)} FROM ${upwards(above, alias)} WHERE ${alias(parent)}.id = ?)
      AND r.parent = ? AND r.id > ? ORDER BY r.id LIMIT ?`,
    values: [...own, ...inherited].flatMap((part) => part.values),
  };
}

/** The condition that the resource is above, below or the one of `bytes`. */
function related(level: Level, of: Level, alias: (level: Level) => string, bytes: Buffer): Part {
  if (LEVELS.indexOf(of) <= LEVELS.indexOf(level)) return { sql: `${alias(of)}.public_id = ?`, values: [bytes] };
  const path = levelsBetween(level, of).slice(1);
  let sql = '?';
  for (const each of [...path].reverse()) {
    sql = `(SELECT parent FROM ${TABLE[each]} WHERE ${each === of ? 'public_id' : 'id'} = ${sql})`;
  }
  return { sql: `r.id = ${sql}`, values: [bytes] };
}

/** The condition of a constraint on the row `alias`: over the normalised column where there is one, else over the tag. */
function conditionsOf(constraint: Constraint, level: Level, alias: string): Part[] {
  const column = identifierColumn(level, constraint.tag);
  const stored = `${alias}.tags ->> '$."${constraint.tag}"'`;
  const normalised = column === undefined ? `normalise(${stored})` : `${alias}.${column}`;
  if (!constraint.caseSensitive) return [condition(normaliseConstraint(constraint), normalised)];
  return [condition(constraint, `(${stored})`)];
}

function condition(constraint: Constraint, value: string): Part {
  switch (constraint.match) {
    case 'equal':
      return { sql: `${value} = ?`, values: [constraint.value] };
    case 'list':
      return { sql: `${value} IN (SELECT value FROM json_each(?))`, values: [JSON.stringify(constraint.values)] };
    case 'wildcard':
      return { sql: `wildcard(${value}, ?)`, values: [constraint.value] };
    case 'range':
      return {
        sql: [
          `${value} IS NOT NULL`,
          ...(constraint.from === undefined ? [] : [`${value} >= ?`]),
          ...(constraint.to === undefined ? [] : [`${value} <= ?`]),
        ].join(' AND '),
        values: [constraint.from, constraint.to].filter((bound) => bound !== undefined),
      };
  }
}

/** The part of a constraint that an index answers; the lower its rank, the fewer rows it is likely to leave. */
function indexable(constraint: Constraint, level: Level, alias: string): (Part & { rank: number }) | undefined {
  const column = identifierColumn(level, constraint.tag);
  if (column === undefined) return undefined;
  const wanted = normaliseConstraint(constraint);
  const value = `${alias}.${column}`;
  switch (wanted.match) {
    case 'equal':
      return { ...condition(wanted, value), rank: 3 };
    case 'list':
      return { ...condition(wanted, value), rank: 4 };
    case 'wildcard': {
      const prefix = literalPrefix(wanted.value);
      if (prefix === '') return undefined;
      return { sql: `${value} >= ? AND ${value} < ?`, values: [prefix, `${prefix}\u{10ffff}`], rank: 5 };
    }
    case 'range':
      return { ...condition(wanted, value), rank: 6 };
    default:
      throw new IsenError('InternalError');
  }
}
