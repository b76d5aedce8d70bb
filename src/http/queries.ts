/** Owns the routes under /queries: the remembered queries with their answers, what is asked further, and retrieving. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type Identifier, identifierJson, type Key, textIn } from '../dicom/identifier.ts';
import type { TagsFormat } from '../dicom/json.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import type { StoredQuery } from '../jobs/queries.ts';
import type { FindAnswer } from '../scu/find.ts';
import { json, text } from './answers.ts';
import { bodyText } from './body.ts';
import { RetrieveBody, retrieveAnswers } from './retrievals.ts';
import { findModality } from './modalities.ts';
import { ask, askedFor, jsonObject, Remembered } from './querying.ts';
import { type Environment, flag, type Routes } from './routes.ts';
import { Dataset, formatOf, formatQuery } from './schemas.ts';
import type { Services } from './services.ts';

const tag = 'Queries';
const PATH = '/queries/{id}';

/** The query of a URL. Throws UnknownResource. */
async function queryOf({ queries }: Services, context: Context<Environment>): Promise<StoredQuery> {
  const query = await queries.get(context.req.param('id') ?? '');
  if (query === undefined) throw new IsenError('UnknownResource');
  return query;
}

/** One answer by its number in the URL. Throws BadParameterType, ParameterOutOfRange. */
function answerOf(query: StoredQuery, context: Context<Environment>): FindAnswer {
  const index = context.req.param('index') ?? '';
  if (!/^\d{1,9}$/.test(index)) throw new IsenError('BadParameterType', 'Syntax error in some user-supplied data');
  const answer = query.answers[Number(index)];
  if (answer === undefined) throw new IsenError('ParameterOutOfRange');
  return answer;
}

const answerJson = ({ identifier, characterSet }: FindAnswer, format: TagsFormat): Record<string, unknown> =>
  identifierJson(identifier, format, characterSet);

/** The levels below one, by the name of the route that asks for them, in the reference's order. */
const CHILDREN: readonly (readonly [string, Level])[] = [
  ['query-studies', 'Study'],
  ['query-series', 'Series'],
  ['query-instances', 'Instance'],
];

/** The names below an answer. */
function namesBelow(level: Level): readonly string[] {
  const below = CHILDREN.filter(([, child]) => LEVELS.indexOf(child) > LEVELS.indexOf(level)).map(([name]) => name);
  return ['content', 'retrieve', ...below];
}

/** The unique keys of an answer, for asking what is below it. */
function uniqueKeys(level: Level, { identifier }: FindAnswer): Identifier {
  return LEVELS.slice(0, LEVELS.indexOf(level) + 1).flatMap((each): Key[] => {
    const key = LEVEL[each].key;
    const value = textIn(identifier, key);
    return value === undefined ? [] : [{ tag: key, vr: each === 'Patient' ? 'LO' : 'UI', value }];
  });
}

