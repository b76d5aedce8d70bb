/** Owns the routes that list and change the known peers, and ask one what it is. */

import { z } from '@hono/zod-openapi';
import { IsenError } from '../errors.ts';
import { type Peer, showPeer } from '../jobs/peers.ts';
import { empty, json, text } from './answers.ts';
import { bodyText } from './body.ts';
import { jsonBody } from './modalities.ts';
import { flag, type Routes } from './routes.ts';
import type { Services } from './services.ts';

/** The peer of a URL. Throws UnknownResource. */
export async function findPeer({ peers }: Services, name: string): Promise<Peer> {
  const peer = await peers.get(name);
  if (peer === undefined) throw new IsenError('UnknownResource', `No peer with symbolic name: ${name}`);
  return peer;
}

const shared = {
  Username: z.string().optional(),
  Timeout: z.number().optional(),
  Pkcs11: z.boolean().optional(),
};
const PeerSchema = z.looseObject({ ...shared, Url: z.string(), HttpHeaders: z.array(z.string()) }).openapi('Peer');
const PeerBody = z
  .looseObject({
    ...shared,
    Url: z.string().optional(),
    URL: z.string().optional().openapi({ description: 'Another name of `Url`' }),
    Password: z.string().optional(),
    HttpHeaders: z.record(z.string(), z.string()).optional(),
    CertificateFile: z.string().optional(),
    CertificateKeyFile: z.string().optional(),
    CertificateKeyPassword: z.string().optional(),
  })
  .openapi('NewPeer', { description: 'With the options of its queue (README, Routing)' });

/** Adds the routes of this file. */
export function addPeers(routes: Routes): void {
  const { services } = routes;
  const { peers, outgoing } = services;
  const tag = 'Peers';
  const path = '/peers/{id}';

  routes.add(
    {
      method: 'get',
      path: '/peers',
      tag,
      summary: 'The known peers: other servers with this REST API',
      query: { expand: flag() },
      answers: {
        200: {
          description: 'Their names, or their configurations by name',
          type: 'application/json',
          schema: z.union([z.array(z.string()), z.record(z.string(), PeerSchema)]),
        },
      },
    },
    async (_, { expand }) => {
      const all = await peers.list();
      if (!expand) return json(all.map(({ name }) => name));
      return json(Object.fromEntries(all.map((peer) => [peer.name, showPeer(peer)])));
    },
  );
  routes.add(
    {
      method: 'get',
      path,
      tag,
      summary: 'What can be asked of a peer',
      answers: {
        200: { description: 'Names of routes', type: 'application/json', schema: z.array(z.string()) },
        404: { description: 'There is no such peer' },
      },
    },
    async (context) => {
      if ((await peers.get(context.req.param('id') ?? '')) === undefined) return empty(404);
      return json(['configuration', 'store', 'store-straight', 'system']);
    },
  );
  routes.add(
    {
      method: 'get',
      path: `${path}/configuration`,
      tag,
      summary: 'The configuration of a peer',
      answers: {
        200: { description: 'Without its secrets', type: 'application/json', schema: PeerSchema },
      },
    },
    async (context) => json(showPeer(await findPeer(services, context.req.param('id') ?? ''))),
  );
  routes.add(
    {
      method: 'get',
      path: `${path}/system`,
      tag,
      summary: 'What a peer says that it is',
      answers: { 200: { description: 'Its /system', type: 'application/json', schema: z.looseObject({}) } },
    },
    async (context) => {
      const peer = await findPeer(services, context.req.param('id') ?? '');
      const { status, body } = await outgoing.ask(peer, {
        method: 'GET',
        path: 'system',
        signal: context.req.raw.signal,
      });
      if (status !== 200) throw new IsenError('NetworkProtocol', `the peer answered with HTTP status ${status}`);
      try {
        JSON.parse(body);
      } catch (thrown) {
        throw new IsenError('NetworkProtocol', 'the peer answered something else', { cause: thrown });
      }
      return text(body, {}, 'application/json');
    },
  );
  routes.add(
    {
      method: 'put',
      path,
      tag,
      summary: 'Adds or changes a peer',
      body: { 'application/json': z.union([z.array(z.string()), PeerBody]) },
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      await peers.put(context.req.param('id') ?? '', jsonBody(await bodyText(context)));
      return text('');
    },
  );
  routes.add(
    {
      method: 'delete',
      path,
      tag,
      summary: 'Forgets a peer; what waits for it fails',
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async (context) => {
      const name = context.req.param('id') ?? '';
      if (!(await peers.remove(name))) throw new IsenError('InexistentItem', `Unknown Orthanc peer: ${name}`);
      return text('');
    },
  );
}
