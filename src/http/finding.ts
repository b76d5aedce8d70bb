/**
 * Owns what the body of a search says (`/tools/find`, `/tools/count-resources`): read and checked as the reference does, with bounds on
 * what one question may cost, as a request to the index and what is to be looked at besides.
 */

import type { Config } from '../config.ts';
import { COMPUTED, COMPUTED_TAGS } from '../database/computed.ts';
import type {
  Constraint,
  FindRequest,
  LabelsConstraint,
  Match,
  MetadataConstraint,
  Order,
} from '../database/database.ts';
import { isBelow, levelOfTag } from '../database/find.ts';
import { parseTag } from '../dicom/dictionary.ts';
import type { TagsFormat } from '../dicom/json.ts';
import type { Level } from '../dicom/levels.ts';
import { MAXIMUM_VALUES, takesRanges, takesWildcards, vrOfKey } from '../dicom/match.ts';
import type { Body } from '../dicom/modification.ts';
import { IsenError } from '../errors.ts';
import { CONTENT, EXPANDED, type Part, requestedTags, type RequestedTags } from './expansion.ts';
import { metadataKey } from './metadata-names.ts';

/** Conditions, orders and requested tags of one question. */
const MOST_KEYS = 128;
const MOST_ORDERS = 8;
const MOST_REQUESTED = 512;
const MOST_LABELS = 1000;
/** Characters of a pattern: each is compared with each character of a value. */
const LONGEST_PATTERN = 1024;
/** `Limit` and `Since` as the reference takes them. */
const MOST_NUMBER = 2 ** 31 - 1;

/** What a search asks for. */
export interface Question {
  readonly level: Level;
  /** For the index; undefined where nothing can match. */
  readonly request: Pick<FindRequest, 'level' | 'where' | 'metadata' | 'labels' | 'orderBy'> | undefined;
  /** Conditions on tags that follow from the resources below ({@link COMPUTED}). */
  readonly computed: readonly Constraint[];
  /** Conditions on tags that only files have. */
  readonly outside: readonly Constraint[];
  /** The resources must be below each of these. */
  readonly parents: readonly { readonly level: Level; readonly id: string }[];
  readonly since: number;
  readonly limit: number;
  /** Parts to show; undefined shows ids. */
  readonly parts: ReadonlySet<Part> | undefined;
  readonly format: TagsFormat;
  readonly requested: RequestedTags | undefined;
}

const badRequest = (details: string): IsenError => new IsenError('BadRequest', details);
const outOfRange = (details: string): IsenError => new IsenError('ParameterOutOfRange', details);

/** The level that the reference knows by a name. Throws ParameterOutOfRange. */
export function levelNamed(name: string): Level {
  switch (name.toUpperCase()) {
    case 'PATIENT':
    case 'PATIENTS':
      return 'Patient';
    case 'STUDY':
    case 'STUDIES':
      return 'Study';
    case 'SERIES':
      return 'Series';
    case 'INSTANCE':
    case 'INSTANCES':
    case 'IMAGE':
    case 'IMAGES':
      return 'Instance';
    default:
      throw outOfRange(`Invalid resource type '${name.slice(0, 64)}'`);
  }
}

/** A field that may be absent, of one type. Throws BadRequest, in the reference's words. */
function field<Value>(
  body: Body,
  name: string,
  what: string,
  is: (value: unknown) => value is Value,
): Value | undefined {
  const value = body[name];
  if (value === undefined) return undefined;
  if (!is(value)) throw badRequest(`Field "${name}" should be ${what}`);
  return value;
}

const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';
const isText = (value: unknown): value is string => typeof value === 'string';
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isObjects = (value: unknown): value is Record<string, unknown>[] => Array.isArray(value) && value.every(isObject);
const isInteger = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value <= MOST_NUMBER;

const textsOf = (body: Body, name: string): string[] => field(body, name, 'an array of strings', isTexts) ?? [];

/** `Full` and `Short` of a body. Throws BadFileFormat. */
export function formatOf(body: Body): TagsFormat {
  const given = (['Short', 'Full'] as const).filter((name) => {
    const value = body[name];
    if (value !== undefined && !isBoolean(value))
      throw new IsenError('BadFileFormat', `Boolean value expected in field: ${name}`);
    return value === true;
  });
  return given[0] ?? 'Simplify';
}

function natural(body: Body, name: string): number {
  const value = field(body, name, 'an integer', isInteger) ?? 0;
  if (value < 0) throw outOfRange(`Field "${name}" should be a positive integer`);
  return value;
}

