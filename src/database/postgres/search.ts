/**
 * Owns how a planned search is spelt for PostgreSQL: its dialect, and the pieces of its statements. PostgreSQL does not fold accents and
 * case as match.ts does, so text beyond ASCII is looked at here once more.
 */

import { LEVEL, type Level } from '../../dicom/levels.ts';
import type { CountRequest, FindRequest, Match } from '../database.ts';
import {
  allOf,
  checkedBy,
  type Decided,
  type Dialect,
  type OrderKey,
  type Part,
  planSearch,
  upwards,
} from '../plan.ts';
import { TABLE } from '../rows.ts';
import { hexOf, text } from './values.ts';

/** A candidate: row id, public id in hex, then the values that {@link Search.verify} compares. */
export type Candidate = readonly [id: number, hex: string, ...values: (string | null)[]];

/** A search in pieces that {@link statement} puts together. */
export interface Search {
  /** JSON array of a {@link Candidate}. */
  readonly columns: string;
  /** Conditions of a match. */
  readonly condition: Part;
  /** The joins of `r`, after its own FROM. */
  readonly joins: string;
  /** FROM and WHERE that yield the rows of an index; `bounded` when they may be too many to be worth it. */
  readonly index: (Part & { readonly bounded: boolean }) | undefined;
  /** ORDER BY: by public id, unless the request says otherwise. */
  readonly order: readonly { readonly value: string; readonly direction: string }[];
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

function compare(match: Match, value: string): Part {
  switch (match.match) {
    case 'equal':
      return { sql: `${value} = ?`, values: [text(match.value)] };
    case 'list':
      return dialect.oneOf(value, match.values);
    case 'wildcard':
      return { sql: `${value} LIKE ?`, values: [likePattern(text(match.value))] };
    case 'range':
      return {
        sql: [
          `${value} IS NOT NULL`,
          ...(match.from === undefined ? [] : [`${value} >= ?`]),
          ...(match.to === undefined ? [] : [`${value} <= ?`]),
        ].join(' AND '),
        values: [match.from, match.to].filter((bound) => bound !== undefined).map(text),
      };
  }
}

/** A condition on what the engine makes of ASCII text; of any other it leaves the decision to `meets`. */
function checked(match: Match, form: string, stored: string, meets: (stored: string) => boolean): Decided {
  const { sql, values } = compare(match, form);
  return { sql: `(${sql}) OR ${stored} ~ '[^ -~]'`, values, check: { value: stored, meets } };
}

const dialect: Dialect = {
  publicId: (id) => ({ sql: `decode(?, 'hex')`, values: [hexOf(id)] }),
  // Tags are constants of the dictionary: they need no quoting.
  tag: (alias, tag) => `((${alias}.tags ->> '${tag}') COLLATE "C")`,
  metadata: (alias, name) => `((${alias}.metadata ->> '${name}') COLLATE "C")`,
  lastUpdate: {
    text: (alias) =>
      `to_char(to_timestamp(${alias}.active_at / 1000000) AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS') COLLATE "C"`,
    column: 'active_at',
  },
  compare,
  loosely: (match, stored) => checked(match, `upper(btrim(${stored}))`, stored, checkedBy.loosely(match)),
  caselessly: (match, stored) => checked(match, `lower(${stored})`, stored, checkedBy.caselessly(match)),
  oneOf: (value, list) => ({ sql: `${value} = ANY (?::text[])`, values: [list.map(text)] }),
};

/** The search in pieces, or undefined when nothing can match. */
export function searchOf(request: FindRequest | CountRequest): Search | undefined {
  const plan = planSearch(request, dialect);
  if (plan === undefined) return undefined;
  const { level, path, alias, conditions } = plan;
  const checks = conditions.flatMap(({ check }) => check ?? []);
  const [best] = plan.indexes;
  const start = best === undefined ? 0 : path.indexOf(best.level);
  // From the level of the index down, then up from there: joins are followed in the order written.
  const order = [...path.slice(start), ...path.slice(0, start).reverse()];
  const first = order[0] ?? level;
  return {
    columns: `json_build_array(${['r.id', `encode(r.public_id, 'hex')`, ...checks.map(({ value }) => value)].join()})`,
    condition: allOf(conditions),
    joins: joins(upwards(path), alias),
    index: best && {
      sql: `FROM ${TABLE[first]} ${alias(first)} ${joins(order, alias)} WHERE ${best.where.sql}`,
      values: best.where.values,
      bounded: best.bounded,
    },
    order:
      plan.order.length === 0
        ? [{ value: 'r.public_id', direction: 'ASC' }]
        : [
            ...plan.order.map(ordered),
            { value: 'r.id', direction: plan.order[0]?.descending === true ? 'DESC' : 'ASC' },
          ],
    verify: ([, , ...values]) =>
      checks.every(({ meets }, index) => {
        const value = values[index];
        return typeof value === 'string' && meets(value);
      }),
    verifies: checks.length > 0,
  };
}

/** Numbers that a text begins with, as `leadingNumber` of find.ts reads them. */
const LEADING = {
  integer: String.raw`^\s*[-+]?\d+`,
  float: String.raw`^\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?`,
} as const;

/** One of ORDER BY; what is absent is the least. */
function ordered({ value, column, as, descending }: OrderKey): Search['order'][number] {
  const folded = column === undefined ? `upper(btrim(${value}))` : value;
  const sorted = as === 'text' ? folded : `substring(${value} from '${LEADING[as]}')::numeric`;
  return { value: sorted, direction: descending ? 'DESC NULLS LAST' : 'ASC NULLS FIRST' };
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

function likePattern(pattern: string): string {
  return pattern
    .replace(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
    .replaceAll('?', '_');
}
