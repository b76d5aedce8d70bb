/** Owns the routes that take series out of a study and put them into another. */

import { z } from '@hono/zod-openapi';
import { generateUid } from '../dicom/ids.ts';
import { tagName } from '../dicom/dictionary.ts';
import { LEVEL } from '../dicom/levels.ts';
import { type Body, keepsSource } from '../dicom/modification.ts';
import { MODULE } from '../dicom/module.ts';
import { parsePath, tagOf } from '../dicom/path.ts';
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

/** What a split may change: the other attributes belong to series and instances, or are chosen by the split itself. */
const CHANGEABLE: ReadonlySet<string> = new Set(
  [...MODULE.Patient, ...MODULE.Study].filter((tag) => tag !== LEVEL.Study.key),
);

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

/**
 * What a split may replace and remove. Throws BadFileFormat, UnknownDicomTag, and ParameterOutOfRange for attributes that are not
 * those of the patient or the study.
 */
function changesOf(body: Body): Body & { readonly Replace: Body } {
  const { Replace: replace = {}, KeepLabels: keepLabels } = body;
  const remove = body['Remove'] === undefined ? [] : listOf(body, 'Remove');
  if (typeof replace !== 'object' || replace === null || Array.isArray(replace)) throw new IsenError('BadFileFormat');
  for (const name of [...Object.keys(replace), ...remove]) {
    const { steps, tag: last } = parsePath(name);
    const top = steps[0]?.tag ?? last;
    if (!CHANGEABLE.has(top)) {
      const which = `(not in the patient/study modules): ${tagName(top)} (${top})`;
      throw new IsenError('ParameterOutOfRange', `Cannot modify the following tag while splitting a study ${which}`);
    }
  }
  const isPatientId = (name: string): boolean => tagOf(name) === LEVEL.Patient.key;
  return {
    // Without a value it has to be there (PS3.3 §C.7.1.1).
    Replace: { ...(remove.some((name) => !name.includes('.') && isPatientId(name)) && { PatientID: '' }), ...replace },
    Remove: remove.filter((name) => name.includes('.') || !isPatientId(name)),
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
  const replace: Record<string, unknown> = { [LEVEL.Patient.key]: '' };
  const remove: string[] = [];
  for (const level of ['Patient', 'Study'] as const) {
    const request = { format: 'Short', ignoreLength: [...MODULE[level]] } as const;
    const values = JSON.parse(await services.headers.module(file, level, request)) as Record<string, unknown>;
    Object.assign(replace, values);
    remove.push(...[...MODULE[level]].filter((each) => !(each in replace)));
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
        body: { ...changes, Replace: { ...replace, StudyInstanceUID: uid } },
        level: 'Study',
        resources,
        bulk: false,
        keepSource: keepsSource(body, false),
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
      summary: 'Moves studies, or series or instances of others, to a study',
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
        keepSource: keepsSource(body, false),
        about: { TargetStudy: target },
      });
    },
  );
}

/** What is to be merged into `target`. Throws UnknownResource, in the reference's words. */
async function sourceOf(services: Services, target: string, id: string): Promise<Resource> {
  const unknown = new IsenError('UnknownResource', `Cannot find this resource: ${id.slice(0, 64)}`);
  try {
    checkId(id);
  } catch {
    throw unknown;
  }
  for (const level of ['Study', 'Series', 'Instance'] as const) {
    const [study] = await services.database.find({ level: 'Study', of: { level, id }, idsOnly: true });
    if (study === undefined) continue;
    if (study.id !== target) return { level, id };
    const which =
      level === 'Study'
        ? `a study into the same study: ${id}`
        : `${level.toLowerCase()} ${id} into its parent study ${target}`;
    throw new IsenError('UnknownResource', `Cannot merge ${which}`);
  }
  throw unknown;
}

/** Adds the routes of this file. */
export function addSplitMerge(routes: Routes): void {
  addSplit(routes);
  addMerge(routes);
}
