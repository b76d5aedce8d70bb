/** Owns the routes that search the index: which resources are found, in pages, and how many there are. */

import { z } from '@hono/zod-openapi';
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { Constraint, FindRequest, Found } from '../database/database.ts';
import { COMPUTED } from '../database/computed.ts';
import { foldCase, foldMatch, isBelow, meets } from '../database/find.ts';
import { LEVELS } from '../dicom/levels.ts';
import type { Values } from '../dicom/match.ts';
import type { Body } from '../dicom/modification.ts';
import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { json, JSON_TYPE, type JsonBody, jsonOf, jsonText } from './answers.ts';
import { parseJson, textIn } from './body.ts';
import { CONTENT, expand, expansionRequest } from './expansion.ts';
import { type Question, readQuestion } from './finding.ts';
import { clientLeft } from './jobs.ts';
import { arrayText, begun, mapOrdered, streamText } from './lists.ts';
import { idPage, list, pages } from './resources.ts';
import type { Environment, Routes } from './routes.ts';
import { Resource, ResourceId } from './schemas.ts';
import type { Services } from './services.ts';

/** Bytes of a body: it may list tens of thousands of resources. */
const LARGEST_BODY = 4 << 20;
/** Files that one search reads side by side, and resources that it shows so. */
const WIDTH = 8;
/** Characters of a value that is compared with a pattern. */
const LONGEST_VALUE = 1 << 16;

