/** Owns the routes that show or delete many resources, of any level, named in one request. */

import { z } from '@hono/zod-openapi';
import { type FindRequest, type Found, MOST_IDS } from '../database/database.ts';
import { LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { JSON_TYPE, text } from './answers.ts';
import { EXPANDED, expand, expansionRequest, type Part } from './expansion.ts';
import { asObject, jsonBody, objectBody } from './find.ts';
import { formatOf, levelNamed } from './finding.ts';
import { arrayText, begun, mapOrdered, streamText } from './lists.ts';
import { listOf } from './modify.ts';
import { pages } from './resources.ts';
import type { Routes } from './routes.ts';
import { Resource, ResourceId } from './schemas.ts';
import type { Services } from './services.ts';

/** Resources shown side by side. */
const WIDTH = 8;

/** Some ids with their levels, in the order given; those that are unknown are left out. */
async function known(
  services: Services,
  ids: readonly string[],
  shown: (level: Level) => Partial<FindRequest>,
): Promise<Found[]> {
  const byId = new Map<string, Found>();
  for (const level of LEVELS) {
    const rest = ids.filter((id) => !byId.has(id));
    if (rest.length === 0) break;
    for (const found of await services.database.find({ level, ids: rest, ...shown(level) })) byId.set(found.id, found);
  }
  return ids.flatMap((id) => byId.get(id) ?? []);
}

/** Resources by their ids, of any level. */
async function* named(
  services: Services,
  ids: readonly string[],
  parts: ReadonlySet<Part>,
): AsyncGenerator<Found, void> {
  const shown = (level: Level) => expansionRequest(level, undefined, parts);
  for (let at = 0; at < ids.length; at += MOST_IDS) yield* await known(services, ids.slice(at, at + MOST_IDS), shown);
}

/** Every resource of `level` that is above, below or one of the named ones; each once, by public id. */
async function* related(
  services: Services,
  ids: readonly string[],
  level: Level,
  parts: ReadonlySet<Part>,
): AsyncGenerator<Found, void> {
  const all = new Set<string>();
  for (let at = 0; at < ids.length; at += MOST_IDS) {
    for (const of of await known(services, ids.slice(at, at + MOST_IDS), () => ({ idsOnly: true }))) {
      for await (const page of pages(services, { level, of, idsOnly: true }, MOST_IDS)) {
        for (const { id } of page) all.add(id);
      }
    }
  }
  yield* named(services, [...all].sort(), parts);
}

/** A Boolean of a body. Throws BadFileFormat. */
function flagOf(body: Readonly<Record<string, unknown>>, name: string, initial: boolean): boolean {
  const value = body[name] ?? initial;
  if (typeof value !== 'boolean') throw new IsenError('BadFileFormat', `Boolean value expected in field: ${name}`);
  return value;
}

/** Adds the routes of this file. */
export function addBulk(routes: Routes): void {
  const { services } = routes;
  const tag = 'Tools';
  const Resources = z.array(ResourceId);
  routes.add(
    {
      method: 'post',
      path: '/tools/bulk-content',
      tag,
      summary: 'Shows many resources',
      reads: true,
      body: {
        'application/json': z.object({
          Resources,
          Level: z.enum(LEVELS).optional().openapi({ description: 'Shows what is above or below them, at this level' }),
          Metadata: z.boolean().optional().openapi({ description: 'Whether with their metadata (they are)' }),
          Full: z.boolean().optional(),
          Short: z.boolean().optional(),
        }),
      },
      answers: {
        200: {
          description: 'The resources; those that are unknown are left out',
          type: JSON_TYPE,
          schema: z.array(z.union(LEVELS.map((level) => Resource[level]))),
        },
      },
    },
    async (context) => {
      const body = await objectBody(context);
      const ids = listOf(body, 'Resources');
      const format = formatOf(body);
      const parts = flagOf(body, 'Metadata', true) ? new Set<Part>([...EXPANDED, 'Metadata']) : EXPANDED;
      const { Level: name } = body;
      if (name !== undefined && typeof name !== 'string')
        throw new IsenError('BadFileFormat', 'String value expected in field: Level');
      const found = name === undefined ? named(services, ids, parts) : related(services, ids, levelNamed(name), parts);
      const items = mapOrdered(found, WIDTH, async (each) => expand(services, each, format, undefined, parts));
      return new Response(streamText(await begun(arrayText(items))), { headers: { 'Content-Type': JSON_TYPE } });
    },
  );
  routes.add(
    {
      method: 'post',
      path: '/tools/bulk-delete',
      tag,
      summary: 'Deletes many resources; those that are unknown are passed over',
      body: { 'application/json': z.union([z.object({ Resources }), Resources]) },
      writes: true,
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      const body = await jsonBody(context);
      const ids = listOf(Array.isArray(body) ? { Resources: body } : asObject(body), 'Resources');
      for (let at = 0; at < ids.length; at += MOST_IDS) {
        for (const { level, id } of await known(services, ids.slice(at, at + MOST_IDS), () => ({ idsOnly: true }))) {
          try {
            await services.ingest.apply({ kind: 'delete', level, id });
          } catch (thrown) {
            // It went with another one of them.
            if (!(thrown instanceof IsenError && thrown.code === 'UnknownResource')) throw thrown;
          }
        }
      }
      return text('');
    },
  );
}
