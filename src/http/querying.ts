/** Owns the routes that put a query to a modality: /modalities/{id}/query, find-worklist, the older find routes, echo. */

import { z } from '@hono/zod-openapi';
import { ENCODING_TERM } from '../dicom/charset.ts';
import { type Identifier, identifierFromJson, identifierJson, type Key, textIn } from '../dicom/identifier.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { WORKLIST_FIND } from '../dicom/models.ts';
import { MODULE } from '../dicom/module.ts';
import { COMPUTED } from '../database/computed.ts';
import { IsenError } from '../errors.ts';
import { levelKey, levelNamed, modelOf } from '../jobs/retrieval.ts';
import { over, plainContext } from '../scu/dial.ts';
import { echo } from '../scu/echo.ts';
import { type FindAnswer, find } from '../scu/find.ts';
import { readModality } from '../scu/modalities.ts';
import type { Modality } from '../scu/modality.ts';
import { emptyObject, json } from './answers.ts';
import { bodyText, parseJson } from './body.ts';
import { findModality } from './modalities.ts';
import type { Routes } from './routes.ts';
import { Dataset } from './schemas.ts';
import type { Services } from './services.ts';

const tag = 'Modalities';

/** The answer of a query that is remembered. */
export const Remembered = z.object({ ID: z.string(), Path: z.string() }).openapi('RememberedQuery');

const badFormat = (details: string): IsenError => new IsenError('BadFileFormat', details);

/** The JSON object that a body is. Throws BadFileFormat with `otherwise`. */
export function jsonObject(body: string, otherwise: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = parseJson(body);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below, as for JSON that is no object.
  }
  throw badFormat(otherwise);
}

/** A whole number of seconds, or undefined where none is given. Throws BadFileFormat. */
export function timeoutOf(body: Readonly<Record<string, unknown>>): number | undefined {
  const { Timeout } = body;
  if (Timeout === undefined) return undefined;
  if (typeof Timeout !== 'number' || !Number.isInteger(Timeout)) {
    throw badFormat('Integer value expected in field: Timeout');
  }
  if (Timeout < 0 || Timeout > 86_400) throw badFormat('Unsigned integer value expected in field: Timeout');
  return Timeout;
}

/** An optional text. Throws BadFileFormat. */
export function textField(body: Readonly<Record<string, unknown>>, field: string): string | undefined {
  const value = body[field];
  if (value === undefined || value === '') return undefined;
  if (typeof value !== 'string') throw badFormat(`String value expected in field: ${field}`);
  return value;
}

/** The keys and the patience of a body that may hold `Query` and `Timeout`. Throws BadFileFormat. */
export function askedFor(body: Readonly<Record<string, unknown>>): {
  readonly keys: Identifier;
  readonly timeout: number | undefined;
} {
  const timeout = timeoutOf(body);
  const { Query = {} } = body;
  if (typeof Query !== 'object' || Query === null || Array.isArray(Query)) {
    throw badFormat('The field Query must contain a JSON object');
  }
  const plain = Object.values(Query).every((value) => typeof value === 'string');
  const keys = plain ? identifierFromJson(Query) : undefined;
  if (keys === undefined) throw badFormat('Associative array of DICOM tags to strings expected in field: Query');
  return { keys, timeout };
}

/** Manufacturers whose devices take no lone `*`: nowhere, or not as a date or time; and one that wants it for what is universal. */
const UNIVERSAL_WILDCARDS: Readonly<Record<string, 'never' | 'no dates'>> = {
  GenericNoUniversalWildcard: 'never',
  GenericNoWildcardInDates: 'no dates',
};

/** The keys as a modality understands them. */
function fixed(keys: Identifier, manufacturer: string): Identifier {
  const rule = UNIVERSAL_WILDCARDS[manufacturer];
  if (rule === undefined) return keys;
  const isDate = (vr: string): boolean => vr === 'DA' || vr === 'TM' || vr === 'DT';
  return keys.map((key) => (key.value === '*' && (rule === 'never' || isDate(key.vr)) ? { ...key, value: '' } : key));
}

