/** Owns the routes that take series out of a study and put them into another. */

import { z } from '@hono/zod-openapi';
import { generateUid } from '../dicom/ids.ts';
import { LEVEL } from '../dicom/levels.ts';
import type { Body } from '../dicom/modification.ts';
import { MODULE } from '../dicom/module.ts';
import { parsePath } from '../dicom/path.ts';
import { IsenError } from '../errors.ts';
import type { Resource } from '../jobs/modify.ts';
import { attachedFile } from './instances.ts';
import { jobFields } from './jobs.ts';
import { beginModification, begun, listOf, objectOf, Paths, Values } from './modify.ts';
import { checkId, findOne } from './resources.ts';
import type { Routes } from './routes.ts';
import { ResourceId } from './schemas.ts';
import type { Services } from './services.ts';

const tag = 'Studies';
const Ids = z.array(ResourceId);

/** Identifiers that a split chooses itself. */
const CHOSEN = ['Study', 'Series', 'Instance'].map((level) => LEVEL[level as 'Study'].key);

/** The resources of a list that a study has. Throws UnknownResource, in the reference's words. */
async function partsOf(services: Services, study: string, level: 'Series' | 'Instance', ids: readonly string[]) {
  const parts: Resource[] = [];
  for (const id of ids) {
    checkId(id);
    const [found] = await services.database.find({ level: 'Study', of: { level, id }, idsOnly: true });
    if (found === undefined) throw new IsenError('UnknownResource');
    if (found.id !== study) {
      const which = `This ${level.toLowerCase()} does not belong to the study to be split: ${id}`;
      throw new IsenError('UnknownResource', which);
    }
    parts.push({ level, id });
  }
  return parts;
}

/** What a split may replace and remove. Throws BadRequest for identifiers that it chooses itself. */
function changesOf(body: Body): Body {
  const { Replace: replace = {}, Remove: remove = [], KeepLabels: keepLabels } = body;
  const names = [
    ...(typeof replace === 'object' && replace !== null ? Object.keys(replace) : []),
    ...(Array.isArray(remove) ? (remove as unknown[]).filter((each) => typeof each === 'string') : []),
  ];
  for (const name of names) {
    const { steps, tag: last } = parsePath(name);
    if (steps.length === 0 && CHOSEN.includes(last))
      throw new IsenError('BadRequest', 'The identifiers of the new study, its series and instances cannot be chosen');
  }
  return {
    Replace: replace,
    Remove: remove,
    // A patient may be chosen freely.
    Force: true,
    ...(keepLabels !== undefined && { KeepLabels: keepLabels }),
  };
}

/** What makes an instance one of a study: the attributes of the patient and the study as one of its instances has them. */
async function likeStudy(services: Services, study: string): Promise<Body> {
  const file = attachedFile(
    await findOne(
      services,
      'Instance',
      (await findOne(services, 'Study', study, { instance: true })).instance?.id ?? '',
    ),
  );
  const replace: Record<string, unknown> = {};
  const remove: string[] = [];
  for (const level of ['Patient', 'Study'] as const) {
    const request = { format: 'Short', ignoreLength: [...MODULE[level]] } as const;
    const values = JSON.parse(await services.headers.module(file, level, request)) as Record<string, unknown>;
    Object.assign(replace, values);
    remove.push(...[...MODULE[level]].filter((each) => !(each in values)));
  }
  return { Replace: replace, Remove: remove, Force: true };
}

function addSplit(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'post',
      path: '/studies/{id}/split',
      tag,
      summary: 'Moves series or instances of a study to a new one',
      body: {
        'application/json': z.object({
          Series: Ids.optional(),
          Instances: Ids.optional(),
          Replace: Values.optional(),
          Remove: Paths.optional(),
          KeepSource: z.boolean().optional(),
          KeepLabels: z.boolean().optional(),
          ...jobFields,
        }),
      },
      writes: true,
      answers: begun,
    },
    async (context) => {
      const { id } = await findOne(services, 'Study', context.req.param('id') ?? '', { idsOnly: true });
      const body = await objectOf(context);
      const series = body['Series'] === undefined ? [] : listOf(body, 'Series');
      const instances = body['Instances'] === undefined ? [] : listOf(body, 'Instances');
      if (series.length + instances.length === 0)
        throw new IsenError('BadRequest', 'Both the "Series" and the "Instances" fields are missing');
      const resources = [
        ...(await partsOf(services, id, 'Series', series)),
        ...(await partsOf(services, id, 'Instance', instances)),
      ];
      const { Replace: replace, ...changes } = changesOf(body);
      const uid = generateUid();
      return beginModification(services, context, body, {
        type: 'SplitStudy',
        body: { ...changes, Replace: { ...(replace as Body), StudyInstanceUID: uid } },
        level: 'Study',
        resources,
        bulk: false,
        keepSource: body['KeepSource'] === true,
        about: { ParentResources: [id], TargetStudyUID: uid },
      });
    },
  );
}

function addMerge(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'post',
      path: '/studies/{id}/merge',
      tag,
      summary: 'Moves series of other studies, or all of them, to a study',
      body: {
        'application/json': z.object({ Resources: Ids, KeepSource: z.boolean().optional(), ...jobFields }),
      },
      writes: true,
      answers: begun,
    },
    async (context) => {
      const { id: target } = await findOne(services, 'Study', context.req.param('id') ?? '', { idsOnly: true });
      const body = await objectOf(context);
      const resources: Resource[] = [];
      for (const id of listOf(body, 'Resources')) resources.push(await sourceOf(services, target, id));
      return beginModification(services, context, body, {
        type: 'MergeStudy',
        body: await likeStudy(services, target),
        level: 'Study',
        resources,
        bulk: false,
        keepSource: body['KeepSource'] === true,
        about: { TargetStudy: target },
      });
    },
  );
}

/** A study or a series to be merged into `target`. Throws UnknownResource, in the reference's words. */
async function sourceOf(services: Services, target: string, id: string): Promise<Resource> {
  const unknown = new IsenError('UnknownResource', `Cannot find this resource: ${id.slice(0, 64)}`);
  try {
    checkId(id);
  } catch {
    throw unknown;
  }
  for (const level of ['Study', 'Series'] as const) {
    const [study] = await services.database.find({ level: 'Study', of: { level, id }, idsOnly: true });
    if (study === undefined) continue;
    if (study.id === target)
      throw new IsenError('UnknownResource', `Cannot merge a ${level.toLowerCase()} into the same study: ${id}`);
    return { level, id };
  }
  throw unknown;
}

/** Adds the routes of this file. */
export function addSplitMerge(routes: Routes): void {
  addSplit(routes);
  addMerge(routes);
}
