/** Owns the requests that retrieve from a modality: what their bodies say, and the jobs that they become. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type Identifier, identifierFromJson, identifierJson } from '../dicom/identifier.ts';
import type { TagsFormat } from '../dicom/json.ts';
import type { Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import type { StoredQuery } from '../jobs/queries.ts';
import { levelNamed, retrieveKeys, shownKeys } from '../jobs/retrieval.ts';
import type { RetrieveState } from '../jobs/retrieve.ts';
import { localAetOf } from '../scu/dial.ts';
import type { FindAnswer } from '../scu/find.ts';
import type { Modality } from '../scu/modality.ts';
import { bodyText, parseJson } from './body.ts';
import { answerJob, jobFields, jobOptions } from './jobs.ts';
import { findModality } from './modalities.ts';
import { textField } from './querying.ts';
import type { Environment, Routes } from './routes.ts';
import { Dataset } from './schemas.ts';
import type { Services } from './services.ts';

type Body = Readonly<Record<string, unknown>>;

/** What a body of a retrieval says besides what is retrieved. */
interface Wanted {
  readonly targetAet: string | undefined;
  readonly timeout: number | undefined;
  readonly format: TagsFormat;
  readonly method: 'C-MOVE' | 'C-GET' | 'SystemDefault' | undefined;
}

/** A body that is JSON, or the AE title of the target. */
function readBody(body: string): Body {
  const plain = body.trim();
  if (plain === '') return {};
  let value: unknown;
  try {
    value = parseJson(plain);
  } catch {
    return { TargetAet: plain };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new IsenError('BadParameterType');
  return value as Body;
}

/** A field of one type, or undefined. Throws BadParameterType. */
function field<Type extends 'string' | 'boolean' | 'number'>(
  body: Body,
  name: string,
  type: Type,
): (Type extends 'string' ? string : Type extends 'boolean' ? boolean : number) | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== type) throw new IsenError('BadParameterType');
  return value as never;
}

const METHODS = ['C-MOVE', 'C-GET', 'SystemDefault'] as const;

/** What may be said when answers of a query are retrieved. */
export const RetrieveBody = z
  .object({
    TargetAet: z.string().optional(),
    RetrieveMethod: z.enum(METHODS).optional(),
    Timeout: z.int().optional(),
    Full: z.boolean().optional(),
    Simplify: z.boolean().optional(),
    ...jobFields,
  })
  .openapi('Retrieve');

function wantedBy(body: Body): Wanted {
  const method = field(body, 'RetrieveMethod', 'string');
  const known = METHODS.find((each) => each === method);
  if (method !== undefined && known === undefined) throw new IsenError('ParameterOutOfRange');
  const timeout = field(body, 'Timeout', 'number');
  if (timeout !== undefined && !(Number.isInteger(timeout) && timeout >= 0 && timeout <= 86_400)) {
    throw new IsenError('ParameterOutOfRange');
  }
  const full = field(body, 'Full', 'boolean') === true;
  const simplify = field(body, 'Simplify', 'boolean') === true;
  return {
    targetAet: field(body, 'TargetAet', 'string') || undefined,
    timeout,
    format: simplify ? 'Simplify' : full ? 'Full' : 'Short',
    method: known,
  };
}

/** What is retrieved from where. */
interface Retrieval {
  readonly modality: Modality;
  readonly level: Level;
  readonly found: readonly Identifier[];
  readonly method: 'C-MOVE' | 'C-GET';
  readonly targetAet: string | undefined;
  readonly timeout: number | undefined;
  readonly localAet: string | undefined;
  readonly format: TagsFormat;
}