/** The keys that have a place at a level: those of its modules, of the index and computed ones. */
function normalized(keys: Identifier, level: Level): Identifier {
  const levels = LEVELS.slice(0, LEVELS.indexOf(level) + 1);
  return keys.filter((key) =>
    levels.some(
      (each) => MODULE[each].has(key.tag) || LEVEL[each].mainDicomTags.includes(key.tag) || key.tag in COMPUTED[each],
    ),
  );
}

/** What is asked of a modality at a level: the keys, and the unique ones of the levels down to it. */
function identifierFor(level: Level, keys: Identifier, manufacturer: string): Identifier {
  const universal = manufacturer === 'GE' ? '*' : '';
  const own = LEVELS.slice(0, LEVELS.indexOf(level) + 1).map((each): Key => {
    const vr = each === 'Patient' ? 'LO' : 'UI';
    return { tag: LEVEL[each].key, vr, value: universal };
  });
  if (level !== 'Patient') own.push({ tag: '0008,0050', vr: 'SH', value: universal });
  const given = fixed(keys, manufacturer).filter((key) => key.tag !== levelKey(level).tag);
  const missing = own.filter(({ tag: wanted }) => !given.some((key) => key.tag === wanted));
  return [...given, ...missing, levelKey(level)].sort((a, b) => (a.tag < b.tag ? -1 : 1));
}

/** One query to put. */
export interface Question {
  readonly level: Level;
  readonly keys: Identifier;
  readonly timeout?: number | undefined;
  readonly localAet?: string | undefined;
  /** Leaves out keys that have no place at the level. */
  readonly normalize?: boolean;
}

/** Asks a modality. Throws NetworkProtocol, Timeout, FindUnavailable. */
async function answersOf(
  { config, dial }: Services,
  modality: Modality,
  { level, keys, timeout, localAet, normalize }: Question,
): Promise<readonly FindAnswer[]> {
  const sopClass = modelOf(level).find;
  const wanted = normalize === true ? normalized(keys, level) : keys;
  const identifier = identifierFor(level, wanted, modality.manufacturer);
  return over(dial(modality, [plainContext(sopClass)], { timeout, localAet }), (association) =>
    find(association, sopClass, identifier, ENCODING_TERM[config.DefaultEncoding]),
  );
}

/** Asks a modality, remembers the answers, and answers where they are. */
export async function ask(services: Services, modality: Modality, question: Question): Promise<Response> {
  const answers = await answersOf(services, modality, question);
  const { level, keys, timeout, localAet } = question;
  const id = await services.queries.add({ modality: modality.name, level, keys, answers, timeout, localAet });
  return json({ ID: id, Path: `/queries/${id}` });
}

/** What the older routes ask at each level besides what the client gives. */
const TEMPLATES: Readonly<Record<Level, readonly string[]>> = {
  Patient: ['0010,0010', '0010,0020', '0010,0030', '0010,0040', '0010,1000'],
  Study: ['0008,0020', '0008,0030', '0008,0050', '0008,0090', '0008,1030', '0010,0020', '0020,000d', '0020,0010'],
  Series: [
    '0008,0021',
    '0008,0031',
    '0008,0050',
    '0008,0060',
    '0008,103e',
    '0008,1070',
    '0010,0020',
    '0018,0015',
    '0018,1030',
    '0020,000d',
    '0020,000e',
    '0020,0011',
    '0040,0254',
  ],
  Instance: ['0008,0012', '0008,0013', '0008,0018', '0008,0050', '0010,0020', '0020,000d', '0020,000e', '0020,0013'],
};

/** The keys of an older route, or undefined for a body that is none. */
function templateKeys(level: Level, body: string): Identifier | undefined {
  let given: Identifier | undefined;
  try {
    const parsed: unknown = parseJson(body);
    given = identifierFromJson(parsed);
  } catch {
    return undefined;
  }
  if (given === undefined || given.some(({ value }) => typeof value !== 'string')) return undefined;
  const empty = identifierFromJson(Object.fromEntries(TEMPLATES[level].map((each) => [each, ''])));
  const known = new Map([...(empty ?? []), ...given].map((key) => [key.tag, key]));
  return [...known.values()].sort((a, b) => (a.tag < b.tag ? -1 : 1));
}

