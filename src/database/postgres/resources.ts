/** Owns the one statement that says everything about resources, with the columns of {@link FoundRow}. */

import { LEVEL, LEVELS, type Level } from '../../dicom/levels.ts';
import type { FindRequest } from '../database.ts';
import { levelsBetween } from '../find.ts';
import { ancestorsOf } from '../found.ts';
import { levelNumber, TABLE } from '../rows.ts';

const hex = (alias: string): string => `encode(${alias}.public_id, 'hex')`;

const setMetadata = (level: Level, alias: string): string =>
  `coalesce((SELECT json_object_agg(name, json_build_array(value, revision)) FROM metadata
    WHERE level = ${levelNumber(level)} AND resource = ${alias}.id), '{}')`;

/** The columns of an attachment as one JSON array, read by `attachmentOf`; `of` is the table's alias. */
const attachmentJson = (of: string, contentType: string): string =>
  `json_build_array(${contentType}, encode(uuid_send(${of}.uuid), 'hex'), ${of}.size, coalesce(encode(${of}.md5, 'hex'), ''),
    coalesce(${of}.compressed_size, ${of}.size), coalesce(encode(coalesce(${of}.compressed_md5, ${of}.md5), 'hex'), ''),
    ${of}.compression, ${of}.revision)`;

const lastUpdate = (alias: string): string => `${alias}.active_at / 1000000`;

/** FROM clause from the row ids below `r` down to `bottom`. */
function joinBelow(level: Level, bottom: Level): string {
  const path = levelsBetween(level, bottom).slice(1);
  const joins = path
    .slice(1)
    .map((each, index) => `JOIN ${TABLE[each]} b${index + 1} ON b${index + 1}.parent = b${index}.id`);
  return `FROM ${TABLE[path[0] ?? bottom]} b0 ${joins.join(' ')} WHERE b0.parent = r.id`;
}

/** Row id of the series of which the instance of `r` is: the oldest of the oldest study, wherever updates moved its row to. */
function firstSeries(level: Level): string {
  // The sum keeps the order from being that of the primary key, along which every row before the first would be looked at.
  return levelsBetween(level, 'Series')
    .slice(1)
    .reduce((above, each) => `(SELECT id FROM ${TABLE[each]} WHERE parent = ${above} ORDER BY id + 0 LIMIT 1)`, 'r.id');
}

/** The SELECT of resources of the request's level, aliased `r`, in order of public id. */
export function selectResources(request: FindRequest, where: string): string {
  const { level } = request;
  const number = levelNumber(level);
  const parent = LEVEL[level].parent;
  const child = LEVEL[level].child;
  const joined = request.ancestors === true ? ancestorsOf(level) : ancestorsOf(level).slice(0, 1);
  const attachments = `SELECT content_type, ${attachmentJson('a', 'a.content_type')} AS j FROM attachments a
    WHERE a.level = ${number} AND a.resource = r.id`;
  const columns = [
    `${hex('r')} AS id`,
    `${parent === undefined ? 'NULL' : hex(TABLE[parent])} AS parent`,
    'r.tags',
    'r.metadata',
    `${level === 'Instance' ? 'NULL::bigint' : lastUpdate('r')} AS last_update`,
    `${setMetadata(level, 'r')} AS set_metadata`,
    request.attachments === false
      ? 'NULL AS attachments'
      : `coalesce((SELECT json_agg(j ORDER BY content_type) FROM (${
          level === 'Instance'
            ? `SELECT 1 AS content_type, ${attachmentJson('r', '1')} AS j UNION ALL ${attachments}`
            : attachments
        }) AS files), '[]') AS attachments`,
    `coalesce((SELECT json_agg(label ORDER BY label) FROM labels WHERE level = ${number} AND resource = r.id), '[]') AS labels`,
    `${level === 'Instance' ? '0' : '(r.stable_at IS NOT NULL)::int'} AS unstable`,
    `${level === 'Patient' ? '(r.recycling IS NULL)::int' : '0'} AS protected`,
  ];
  if (request.children === true) {
    columns.push(
      child === undefined
        ? `'[]' AS children`
        : `coalesce((SELECT json_agg(${hex('c')}) FROM ${TABLE[child]} c WHERE c.parent = r.id), '[]') AS children`,
    );
  }
  if (request.ancestors === true) {
    for (const each of joined) {
      const table = TABLE[each];
      columns.push(
        `json_build_array(${hex(table)}, ${table}.tags, ${table}.metadata, ${lastUpdate(table)}, ${setMetadata(each, table)})
          AS "${each}_id"`,
      );
    }
  }
  if (request.instance === true) {
    const one = (alias: string): string =>
      `json_build_array(${hex(alias)}, ${attachmentJson(alias, '1')}, ${alias}.metadata, ${setMetadata('Instance', alias)})`;
    if (level === 'Instance') columns.push(`${one('r')} AS instance`);
    else
      columns.push(`(SELECT ${one('b')} FROM instances b WHERE b.parent = ${firstSeries(level)} LIMIT 1) AS instance`);
  }
  if (request.computed === true) columns.push(`${computed(level)} AS computed`);
  const joins = joined.map((each, index) => {
    const below = index === 0 ? 'r' : TABLE[joined[index - 1] ?? each];
    return `JOIN ${TABLE[each]} ON ${TABLE[each]}.id = ${below}.parent`;
  });
  return `SELECT ${columns.join(', ')} FROM ${TABLE[level]} r ${joins.join(' ')} WHERE ${where}`;
}

/** JSON array: counts of studies, series, instances, then the distinct modalities and SOP classes. */
function computed(level: Level): string {
  const count = (of: Level): string => {
    if (LEVELS.indexOf(of) < LEVELS.indexOf(level)) return '0';
    if (of === level) return '1';
    return `(SELECT count(*) ${joinBelow(level, of)})`;
  };
  const distinct = (of: Level, value: (alias: string) => string): string => {
    if (LEVELS.indexOf(of) < LEVELS.indexOf(level)) return 'json_build_array()';
    if (of === level) return `json_build_array(${value('r')})`;
    const bottom = `b${levelsBetween(level, of).length - 2}`;
    return `(SELECT json_agg(DISTINCT (${value(bottom)}) COLLATE "C") ${joinBelow(level, of)})`;
  };
  return `json_build_array(${count('Study')}, ${count('Series')}, ${count('Instance')},
    ${distinct('Series', (alias) => `${alias}.tags ->> '0008,0060'`)},
    ${distinct('Instance', (alias) => `${alias}.metadata ->> 'SopClassUid'`)})`;
}