/** The body as JSON; undefined where it is none. */
export async function jsonBody(context: Pick<Context<Environment>, 'env'>): Promise<unknown> {
  const text = await textIn(context.env.incoming, LARGEST_BODY);
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

/** A JSON object. Throws BadRequest, in the reference's words. */
export function asObject(value: unknown): Body {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Body;
  throw new IsenError('BadRequest', 'The body must contain a JSON object');
}

/** The body of a search: a JSON object. Throws BadRequest. */
export async function objectBody(context: Pick<Context<Environment>, 'env'>): Promise<Body> {
  return asObject(await jsonBody(context));
}

/** Whether a value that is in no index meets a condition. */
function isMet(constraint: Constraint, value: string): boolean {
  if (value.length > LONGEST_VALUE && constraint.match === 'wildcard') return false;
  return constraint.caseSensitive ? meets(constraint, value) : meets(foldMatch(constraint), foldCase(value));
}

/** Whether a resource meets the conditions that the index does not decide: those that cost least first. */
async function meetsRest(services: Services, { level, computed, outside }: Question, found: Found): Promise<boolean> {
  for (const constraint of computed) {
    const compute = COMPUTED[level][constraint.tag];
    // Of several values any may match.
    const values = found.computed && compute?.(found.computed).split('\\');
    if (values?.some((value) => isMet(constraint, value)) !== true) return false;
  }
  if (outside.length === 0) return true;
  if (found.instance === undefined) return false;
  const tags = outside.map(({ tag }) => tag);
  const text = await services.headers.tags(found.instance, { format: 'Short', only: tags, ignoreLength: tags });
  const values = JSON.parse(text) as Values;
  return outside.every((constraint) => {
    const value = values[constraint.tag];
    return typeof value === 'string' && isMet(constraint, value);
  });
}

/** Resources that meet every condition, from the `since`-th on; looks no further than it must. */
async function* meeting(
  services: Services,
  question: Question,
  request: FindRequest,
  left: AbortSignal,
): AsyncGenerator<Found, void> {
  const { since, limit, outside, computed } = question;
  const wanted = {
    ...request,
    ...(outside.length > 0 && { instance: true }),
    ...(computed.length > 0 && { computed: true }),
  };
  let count = 0;
  async function* all(): AsyncGenerator<Found, void> {
    for await (const page of pages(services, wanted)) yield* page;
  }
  const judged = mapOrdered(all(), WIDTH, async (found) =>
    (await meetsRest(services, question, found)) ? found : undefined,
  );
  for await (const found of judged) {
    if (left.aborted) return;
    if (found === undefined) continue;
    count += 1;
    if (count > since) yield found;
    if (count >= since + limit) return;
  }
}

/** The request to the index, below the parents that are given; undefined where nothing can match. */
async function requestOf(services: Services, question: Question): Promise<FindRequest | undefined> {
  const { request, parents, outside } = question;
  if (request === undefined) return undefined;
  // Without files there is nothing that the condition could be met by.
  if (outside.length > 0 && services.config.StorageAccessOnFind !== 'Always') return undefined;
  const of = parents.at(-1);
  if (of === undefined) return request;
  for (const above of parents.slice(0, -1)) {
    const chain = await services.database.find({ level: of.level, id: of.id, of: above, idsOnly: true });
    if (chain.length === 0) return undefined;
  }
  return isBelow(of.level, question.level) ? undefined : { ...request, of };
}

async function find(services: Services, outgoing: HttpBindings['outgoing'], question: Question): Promise<JsonBody> {
  const { config } = services;
  const { level, computed, outside, since, limit, parts, format } = question;
  const request = await requestOf(services, question);
  if (request === undefined) return jsonText([]);
  const requested = question.requested && {
    ...question.requested,
    file: question.requested.file && config.StorageAccessOnFind !== 'Never',
  };
  const reads = [...outside.map(({ tag }) => tag), ...(parts !== undefined && requested?.file ? requested.tags : [])];
  if (reads.length > 0)
    log.http.warn({ level, tags: reads.join() }, 'a search reads tags from files: they are not indexed');
  const shown = parts === undefined ? {} : expansionRequest(level, requested, parts);
  const show = (found: Found): unknown =>
    parts === undefined ? found.id : expand(services, found, format, requested, parts);
  if (outside.length + computed.length === 0) {
    // What V8 adds to an object behind a spread costs it a microsecond each.
    const page: FindRequest = Object.assign({ since, limit }, request, shown);
    return parts === undefined
      ? list(services, { idsOnly: true, ...page }, idPage(request), show)
      : list(services, page, undefined, show);
  }
  const found = meeting(services, question, { ...request, ...shown }, clientLeft(outgoing));
  // Nothing is sent before the first match: what fails until then is an error.
  return streamText(await begun(arrayText(mapOrdered(found, WIDTH, async (one) => show(one)))));
}

const query = {
  Level: z.enum(LEVELS),
  Query: z.record(z.string(), z.string()).openapi({
    description: 'By tag: a value, a pattern (`*`, `?`), a list (`CT\\MR`) or a range of dates or times (`20260101-`)',
    example: { PatientName: 'DOE*', StudyDate: '20260101-' },
  }),
  Labels: z.array(z.string()).optional(),
  LabelsConstraint: z.enum(['All', 'Any', 'None']).optional(),
  MetadataQuery: z.record(z.string(), z.string()).optional(),
  ParentPatient: ResourceId.optional(),
  ParentStudy: ResourceId.optional(),
  ParentSeries: ResourceId.optional(),
};
const Search = z
  .object({
    ...query,
    CaseSensitive: z.boolean().optional(),
    Expand: z.boolean().optional().openapi({ description: 'Resources in place of their ids' }),
    Full: z.boolean().optional(),
    Short: z.boolean().optional(),
    Limit: z.int().optional().openapi({ description: '0 is no limit' }),
    Since: z.int().optional().openapi({ description: 'How many to skip' }),
    OrderBy: z
      .array(
        z.object({
          Type: z.enum([
            'DicomTag',
            'DicomTagAsInt',
            'DicomTagAsFloat',
            'Metadata',
            'MetadataAsInt',
            'MetadataAsFloat',
          ]),
          Key: z.string(),
          Direction: z.enum(['ASC', 'DESC']),
        }),
      )
      .optional()
      .openapi({ description: 'By public id, where it is left out' }),
    RequestedTags: z.array(z.string()).optional(),
    ResponseContent: z.array(z.enum(CONTENT)).optional().openapi({ description: 'What to show, in place of `Expand`' }),
  })
  .openapi('Search');

/** Adds the routes of this file. */
export function addFind(routes: Routes): void {
  const { services, posts } = routes;
  const tag = 'Tools';
  const answer = async (env: HttpBindings): Promise<JsonBody> =>
    find(services, env.outgoing, readQuestion(services.config, await objectBody({ env })));
  const resource = z.union([ResourceId, ...LEVELS.map((level) => Resource[level].partial())]);
  routes.add(
    {
      method: 'post',
      path: '/tools/find',
      tag,
      summary: 'Searches the index',
      reads: true,
      body: { 'application/json': Search },
      answers: { 200: { description: 'Ids, or the resources', type: JSON_TYPE, schema: z.array(resource) } },
    },
    async ({ env }) => jsonOf(await answer(env)),
  );
  posts.set('/tools/find', answer);
  routes.add(
    {
      method: 'post',
      path: '/tools/count-resources',
      tag,
      summary: 'Counts what a search would find',
      reads: true,
      body: { 'application/json': z.object(query) },
      answers: { 200: { description: 'The number', type: JSON_TYPE, schema: z.object({ Count: z.int() }) } },
    },
    async (context) => {
      const body = await objectBody(context);
      const question = readQuestion(services.config, body);
      if (body['CaseSensitive'] === true) {
        const details = 'Setting "CaseSensitive" to "true" is not supported by /tools/count-resources';
        throw new IsenError('ParameterOutOfRange', details);
      }
      if (question.outside.length + question.computed.length > 0)
        throw new IsenError('BadRequest', 'Resources are counted by tags of the index only');
      const request = await requestOf(services, question);
      return json({ Count: request === undefined ? 0 : await services.database.count(request) });
    },
  );
}