/** Whether a query at a level is narrow enough for the older routes, which ask for something to begin with. */
function isNarrow(level: Level, keys: Identifier): boolean {
  const has = (each: string): boolean => (textIn(keys, each) ?? '').length > 2;
  if (level === 'Patient') return true;
  return (
    (has('0010,0020') || has('0008,0050')) &&
    (level === 'Study' || has('0020,000d')) &&
    (level !== 'Instance' || has('0020,000e'))
  );
}

const refused = (): Response => new Response(null, { status: 400 });

const simplified = ({ identifier, characterSet }: FindAnswer): Record<string, unknown> =>
  identifierJson(identifier, 'Simplify', characterSet);

function addFind(routes: Routes): void {
  const { services } = routes;
  const answers = {
    200: { description: 'The answers', type: 'application/json', schema: z.array(Dataset) },
    400: { description: 'Not a query, or too wide a one' },
  };
  const body = { 'application/json': Dataset };
  const rows: [string, Level][] = [
    ['find-patient', 'Patient'],
    ['find-study', 'Study'],
    ['find-series', 'Series'],
    ['find-instance', 'Instance'],
  ];
  for (const [name, level] of rows) {
    const summary = `Asks for ${LEVEL[level].path} at once; deprecated for /query`;
    routes.add(
      { method: 'post', path: `/modalities/{id}/${name}`, tag, summary, reads: true, body, answers },
      async (context) => {
        const keys = templateKeys(level, await bodyText(context));
        if (keys === undefined || !isNarrow(level, keys)) return refused();
        const modality = await findModality(services, context.req.param('id') ?? '');
        return json((await answersOf(services, modality, { level, keys, normalize: true })).map(simplified));
      },
    );
  }
  routes.add(
    {
      method: 'post',
      path: '/modalities/{id}/find',
      tag,
      summary: 'Asks for patients, their studies and their series; deprecated for /query',
      body,
      answers,
    },
    async (context) => {
      const given = await bodyText(context);
      if (templateKeys('Patient', given) === undefined) return refused();
      const modality = await findModality(services, context.req.param('id') ?? '');
      return json(await findBelow(services, modality, given, 'Patient', []));
    },
  );
}

/** The answers at a level, each with those below it down to series. */
async function findBelow(
  services: Services,
  modality: Modality,
  body: string,
  level: 'Patient' | 'Study' | 'Series',
  parents: Identifier,
): Promise<unknown[]> {
  const above = new Set(parents.map((key) => key.tag));
  const keys = (templateKeys(level, body) ?? []).filter((key) => !above.has(key.tag));
  const found: unknown[] = [];
  for (const answer of await answersOf(services, modality, { level, keys: [...keys, ...parents], normalize: true })) {
    const shown = simplified(answer);
    if (level !== 'Series') {
      const child = level === 'Patient' ? 'Study' : 'Series';
      const unique = answer.identifier.filter((key) => key.tag === LEVEL[level].key);
      shown[LEVEL[level].children ?? ''] = await findBelow(services, modality, body, child, [...parents, ...unique]);
    }
    found.push(Object.fromEntries(Object.entries(shown).sort(([a], [b]) => (a < b ? -1 : 1))));
  }
  return found;
}

function addWorklist(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'post',
      path: '/modalities/{id}/find-worklist',
      tag,
      summary: 'Asks a worklist server',
      reads: true,
      body: {
        'application/json': z.object({
          Query: Dataset,
          Full: z.boolean().optional(),
          Short: z.boolean().optional(),
        }),
      },
      answers: { 200: { description: 'The answers', type: 'application/json', schema: z.array(Dataset) } },
    },
    async (context) => {
      const body = jsonObject(await bodyText(context), 'Must provide a JSON object');
      const wrapped = typeof body['Query'] === 'object' && body['Query'] !== null;
      const keys = identifierFromJson(wrapped ? body['Query'] : body);
      if (keys === undefined) throw new IsenError('UnknownDicomTag');
      const modality = await findModality(services, context.req.param('id') ?? '');
      const opening = services.dial(modality, [plainContext(WORKLIST_FIND)], {
        timeout: timeoutOf(wrapped ? body : {}),
      });
      const found = await over(opening, (association) =>
        find(association, WORKLIST_FIND, keys, ENCODING_TERM[services.config.DefaultEncoding]),
      );
      const format =
        wrapped && body['Full'] === true ? 'Full' : wrapped && body['Short'] === true ? 'Short' : 'Simplify';
      return json(found.map(({ identifier, characterSet }) => identifierJson(identifier, format, characterSet)));
    },
  );
}

