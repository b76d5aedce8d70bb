/** Owns the routes that the four levels share: lists, single resources, their relatives, deletion. */

import { z } from '@hono/zod-openapi';
import type { Found, FindRequest, Remaining } from '../database/database.ts';
import type { TagsFormat } from '../dicom/json.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { empty, json, type JsonBody, jsonOf, jsonText, keyOf } from './answers.ts';
import { expand, expansionRequest, requestedTags, type RequestedTags } from './expansion.ts';
import { arrayText, mapOrdered, streamText } from './lists.ts';
import { flag, type Routes, Text } from './routes.ts';
import { formatOf, formatQuery, Reference, Resource, ResourceId } from './schemas.ts';
import type { Services } from './services.ts';

const JSON_TYPE = 'application/json';

/**
 * Resources read from the index at once: ids are small, expanded ones are not. A page of what is below a resource costs a walk
 * through all of it.
 */
const ID_PAGE = 10_000;
const ID_PAGE_BELOW = 25_000;
const EXPANDED_PAGE = 200;
/** Ids of a list in an order of its own that are looked for at once. */
const ORDERED_PAGE = 100_000;

/** Public ids are five groups of eight hex digits: anything else is unknown without asking the index. */
export const PUBLIC_ID = /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/;

/** Throws UnknownResource for what cannot be a public id. */
export function checkId(id: string): string {
  if (!PUBLIC_ID.test(id)) throw new IsenError('UnknownResource');
  return id;
}

/** The resource at `level`, or UnknownResource. */
export async function findOne(
  services: Services,
  level: Level,
  id: string,
  request: Partial<FindRequest> = {},
): Promise<Found> {
  const [found] = await services.database.find({ level, id: checkId(id), ...request });
  if (found === undefined) throw new IsenError('UnknownResource');
  return found;
}

/** `{ID, Path, Type}` of a resource. */
export function reference({ level, id }: Remaining): { ID: string; Path: string; Type: Level } {
  return { ID: id, Path: `/${LEVEL[level].path}/${id}`, Type: level };
}

/** Every resource that `request` finds in an order of its own, of which the places are looked for rarely: that may mean to sort all. */
async function* orderedPages(
  services: Services,
  request: FindRequest,
  size: number,
): AsyncGenerator<readonly Found[], void> {
  const { since = 0, limit = Number.POSITIVE_INFINITY } = request;
  const { level, children = false, ancestors = false, instance = false, computed = false } = request;
  const end = since + limit;
  let at = Math.min(since + size, end);
  const first = await services.database.find({ ...request, limit: at - since });
  yield first;
  if (first.length < size) return;
  while (at < end) {
    const most = Math.min(ORDERED_PAGE, end - at);
    const ids = await services.database.find({ ...request, idsOnly: true, since: at, limit: most });
    for (let done = 0; done < ids.length; done += size) {
      const page = ids.slice(done, done + size);
      if (request.idsOnly === true) yield page;
      else {
        const found = await services.database.find({
          level,
          children,
          ancestors,
          instance,
          computed,
          ids: page.map(({ id }) => id),
        });
        const byId = new Map(found.map((one) => [one.id, one]));
        yield page.flatMap(({ id }) => byId.get(id) ?? []);
      }
    }
    if (ids.length < most) return;
    at += most;
  }
}

/** Every resource that `request` finds, page by page; what comes or goes meanwhile disturbs no other. */
export async function* pages(
  services: Services,
  request: FindRequest,
  size = EXPANDED_PAGE,
): AsyncGenerator<readonly Found[], void> {
  if ((request.orderBy ?? []).length > 0) {
    yield* orderedPages(services, request, size);
    return;
  }
  let rest = request.limit ?? Number.POSITIVE_INFINITY;
  let next: Partial<FindRequest> = {};
  do {
    const limit = Math.min(size, rest);
    const page = limit > 0 ? await services.database.find({ ...request, ...next, limit }) : [];
    yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < limit) return;
    rest -= page.length;
    next = { after: last.id, since: 0 };
  } while (rest > 0);
}

async function* each(
  first: readonly Found[],
  rest: AsyncGenerator<readonly Found[], void>,
): AsyncGenerator<Found, void> {
  try {
    yield* first;
    for await (const page of rest) yield* page;
  } finally {
    await rest.return();
  }
}

/** The body of a list: its text when it is one page, else a stream in the pace of the client. */
export async function list(
  services: Services,
  request: FindRequest,
  size: number | undefined,
  show: (found: Found) => unknown,
): Promise<JsonBody> {
  const found = pages(services, request, size);
  const first = (await found.next()).value ?? [];
  if (first.length < (size ?? EXPANDED_PAGE)) {
    await found.return();
    const shown = first.map(show);
    return jsonText(shown.some((each) => each instanceof Promise) ? await Promise.all(shown) : shown);
  }
  return streamText(arrayText(mapOrdered(each(first, found), 4, async (one) => show(one))));
}

/** Ids as a list reads them at once. */
export const idPage = ({ of }: FindRequest): number => (of === undefined ? ID_PAGE : ID_PAGE_BELOW);

/** A list of resources, expanded or as ids. */
async function listOf(
  services: Services,
  request: FindRequest,
  query: { expand: boolean; requested: string | undefined; format: TagsFormat },
): Promise<Response> {
  if (!query.expand) {
    return jsonOf(await list(services, { ...request, idsOnly: true }, idPage(request), (found) => found.id));
  }
  const requested = requestedTags(query.requested, request.level);
  const expanded = { ...request, ...expansionRequest(request.level, requested) };
  return jsonOf(
    await list(services, expanded, EXPANDED_PAGE, (found) => expand(services, found, query.format, requested)),
  );
}