/** Makes it a job. Throws BadRequest where a resource lacks what identifies it. */
async function submit(
  services: Services,
  context: Context<Environment>,
  body: Body,
  retrieval: Retrieval,
): Promise<Response> {
  const { modality, level, found, method, timeout, localAet, format } = retrieval;
  const own = localAetOf(modality, services.config.DicomAet, localAet);
  const targetAet = retrieval.targetAet ?? own;
  for (const each of found) retrieveKeys(level, each);
  const { synchronous, priority, permissive, userData } = jobOptions(body, true);
  const state: RetrieveState = {
    modality: modality.name,
    targetAet,
    permissive,
    level,
    resources: found.map((each) =>
      shownKeys(level, each).flatMap(({ tag, vr, value }) => (typeof value === 'string' ? [{ tag, vr, value }] : [])),
    ),
    done: 0,
    ...(timeout !== undefined && { timeout }),
    ...(localAet !== undefined && { localAet }),
  };
  const content = {
    Description: 'REST API',
    LocalAet: own,
    Query: state.resources.map((keys) => identifierJson(keys, format)),
    RemoteAet: modality.aet,
    ...(method === 'C-MOVE' && { TargetAet: targetAet }),
  };
  const type = method === 'C-MOVE' ? 'DicomMoveScu' : 'DicomGetScu';
  const id = await services.jobs.submit({ type, content, state, priority, userData });
  return answerJob(services, context, id, synchronous);
}

/** Retrieves answers of a remembered query. */
export async function retrieveAnswers(
  services: Services,
  context: Context<Environment>,
  query: StoredQuery,
  answers: readonly FindAnswer[],
): Promise<Response> {
  const body = readBody(await bodyText(context));
  const { method, timeout, ...wanted } = wantedBy(body);
  const modality = await findModality(services, query.modality);
  const chosen = method === undefined || method === 'SystemDefault' ? modality.retrieveMethod : method;
  return submit(services, context, body, {
    ...wanted,
    modality,
    level: query.level,
    found: answers.map(({ identifier }) => identifier),
    method: chosen === 'SystemDefault' ? services.config.DicomDefaultRetrieveMethod : chosen,
    timeout: timeout ?? query.timeout,
    localAet: query.localAet,
  });
}

const MISSING = 'Must provide a JSON body containing fields Resources and Level';

/** Retrieves the resources that a body names by their identifiers. Throws BadFileFormat. */
async function retrieveNamed(
  services: Services,
  context: Context<Environment>,
  method: 'C-MOVE' | 'C-GET',
): Promise<Response> {
  let body: Body;
  try {
    body = readBody(await bodyText(context));
  } catch (thrown) {
    throw new IsenError('BadFileFormat', MISSING, { cause: thrown });
  }
  const { Resources, Level: levelName } = body;
  if (!Array.isArray(Resources) || typeof levelName !== 'string') throw new IsenError('BadFileFormat', MISSING);
  const level = levelNamed(levelName);
  const found = Resources.map((each: unknown): Identifier => {
    const identifier = identifierFromJson(each);
    if (identifier === undefined) throw new IsenError('BadFileFormat');
    return identifier;
  });
  const { targetAet, timeout } = wantedBy(body);
  const modality = await findModality(services, context.req.param('id') ?? '');
  const localAet = textField(body, 'LocalAet');
  return submit(services, context, body, {
    modality,
    level,
    found,
    method,
    targetAet,
    timeout,
    localAet,
    format: 'Short',
  });
}

/** Adds the routes of this file. */
export function addRetrievals(routes: Routes): void {
  const { services } = routes;
  for (const [name, method] of [
    ['move', 'C-MOVE'],
    ['get', 'C-GET'],
  ] as const) {
    routes.add(
      {
        method: 'post',
        path: `/modalities/{id}/${name}`,
        tag: 'Modalities',
        summary: `Retrieves patients, studies, series or instances from a modality (${method})`,
        body: {
          'application/json': z.object({
            Level: z.string(),
            Resources: z.array(Dataset),
            LocalAet: z.string().optional(),
            ...(method === 'C-MOVE' && { TargetAet: z.string().optional() }),
            Timeout: z.number().optional(),
            ...jobFields,
          }),
        },
        answers: { 200: { description: 'The job, or what it did', type: 'application/json', schema: Dataset } },
      },
      (context) => retrieveNamed(services, context, method),
    );
  }
}
