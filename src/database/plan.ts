/**
 * Owns how a search becomes SQL, as far as both backends agree: the conditions that each candidate must meet, the indices that narrow
 * them, and what they are ordered by. What the engines spell differently is in their dialects.
 */

import { lookup, tagNumber } from '../dicom/dictionary.ts';
import { LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import type { Constraint, FindRequest, LabelsConstraint, Match, Order } from './database.ts';
import {
  beginningWith,
  foldCase,
  foldMatch,
  identifierColumn,
  isBelow,
  leadingNumber,
  levelOfTag,
  levelsBetween,
  literalPrefix,
  meets,
  normalise,
  normaliseMatch,
} from './find.ts';
import { isPublicId, levelNumber, SIGNATURE, TABLE } from './rows.ts';

/** SQL with `?` for each of its values. */
export interface Part {
  readonly sql: string;
  readonly values: readonly unknown[];
}

/** A condition that a statement may not decide for every value: `value` (SQL) must meet `meets` besides. */
export interface Decided extends Part {
  readonly check?: { readonly value: string; readonly meets: (value: string) => boolean };
}

/** What the row of a level must meet. */
export interface Condition extends Decided {
  readonly level: Level;
}

/** What narrows a search: rows of one level, and whatever is below them down to the level searched. */
export interface Index {
  readonly level: Level;
  /** SELECT of their row ids (`id`); takes a LIMIT. */
  readonly rows: Part;
  /** The same as a condition on the row. */
  readonly where: Part;
  /** The column whose index it is. */
  readonly column: string | undefined;
  /** The rows are what the search finds, without another look. */
  readonly exact: boolean;
  /** The rows may turn out to be too many to be worth it. */
  readonly bounded: boolean;
}

/** What one of {@link Order} compares. */
export interface OrderKey {
  /** SQL of the value as it is stored. */
  readonly value: string;
  /** Of the level searched, where its index has the very order. */
  readonly column: string | undefined;
  readonly as: Order['as'];
  readonly descending: boolean;
}

/** A search, planned. */
export interface Plan {
  readonly level: Level;
  /** From the highest level that a condition or an order needs down to the one searched. */
  readonly path: readonly Level[];
  /** Of the row of a level: the one searched is `r`. */
  readonly alias: (level: Level) => string;
  readonly conditions: readonly Condition[];
  /** The one that is likely to leave the fewest rows first. */
  readonly indexes: readonly Index[];
  readonly order: readonly OrderKey[];
}

/** What the SQL of an engine looks like. */
export interface Dialect {
  /** The bytes of a public id, a valid one. */
  publicId(id: string): Part;
  /** The stored text of a tag. */
  tag(alias: string, tag: string): string;
  /** The value of a metadata in the row, and the time of the last update as text; `name` has letters and digits only. */
  metadata(alias: string, name: string): string;
  lastUpdate: { readonly text: (alias: string) => string; readonly column: string };
  /** Whether a text meets `match` as it stands. */
  compare(match: Match, value: string): Part;
  /** Whether {@link normalise} of a stored text meets `match`, which is of that form. */
  loosely(match: Match, stored: string): Decided;
  /** Whether {@link foldCase} of a stored text meets `match`, which is of that form. */
  caselessly(match: Match, stored: string): Decided;
  /**
   * Whether a stored text differs from what `column` holds of it, its {@link normalise}, by the case of ASCII letters at most; only of an
   * engine that tells so faster than it compares.
   */
  alike?(column: string, stored: string): string;
  /** Whether a text is one of a list. */
  oneOf(value: string, list: readonly string[]): Part;
}

const ALIAS: Readonly<Record<Level, string>> = { Patient: 'p', Study: 't', Series: 'e', Instance: 'i' };

/** VRs whose values are in a character set of their own (PS3.5 §6.1.2.2). */
const ACCENTED: ReadonlySet<string> = new Set(['LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UT']);

/** What stands in SQL between quotes. */
const METADATA_NAME = /^[A-Za-z0-9]{1,64}$/;

interface Ranked extends Index {
  readonly rank: number;
}

/** The plan of a search, or undefined when nothing can match. Throws ParameterOutOfRange for what cannot be searched. */
export function planSearch(request: FindRequest, dialect: Dialect): Plan | undefined {
  const { level, id, of } = request;
  const conditions: Condition[] = [];
  const indexes: Ranked[] = [];
  let top = level;
  const alias = (at: Level): string => (at === level ? 'r' : ALIAS[at]);
  const need = (wanted: Level): void => {
    if (isBelow(top, wanted)) top = wanted;
  };
  const add = (condition: Decided, at: Level): void => {
    need(at);
    conditions.push({ level: at, ...condition });
  };
  const narrow = (where: Part, at: Level, rank: number, column?: string, exact = false): void => {
    const rows = {
      sql: `SELECT ${alias(at)}.id FROM ${TABLE[at]} ${alias(at)} WHERE ${where.sql}`,
      values: where.values,
    };
    indexes.push({ level: at, rows, where, column, exact, bounded: rank > 2, rank });
  };

  if (id !== undefined) {
    if (!isPublicId(id)) return undefined;
    const part = equals('r.public_id', dialect.publicId(id));
    add(part, level);
    narrow(part, level, 0);
  }
  if (of !== undefined) {
    if (!isPublicId(of.id)) return undefined;
    const at = isBelow(level, of.level) ? of.level : level;
    const part = related(level, of.level, alias, dialect.publicId(of.id));
    add(part, at);
    narrow(part, at, 1);
  }
  for (const constraint of request.where ?? []) {
    const at = levelOfTag(level, constraint.tag);
    if (at === undefined) throw unindexed(constraint.tag);
    if (isBelow(at, level)) {
      add(below(level, at, constraint, dialect), level);
      continue;
    }
    add(conditionOf(constraint, at, alias(at), dialect), at);
    const column = identifierColumn(at, constraint.tag);
    const found = column && indexable(constraint, `${alias(at)}.${column}`, dialect);
    if (found) narrow(found.part, at, found.rank, column, found.exact);
  }
  for (const { name, caseSensitive, ...match } of request.metadata ?? []) {
    if (!METADATA_NAME.test(name)) return undefined;
    const value = metadataValue(level, 'r', name, dialect);
    add(caseSensitive ? dialect.compare(match, value) : dialect.loosely(normaliseMatch(match), value), level);
    // Numbers are users' own names: all that there is of them is in the table.
    if (/^\d/.test(name)) indexes.push(additions('metadata', level, { sql: 'name = ?', values: [name] }));
  }
  const { labels } = request;
  if (labels !== undefined && labels.labels.length > 0) {
    add(labelled(level, labels, dialect), level);
    const [first = ''] = labels.labels;
    const wanted = labels.match === 'any' ? labels.labels : [first];
    if (labels.match !== 'none') indexes.push(additions('labels', level, dialect.oneOf('label', wanted)));
  }
  const order = (request.orderBy ?? []).map((each): OrderKey => {
    const { as, descending } = each;
    if ('metadata' in each) {
      if (!METADATA_NAME.test(each.metadata)) throw new IsenError('ParameterOutOfRange', 'Not a name of a metadata');
      const isUpdate = each.metadata === 'LastUpdate' && level !== 'Instance' && as === 'text';
      const column = isUpdate ? dialect.lastUpdate.column : undefined;
      const value = column === undefined ? metadataValue(level, 'r', each.metadata, dialect) : `r.${column}`;
      return { value, column, as, descending };
    }
    const at = levelOfTag(level, each.tag);
    if (at === undefined || isBelow(at, level)) throw unindexed(each.tag);
    need(at);
    const name = as === 'text' ? identifierColumn(at, each.tag) : undefined;
    const value = name === undefined ? dialect.tag(alias(at), each.tag) : `${alias(at)}.${name}`;
    return { value, column: at === level ? name : undefined, as, descending };
  });
  return {
    level,
    path: levelsBetween(top, level),
    alias,
    conditions,
    indexes: indexes.sort((a, b) => a.rank - b.rank),
    order,
  };
}

const unindexed = (tag: string): IsenError =>
  new IsenError('ParameterOutOfRange', `The tag ${tag} is not indexed there`);

const equals = (value: string, part: Part): Part => ({ sql: `${value} = ${part.sql}`, values: part.values });

/** All of the conditions. */
export function allOf(conditions: readonly Part[]): Part {
  return {
    sql: conditions.map(({ sql }) => `(${sql})`).join(' AND ') || '1 = 1',
    values: conditions.flatMap(({ values }) => values),
  };
}

/** The condition that the resource is above, below or the one of `bytes`. */
function related(level: Level, of: Level, alias: (level: Level) => string, bytes: Part): Part {
  if (!isBelow(of, level)) return equals(`${alias(of)}.public_id`, bytes);
  const path = levelsBetween(level, of).slice(1);
  const sql = path.reduceRight(
    (inner, each) => `(SELECT parent FROM ${TABLE[each]} WHERE ${each === of ? 'public_id' : 'id'} = ${inner})`,
    bytes.sql,
  );
  return { sql: `r.id = ${sql}`, values: bytes.values };
}

/** The condition of a constraint on the row `alias`: over the normalised column where there is one, else over the tag. */
function conditionOf(constraint: Constraint, level: Level, alias: string, dialect: Dialect): Decided {
  const { tag, caseSensitive } = constraint;
  const column = identifierColumn(level, tag);
  const stored = dialect.tag(alias, tag);
  if (caseSensitive) return dialect.compare(constraint, stored);
  const exactly = hasAccents(constraint) ? dialect.caselessly(foldMatch(constraint), stored) : undefined;
  if (column === undefined) return exactly ?? dialect.loosely(normaliseMatch(constraint), stored);
  const loosely = dialect.compare(normaliseMatch(constraint), `${alias}.${column}`);
  if (exactly === undefined) return loosely;
  const alike = isAscii(constraint) ? dialect.alike?.(`${alias}.${column}`, stored) : undefined;
  const sql = alike === undefined ? exactly.sql : `${alike} OR ${exactly.sql}`;
  // The column is cheaper to look at.
  return {
    sql: `(${loosely.sql}) AND (${sql})`,
    values: [...loosely.values, ...exactly.values],
    ...(exactly.check !== undefined && { check: exactly.check }),
  };
}

/** Whether what is compared with has nothing that {@link normalise} takes away. */
function isAscii(match: Match): boolean {
  const texts = match.match === 'list' ? match.values : match.match === 'range' ? [] : [match.value];
  return texts.every((text) => /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text));
}

