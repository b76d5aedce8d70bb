/** Owns the routes that modify and anonymise: of one instance the file is the answer, of more a job. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { Budget } from '../budget.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import type { Body } from '../dicom/modification.ts';
import { IsenError } from '../errors.ts';
import type { ModificationOrder, Resource } from '../jobs/modify.ts';
import { receptionOf } from './access.ts';
import { bodyText, parseJson } from './body.ts';
import { levelNamed } from './finding.ts';
import { answerJob, jobFields, jobOptions } from './jobs.ts';
import { checkId, findOne } from './resources.ts';
import type { Environment, Routes } from './routes.ts';
import { ResourceId } from './schemas.ts';
import type { Services } from './services.ts';

/** Bytes of a body: it may replace pixels by data URI; that of a job is kept with the job. */
const LARGEST_BODY = 16 << 20;
const LARGEST_JOB = 4 << 20;

/** Bodies of any size that are in memory together. */
const bodies = new Budget(256 << 20);

/** Schema of `Replace`. */
export const Values = z.record(z.string(), z.unknown()).openapi({
  description:
    'Values by keyword, tag, or path into sequences (`Sequence[0].Tag`, `[*]` for every item): a text, a data URI, null, or an array of objects',
});
/** Schema of `Remove` and `Keep`. */
export const Paths = z.array(z.string()).openapi({ description: 'Keywords, tags, or paths into sequences' });

const shared = {
  Replace: Values.optional(),
  Remove: Paths.optional(),
  Keep: Paths.optional(),
  Force: z.boolean().optional().openapi({ description: 'Lets identifiers be replaced, removed or kept' }),
  KeepSource: z.boolean().optional(),
  KeepLabels: z.boolean().optional(),
  PrivateCreator: z.string().optional().openapi({ description: 'Whose dictionary says the VR of private tags' }),
  Transcode: z.string().optional().openapi({ description: 'UID of the transfer syntax of the result' }),
  LossyQuality: z.number().optional(),
};
const SCHEMAS = {
  modify: { ...shared, RemovePrivateTags: z.boolean().optional() },
  anonymize: {
    ...shared,
    KeepPrivateTags: z.boolean().optional(),
    DicomVersion: z.enum(['2008', '2017c', '2021b', '2023b']).optional(),
  },
};
const Begun = z.union([z.object({ ID: z.string(), Path: z.string() }), z.looseObject({ Description: z.string() })]);
/** The answers of such a request. */
export const begun = { 200: { description: 'The job, or what it made', type: 'application/json', schema: Begun } };

type Verb = keyof typeof SCHEMAS;
const VERBS: readonly Verb[] = ['modify', 'anonymize'];

