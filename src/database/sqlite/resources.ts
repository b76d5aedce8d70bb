/** Owns the one statement that says everything about resources. */

import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import type { FindRequest } from '../database.ts';
import { levelsBetween } from '../find.ts';
import { ancestorsOf } from '../found.ts';
import { levelNumber, TABLE } from '../rows.ts';
import { attachmentJson } from './rows.ts';

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

/** Statements by what they are asked for: building one, and finding it again by its text, costs more than running it. */
const SELECTS = new Map<string, string>();

/** The SELECT of resources of the request's level, aliased `r`, in order. `where` is one of a few constant conditions. */
export function selectResources(request: FindRequest, where: string): string {
  const { level, children = false, ancestors = false, instance = false, computed = false } = request;
  const key = `${level} ${children} ${ancestors} ${instance} ${computed} ${where}`;
  let sql = SELECTS.get(key);
  if (sql === undefined) {
    sql = `${select(request)} WHERE ${where} ORDER BY r.public_id`;
    SELECTS.set(key, sql);
  }
  return sql;
}

function select(request: FindRequest): string {
  const { level } = request;
  const number = levelNumber(level);
  const parent = LEVEL[level].parent;
  const child = LEVEL[level].child;
  const joined = request.ancestors === true ? ancestorsOf(level) : ancestorsOf(level).slice(0, 1);
  const attachments = `SELECT ${attachmentJson('a', 'a.content_type')} AS j FROM attachments a
    WHERE a.level = ${number} AND a.resource = r.id`;
  const columns = [
    'hex(r.public_id) AS id',
    `${parent === undefined ? 'NULL' : `hex(${TABLE[parent]}.public_id)`} AS parent`,
    'r.tags',
    'r.metadata',
    `${level === 'Instance' ? 'NULL' : 'r.last_update'} AS last_update`,
    `${setMetadata(level, 'r')} AS set_metadata`,
    level === 'Instance'
      ? `(SELECT json_group_array(json(j)) FROM (SELECT ${attachmentJson('r', '1')} AS j UNION ALL ${attachments})) AS attachments`
      : `(SELECT json_group_array(json(j)) FROM (${attachments})) AS attachments`,
    `(SELECT json_group_array(label) FROM labels WHERE level = ${number} AND resource = r.id) AS labels`,
    `${level === 'Instance' ? '0' : 'r.stable_at IS NOT NULL'} AS unstable`,
    `${level === 'Patient' ? 'r.recycling IS NULL' : '0'} AS protected`,
  ];
  if (request.children === true) {
    columns.push(
      child === undefined
        ? `'[]' AS children`
        : `(SELECT json_group_array(h) FROM (SELECT hex(public_id) AS h FROM ${TABLE[child]} c WHERE c.parent = r.id
            ORDER BY public_id)) AS children`,
    );
  }
  if (request.ancestors === true) {
    for (const each of joined) {
      const table = TABLE[each];
      columns.push(
        `json_array(hex(${table}.public_id), json(${table}.tags), json(${table}.metadata), ${table}.last_update,
          json(${setMetadata(each, table)})) AS ${each}_id`,
      );
    }
  }
  if (request.instance === true) {
    const one = (alias: string): string =>
      `json_array(hex(${alias}.public_id), json(${attachmentJson(alias, '1')}), json(${alias}.metadata), json(${setMetadata('Instance', alias)}))`;
    if (level === 'Instance') columns.push(`${one('r')} AS instance`);
    else {
      const bottom = `b${levelsBetween(level, 'Instance').length - 2}`;
      columns.push(`(SELECT ${one(bottom)} ${joinBelow(level, 'Instance')} LIMIT 1) AS instance`);
    }
  }
  if (request.computed === true) columns.push(`${computed(level)} AS computed`);
  const joins = joined.map((each, index) => {
    const below = index === 0 ? 'r' : TABLE[joined[index - 1] ?? each];
    return `CROSS JOIN ${TABLE[each]} ON ${TABLE[each]}.id = ${below}.parent`;
  });
  return `SELECT ${columns.join(', ')} FROM ${TABLE[level]} r ${joins.join(' ')}`;
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