const requested = Text.openapi({
  description: 'Tags to show besides the main ones, separated by semicolons; those computed from the index included',
});
const pageNumber = z
  .string()
  .optional()
  .openapi({ type: 'integer', description: 'Given with its counterpart (`since`, `limit`) or not at all' });

/** `since` and `limit` of a list, which the reference takes together only. */
function pageOf(
  level: Level,
  since: string | undefined,
  limit: string | undefined,
): { since?: number; limit?: number } {
  if (since === undefined && limit === undefined) return {};
  const number = (name: string, value: string | undefined): number => {
    if (value === undefined) {
      const path = `/${LEVEL[level].path}/`;
      throw new IsenError('BadRequest', `Missing "${name}" argument for GET request against: ${path}`);
    }
    if (!/^-?\d{1,15}$/.test(value)) {
      throw new IsenError('BadParameterType', 'Syntax error in some user-supplied data');
    }
    return Number(value);
  };
  const from = Math.max(0, number('since', since));
  const most = number('limit', limit);
  // The reference reads a negative limit as unsigned: no limit.
  return most < 0 ? { since: from } : { since: from, limit: most };
}

function addLevel(routes: Routes, level: Level): void {
  const { services, kept, plain } = routes;
  const { path } = LEVEL[level];
  const one = `/${path}/{id}`;
  const tag = path[0]?.toUpperCase() + path.slice(1);
  const expanded = { 'requested-tags': requested, ...formatQuery };
  const schema = Resource[level];
  const shown = async (id: string, format: TagsFormat, requested?: RequestedTags): Promise<string | undefined> => {
    const [found] = PUBLIC_ID.test(id)
      ? await services.database.find({ level, id, ...expansionRequest(level, requested) })
      : [];
    return found && jsonText(await expand(services, found, format, requested));
  };

  routes.add(
    {
      method: 'get',
      path: `/${path}`,
      tag,
      summary: `All ${path}`,
      query: { expand: flag(), since: pageNumber, limit: pageNumber, ...expanded },
      answers: {
        200: { description: 'Ids, or the resources', type: JSON_TYPE, schema: z.array(z.union([ResourceId, schema])) },
      },
    },
    (_, query) =>
      listOf(
        services,
        { level, ...pageOf(level, query.since, query.limit) },
        { expand: query.expand, requested: query['requested-tags'], format: formatOf(query, 'Simplify') },
      ),
  );

  routes.add(
    {
      method: 'get',
      path: one,
      tag,
      summary: `One ${level.toLowerCase()}`,
      query: expanded,
      answers: {
        200: { description: `The ${level.toLowerCase()}`, type: JSON_TYPE, schema },
        404: { description: 'It is unknown' },
      },
    },
    async (context, query) => {
      const id = context.req.param('id') ?? '';
      const requested = requestedTags(query['requested-tags'], level);
      const answer = await kept.of(keyOf(context.req.url), () => shown(id, formatOf(query, 'Simplify'), requested));
      return answer === undefined ? empty(404) : jsonOf(answer);
    },
  );
  plain.set(one, (id) => shown(id, 'Simplify'));

  routes.add(
    {
      method: 'delete',
      path: one,
      tag,
      summary: `Deletes a ${level.toLowerCase()} and everything below it`,
      writes: true,
      answers: {
        200: {
          description: 'The nearest ancestor that is left',
          type: JSON_TYPE,
          schema: z.object({ RemainingAncestor: Reference.nullable() }),
        },
        404: { description: 'It is unknown' },
      },
    },
    async (context) => {
      const id = context.req.param('id') ?? '';
      if (!PUBLIC_ID.test(id)) return empty(404);
      try {
        const outcome = await services.ingest.apply({ kind: 'delete', level, id });
        const remaining = outcome.kind === 'deleted' ? outcome.remaining : undefined;
        return json({ RemainingAncestor: remaining === undefined ? null : reference(remaining) });
      } catch (thrown) {
        if (thrown instanceof IsenError && thrown.code === 'UnknownResource') return empty(404);
        throw thrown;
      }
    },
  );

  for (const below of LEVELS.slice(LEVELS.indexOf(level) + 1)) {
    routes.add(
      {
        method: 'get',
        path: `${one}/${LEVEL[below].path}`,
        tag,
        summary: `The ${LEVEL[below].path} of a ${level.toLowerCase()}`,
        query: { expand: flag(true), ...expanded },
        answers: {
          200: {
            description: 'The resources, or their ids',
            type: JSON_TYPE,
            schema: z.array(z.union([ResourceId, Resource[below]])),
          },
        },
      },
      async (context, query) => {
        const { id } = await findOne(services, level, context.req.param('id') ?? '', { idsOnly: true });
        return listOf(
          services,
          { level: below, of: { level, id } },
          { expand: query.expand, requested: query['requested-tags'], format: formatOf(query, 'Simplify') },
        );
      },
    );
  }

  for (const above of LEVELS.slice(0, LEVELS.indexOf(level))) {
    routes.add(
      {
        method: 'get',
        path: `${one}/${above.toLowerCase()}`,
        tag,
        summary: `The ${above.toLowerCase()} of a ${level.toLowerCase()}`,
        query: expanded,
        answers: { 200: { description: 'The resource', type: JSON_TYPE, schema: Resource[above] } },
      },
      async (context, query) => {
        const requested = requestedTags(query['requested-tags'], above);
        const [found] = await services.database.find({
          level: above,
          of: { level, id: checkId(context.req.param('id') ?? '') },
          ...expansionRequest(above, requested),
        });
        if (found === undefined) throw new IsenError('UnknownResource');
        return json(await expand(services, found, formatOf(query, 'Simplify'), requested));
      },
    );
  }
}

/** Adds the routes of this file. */
export function addResources(routes: Routes): void {
  for (const level of LEVELS) addLevel(routes, level);
}