/** Whether accents decide. */
function hasAccents({ tag, accents, match }: Constraint): boolean {
  return accents === true && match !== 'range' && ACCENTED.has(lookup(tagNumber(tag))?.vr ?? 'UN');
}

/** The condition that some resource below `r`, of the level `at`, meets a constraint. */
function below(level: Level, at: Level, constraint: Constraint, dialect: Dialect): Decided {
  const path = levelsBetween(level, at).slice(1);
  const last = path.length - 1;
  // What a statement cannot decide of the many below is left at its decision.
  const { sql, values } = conditionOf(constraint, at, `b${last}`, dialect);
  const joins = path.map((each, index) =>
    index === 0 ? `${TABLE[each]} b0` : `JOIN ${TABLE[each]} b${index} ON b${index}.parent = b${index - 1}.id`,
  );
  return { sql: `EXISTS (SELECT 1 FROM ${joins.join(' ')} WHERE b0.parent = r.id AND (${sql}))`, values };
}

/** SQL of a metadata of the row `alias`: what was set, else what the row has, else what all of the level have. */
function metadataValue(level: Level, alias: string, name: string, dialect: Dialect): string {
  const set = `(SELECT value FROM metadata WHERE level = ${levelNumber(level)} AND resource = ${alias}.id AND name = '${name}')`;
  const values = [set, dialect.metadata(alias, name)];
  if (name === 'LastUpdate' && level !== 'Instance') values.push(dialect.lastUpdate.text(alias));
  if (name === 'MainDicomTagsSignature') values.push(`'${SIGNATURE[level]}'`);
  return `coalesce(${values.join()})`;
}