function addEcho(routes: Routes): void {
  const { services } = routes;
  /** Patience and CheckFind of a body. */
  const optionsOf = (body: unknown): { readonly timeout: number | undefined; readonly find: boolean } => {
    const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
    const fields: Readonly<Record<string, unknown>> = isObject ? { ...body } : {};
    const { CheckFind = services.config.DicomEchoChecksFind } = fields;
    const timeout = timeoutOf(fields);
    if (typeof CheckFind !== 'boolean') throw badFormat('Boolean value expected in field: CheckFind');
    return { timeout, find: CheckFind };
  };
  const parsed = (body: string): unknown => {
    try {
      return parseJson(body);
    } catch (thrown) {
      throw new IsenError('BadFileFormat', 'Cannot parse the JSON body', { cause: thrown });
    }
  };
  const fields = { CheckFind: z.boolean().optional(), Timeout: z.number().optional() };
  const answers = { 200: { description: 'It answers', type: 'application/json', schema: z.object({}) } };
  routes.add(
    {
      method: 'post',
      path: '/modalities/{id}/echo',
      tag,
      summary: 'Tests whether a modality answers (C-ECHO)',
      reads: true,
      body: { 'application/json': z.object(fields) },
      answers,
    },
    async (context) => {
      const body = await bodyText(context);
      const options = optionsOf(body.trim() === '' ? {} : parsed(body));
      await echo(services.dial, await findModality(services, context.req.param('id') ?? ''), options);
      return emptyObject();
    },
  );
  routes.add(
    {
      method: 'post',
      path: '/tools/dicom-echo',
      tag: 'Tools',
      summary: 'Tests whether a modality that is not configured answers (C-ECHO)',
      body: {
        'application/json': z.object({
          AET: z.string(),
          Host: z.string(),
          Port: z.number(),
          LocalAet: z.string().optional(),
          Manufacturer: z.string().optional(),
          UseDicomTls: z.boolean().optional(),
          ...fields,
        }),
      },
      answers,
    },
    async (context) => {
      const body = parsed(await bodyText(context));
      await echo(services.dial, readModality('asked', body), optionsOf(body));
      return emptyObject();
    },
  );
}

/** Adds the routes of this file. */
export function addQuerying(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'post',
      path: '/modalities/{id}/query',
      tag,
      summary: 'Asks a modality (C-FIND); the answers are under /queries',
      reads: true,
      body: {
        'application/json': z.object({
          Level: z.string(),
          Query: Dataset.optional(),
          Normalize: z.boolean().optional(),
          LocalAet: z.string().optional(),
          Timeout: z.number().optional(),
        }),
      },
      answers: { 200: { description: 'The query', type: 'application/json', schema: Remembered } },
    },
    async (context) => {
      const body = jsonObject(await bodyText(context), 'Must provide a JSON object');
      const { Level: name, Normalize = true } = body;
      if (typeof name !== 'string') throw badFormat('The JSON body must contain field Level');
      if (typeof Normalize !== 'boolean') throw badFormat('The field Normalize must contain a Boolean');
      const { keys, timeout } = askedFor(body);
      const level = levelNamed(name);
      const localAet = textField(body, 'LocalAet');
      const modality = await findModality(services, context.req.param('id') ?? '');
      return ask(services, modality, { level, keys, timeout, localAet, normalize: Normalize });
    },
  );
  addFind(routes);
  addWorklist(routes);
  addEcho(routes);
}
