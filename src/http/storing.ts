/** Owns the routes that send stored resources, or a file that is not stored, to a modality. */

import { z } from '@hono/zod-openapi';
import { readFile } from '../dicom/read.ts';
import { valueOf } from '../dicom/value.ts';
import { generateUid } from '../dicom/ids.ts';
import { IsenError } from '../errors.ts';
import type { CommittingState } from '../jobs/committing.ts';
import { deliveriesOf, levelsOf, storeKind } from '../jobs/storing.ts';
import { ContextSet } from '../scu/contexts.ts';
import { localAetOf } from '../scu/dial.ts';
import type { Modality } from '../scu/modality.ts';
import { type Outgoing, StoreSender } from '../scu/send.ts';
import type { Slab } from '../ingest/ingest.ts';
import { json } from './answers.ts';
import { bodyText, parseJson } from './body.ts';
import { findModality } from './modalities.ts';
import type { Routes } from './routes.ts';
import { ResourceId } from './schemas.ts';
import type { Services } from './services.ts';
import { receiveBody } from './upload.ts';

/** Bytes of a list of ids. */
export const LONGEST_BODY = 64 * 1024 * 1024;

const PUBLIC_ID = /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/;

const StoreBody = z
  .object({
    Resources: z.array(z.string()),
    Synchronous: z.boolean().optional(),
    Asynchronous: z.boolean().optional(),
    Priority: z.number().int().optional(),
    Permissive: z.boolean().optional(),
    LocalAet: z.string().optional(),
    CalledAet: z.string().optional(),
    Host: z.string().optional(),
    Port: z.number().int().min(1).max(65_534).optional(),
    MoveOriginatorAet: z.string().optional(),
    MoveOriginatorID: z.number().int().min(0).max(65_535).optional(),
    StorageCommitment: z.boolean().optional(),
    Timeout: z.number().int().min(0).max(86_400).optional(),
    UserData: z.unknown().optional(),
  })
  .openapi('Store');
type StoreBody = z.output<typeof StoreBody>;

const badFormat = (details: string): IsenError => new IsenError('BadFileFormat', details);

/** The fields of a body: one id as text or as JSON text, a list of them, or an object with `Resources`. Throws as the reference does. */
export function readResources(
  text: string,
): Readonly<Record<string, unknown>> & { readonly Resources: readonly string[] } {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    value = PUBLIC_ID.test(text.trim()) ? text.trim() : undefined;
  }
  if (typeof value === 'string') value = [value];
  if (typeof value !== 'object' || value === null) throw badFormat('Must provide a JSON value');
  const body: Readonly<Record<string, unknown>> = Array.isArray(value)
    ? { Resources: value as unknown[] }
    : (value as Record<string, unknown>);
  const { Resources } = body;
  if (Resources === undefined) throw badFormat('Missing field in JSON: "Resources"');
  if (!Array.isArray(Resources)) throw badFormat('JSON field "Resources" must contain an array');
  for (const id of Resources as readonly unknown[]) {
    if (typeof id !== 'string')
      throw badFormat('Resources to be exported must be specified as a JSON array of strings');
    if (!PUBLIC_ID.test(id)) throw badFormat(`This string is not a valid Orthanc identifier: ${id}`);
  }
  return { ...body, Resources: Resources as string[] };
}

function readBody(text: string): StoreBody {
  const body = readResources(text);
  const parsed = StoreBody.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new IsenError(issue?.code === 'invalid_type' ? 'BadParameterType' : 'ParameterOutOfRange');
}

/** Queues the job of a request. Answers its id. */
async function submit(services: Services, modality: Modality, body: StoreBody, synchronous: boolean): Promise<string> {
  const { config, database, ingest, jobs } = services;
  const asked = await levelsOf(database, body.Resources);
  const { LocalAet, CalledAet, Host, Port, Timeout, MoveOriginatorAet, MoveOriginatorID } = body;
  const originator =
    MoveOriginatorAet === undefined ? undefined : { aet: MoveOriginatorAet, messageId: MoveOriginatorID ?? 0 };
  const transactionUid = body.StorageCommitment === true ? generateUid() : undefined;
  const content = {
    Description: 'REST API',
    FailedInstancesCount: 0,
    InstancesCount: 0,
    LocalAet: localAetOf(modality, config.DicomAet, LocalAet),
    ...(originator && { MoveOriginatorAET: originator.aet, MoveOriginatorID: originator.messageId }),
    ...(body.Resources.length > 0 && { ParentResources: body.Resources }),
    ...(body.Permissive === true && { Permissive: true }),
    RemoteAet: CalledAet ?? modality.aet,
    ...(transactionUid !== undefined && { StorageCommitmentTransactionUID: transactionUid }),
  };
  const address = {
    ...(LocalAet !== undefined && { localAet: LocalAet }),
    ...(CalledAet !== undefined && CalledAet !== modality.aet && { calledAet: CalledAet }),
    ...(Host !== undefined && Host !== modality.host && { host: Host }),
    ...(Port !== undefined && Port !== modality.port && { port: Port }),
    ...(Timeout !== undefined && { timeout: Timeout }),
  };
  const entries = deliveriesOf(database, asked, {
    to: { kind: 'modality', name: modality.name },
    priority: body.Priority ?? 0,
    synchronous,
    order: { ...address, ...(originator && { originator }) },
  });
  const state: CommittingState | undefined =
    transactionUid === undefined ? undefined : { commitment: { modality: modality.name, transactionUid, ...address } };
  const id = await jobs.deliver(
    { type: storeKind.type, content, priority: body.Priority ?? 0, userData: body.UserData, ...(state && { state }) },
    entries,
  );
  if (config.LogExportedResources)
    await ingest.applyAll(asked.map((resource) => ({ kind: 'export', ...resource, remote: modality.name })));
  return id;
}

