/** Owns the routes that list and change the known modalities. */

import { z } from '@hono/zod-openapi';
import { IsenError } from '../errors.ts';
import { describeModality } from '../scu/modalities.ts';
import type { Modality } from '../scu/modality.ts';
import { empty, json, text } from './answers.ts';
import { bodyText, parseJson } from './body.ts';
import { flag, type Routes } from './routes.ts';
import type { Services } from './services.ts';

/** The modality of a URL. Throws InexistentItem. */
export async function findModality({ modalities }: Services, name: string): Promise<Modality> {
  const modality = await modalities.get(name);
  if (modality === undefined) throw new IsenError('InexistentItem', `No modality with symbolic name: ${name}`);
  return modality;
}

const ModalitySchema = z
  .looseObject({
    AET: z.string(),
    Host: z.string(),
    Port: z.number(),
    Manufacturer: z.string().optional(),
    LocalAet: z.string().optional(),
    Timeout: z.number().optional(),
    RetrieveMethod: z.enum(['C-MOVE', 'C-GET', 'SystemDefault']).optional(),
    UseDicomTls: z.boolean().optional(),
    AllowEcho: z.boolean().optional(),
    AllowFind: z.boolean().optional(),
    AllowFindWorklist: z.boolean().optional(),
    AllowGet: z.boolean().optional(),
    AllowMove: z.boolean().optional(),
    AllowStore: z.boolean().optional(),
    AllowStorageCommitment: z.boolean().optional(),
    AllowTranscoding: z.boolean().optional(),
  })
  .openapi('Modality', { description: 'With the options of its queue (README, Routing)' });

/** Adds the routes of this file. */
export function addModalities(routes: Routes): void {
  const { services } = routes;
  const { modalities } = services;
  const tag = 'Modalities';
  const path = '/modalities/{id}';

  routes.add(
    {
      method: 'get',
      path: '/modalities',
      tag,
      summary: 'The known modalities',
      query: { expand: flag() },
      answers: {
        200: {
          description: 'Their names, or their configurations by name',
          type: 'application/json',
          schema: z.union([z.array(z.string()), z.record(z.string(), ModalitySchema)]),
        },
      },
    },
    async (_, { expand }) => {
      const all = await modalities.list();
      if (!expand) return json(all.map(({ name }) => name));
      return json(Object.fromEntries(all.map((modality) => [modality.name, describeModality(modality)])));
    },
  );
  routes.add(
    {
      method: 'get',
      path,
      tag,
      summary: 'What can be asked of a modality',
      answers: {
        200: { description: 'Names of routes', type: 'application/json', schema: z.array(z.string()) },
        404: { description: 'There is no such modality' },
      },
    },
    async (context) => {
      if ((await modalities.get(context.req.param('id') ?? '')) === undefined) return empty(404);
      const below = `${path}/`;
      // The queue is ours: clients of the reference's list know what it lists.
      const names = routes.registered.flatMap((each) => {
        const [, route = ''] = each.split(' ');
        const name = route.startsWith(below) ? route.slice(below.length) : '';
        return name === '' || name.startsWith('queue') ? [] : [name];
      });
      return json([...new Set(names)].sort());
    },
  );
  routes.add(
    {
      method: 'get',
      path: `${path}/configuration`,
      tag,
      summary: 'The configuration of a modality',
      answers: {
        200: {
          description: 'As PUT takes it; of the options of its queue those that are not the default',
          type: 'application/json',
          schema: ModalitySchema,
        },
      },
    },
    async (context) => json(describeModality(await findModality(services, context.req.param('id') ?? ''))),
  );
  routes.add(
    {
      method: 'put',
      path,
      tag,
      summary: 'Adds or changes a modality',
      body: { 'application/json': z.union([z.array(z.unknown()), ModalitySchema]) },
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      await modalities.put(context.req.param('id') ?? '', jsonBody(await bodyText(context)));
      return text('');
    },
  );
  routes.add(
    {
      method: 'delete',
      path,
      tag,
      summary: 'Forgets a modality; what waits for it fails',
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      const name = context.req.param('id') ?? '';
      if (!(await modalities.remove(name)))
        throw new IsenError('InexistentItem', `Unknown DICOM modality with symbolic name: ${name}`);
      return text('');
    },
  );
}

/** What a body says, for whoever has an own opinion of what is wrong with it. Throws BadFileFormat for what is not JSON. */
export function jsonBody(body: string): unknown {
  try {
    return parseJson(body);
  } catch (thrown) {
    throw new IsenError('BadFileFormat', undefined, { cause: thrown });
  }
}
