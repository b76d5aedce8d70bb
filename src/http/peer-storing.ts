/** Owns the routes that send stored resources, or a file that is not stored, to a peer. */

import { z } from '@hono/zod-openapi';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { IsenError } from '../errors.ts';
import type { Slab } from '../ingest/ingest.ts';
import { type Peer, checkAllowed, peerContent } from '../jobs/peers.ts';
import { type Asked, deliveriesOf, levelsOf, peerStoreKind } from '../jobs/storing.ts';
import { json, text } from './answers.ts';
import { bodyText } from './body.ts';
import { findPeer } from './peers.ts';
import type { Routes } from './routes.ts';
import { ResourceId } from './schemas.ts';
import type { Services } from './services.ts';
import { LONGEST_BODY, readResources } from './storing.ts';
import { receiveBody } from './upload.ts';

/** Bytes of a received file that are read at once. */
const PART = 1 << 20;

const StoreBody = z
  .object({
    Resources: z.array(z.string()),
    Synchronous: z.boolean().optional(),
    Asynchronous: z.boolean().optional(),
    Priority: z.number().int().optional(),
    Permissive: z.boolean().optional(),
    Compress: z.boolean().optional(),
    Transcode: z.string().optional(),
    UserData: z.unknown().optional(),
  })
  .openapi('PeerStore');
type StoreBody = z.output<typeof StoreBody>;

const EXPECTED: Readonly<Record<string, string>> = { boolean: 'Boolean', string: 'String', number: 'Integer' };

function readBody(given: string): StoreBody {
  const parsed = StoreBody.safeParse(readResources(given));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const expected = issue?.code === 'invalid_type' ? EXPECTED[issue.expected] : undefined;
    if (issue === undefined || expected === undefined) throw new IsenError('ParameterOutOfRange');
    throw new IsenError('BadFileFormat', `${expected} value expected in field: ${issue.path.join('.')}`);
  }
  const { Transcode } = parsed.data;
  if (Transcode !== undefined && transferSyntax(Transcode) === undefined)
    throw new IsenError('BadFileFormat', `Unknown transfer syntax UID: ${Transcode}`);
  return parsed.data;
}

/** Bytes of the files of resources, as they are stored. */
async function sizeOf({ database }: Services, resources: readonly Asked[]): Promise<number> {
  let size = 0;
  for (const resource of resources) size += (await database.statistics(resource))?.dicomUncompressedSize ?? 0;
  return size;
}

/** Queues the job of a request. Answers its id. */
async function submit(services: Services, peer: Peer, body: StoreBody, synchronous: boolean): Promise<string> {
  const { config, database, ingest, jobs } = services;
  const { Resources, Compress = false, Transcode, Permissive, Priority = 0, UserData } = body;
  const asked = await levelsOf(database, Resources);
  const size = await sizeOf(services, asked);
  const content = {
    Compress,
    Description: 'REST API',
    FailedInstancesCount: 0,
    InstancesCount: 0,
    ...(Resources.length > 0 && { ParentResources: Resources }),
    ...(Permissive === true && { Permissive: true }),
    Peer: peerContent(peer),
    Size: String(size),
    SizeMB: Math.floor(size / 2 ** 20),
    ...(Transcode !== undefined && { Transcode }),
  };
  const entries = deliveriesOf(database, asked, {
    to: { kind: 'peer', name: peer.name },
    priority: Priority,
    synchronous,
    order: { ...(Transcode !== undefined && { transcode: Transcode }), ...(Compress && { compress: true }) },
  });
  const id = await jobs.deliver({ type: peerStoreKind.type, content, priority: Priority, userData: UserData }, entries);
  if (config.LogExportedResources)
    await ingest.applyAll(asked.map((resource) => ({ kind: 'export', ...resource, remote: peer.name })));
  return id;
}

/** Adds the routes of this file. */
export function addPeerStoring(routes: Routes): void {
  const { services } = routes;
  const tag = 'Peers';

  routes.add(
    {
      method: 'post',
      path: '/peers/{id}/store',
      tag,
      summary: 'Sends resources to a peer',
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
      const peer = await findPeer(services, context.req.param('id') ?? '');
      const body = readBody(await bodyText(context, LONGEST_BODY));
      const synchronous = body.Synchronous ?? !(body.Asynchronous ?? false);
      const id = await submit(services, peer, body, synchronous);
      if (!synchronous) return json({ ID: id, Path: `/jobs/${id}` });
      return json(await services.jobs.wait(id, context.req.raw.signal));
    },
  );
  routes.add(
    {
      method: 'post',
      path: '/peers/{id}/store-straight',
      tag,
      summary: 'Sends a DICOM file to a peer without storing it',
      body: { 'application/dicom': z.string().openapi({ format: 'binary' }) },
      answers: {
        200: { description: 'What the peer answered', type: 'application/json', schema: z.looseObject({}) },
      },
    },
    async (context) => {
      const peer = await findPeer(services, context.req.param('id') ?? '');
      const slab = await services.ingest.receive();
      try {
        await receiveBody(context.env.incoming, slab);
        return text(
          await sendStraight(services, peer, slab, context.req.raw.signal),
          {},
          'application/json; charset=utf-8',
        );
      } finally {
        slab.release();
      }
    },
  );
}

/** Uploads a received file, wherever it is; what the peer answers. Throws NetworkProtocol. */
async function sendStraight(services: Services, peer: Peer, slab: Slab, signal: AbortSignal): Promise<string> {
  const { config, outgoing, storage } = services;
  checkAllowed(peer, config.OutgoingHttpAllowed);
  const spilled = await slab.finish();
  const { head, size } = slab;
  const { status, body } = await outgoing.ask(peer, {
    method: 'POST',
    path: 'instances',
    headers: { 'content-type': 'application/dicom' },
    body: async function* () {
      for (let at = 0; at < size; at += PART) {
        const end = Math.min(at + PART, size);
        yield spilled === undefined ? head.subarray(at, end) : await storage.read(spilled.uuid, { start: at, end });
      }
    },
    size,
    signal,
  });
  if (status !== 200) throw new IsenError('NetworkProtocol', `Cannot send DICOM to remote peer: ${peer.name}`);
  return body;
}