function atMost(count: number, most: number, name: string): void {
  if (count > most) throw outOfRange(`Field "${name}" has more than ${most} entries`);
}

/** What a value of the query asks for; undefined where anything will do. Throws ParameterOutOfRange. */
function matchOf(value: string, isRange: boolean, mayList: boolean): Match | undefined {
  if (isRange && value.includes('-')) {
    const at = value.indexOf('-');
    const [from, to] = [value.slice(0, at), value.slice(at + 1)];
    if (from === '' && to === '') return undefined;
    return { match: 'range', ...(from !== '' && { from }), ...(to !== '' && { to }) };
  }
  if (mayList && value.includes('\\')) {
    const values = value.split('\\');
    if (values.length > MAXIMUM_VALUES) throw outOfRange(`More than ${MAXIMUM_VALUES} values`);
    return { match: 'list', values };
  }
  if (/[*?]/.test(value)) {
    if (value.length > LONGEST_PATTERN) throw outOfRange(`A pattern has more than ${LONGEST_PATTERN} characters`);
    return { match: 'wildcard', value };
  }
  return { match: 'equal', value };
}

/** Names and values of `Query` and `MetadataQuery`. An empty value asks nothing. */
function entriesOf(query: Readonly<Record<string, unknown>>, name: string): [string, string][] {
  const entries = Object.entries(query);
  atMost(entries.length, MOST_KEYS, name);
  return entries.flatMap(([key, value]): [string, string][] => {
    if (!isText(value)) throw badRequest(`Tag "${key.slice(0, 64)}" should be associated with a string`);
    return value === '' ? [] : [[key, value]];
  });
}

function tagNamed(name: string): string {
  const tag = parseTag(name);
  if (tag === undefined) throw new IsenError('UnknownDicomTag', name.slice(0, 64));
  return tag;
}

const MODALITIES_IN_STUDY = '0008,0061';
const MODALITY = '0008,0060';
const SOP_CLASS_UID = '0008,0016';

/** Conditions by where they are decided. */
interface Conditions {
  readonly where: Constraint[];
  readonly metadata: MetadataConstraint[];
  readonly computed: Constraint[];
  readonly outside: Constraint[];
  /** Some condition can never be met. */
  impossible: boolean;
}

function readQuery(query: Readonly<Record<string, unknown>>, level: Level, caseSensitive: boolean): Conditions {
  const conditions: Conditions = { where: [], metadata: [], computed: [], outside: [], impossible: false };
  for (const [name, value] of entriesOf(query, 'Query')) {
    const tag = tagNamed(name);
    const vr = vrOfKey({ tag, vr: 'UN' });
    const match = matchOf(value, takesRanges(vr), true);
    if (match === undefined) continue;
    if (match.match === 'wildcard' && !takesWildcards(vr)) {
      throw outOfRange(`Wildcards are not allowed on tag ${tag}`);
    }
    const constraint: Constraint = { tag, caseSensitive, accents: true, ...match };
    if (vr === 'SQ') conditions.impossible = true;
    // What a study has is what its series have.
    else if (tag === MODALITIES_IN_STUDY && level === 'Study') conditions.where.push({ ...constraint, tag: MODALITY });
    else if (tag === SOP_CLASS_UID && level === 'Instance') {
      conditions.metadata.push({ name: 'SopClassUid', caseSensitive, ...match });
    } else if (levelOfTag(level, tag) !== undefined) conditions.where.push(constraint);
    else if (tag in COMPUTED[level]) conditions.computed.push(constraint);
    else if (COMPUTED_TAGS.has(tag)) conditions.impossible = true;
    else conditions.outside.push(constraint);
  }
  return conditions;
}

function readMetadataQuery(config: Config, body: Body, caseSensitive: boolean): MetadataConstraint[] {
  const query = field(body, 'MetadataQuery', 'a JSON object', isObject) ?? {};
  return entriesOf(query, 'MetadataQuery').flatMap(([name, value]) => {
    const match = matchOf(value, false, true);
    return match === undefined ? [] : [{ name: keyNamed(config, name), caseSensitive, ...match }];
  });
}

/** What the index calls a metadata. Throws ParameterOutOfRange for an unknown name. */
function keyNamed(config: Config, name: string): string {
  const known = metadataKey(config, name);
  if (known === undefined) throw outOfRange(`Unknown metadata: ${name.slice(0, 64)}`);
  return known.key;
}

