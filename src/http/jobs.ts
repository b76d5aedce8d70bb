/** Owns the routes of jobs, and how a request answers that begins one: at once, or when it has ended. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { ERRORS, IsenError } from '../errors.ts';
import { JOB_STATES, type Job, type JobState, preciseNow } from '../jobs/job.ts';
import type { JobsRequest } from '../jobs/jobs.ts';
import { empty, emptyObject, json, JSON_TYPE, text } from './answers.ts';
import { disposition, sendFile } from './files.ts';
import { arrayText, begun, streamText } from './lists.ts';
import { type Environment, flag, LenientNumber, type Routes, Text } from './routes.ts';
import type { Services } from './services.ts';

const STATES = Object.values(JOB_STATES);

const JobSchema = z
  .object({
    CompletionTime: z.string().optional(),
    Content: z.looseObject({}),
    CreationTime: z.string(),
    EffectiveRuntime: z.number().openapi({ description: 'Seconds' }),
    ErrorCode: z.number(),
    ErrorDescription: z.string(),
    ErrorDetails: z.string(),
    EstimatedTimeOfArrival: z.string().optional(),
    ID: z.string(),
    Priority: z.number(),
    Progress: z.number().openapi({ description: 'Per cent' }),
    State: z.enum(['Pending', 'Running', 'Success', 'Failure', 'Paused', 'Retry']),
    Timestamp: z.string().openapi({ description: 'When this was said' }),
    Type: z.string(),
    UserData: z.unknown().optional(),
  })
  .openapi('Job');

/** `YYYYMMDDTHHMMSS.ffffff` in UTC, of milliseconds since the epoch with their fraction. */
function preciseTimestamp(milliseconds: number): string {
  const seconds = new Date(milliseconds).toISOString().slice(0, 19).replace(/[-:]/g, '');
  const micro = Math.floor((milliseconds % 1000) * 1000);
  return `${seconds}.${String(micro).padStart(6, '0')}`;
}

/** From which progress on an end is foretold. */
const FORETOLD = 0.01;

/** A job as the REST API shows it. */
export function showJob(job: Job): z.output<typeof JobSchema> {
  const { state, error, progress, runtime, completed } = job;
  const now = preciseNow();
  // The details of an earlier failure stay while the job runs again, as in the reference.
  const failure = state === 'Success' || state === 'Running' ? undefined : error && ERRORS[error.code];
  const ended = state === 'Success' || state === 'Failure';
  return {
    ...(completed !== undefined && { CompletionTime: preciseTimestamp(completed) }),
    Content: { ...job.content },
    CreationTime: preciseTimestamp(job.created),
    EffectiveRuntime: Math.round(runtime) / 1000,
    ErrorCode: failure?.orthanc ?? 0,
    ErrorDescription: failure?.message ?? 'Success',
    ErrorDetails: error?.details ?? '',
    ...(!ended &&
      progress > FORETOLD && { EstimatedTimeOfArrival: preciseTimestamp(now + (runtime * (1 - progress)) / progress) }),
    ID: job.id,
    Priority: job.priority,
    Progress: Math.round(progress * 100),
    State: state,
    Timestamp: preciseTimestamp(now),
    Type: job.type,
    ...(job.userData !== undefined && { UserData: job.userData }),
  };
}

/** What the body of every request that begins a job may say. */
export const jobFields = {
  Synchronous: z.boolean().optional(),
  Asynchronous: z.boolean().optional(),
  Permissive: z.boolean().optional(),
  Priority: z.number().optional(),
  UserData: z.unknown().optional(),
};
/** The same, read. */
export interface JobOptions {
  readonly synchronous: boolean;
  readonly priority: number;
  readonly permissive: boolean;
  readonly userData?: unknown;
}

/**
 * Reads `Synchronous` or `Asynchronous`, `Priority`, `Permissive` and `UserData` of a body. Throws BadFileFormat for one of
 * another type.
 */
export function jobOptions(body: Readonly<Record<string, unknown>>, synchronous: boolean): JobOptions {
  const boolean = (name: string): boolean | undefined => {
    const value = body[name];
    if (value === undefined || typeof value === 'boolean') return value;
    throw new IsenError('BadFileFormat', `Boolean value expected in field: ${name}`);
  };
  const asynchronous = boolean('Asynchronous');
  const { Priority: priority = 0, UserData: userData } = body;
  if (typeof priority !== 'number' || !Number.isSafeInteger(priority))
    throw new IsenError('BadFileFormat', 'Integer value expected in field: Priority');
  return {
    synchronous: boolean('Synchronous') ?? (asynchronous === undefined ? synchronous : !asynchronous),
    priority,
    permissive: boolean('Permissive') ?? false,
    ...(userData !== undefined && { userData }),
  };
}

/** Aborts when the client of a request has left before its answer. */
export function clientLeft(outgoing: Environment['Bindings']['outgoing']): AbortSignal {
  const aborter = new AbortController();
  outgoing.once('close', () => aborter.abort());
  return aborter.signal;
}

/**
 * The answer of a request that has just begun a job: where it is to be found, or (`synchronous`) its content once it has ended
 * with success. Throws the error of one that failed. A client that leaves ends the waiting only.
 */
