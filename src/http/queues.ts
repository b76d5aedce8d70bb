/** Owns the routes of the queues of modalities, peers and webhooks: what waits for one of them, and what can be done about it. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { DESTINATION_KINDS, type Destination, type DestinationKind, type Order, orderOf } from '../jobs/order.ts';
import type { Entry } from '../jobs/queue.ts';
import type { QueueStatus } from '../jobs/store.ts';
import { json } from './answers.ts';
import { findModality } from './modalities.ts';
import { findPeer } from './peers.ts';
import { type Environment, LenientNumber, type Routes } from './routes.ts';
import type { Services } from './services.ts';
import { findWebhook } from './webhooks.ts';

/** Entries shown at once. */
const DEFAULT_LIMIT = 100;
const MAXIMUM_LIMIT = 10_000;

const EntrySchema = z
  .object({
    Seq: z.number(),
    Instance: z.string().optional(),
    Change: z.object({ ChangeType: z.string(), ID: z.string(), ResourceType: z.string(), Seq: z.number() }).optional(),
    Route: z.string().optional(),
    Job: z.string().optional(),
    State: z.string(),
    Attempts: z.number(),
    Added: z.string(),
    Due: z.string().optional(),
    Reason: z.string(),
  })
  .openapi('QueueEntry');

const counts = {
  Paused: z.boolean(),
  Waiting: z.number(),
  Active: z.number(),
  Retrying: z.number(),
  Held: z.number(),
  Failed: z.number(),
  OldestAge: z.number().nullable(),
  Rate: z.number(),
  Associations: z.number(),
  NextAttempt: z.string().nullable(),
  LastError: z.string(),
};

const QueueSchema = z
  .object({ ...counts, Entries: z.array(EntrySchema), Last: z.number(), Done: z.boolean() })
  .openapi('Queue');

const QueueStatusSchema = z
  .object({ Kind: z.enum(DESTINATION_KINDS), Name: z.string(), Known: z.boolean(), ...counts })
  .openapi('QueueStatus');

const timeText = (milliseconds: number): string => new Date(milliseconds).toISOString();

const changeOf = ({ type, id, level, seq }: NonNullable<Order['change']>) => ({
  ChangeType: type,
  ID: id,
  ResourceType: level,
  Seq: seq,
});

function show({ seq, value, group, state, attempts, added, due, reason }: Entry): z.output<typeof EntrySchema> {
  const order = orderOf(value);
  return {
    Seq: seq,
    ...(order?.change === undefined ? { Instance: order?.instance ?? '' } : { Change: changeOf(order.change) }),
    ...(order?.route !== undefined && { Route: order.route }),
    ...(group !== '' && { Job: group }),
    State: state,
    Attempts: state === 'active' ? attempts : (order?.tries ?? 0),
    Added: timeText(added),
    ...(state === 'retrying' && due > 0 && { Due: timeText(due) }),
    Reason: reason,
  };
}

const showStatus = ({ paused, counts: found, oldest, rate, lines, next, error }: QueueStatus) => ({
  Paused: paused,
  Waiting: found.waiting,
  Active: found.active,
  Retrying: found.retrying,
  Held: found.paused,
  Failed: found.failed,
  OldestAge: oldest === undefined ? null : Math.max(0, Math.round((Date.now() - oldest) / 1000)),
  Rate: rate,
  Associations: lines,
  NextAttempt: next === 0 ? null : timeText(next),
  LastError: error,
});

/** Where the queues of each kind are, and how one that is not known is told. */
const FAMILIES: Readonly<
  Record<
    DestinationKind,
    {
      readonly path: string;
      readonly tag: string;
      readonly what: string;
      readonly find: (services: Services, name: string) => Promise<unknown>;
    }
  >
> = {
  modality: { path: '/modalities/{id}/queue', tag: 'Modalities', what: 'a modality', find: findModality },
  peer: { path: '/peers/{id}/queue', tag: 'Peers', what: 'a peer', find: findPeer },
  webhook: { path: '/webhooks/{id}/queue', tag: 'Webhooks', what: 'a webhook', find: findWebhook },
};