/** The body: a JSON object. Throws BadFileFormat. */
export async function objectOf(context: Context<Environment>, limit = LARGEST_JOB): Promise<Body> {
  const text = await bodyText(context, limit);
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (thrown) {
    throw new IsenError('BadFileFormat', undefined, { cause: thrown });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new IsenError('BadFileFormat');
  return value as Body;
}

/** Ids of a list in the body. Throws BadFileFormat. */
export function listOf(body: Body, name: string): readonly string[] {
  const value = body[name];
  if (!Array.isArray(value) || !value.every((each): each is string => typeof each === 'string'))
    throw new IsenError('BadFileFormat', `List of strings expected in field: ${name}`);
  return value;
}

/** Queues the job that `order` describes and answers it as its body says. */
export async function beginModification(
  services: Services,
  context: Context<Environment>,
  body: Body,
  order: Omit<ModificationOrder, 'permissive' | 'priority' | 'userData' | 'remoteIp' | 'username'>,
): Promise<Response> {
  const { synchronous, ...options } = jobOptions(body, true);
  const { remoteIp, username } = receptionOf(context.env.incoming);
  const id = await services.modifications.submit({ ...order, ...options, remoteIp, username });
  return answerJob(services, context, id, synchronous);
}

/** Adds the routes of this file. */
export function addModify(routes: Routes): void {
  const { services } = routes;
  const { modifications, database } = services;

  const nameFor = async (verb: Verb): Promise<{ patientName?: string }> =>
    verb === 'modify' ? {} : { patientName: await modifications.nextPatientName() };

  for (const verb of VERBS) {
    routes.add(
      {
        method: 'post',
        path: `/instances/{id}/${verb}`,
        tag: 'Instances',
        summary: `The instance, ${verb === 'modify' ? 'modified' : 'anonymised'}; it is not stored`,
        reads: true,
        body: { 'application/json': z.object(SCHEMAS[verb]) },
        answers: { 200: { description: 'The file', type: 'application/dicom' } },
      },
      async (context) => {
        const { id } = await findOne(services, 'Instance', context.req.param('id') ?? '', { idsOnly: true });
        const declared = Number(context.req.header('content-length') ?? LARGEST_BODY);
        const bytes = await bodies.with(Math.min(declared, LARGEST_BODY), async () => {
          const body = await objectOf(context, LARGEST_BODY);
          return modifications.file(id, { body, level: 'Instance', ...(await nameFor(verb)) });
        });
        return new Response(bytes, {
          headers: { 'Content-Type': 'application/dicom', 'Content-Length': String(bytes.length) },
        });
      },
    );
    for (const level of ['Patient', 'Study', 'Series'] as const) {
      routes.add(
        {
          method: 'post',
          path: `/${LEVEL[level].path}/{id}/${verb}`,
          tag: level === 'Patient' ? 'Patients' : level === 'Study' ? 'Studies' : 'Series',
          summary: `Stores a ${verb === 'modify' ? 'modified' : 'anonymised'} copy of a ${level.toLowerCase()}`,
          body: { 'application/json': z.object({ ...SCHEMAS[verb], ...jobFields }) },
          writes: true,
          answers: begun,
        },
        async (context) => {
          const { id } = await findOne(services, level, context.req.param('id') ?? '', { idsOnly: true });
          const body = await objectOf(context);
          return beginModification(services, context, body, {
            type: 'ResourceModification',
            body,
            level,
            resources: [{ level, id }],
            bulk: false,
            ...(await nameFor(verb)),
          });
        },
      );
    }
    routes.add(
      {
        method: 'post',
        path: `/tools/bulk-${verb}`,
        tag: 'Tools',
        summary: `Stores ${verb === 'modify' ? 'modified' : 'anonymised'} copies of resources of any level`,
        body: {
          'application/json': z.object({
            ...SCHEMAS[verb],
            ...jobFields,
            Resources: z.array(ResourceId),
            ...(verb === 'modify' && { Level: z.enum(LEVELS).optional() }),
          }),
        },
        writes: true,
        answers: begun,
      },
      async (context) => {
        const body = await objectOf(context);
        const level = verb === 'modify' ? levelOf(body) : 'Patient';
        const resources: Resource[] = [];
        for (const id of listOf(body, 'Resources')) resources.push(await resourceOf(id));
        return beginModification(services, context, body, {
          type: 'ResourceModification',
          body,
          level,
          resources,
          bulk: true,
          ...(await nameFor(verb)),
        });
      },
    );
  }

  /** The resource of an id of any level. Throws UnknownResource. */
  const resourceOf = async (id: string): Promise<Resource> => {
    checkId(id);
    for (const level of LEVELS) {
      const [found] = await database.find({ level, id, idsOnly: true });
      if (found !== undefined) return { level, id };
    }
    throw new IsenError('UnknownResource');
  };
}

/** The level of a bulk modification. Throws ParameterOutOfRange. */
function levelOf(body: Body): Level {
  const { Level: name = 'Instance' } = body;
  if (typeof name !== 'string') throw new IsenError('ParameterOutOfRange');
  return levelNamed(name);
}