export async function answerJob(
  services: Services,
  context: Context<Environment>,
  id: string,
  synchronous: boolean,
): Promise<Response> {
  if (!synchronous) return json({ ID: id, Path: `/jobs/${id}` });
  return json(await services.jobs.wait(id, clientLeft(context.env.outgoing)));
}

/** The filters of the query. Throws ParameterOutOfRange for a state that is none. */
function filtersOf(query: {
  state: string | undefined;
  type: string | undefined;
  since: string | undefined;
  limit: number | undefined;
}): JobsRequest {
  const states = query.state?.split(/[,;]/).map((name): JobState => {
    const state = STATES.find((each) => each === name);
    if (state === undefined) throw new IsenError('ParameterOutOfRange', `Invalid state of a job: ${name}`);
    return state;
  });
  return {
    ...(states && { states }),
    ...(query.type !== undefined && { type: query.type }),
    ...(query.since !== undefined && { since: query.since }),
    ...(query.limit !== undefined && { limit: Math.max(0, query.limit) }),
  };
}

async function* each<Item, Result>(items: AsyncIterable<Item>, show: (item: Item) => Result): AsyncGenerator<Result> {
  for await (const item of items) yield show(item);
}

const ACTIONS = {
  cancel: 'Cancels a job that has not ended',
  pause: 'Pauses a job',
  resume: 'Lets a paused job go on',
  resubmit: 'Lets a failed job begin again',
} as const;

/** Adds the routes of this file. */
export function addJobs(routes: Routes): void {
  const { services } = routes;
  const tag = 'Jobs';
  const done = { 200: { description: 'Done', type: 'text/plain' } };
  const id = (context: Context<Environment>): string => context.req.param('id') ?? '';
  routes.add(
    {
      method: 'get',
      path: '/jobs',
      tag,
      summary: 'The jobs, in order of submission: their ids, or (`expand`) all about them',
      query: {
        expand: flag(),
        state: Text.openapi({ description: 'Only jobs in one of these states, separated by commas' }),
        type: Text.openapi({ description: 'Only jobs of this type' }),
        since: Text.openapi({ description: 'Only jobs submitted after the one with this id' }),
        limit: LenientNumber,
      },
      answers: {
        200: {
          description: 'Ids, or jobs',
          type: 'application/json',
          schema: z.union([z.array(z.string()), z.array(JobSchema)]),
        },
      },
    },
    async (_, { expand, ...query }) => {
      const filters = filtersOf(query);
      if (filters.since !== undefined && (await services.jobs.get(filters.since)) === undefined)
        throw new IsenError('InexistentItem', `No job found with this id: ${filters.since}`);
      const jobs = services.jobs.list(filters);
      const items: AsyncIterable<unknown> = each(jobs, (job) => (expand ? showJob(job) : job.id));
      return new Response(streamText(await begun(arrayText(items))), { headers: { 'Content-Type': JSON_TYPE } });
    },
  );
  routes.add(
    {
      method: 'get',
      path: '/jobs/{id}',
      tag,
      summary: 'A job',
      answers: {
        200: { description: 'All about it', type: 'application/json', schema: JobSchema },
        404: { description: 'There is none' },
      },
    },
    async (context) => {
      const job = await services.jobs.get(id(context));
      return job === undefined ? empty(404) : json(showJob(job));
    },
  );
  routes.add(
    {
      method: 'delete',
      path: '/jobs/{id}',
      tag,
      summary: 'Forgets a job that has ended, and its outputs',
      answers: done,
    },
    async (context) => {
      await services.jobs.remove(id(context));
      return text('');
    },
  );
  for (const action of Object.keys(ACTIONS) as (keyof typeof ACTIONS)[]) {
    routes.add(
      {
        method: 'post',
        path: `/jobs/{id}/${action}`,
        tag,
        summary: ACTIONS[action],
        answers: {
          200: { description: 'Done', type: 'application/json', schema: z.object({}) },
          400: { description: 'There is no such job, or its state is another' },
        },
      },
      async (context) => {
        try {
          await services.jobs[action](id(context));
        } catch (thrown) {
          if (thrown instanceof IsenError && thrown.code === 'BadRequest') return empty(400);
          throw thrown;
        }
        return emptyObject();
      },
    );
  }
  routes.add(
    {
      method: 'get',
      path: '/jobs/{id}/{key}',
      tag,
      summary: 'An output of a job that has succeeded, such as its `archive`',
      headers: { range: 'Bytes of it' },
      answers: { 200: { description: 'The file', type: '*/*' } },
    },
    async (context) => {
      const { uuid, type, filename } = await services.jobs.output(id(context), context.req.param('key') ?? '');
      const size = await services.storage.size(uuid);
      const file = { uuid, contentType: 0, compression: 'none', uncompressedSize: size, compressedSize: size } as const;
      const attachment = { ...file, uncompressedMD5: '', compressedMD5: '' };
      return sendFile(context, services.storage, attachment, {
        'Content-Type': type,
        'Content-Disposition': disposition(filename),
      });
    },
  );
  routes.add(
    { method: 'delete', path: '/jobs/{id}/{key}', tag, summary: 'Removes an output of a job', answers: done },
    async (context) => {
      await services.jobs.removeOutput(id(context), context.req.param('key') ?? '');
      return text('');
    },
  );
}
