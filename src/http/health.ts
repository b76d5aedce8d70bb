/** Owns the routes that a balancer or a supervisor asks: whether the process lives, and whether its engines answer. */

import { z } from '@hono/zod-openapi';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import type { Storage } from '../storage/storage.ts';
import { json } from './answers.ts';
import type { Routes } from './routes.ts';
import type { Services } from './services.ts';

/** Milliseconds that an engine has to answer. */
const DEADLINE = 3000;

/** What may be asked without a password, from anywhere: it says nothing but which engine is missing. */
export function isHealth(path: string): boolean {
  return path === '/health/live' || path === '/health/ready';
}

/** Whether an engine answered in time, and what it said. */
async function answers(engine: string, question: Promise<unknown>): Promise<boolean> {
  let late: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    late = setTimeout(() => reject(new IsenError('Timeout')), DEADLINE);
  });
  try {
    await Promise.race([question, deadline]);
    return true;
  } catch (thrown) {
    log.generic.debug({ err: asIsenError(thrown) }, `${engine} does not answer`);
    return false;
  } finally {
    clearTimeout(late);
  }
}

/** Of no blob: a storage that answers does not have it. */
const NOTHING = '00000000-0000-4000-8000-000000000000';

async function asked(storage: Storage): Promise<void> {
  await storage.size(NOTHING).catch((thrown: unknown) => {
    if (!(thrown instanceof IsenError) || thrown.code !== 'InexistentFile') throw thrown;
  });
}

async function engines({ database, storage, changes, queue }: Services): Promise<Readonly<Record<string, boolean>>> {
  const [index, blobs, log_, queues] = await Promise.all([
    answers('the index', database.lastSeq()),
    answers('the storage', asked(storage)),
    answers('the log of changes', changes.last()),
    answers('the queue', queue.position('health')),
  ]);
  return { Database: index, Storage: blobs, Changes: log_, Queue: queues };
}

/** Adds the routes of this file. */
export function addHealth(routes: Routes): void {
  const tag = 'System';
  routes.add(
    {
      method: 'get',
      path: '/health/live',
      tag,
      summary: 'Whether the process answers at all',
      answers: {
        200: { description: 'It does', type: 'application/json', schema: z.object({ Live: z.literal(true) }) },
      },
    },
    () => json({ Live: true }),
  );
  const schema = z.object({
    Ready: z.boolean(),
    Engines: z.object({ Database: z.boolean(), Storage: z.boolean(), Changes: z.boolean(), Queue: z.boolean() }),
    Leaving: z.literal(true).optional().openapi({ description: 'The server is about to stop' }),
  });
  routes.add(
    {
      method: 'get',
      path: '/health/ready',
      tag,
      summary: 'Whether requests should come here: every engine answers, and the server is not about to stop',
      answers: {
        200: { description: 'Every one does', type: 'application/json', schema },
        503: { description: 'They should not: `Engines` says which is missing', type: 'application/json', schema },
      },
    },
    async () => {
      const found = await engines(routes.services);
      const leaving = routes.services.leaving.aborted;
      const ready = !leaving && Object.values(found).every(Boolean);
      const said = { Ready: ready, Engines: found, ...(leaving && { Leaving: true }) };
      const answer = json(said, ready ? {} : { 'Retry-After': '1' });
      return ready ? answer : new Response(answer.body, { status: 503, headers: answer.headers });
    },
  );
}