/** Adds the routes of this file. */
export function addStoring(routes: Routes): void {
  const { services } = routes;
  const tag = 'Modalities';

  routes.add(
    {
      method: 'post',
      path: '/modalities/{id}/store',
      tag,
      summary: 'Sends resources to a modality',
      body: { 'application/json': z.union([StoreBody, z.array(ResourceId), ResourceId]), 'text/plain': ResourceId },
      answers: {
        200: {
          description: 'The ended job, or (asynchronous) which one it is',
          type: 'application/json',
          schema: z.looseObject({ ID: z.string().optional(), Path: z.string().optional() }),
        },
      },
    },
    async (context) => {
      const modality = await findModality(services, context.req.param('id') ?? '');
      const body = readBody(await bodyText(context, LONGEST_BODY));
      const synchronous = body.Synchronous ?? !(body.Asynchronous ?? false);
      const id = await submit(services, modality, body, synchronous);
      if (!synchronous) return json({ ID: id, Path: `/jobs/${id}` });
      return json(await services.jobs.wait(id, context.req.raw.signal));
    },
  );
  routes.add(
    {
      method: 'post',
      path: '/modalities/{id}/store-straight',
      tag,
      summary: 'Sends a DICOM file to a modality without storing it',
      body: { 'application/dicom': z.string().openapi({ format: 'binary' }) },
      answers: {
        200: {
          description: 'What was sent',
          type: 'application/json',
          schema: z.object({ SOPClassUID: z.string(), SOPInstanceUID: z.string() }),
        },
      },
    },
    async (context) => {
      const modality = await findModality(services, context.req.param('id') ?? '');
      const slab = await services.ingest.receive();
      try {
        await receiveBody(context.env.incoming, slab);
        const outgoing = await outgoingOf(services, slab);
        await sendStraight(services, modality, outgoing);
        return json({ SOPClassUID: outgoing.sopClassUid, SOPInstanceUID: outgoing.sopInstanceUid });
      } finally {
        slab.release();
      }
    },
  );
}

const UIDS: ReadonlySet<number> = new Set([0x00080016, 0x00080018]);

/** A received file, wherever it is. Throws BadFileFormat. */
async function outgoingOf({ storage }: Services, slab: Slab): Promise<Outgoing> {
  const spilled = await slab.finish();
  const { head, size } = slab;
  const { dataSet, transferSyntax } = readFile(head, { only: UIDS, size, cut: true });
  const uid = (tag: string): string => {
    const element = dataSet.elements.get(tag);
    const value = element === undefined ? '' : (valueOf(dataSet, element) ?? '').trim();
    if (value === '') throw badFormat(`Cannot parse an invalid DICOM file (size: ${size} bytes)`);
    return value;
  };
  return {
    sopClassUid: uid('0008,0016'),
    sopInstanceUid: uid('0008,0018'),
    transferSyntax,
    size,
    read: async (start, end) =>
      spilled === undefined ? head.subarray(start, end) : storage.read(spilled.uuid, { start, end }),
    transcode: () => Promise.reject(new IsenError('NotImplemented')),
  };
}

async function sendStraight({ dial }: Services, modality: Modality, outgoing: Outgoing): Promise<void> {
  const contexts = new ContextSet([]);
  contexts.add(outgoing);
  const association = await dial(modality, contexts.proposals());
  try {
    const sender = new StoreSender(association, []);
    const { error } = await sender.send(await sender.prepare(outgoing));
    if (error !== undefined) throw error;
  } finally {
    await association.release();
  }
}
