/** Owns the routes of the log of changes: its pages, and its live stream of server-sent events. */

import { z } from '@hono/zod-openapi';
import { type Change, CHANGE_TYPES, type ChangeType } from '../database/database.ts';
import { LEVEL, LEVELS } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { jsonOf, text } from './answers.ts';
import { LenientNumber, type Routes, Text } from './routes.ts';
import type { Services } from './services.ts';

const DEFAULT_LIMIT = 100;
const MAXIMUM_LIMIT = 10_000;
/** Milliseconds between the comments that keep a live stream open. */
const HEARTBEAT = 15_000;

const ChangeSchema = z
  .object({
    ChangeType: z.enum(CHANGE_TYPES),
    Date: z.string(),
    ID: z.string(),
    Path: z.string(),
    ResourceType: z.enum(LEVELS),
    Seq: z.number(),
  })
  .openapi('Change');

function show({ type, date, id, level, seq }: Change): z.output<typeof ChangeSchema> {
  return {
    ChangeType: type,
    Date: date,
    ID: id,
    Path: `/${LEVEL[level].path}/${id}`,
    ResourceType: level,
    Seq: seq,
  };
}

/** `type=StableStudy;NewStudy`. Throws ParameterOutOfRange. */
function typesOf(given: string | undefined): { types?: ChangeType[] } {
  if (given === undefined || given === '') return {};
  const types = given.split(';').map((name) => {
    const type = CHANGE_TYPES.find((each) => each === name);
    if (type === undefined) throw new IsenError('ParameterOutOfRange', `Invalid value for a change: ${name}`);
    return type;
  });
  return { types };
}

async function page(
  services: Services,
  query: { last: string | undefined; limit: number | undefined; since: number | undefined; to: number | undefined },
  types: { types?: ChangeType[] },
  last: number,
): Promise<string> {
  const { since, to } = query;
  let limit = query.limit ?? DEFAULT_LIMIT;
  if (query.last !== undefined) {
    const { changes } = await services.changes.since({ to: last, limit: 1 });
    return answer(changes, true, last);
  }
  // The reference reads a negative limit as nothing to show.
  if (limit < 0) return answer([], true, last);
  limit = Math.min(limit, MAXIMUM_LIMIT);
  if (limit === 0) return answer([], last <= (since ?? 0), last);
  const { changes, done } = await services.changes.since({
    limit,
    ...(since !== undefined && { since: Math.max(0, since) }),
    ...(to !== undefined && { to }),
    ...types,
  });
  return answer(changes, done, last);
}

/** A page as JSON text. Written by hand: the general way takes most of the time of this most polled of answers. */
function answer(changes: readonly Change[], done: boolean, last: number): string {
  const rows = changes.map(
    ({ type, date, id, level, seq }) => `      {
         "ChangeType": "${type}",
         "Date": "${date}",
         "ID": "${id}",
         "Path": "/${LEVEL[level].path}/${id}",
         "ResourceType": "${level}",
         "Seq": ${seq}
      }`,
  );
  const list = rows.length === 0 ? '[]' : `[\n${rows.join(',\n')}\n   ]`;
  const first = changes[0] === undefined ? '' : `   "First": ${changes[0].seq},\n`;
  const end = changes.at(-1)?.seq ?? last;
  return `{\n   "Changes": ${list},\n   "Done": ${done},\n${first}   "Last": ${end}\n}\n`;
}

/** The log from `since` on, as events, for as long as the client stays. */
function live(
  services: Services,
  since: number,
  types: ReadonlySet<ChangeType> | undefined,
  ended: AbortSignal,
): Response {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ended]);
  const changes = services.changes.follow(since, signal)[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  let heart: NodeJS.Timeout | undefined;
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        // So that proxies and clients see the answer begin before the first change.
        controller.enqueue(encoder.encode(': following\n\n'));
        heart = setInterval(
          () => {
            // A client that does not read gets no heartbeat either, and so no memory.
            if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(':\n\n'));
          },
          Math.min(HEARTBEAT, services.config.HttpRequestTimeout * 500),
        );
      },
      async pull(controller) {
        for (;;) {
          const next = await changes.next();
          if (next.done === true) {
            clearInterval(heart);
            controller.close();
            return;
          }
          if (types !== undefined && !types.has(next.value.type)) continue;
          const data = JSON.stringify(show(next.value));
          controller.enqueue(encoder.encode(`id: ${next.value.seq}\ndata: ${data}\n\n`));
          return;
        }
      },
      cancel() {
        clearInterval(heart);
        stop.abort();
      },
    },
    { highWaterMark: 16 },
  );
  return new Response(stream, {
    headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' },
  });
}

/** Adds the routes of this file. Live streams end when `ended` aborts. */
export function addChanges(routes: Routes, ended: AbortSignal): void {
  const { services, kept } = routes;
  const tag = 'Changes';
  routes.add(
    {
      method: 'get',
      path: '/changes',
      tag,
      summary: 'The log of changes: a page, or (Accept: text/event-stream) live from now or from a change on',
      query: { last: Text, limit: LenientNumber, since: LenientNumber, to: LenientNumber, type: Text },
      headers: {
        accept: '`text/event-stream` follows the log; each event is one change, its id is the Seq',
        'last-event-id': 'The Seq to go on from',
      },
      answers: {
        200: {
          description: 'A page of the log',
          type: 'application/json',
          schema: z.object({
            Changes: z.array(ChangeSchema),
            Done: z.boolean(),
            First: z.number().optional(),
            Last: z.number(),
          }),
        },
      },
    },
    async (context, query) => {
      const types = typesOf(query.type);
      if (!/\btext\/event-stream\b/.test(context.req.header('accept') ?? '')) {
        const last = await services.changes.last();
        // With the log's own end: it need not be in the index.
        return jsonOf(await kept.of(`${last} ${context.req.url}`, () => page(services, query, types, last)));
      }
      const resumed = /^\d{1,15}$/.exec(context.req.header('last-event-id') ?? '');
      const since = resumed ? Number(resumed[0]) : query.since;
      const chosen = types.types && new Set(types.types);
      return live(services, Math.max(0, since ?? (await services.changes.last())), chosen, ended);
    },
  );
  routes.add(
    {
      method: 'delete',
      path: '/changes',
      tag,
      summary: 'Empties the log; its numbers go on',
      writes: true,
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async () => {
      // What the rules and webhooks have not seen yet would never be sent.
      await Promise.all([services.router.caughtUp(), services.webhooks.caughtUp()]);
      await services.ingest.apply({ kind: 'clear-changes' });
      await services.changes.cleared();
      return text('');
    },
  );
}
