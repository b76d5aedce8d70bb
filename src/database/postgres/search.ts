/**
 * Owns how a search becomes SQL: the index that narrows it, the condition of each candidate, and the values that only
 * this process can compare: PostgreSQL does not fold accents and case as match.ts does, so text beyond ASCII is looked at
 * here.
 */

import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import { matchesWildcard, normalise } from '../../dicom/match.ts';
import type { Constraint, FindRequest } from '../database.ts';
import { identifierColumn, levelOfTag, levelsBetween, literalPrefix, normaliseConstraint } from '../find.ts';
import { isPublicId, TABLE } from '../rows.ts';

import { text, hexOf } from './values.ts';

/** SQL with `?` for each of its values. */
interface Part {
  readonly sql: string;
  readonly values: readonly unknown[];
}

/** A condition on a candidate: `value`, where there is one, is to be compared once more here. */
interface Condition extends Part {
  readonly value?: Part['sql'];
  readonly constraint?: Constraint;
}

/** A candidate: row id, public id in hex, then the values that {@link Search.verify} compares. */
export type Candidate = readonly [id: number, hex: string, ...values: (string | null)[]];

/** A search in pieces that {@link statement} puts together. */
export interface Search {
  /** JSON array of a {@link Candidate}. */
  readonly columns: string;
  /** Conditions of a match; 'true' when there are none. */
  readonly condition: Part;
  /** The joins of `r`, after its own FROM. */
  readonly joins: string;
  /** FROM and WHERE that yield the rows of an index; `bounded` when they may be too many to be worth it. */
  readonly index: (Part & { readonly bounded: boolean }) | undefined;
  /** Whether a candidate that the statement answered matches. */
  readonly verify: (candidate: Candidate) => boolean;
  /** Whether {@link verify} can refuse any. */
  readonly verifies: boolean;
}

/** Numbers the values of `parts` in the order in which they stand. */
export function statement(parts: readonly (string | Part)[]): { sql: string; values: unknown[] } {
  const values = parts.flatMap((part) => (typeof part === 'string' ? [] : part.values));
  let count = 0;
  const sql = parts
    .map((part) => (typeof part === 'string' ? part : part.sql.replace(/\?/g, () => `$${++count}`)))
    .join(' ');
  return { sql, values };
}

const ALIAS: Readonly<Record<Level, string>> = { Patient: 'p', Study: 't', Series: 'e', Instance: 'i' };

/** The plan of a search, or undefined when nothing can match. */
export function planSearch(request: FindRequest): Search | undefined {
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
    if (!isPublicId(id)) return undefined;
    const part = { sql: `r.public_id = decode(?, 'hex')`, values: [hexOf(id)] };
    conditions.push(part);
    indexed.push({ ...part, rank: 0, level });
  }
  if (of !== undefined) {
    if (!isPublicId(of.id)) return undefined;
    const part = related(level, of.level, alias, hexOf(of.id));
    const above = LEVELS.indexOf(of.level) < LEVELS.indexOf(level);
    if (above) need(of.level);
    conditions.push(part);
    indexed.push({ ...part, rank: 1, level: above ? of.level : level });
  }
  for (const constraint of request.where ?? []) {
    const at = levelOfTag(level, constraint.tag);
    need(at);
    conditions.push(conditionOf(constraint, at, alias(at)));
    const narrowed = indexable(constraint, at, alias(at));
    if (narrowed !== undefined) indexed.push({ ...narrowed, level: at });
  }

  const path = levelsBetween(top, level);
  const verified = conditions.filter((part) => part.value !== undefined);
  const upwards = [...path].reverse();
  const best = indexed.sort((a, b) => a.rank - b.rank)[0];
  const start = best === undefined ? 0 : path.indexOf(best.level);
  // From the level of the index down, then up from there: joins are followed in the order written.
  const order = [...path.slice(start), ...path.slice(0, start).reverse()];
  const first = order[0] ?? level;
  return {
    columns: `json_build_array(${['r.id', `encode(r.public_id, 'hex')`, ...verified.map((part) => part.value)].join()})`,
    condition: {
      sql: conditions.map(({ sql }) => `(${sql})`).join(' AND ') || 'true',
      values: conditions.flatMap(({ values }) => values),
    },
    joins: joins(upwards, alias),
    index:
      best === undefined
        ? undefined
        : {
            sql: `FROM ${TABLE[first]} ${alias(first)} ${joins(order, alias)} WHERE ${best.sql}`,
            values: best.values,
            bounded: best.rank > 2,
          },
    verify: ([, , ...values]) =>
      verified.every(({ constraint }, index) => constraint !== undefined && matches(constraint, values[index] ?? null)),
    verifies: verified.length > 0,
  };
}

