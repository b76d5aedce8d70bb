/** Owns how a search becomes SQL: which index narrows it, and the condition that each candidate must meet. */

import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import type { Constraint, FindRequest } from '../database.ts';
import { identifierColumn, levelOfTag, levelsBetween, literalPrefix, normaliseConstraint } from '../find.ts';
import { publicIdBytes, TABLE } from '../rows.ts';

/** A resource that matches. */
export interface Matching {
  readonly id: number;
  readonly public_id: Buffer;
}

interface Part {
  readonly sql: string;
  readonly values: unknown[];
}

/** Two ways to the same answer. */
export interface Plan {
  /** Yields the rows of an index as {@link Matching} with `matches` 1 where the other conditions hold too; `bounded`
   * when they may turn out to be too many to be worth it. */
  readonly index: (Part & { readonly bounded: boolean }) | undefined;
  /** Yields {@link Matching}; its WHERE takes more conditions. `all` when it has none yet. */
  readonly scan: Part & { readonly all: boolean };
}

const ALIAS: Readonly<Record<Level, string>> = { Patient: 'p', Study: 't', Series: 'e', Instance: 'i' };

/** The plan of a search, or undefined when nothing can match. */
export function matchingPlan(request: FindRequest): Plan | undefined {
  const { level, id, of } = request;
  const conditions: Part[] = [];
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
    const part = { sql: 'r.public_id = ?', values: [bytes] };
    conditions.push(part);
    indexed.push({ ...part, rank: 0, level });
  }
  if (of !== undefined) {
    const bytes = publicIdBytes(of.id);
    if (bytes === undefined) return undefined;
    const part = related(level, of.level, alias, bytes);
    if (LEVELS.indexOf(of.level) < LEVELS.indexOf(level)) need(of.level);
    conditions.push(part);
    indexed.push({ ...part, rank: 1, level: LEVELS.indexOf(of.level) < LEVELS.indexOf(level) ? of.level : level });
  }
  for (const constraint of request.where ?? []) {
    const at = levelOfTag(level, constraint.tag);
    need(at);
    conditions.push(...conditionsOf(constraint, at, alias(at)));
    const narrowed = indexable(constraint, at, alias(at));
    if (narrowed !== undefined) indexed.push({ ...narrowed, level: at });
  }

  const path = [...levelsBetween(top, level)];
  const where = conditions.map((part) => part.sql);
  const values = conditions.flatMap((part) => part.values);
  const best = indexed.sort((a, b) => a.rank - b.rank)[0];
  // CROSS JOIN keeps SQLite to the order written: from the level of the index down, then up from there.
  const from = (order: readonly Level[]): string =>
    order
      .map((each, position) => {
        const table = `${TABLE[each]} ${alias(each)}`;
        if (position === 0) return table;
        const previous = order[position - 1] ?? each;
        const isChild = LEVEL[each].parent === previous;
        const on = isChild
          ? `${alias(each)}.parent = ${alias(previous)}.id`
          : `${alias(each)}.id = ${alias(LEVEL[each].child ?? each)}.parent`;
        return `CROSS JOIN ${table} ON ${on}`;
      })
      .join(' ');
  const scan = {
    sql: `SELECT r.id, r.public_id FROM ${from([...path].reverse())} WHERE ${['1', ...where].join(' AND ')}`,
    values,
    all: conditions.length === 0,
  };
  if (best === undefined) return { index: undefined, scan };
  const start = path.indexOf(best.level);
  const order = [...path.slice(start), ...path.slice(0, start).reverse()];
  return {
    index: {
      sql: `SELECT r.id, r.public_id, ${where.map((each) => `(${each})`).join(' AND ')} AS matches FROM ${from(order)}
        WHERE ${best.sql}`,
      values: [...values, ...best.values],
      bounded: best.rank > 2,
    },
    scan,
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