/** The index of the rows that have an addition. */
function additions(table: 'labels' | 'metadata', level: Level, which: Part): Ranked {
  const sql = `SELECT DISTINCT resource AS id FROM ${table} WHERE level = ${levelNumber(level)} AND ${which.sql}`;
  const rows = { sql, values: which.values };
  const where = { sql: `r.id IN (${sql})`, values: which.values };
  return { level, rows, where, column: undefined, exact: false, bounded: true, rank: 4 };
}

function labelled(level: Level, { labels, match }: LabelsConstraint, dialect: Dialect): Part {
  const wanted = [...new Set(labels)];
  const { sql, values } = dialect.oneOf('label', wanted);
  const from = `FROM labels WHERE level = ${levelNumber(level)} AND resource = r.id AND ${sql}`;
  switch (match) {
    case 'all':
      return { sql: `(SELECT count(*) ${from}) = ${wanted.length}`, values };
    case 'any':
      return { sql: `EXISTS (SELECT 1 ${from})`, values };
    case 'none':
      return { sql: `NOT EXISTS (SELECT 1 ${from})`, values };
  }
}

/** The part of a constraint that the index of its column answers; the lower its rank, the fewer rows it is likely to leave. */
function indexable(
  constraint: Constraint,
  value: string,
  dialect: Dialect,
): { part: Part; rank: number; exact: boolean } | undefined {
  const wanted = normaliseMatch(constraint);
  const exact = !constraint.caseSensitive && !hasAccents(constraint);
  switch (wanted.match) {
    case 'equal':
      return { part: dialect.compare(wanted, value), rank: 3, exact };
    case 'list':
      return { part: dialect.compare(wanted, value), rank: 4, exact };
    case 'wildcard': {
      const prefix = literalPrefix(wanted.value);
      if (prefix === '') return undefined;
      const part = dialect.compare(beginningWith(prefix), value);
      return { part, rank: 5, exact: exact && wanted.value === `${prefix}*` };
    }
    case 'range':
      return { part: dialect.compare(wanted, value), rank: 6, exact };
  }
}