/** Joins of each level of `order` after its first to the one before it, or to its child where the order turns upwards. */
function joins(order: readonly Level[], alias: (level: Level) => string): string {
  return order
    .slice(1)
    .map((each, position) => {
      const isChild = LEVEL[each].parent === order[position];
      const on = isChild
        ? `${alias(each)}.parent = ${alias(order[position] ?? each)}.id`
        : `${alias(each)}.id = ${alias(LEVEL[each].child ?? each)}.parent`;
      return `JOIN ${TABLE[each]} ${alias(each)} ON ${on}`;
    })
    .join(' ');
}

/** The condition that the resource is above, below or the one of `hex`. */
function related(level: Level, of: Level, alias: (level: Level) => string, hex: string): Part {
  if (LEVELS.indexOf(of) <= LEVELS.indexOf(level)) {
    return { sql: `${alias(of)}.public_id = decode(?, 'hex')`, values: [hex] };
  }
  const path = levelsBetween(level, of).slice(1);
  const sql = path.reduceRight(
    (inner, each) => `(SELECT parent FROM ${TABLE[each]} WHERE ${each === of ? 'public_id' : 'id'} = ${inner})`,
    `decode(?, 'hex')`,
  );
  return { sql: `r.id = ${sql}`, values: [hex] };
}

/** The condition of a constraint on the row `alias`: over the normalised column where there is one, else over the tag. */
function conditionOf(constraint: Constraint, level: Level, alias: string): Condition {
  const column = identifierColumn(level, constraint.tag);
  // Tags are constants of the dictionary: they need no quoting.
  const stored = `(${alias}.tags ->> '${constraint.tag}') COLLATE "C"`;
  if (constraint.caseSensitive) return condition(constraint, `(${stored})`);
  const wanted = normaliseConstraint(constraint);
  if (column !== undefined) return condition(wanted, `${alias}.${column}`);
  const plain = condition(wanted, `upper(btrim(${stored}))`);
  return {
    sql: `(${plain.sql}) OR ${stored} ~ '[^ -~]'`,
    values: plain.values,
    value: `${alias}.tags ->> '${constraint.tag}'`,
    constraint: wanted,
  };
}

function condition(constraint: Constraint, value: string): Part {
  switch (constraint.match) {
    case 'equal':
      return { sql: `${value} = ?`, values: [text(constraint.value)] };
    case 'list':
      return { sql: `${value} = ANY (?::text[])`, values: [constraint.values.map(text)] };
    case 'wildcard':
      return { sql: `${value} LIKE ?`, values: [likePattern(text(constraint.value))] };
    case 'range':
      return {
        sql: [
          `${value} IS NOT NULL`,
          ...(constraint.from === undefined ? [] : [`${value} >= ?`]),
          ...(constraint.to === undefined ? [] : [`${value} <= ?`]),
        ].join(' AND '),
        values: [constraint.from, constraint.to].filter((bound) => bound !== undefined).map(text),
      };
  }
}

function likePattern(pattern: string): string {
  return pattern
    .replace(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
    .replaceAll('?', '_');
}

/** Whether a tag's value meets a normalised constraint. */
function matches(constraint: Constraint, stored: string | null): boolean {
  if (stored === null) return false;
  const value = normalise(stored);
  switch (constraint.match) {
    case 'equal':
      return value === constraint.value;
    case 'list':
      return constraint.values.includes(value);
    case 'wildcard':
      return matchesWildcard(value, constraint.value);
    case 'range':
      return (
        (constraint.from === undefined || value >= constraint.from) &&
        (constraint.to === undefined || value <= constraint.to)
      );
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
      const prefix = text(literalPrefix(wanted.value));
      if (prefix === '') return undefined;
      return { sql: `${value} >= ? AND ${value} < ?`, values: [prefix, `${prefix}\u{10ffff}`], rank: 5 };
    }
    case 'range':
      return { ...condition(wanted, value), rank: 6 };
  }
}