function addBrowsing(routes: Routes): void {
  const { services } = routes;
  const strings = z.array(z.string());
  const jsonAnswer = (description: string, schema: z.ZodType) => ({
    200: { description, type: 'application/json', schema },
    404: { description: 'There is no such query', type: 'text/plain' },
  });
  const form = { short: formatQuery.short, simplify: formatQuery.simplify };
  routes.add(
    { method: 'get', path: '/queries', tag, summary: 'The queries remembered', answers: jsonAnswer('Ids', strings) },
    async () => json(await services.queries.list()),
  );
  routes.add(
    { method: 'get', path: PATH, tag, summary: 'What can be asked of a query', answers: jsonAnswer('Names', strings) },
    async (context) => {
      await queryOf(services, context);
      return json(['answers', 'level', 'modality', 'query', 'retrieve']);
    },
  );
  routes.add(
    {
      method: 'delete',
      path: PATH,
      tag,
      summary: 'Forgets a query',
      reads: true,
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      await services.queries.remove(context.req.param('id') ?? '');
      return text('');
    },
  );
  const plain = (name: string, summary: string, value: (query: StoredQuery) => string): void =>
    routes.add(
      {
        method: 'get',
        path: `${PATH}/${name}`,
        tag,
        summary,
        answers: { 200: { description: summary, type: 'text/plain' } },
      },
      async (context) => text(value(await queryOf(services, context))),
    );
  plain('level', 'The level that was asked', (query) => query.level);
  plain('modality', 'The name of the modality that was asked', (query) => query.modality);
  routes.add(
    {
      method: 'get',
      path: `${PATH}/query`,
      tag,
      summary: 'What was asked',
      query: form,
      answers: jsonAnswer('The keys', Dataset),
    },
    async (context, query) =>
      json(identifierJson((await queryOf(services, context)).keys, formatOf({ full: false, ...query }, 'Full'))),
  );
  routes.add(
    {
      method: 'get',
      path: `${PATH}/answers`,
      tag,
      summary: 'The answers',
      query: { expand: flag(), ...form },
      answers: jsonAnswer('Their numbers, or the answers', z.array(z.union([z.string(), Dataset]))),
    },
    async (context, { expand, ...query }) => {
      const { answers } = await queryOf(services, context);
      if (!expand) return json(answers.map((_, index) => String(index)));
      const format = formatOf({ full: false, ...query }, 'Full');
      return json(answers.map((answer) => answerJson(answer, format)));
    },
  );
  routes.add(
    {
      method: 'get',
      path: `${PATH}/answers/{index}`,
      tag,
      summary: 'What can be asked of an answer',
      answers: jsonAnswer('Names', strings),
    },
    async (context) => {
      const query = await queryOf(services, context);
      answerOf(query, context);
      return json(namesBelow(query.level));
    },
  );
  routes.add(
    {
      method: 'get',
      path: `${PATH}/answers/{index}/content`,
      tag,
      summary: 'One answer',
      query: form,
      answers: jsonAnswer('The answer', Dataset),
    },
    async (context, query) => {
      const answer = answerOf(await queryOf(services, context), context);
      return json(answerJson(answer, formatOf({ full: false, ...query }, 'Full')));
    },
  );
}

function addChildren(routes: Routes): void {
  const { services } = routes;
  for (const [name, level] of CHILDREN) {
    routes.add(
      {
        method: 'post',
        path: `${PATH}/answers/{index}/${name}`,
        tag,
        summary: `Asks the modality for the ${LEVEL[level].path} of an answer`,
        reads: true,
        body: { 'application/json': z.object({ Query: Dataset.optional(), Timeout: z.number().optional() }) },
        answers: { 200: { description: 'The new query', type: 'application/json', schema: Remembered } },
      },
      async (context) => {
        const query = await queryOf(services, context);
        const answer = answerOf(query, context);
        if (LEVELS.indexOf(level) <= LEVELS.indexOf(query.level)) throw new IsenError('UnknownResource');
        const body = jsonObject(await bodyText(context), 'Must provide a JSON object');
        const { keys, timeout } = askedFor(body);
        const parents = uniqueKeys(query.level, answer);
        const own = new Set(parents.map((key) => key.tag));
        const modality = await findModality(services, query.modality);
        return ask(services, modality, {
          level,
          keys: [...keys.filter((key) => !own.has(key.tag)), ...parents].sort((a, b) => (a.tag < b.tag ? -1 : 1)),
          timeout: timeout ?? query.timeout,
          localAet: query.localAet,
          normalize: true,
        });
      },
    );
  }
}

function addRetrieving(routes: Routes): void {
  const { services } = routes;
  const body = { 'application/json': RetrieveBody, 'text/plain': z.string() };
  const answers = { 200: { description: 'The job, or what it did', type: 'application/json', schema: Dataset } };
  const summary = 'Retrieves from the modality, by C-MOVE or C-GET';
  routes.add({ method: 'post', path: `${PATH}/retrieve`, tag, summary, body, answers }, async (context) => {
    const query = await queryOf(services, context);
    return retrieveAnswers(services, context, query, query.answers);
  });
  routes.add(
    { method: 'post', path: `${PATH}/answers/{index}/retrieve`, tag, summary: `${summary}: one answer`, body, answers },
    async (context) => {
      const query = await queryOf(services, context);
      return retrieveAnswers(services, context, query, [answerOf(query, context)]);
    },
  );
}

/** Adds the routes of this file. */
export function addQueries(routes: Routes): void {
  addBrowsing(routes);
  addChildren(routes);
  addRetrieving(routes);
}
