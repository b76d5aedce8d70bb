/** Owns the routes of the modalities' queues: what waits for a modality, and what can be done about it. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { orderOf } from '../jobs/order.ts';
import type { Entry } from '../jobs/queue.ts';
import { json } from './answers.ts';
import { findModality } from './modalities.ts';
import { type Environment, LenientNumber, type Routes } from './routes.ts';

/** Entries shown at once. */
const DEFAULT_LIMIT = 100;
const MAXIMUM_LIMIT = 10_000;

const EntrySchema = z
  .object({
    Seq: z.number(),
    Instance: z.string(),
    Route: z.string().optional(),
    Job: z.string().optional(),
    State: z.string(),
    Attempts: z.number(),
    Added: z.string(),
    Due: z.string().optional(),
    Reason: z.string(),
  })
  .openapi('QueueEntry');

const QueueSchema = z
  .object({
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
    Entries: z.array(EntrySchema),
    Last: z.number(),
    Done: z.boolean(),
  })
  .openapi('Queue');

const timeText = (milliseconds: number): string => new Date(milliseconds).toISOString();

function show({ seq, value, group, state, attempts, added, due, reason }: Entry): z.output<typeof EntrySchema> {
  const order = orderOf(value);
  return {
    Seq: seq,
    Instance: order?.instance ?? '',
    ...(order?.route !== undefined && { Route: order.route }),
    ...(group !== '' && { Job: group }),
    State: state,
    Attempts: state === 'active' ? attempts : (order?.tries ?? 0),
    Added: timeText(added),
    ...(state === 'retrying' && due > 0 && { Due: timeText(due) }),
    Reason: reason,
  };
}

/** Adds the routes of this file. */
export function addQueues(routes: Routes): void {
  const { services } = routes;
  const { stores } = services;
  const tag = 'Modalities';
  const path = '/modalities/{id}/queue';
  const counted = {
    200: { description: 'How many', type: 'application/json', schema: z.object({ Count: z.number() }) },
  };
  /** The name of a modality that is known, or whose queue outlived it. Throws InexistentItem. */
  const named = async (context: Context<Environment>): Promise<string> => {
    const name = context.req.param('id') ?? '';
    const { counts } = await stores.status(name);
    if (Object.values(counts).every((count) => count === 0)) await findModality(services, name);
    return name;
  };

  routes.add(
    {
      method: 'get',
      path,
      tag,
      summary: 'What waits for a modality, how it goes, and what failed with the reasons',
      query: { since: LenientNumber, limit: LenientNumber },
      answers: {
        200: {
          description:
            'Counts (`Held` are those of paused jobs), rate (instances a second), age of the oldest (seconds), and the entries that are tried again or have failed, ' +
            'page by page: `Last` is the `since` of the next one',
          type: 'application/json',
          schema: QueueSchema,
        },
      },
    },
    async (context, { since = 0, limit = DEFAULT_LIMIT }) => {
      const name = await named(context);
      const { paused, counts, oldest, rate, associations, next, error } = await stores.status(name);
      const most = Math.min(Math.max(limit, 0), MAXIMUM_LIMIT);
      const entries = most === 0 ? [] : await stores.entries(name, ['retrying', 'failed'], since, most);
      return json({
        Paused: paused,
        Waiting: counts.waiting,
        Active: counts.active,
        Retrying: counts.retrying,
        Held: counts.paused,
        Failed: counts.failed,
        OldestAge: oldest === undefined ? null : Math.max(0, Math.round((Date.now() - oldest) / 1000)),
        Rate: rate,
        Associations: associations,
        NextAttempt: next === 0 ? null : timeText(next),
        LastError: error,
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
      summary: 'Gives up what waits for a modality, and forgets what failed',
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
    ['pause', 'Sends nothing more to a modality; what comes waits'],
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