function readLabels(body: Body): { labels?: LabelsConstraint } {
  const labels = textsOf(body, 'Labels');
  atMost(labels.length, MOST_LABELS, 'Labels');
  const name = field(body, 'LabelsConstraint', 'a string', isText) ?? 'All';
  if (name !== 'All' && name !== 'Any' && name !== 'None') {
    throw outOfRange('Field "LabelsConstraint" should be "All", "Any" or "None"');
  }
  const match = ({ All: 'all', Any: 'any', None: 'none' } as const)[name];
  return labels.length === 0 ? {} : { labels: { labels, match } };
}

const ORDER_TYPES: Readonly<Record<string, { readonly metadata: boolean; readonly as: Order['as'] }>> = {
  DicomTag: { metadata: false, as: 'text' },
  DicomTagAsInt: { metadata: false, as: 'integer' },
  DicomTagAsFloat: { metadata: false, as: 'float' },
  Metadata: { metadata: true, as: 'text' },
  MetadataAsInt: { metadata: true, as: 'integer' },
  MetadataAsFloat: { metadata: true, as: 'float' },
};

/** A tag outside the index tells no two resources apart. */
function readOrder(config: Config, body: Body, level: Level): Order[] {
  const given = field(body, 'OrderBy', 'an array of objects', isObjects) ?? [];
  atMost(given.length, MOST_ORDERS, 'OrderBy');
  return given.flatMap((each): Order[] => {
    const text = (name: string): string => {
      const value = each[name];
      if (!isText(value)) throw badRequest(`Field "${name}" of "OrderBy" is missing, or should be a string`);
      return value;
    };
    const type = Object.hasOwn(ORDER_TYPES, text('Type')) ? ORDER_TYPES[text('Type')] : undefined;
    if (type === undefined) throw outOfRange(`Unknown "Type" of "OrderBy": ${text('Type').slice(0, 64)}`);
    const direction = text('Direction');
    if (direction !== 'ASC' && direction !== 'DESC') {
      throw outOfRange('Field "Direction" of "OrderBy" should be "ASC" or "DESC"');
    }
    const how = { as: type.as, descending: direction === 'DESC' };
    if (type.metadata) return [{ metadata: keyNamed(config, text('Key')), ...how }];
    const tag = tagNamed(text('Key'));
    const at = levelOfTag(level, tag);
    return at === undefined || isBelow(at, level) ? [] : [{ tag, ...how }];
  });
}

function readParts(body: Body): ReadonlySet<Part> | undefined {
  if (body['ResponseContent'] === undefined) {
    return field(body, 'Expand', 'a Boolean', isBoolean) === true ? EXPANDED : undefined;
  }
  const parts = textsOf(body, 'ResponseContent').map((name) => {
    const part = CONTENT.find((each) => each === name);
    if (part === undefined) throw outOfRange(`Unknown value of "ResponseContent": ${name.slice(0, 64)}`);
    return part;
  });
  return new Set(parts);
}

/** Reads the body of a search. Throws BadRequest, ParameterOutOfRange, UnknownDicomTag and BadFileFormat. */
export function readQuestion(config: Config, body: Body): Question {
  const { Level: name, Query: query } = body;
  if (!isText(name)) throw badRequest('Field "Level" is missing, or should be a string');
  if (!isObject(query)) throw badRequest('Field "Query" is missing, or should be a JSON object');
  const caseSensitive = field(body, 'CaseSensitive', 'a Boolean', isBoolean) ?? config.CaseSensitivePN;
  const [limit, since] = [natural(body, 'Limit'), natural(body, 'Since')];
  const level = levelNamed(name);
  const { where, metadata, computed, outside, impossible } = readQuery(query, level, caseSensitive);
  metadata.push(...readMetadataQuery(config, body, caseSensitive));
  const requested = textsOf(body, 'RequestedTags');
  atMost(requested.length, MOST_REQUESTED, 'RequestedTags');
  const parents = (['Patient', 'Study', 'Series'] as const).flatMap((each) => {
    const id = field(body, `Parent${each}`, 'a string', isText) ?? '';
    return id === '' ? [] : [{ level: each, id }];
  });
  const most = level === 'Instance' ? config.LimitFindInstances : config.LimitFindResults;
  const orderBy = readOrder(config, body, level);
  const labels = readLabels(body);
  return {
    level,
    request: impossible ? undefined : { level, where, metadata, orderBy, ...labels },
    computed,
    outside,
    parents,
    since,
    limit: Math.min(limit || Number.POSITIVE_INFINITY, most || Number.POSITIVE_INFINITY),
    parts: readParts(body),
    format: formatOf(body),
    requested: requestedTags(requested.join(';'), level),
  };
}
