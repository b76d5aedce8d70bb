/** Owns the one statement that says everything about resources. */

import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import type { FindRequest } from '../database.ts';
import { levelsBetween } from '../find.ts';
import { ancestorsOf, type FoundRow } from '../found.ts';
import { levelNumber, TABLE } from '../rows.ts';
import { attachmentJson } from './rows.ts';

/** Bytes as a JSON text of their hex digits. */
const hex = (column: string): string => `'"' || hex(${column}) || '"'`;

const setMetadata = (level: Level, alias: string): string =>
  `(SELECT json_group_object(name, json_array(value, revision)) FROM metadata
    WHERE level = ${levelNumber(level)} AND resource = ${alias}.id)`;

/** FROM clause from the row ids below `r` down to `bottom`. */
function joinBelow(level: Level, bottom: Level): string {
  const path = levelsBetween(level, bottom).slice(1);
  const joins = path
    .slice(1)
    .map((each, index) => `CROSS JOIN ${TABLE[each]} b${index + 1} ON b${index + 1}.parent = b${index}.id`);
  return `FROM ${TABLE[path[0] ?? bottom]} b0 ${joins.join(' ')} WHERE b0.parent = r.id`;
}

/** A statement that says everything about resources. */
export interface Selection {
  /** What is asked for: it names the statement. */
  readonly key: string;
  /** The JSON text of the rows together, which {@link foundRows} reads; NULL where there is none. */
  readonly rows: string;
  /** FROM clause of resources `r` of the request's level, without that word. */
  readonly from: string;
  /** The names of the columns behind those that every selection has. */
  readonly more: readonly (keyof FoundRow)[];
}

/** By what is asked for: there are few, and to build one costs more than to run it. */
const SELECTIONS = new Map<string, Selection>();

/** The statement for what a request asks for of resources of its level. */
export function selectionOf(request: FindRequest): Selection {
  const {
    level,
    attachments = true,
    children = false,
    ancestors = false,
    instance = false,
    computed = false,
  } = request;
  const key = `${level} ${attachments} ${children} ${ancestors} ${instance} ${computed}`;
  let selection = SELECTIONS.get(key);
  if (selection === undefined) {
    selection = { key, ...select(request) };
    SELECTIONS.set(key, selection);
  }
  return selection;
}

type Columns = readonly [
  id: FoundRow['id'],
  parent: FoundRow['parent'],
  tags: FoundRow['tags'],
  metadata: FoundRow['metadata'],
  lastUpdate: FoundRow['last_update'],
  setMetadata: FoundRow['set_metadata'],
  attachments: FoundRow['attachments'],
  labels: FoundRow['labels'],
  unstable: number,
  isProtected: number,
  ...more: unknown[],
];

/** The rows of a selection. */
export function foundRows({ more }: Selection, text: string | null): FoundRow[] {
  const rows = text === null ? [] : (JSON.parse(text) as Columns[]);
  return rows.map((values) => {
    const [id, parent, tags, metadata, last_update, set_metadata, attachments, labels, unstable, isProtected] = values;
    const row = {
      id,
      parent,
      tags,
      metadata,
      last_update,
      set_metadata,
      attachments,
      labels,
      unstable,
      protected: isProtected,
    };
    for (let at = 0; at < more.length; at += 1) (row as Record<string, unknown>)[more[at] ?? ''] = values[at + 10];
    return row;
  });
}

function select(request: FindRequest): Omit<Selection, 'key'> {
  const { level } = request;
  const number = levelNumber(level);
  const parent = LEVEL[level].parent;
  const child = LEVEL[level].child;
  const joined = request.ancestors === true ? ancestorsOf(level) : ancestorsOf(level).slice(0, 1);
  const attachments = `SELECT ${attachmentJson('a', 'a.content_type')} AS j FROM attachments a
    WHERE a.level = ${number} AND a.resource = r.id`;
  // JSON texts, in the order of Columns.
  const columns = [
    hex('r.public_id'),
    parent === undefined ? `'null'` : hex(`${TABLE[parent]}.public_id`),
    'r.tags',
    'r.metadata',
    level === 'Instance' ? `'null'` : 'r.last_update',
    setMetadata(level, 'r'),
    request.attachments === false
      ? `'null'`
      : `(SELECT json_group_array(json(j)) FROM (${
          level === 'Instance' ? `SELECT ${attachmentJson('r', '1')} AS j UNION ALL ${attachments}` : attachments
        }))`,
    `(SELECT json_group_array(label) FROM labels WHERE level = ${number} AND resource = r.id)`,
    level === 'Instance' ? '0' : 'r.stable_at IS NOT NULL',
    level === 'Patient' ? 'r.recycling IS NULL' : '0',
  ];
  const more: (keyof FoundRow)[] = [];
  const add = (name: keyof FoundRow, sql: string): void => {
    more.push(name);
    columns.push(sql);
  };
  if (request.children === true) {
    add(
      'children',
      child === undefined
        ? `'[]'`
        : `(SELECT json_group_array(hex(public_id)) FROM ${TABLE[child]} c WHERE c.parent = r.id)`,
    );
  }
  if (request.ancestors === true) {
    for (const each of joined) {
      const table = TABLE[each];
      add(
        `${each}_id`,
        `json_array(hex(${table}.public_id), json(${table}.tags), json(${table}.metadata), ${table}.last_update,
          json(${setMetadata(each, table)}))`,
      );
    }
  }
  if (request.instance === true) {
    const one = (alias: string): string =>
      `json_array(hex(${alias}.public_id), json(${attachmentJson(alias, '1')}), json(${alias}.metadata), json(${setMetadata('Instance', alias)}))`;
    if (level === 'Instance') add('instance', one('r'));
    else {
      const bottom = `b${levelsBetween(level, 'Instance').length - 2}`;
      add('instance', `ifnull((SELECT ${one(bottom)} ${joinBelow(level, 'Instance')} LIMIT 1), 'null')`);
    }
  }
  if (request.computed === true) add('computed', computed(level));
  const joins = joined.map((each, index) => {
    const below = index === 0 ? 'r' : TABLE[joined[index - 1] ?? each];
    return `CROSS JOIN ${TABLE[each]} ON ${TABLE[each]}.id = ${below}.parent`;
  });
  // One text for all of it: SQLite takes twice as long to give values one by one.
  const rows = `'[' || group_concat(concat('[', concat_ws(',', ${columns.join(', ')}), ']')) || ']'`;
  return { rows, from: `${TABLE[level]} r ${joins.join(' ')}`, more };
}

/** JSON array: counts of studies, series, instances, then the distinct modalities and SOP classes. */
function computed(level: Level): string {
  const count = (of: Level): string => {
    if (LEVELS.indexOf(of) < LEVELS.indexOf(level)) return '0';
    if (of === level) return '1';
    return `(SELECT count(*) ${joinBelow(level, of)})`;
  };
  const distinct = (of: Level, value: (alias: string) => string): string => {
    if (LEVELS.indexOf(of) < LEVELS.indexOf(level)) return `json_array()`;
    if (of === level) return `json_array(${value('r')})`;
    const bottom = `b${levelsBetween(level, of).length - 2}`;
    return `(SELECT json_group_array(v) FROM (SELECT DISTINCT ${value(bottom)} AS v ${joinBelow(level, of)} ORDER BY 1))`;
  };
  return `json_array(${count('Study')}, ${count('Series')}, ${count('Instance')},
    ${distinct('Series', (alias) => `${alias}.tags ->> '$."0008,0060"'`)},
    ${distinct('Instance', (alias) => `${alias}.metadata ->> 'SopClassUid'`)})`;
}