/** Adds the routes of this file. */
export function addQueues(routes: Routes): void {
  addOverview(routes);
  for (const kind of DESTINATION_KINDS) addFamily(routes, kind);
}

function addOverview({ services, add }: Routes): void {
  const { modalities, peers, webhooks, stores } = services;
  add(
    {
      method: 'get',
      path: '/queues',
      tag: 'Routing',
      summary: 'How it stands with the queues of all modalities, peers and webhooks',
      answers: {
        200: {
          description: 'As each says itself, without its entries; one that is not `Known` outlived what it was for',
          type: 'application/json',
          schema: z.array(QueueStatusSchema),
        },
      },
    },
    async () => {
      const lists = await Promise.all([modalities.list(), peers.list(), webhooks.list()]);
      const known = lists.flatMap((all, index) =>
        all.map(({ name }): Destination => ({ kind: DESTINATION_KINDS[index] ?? 'modality', name })),
      );
      const found = await stores.statuses(known);
      return json(
        found.map(({ destination, status }, index) => ({
          Kind: destination.kind,
          Name: destination.name,
          Known: index < known.length,
          ...showStatus(status),
        })),
      );
    },
  );
}

function addFamily(routes: Routes, kind: DestinationKind): void {
  const { services } = routes;
  const { stores } = services;
  const { path, tag, what, find } = FAMILIES[kind];
  const counted = {
    200: { description: 'How many', type: 'application/json', schema: z.object({ Count: z.number() }) },
  };
  /** What a URL names that is known, or whose queue outlived it. Throws as its kind does. */
  const named = async (context: Context<Environment>): Promise<Destination> => {
    const destination = { kind, name: context.req.param('id') ?? '' };
    const { counts } = await stores.status(destination);
    if (Object.values(counts).every((count) => count === 0)) await find(services, destination.name);
    return destination;
  };

  routes.add(
    {
      method: 'get',
      path,
      tag,
      summary: `What waits for ${what}, how it goes, and what failed with the reasons`,
      query: { since: LenientNumber, limit: LenientNumber },
      answers: {
        200: {
          description:
            'Counts (`Held` are those of paused jobs), rate (things sent a second), age of the oldest (seconds), and the entries that are tried again or have failed, ' +
            'page by page: `Last` is the `since` of the next one',
          type: 'application/json',
          schema: QueueSchema,
        },
      },
    },
    async (context, { since = 0, limit = DEFAULT_LIMIT }) => {
      const destination = await named(context);
      const status = await stores.status(destination);
      const most = Math.min(Math.max(limit, 0), MAXIMUM_LIMIT);
      const entries = most === 0 ? [] : await stores.entries(destination, ['retrying', 'failed'], since, most);
      return json({
        ...showStatus(status),
        Entries: entries.map(show),
        Last: entries.at(-1)?.seq ?? since,
        // Who wants no entries is not to ask for more of them.
        Done: most === 0 || entries.length < most,
      });
    },
  );
  routes.add(
    {
      method: 'delete',
      path,
      tag,
      summary: `Gives up what waits for ${what}, and forgets what failed`,
      writes: true,
      answers: counted,
    },
    async (context) => json({ Count: await stores.clear(await named(context)) }),
  );
  routes.add(
    {
      method: 'post',
      path: `${path}/retry`,
      tag,
      summary: 'Tries now what failed, and what waits for its next attempt',
      writes: true,
      answers: counted,
    },
    async (context) => json({ Count: await stores.retry(await named(context)) }),
  );
  for (const [action, summary] of [
    ['pause', `Sends nothing more to ${what}; what comes waits`],
    ['resume', 'Sends again'],
  ] as const) {
    routes.add(
      {
        method: 'post',
        path: `${path}/${action}`,
        tag,
        summary,
        answers: { 200: { description: 'Done', type: 'application/json', schema: z.object({ Paused: z.boolean() }) } },
      },
      async (context) => {
        await stores[action](await named(context));
        return json({ Paused: action === 'pause' });
      },
    );
  }
}