/** Whether the text of a constraint that a statement decided for some values meets it; normalised and folded as they are. */
export const checkedBy = {
  loosely:
    (match: Match) =>
    (stored: string): boolean =>
      meets(match, normalise(stored)),
  caselessly:
    (match: Match) =>
    (stored: string): boolean =>
      meets(match, foldCase(stored)),
};

/** A stored value in the form that {@link compareKeys} takes; null is an absent one. */
export function sortKey({ as, column }: OrderKey, stored: string | number | null): string | number | null {
  if (stored === null || typeof stored === 'number') return stored;
  if (as !== 'text') return leadingNumber(stored, as) ?? null;
  return column === undefined ? normalise(stored) : stored;
}

/** A row to be sorted: its id, and a {@link sortKey} for each of the order's. */
export interface Keyed {
  readonly id: number;
  readonly keys: readonly (string | number | null)[];
}

/** The order of rows: by their keys, then of arrival. */
export function compareKeys(order: readonly OrderKey[]): (a: Keyed, b: Keyed) => number {
  return (a, b) => {
    for (const [index, { descending }] of order.entries()) {
      const [first = null, second = null] = [a.keys[index], b.keys[index]];
      if (first === second) continue;
      const isLess = first === null || (second !== null && first < second);
      return isLess === descending ? 1 : -1;
    }
    return order[0]?.descending === true ? b.id - a.id : a.id - b.id;
  };
}

/** Levels above or at `level` that a row of it is joined to, the nearest first. */
export function upwards(path: readonly Level[]): readonly Level[] {
  return path.toSorted((a, b) => LEVELS.indexOf(b) - LEVELS.indexOf(a));
}
