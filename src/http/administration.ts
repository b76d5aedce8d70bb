/** Owns the routes by which administrators end or restart the server, have files read again, or written to its disk; and the one for scripts. */

import { open, rename, unlink } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { DICOM_ATTACHMENT } from '../database/database.ts';
import { LEVEL, LEVELS } from '../dicom/levels.ts';
import { asError, IsenError } from '../errors.ts';
import { type StoredContent, streamContent } from '../storage/content.ts';
import { empty, emptyObject, text } from './answers.ts';
import { bodyText, parseJson } from './body.ts';
import { checkId, findOne } from './resources.ts';
import type { Routes } from './routes.ts';
import type { Services } from './services.ts';

const tag = 'Tools';
const done = { 200: { description: 'Done', type: 'text/plain' } };

/** A field of a body that is JSON, where it is; the reference takes anything else for an empty body. */
function flagOf(body: string, name: string): boolean {
  let value: unknown;
  try {
    value = parseJson(body);
  } catch {
    return false;
  }
  if (typeof value !== 'object' || value === null || !(name in value)) return false;
  const given = (value as Readonly<Record<string, unknown>>)[name];
  if (typeof given !== 'boolean') throw new IsenError('BadFileFormat', `Boolean value expected in field: ${name}`);
  return given;
}

function addReconstruction(routes: Routes): void {
  const { reconstruction } = routes.services;
  const files = z.object({ ReconstructFiles: z.boolean().optional() });
  for (const level of LEVELS) {
    routes.add(
      {
        method: 'post',
        path: `/${LEVEL[level].path}/{id}/reconstruct`,
        tag: LEVEL[level].path.replace(/^./, (first) => first.toUpperCase()),
        summary: 'Reads the files again: main tags and metadata of the header become what they say',
        body: { 'application/json': files.extend({ LimitToThisLevelMainDicomTags: z.boolean().optional() }) },
        writes: true,
        answers: done,
      },
      async (context) => {
        const body = await bodyText(context);
        const only = flagOf(body, 'LimitToThisLevelMainDicomTags');
        await reconstruction.run({
          of: { level, id: checkId(context.req.param('id') ?? '') },
          ...(only && { only: level }),
          files: flagOf(body, 'ReconstructFiles'),
          signal: context.req.raw.signal,
        });
        return text('');
      },
    );
  }
  routes.add(
    {
      method: 'post',
      path: '/tools/reconstruct',
      tag,
      summary: 'Reads all stored files again, which takes long; what cannot be read is in the log',
      body: { 'application/json': files },
      writes: true,
      answers: done,
    },
    async (context) => {
      const body = await bodyText(context);
      await reconstruction.run({ files: flagOf(body, 'ReconstructFiles'), signal: context.req.raw.signal });
      return text('');
    },
  );
  routes.add(
    {
      method: 'post',
      path: '/tools/invalidate-tags',
      tag,
      summary: 'Forgets what was made of stored files to answer faster: nothing is kept that could be out of date',
      answers: done,
    },
    () => text(''),
  );
}

function addEnding(routes: Routes): void {
  const { end } = routes.services;
  const rows = [
    ['shutdown', 'Ends the server, once what it accepted is finished'],
    ['reset', 'Restarts the server, with its configuration read again'],
  ] as const;
  for (const [how, summary] of rows) {
    routes.add(
      {
        method: 'post',
        path: `/tools/${how}`,
        tag,
        summary,
        answers: { 200: { description: 'It will', type: 'application/json' } },
      },
      (context) => {
        // Who asked hears so before the door closes.
        context.env.outgoing.once('close', () => end(how));
        return emptyObject();
      },
    );
  }
}

/** Writes the file of an instance to a path of the server; never half of it. Throws CannotWriteFile. */
async function exportTo({ storage }: Services, path: string, content: StoredContent): Promise<void> {
  const partial = `${path}.${randomUUID()}.partial`;
  try {
    const file = await open(partial, 'wx');
    try {
      for await (const chunk of await streamContent(storage, content)) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (thrown) {
    await unlink(partial).catch(() => {});
    if (thrown instanceof IsenError) throw thrown;
    throw new IsenError('CannotWriteFile', asError(thrown).message, { cause: thrown });
  }
}

/** Adds the routes of this file. */
export function addAdministration(routes: Routes): void {
  const { services } = routes;
  addReconstruction(routes);
  addEnding(routes);
  routes.add(
    {
      method: 'post',
      path: '/instances/{id}/export',
      tag: 'Instances',
      summary: 'Writes the DICOM file to a path of the server (`RestApiWriteToFileSystemEnabled`)',
      body: { 'text/plain': z.string() },
      answers: {
        200: { description: 'Done', type: 'application/json', schema: z.object({}) },
        403: { description: 'The configuration does not allow it' },
      },
    },
    async (context) => {
      if (!services.config.RestApiWriteToFileSystemEnabled) return empty(403);
      const { attachments } = await findOne(services, 'Instance', context.req.param('id') ?? '');
      const attachment = attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
      if (attachment === undefined) throw new IsenError('InexistentFile');
      const path = await bodyText(context, 4096);
      if (path === '' || path.includes('\0')) throw new IsenError('CannotWriteFile', 'a path is expected');
      await exportTo(services, path, attachment);
      return emptyObject();
    },
  );
  routes.add(
    {
      method: 'post',
      path: '/tools/execute-script',
      tag,
      summary: 'Refused: scripts are not run here',
      body: { 'text/plain': z.string() },
      answers: { 403: { description: 'Why, and what there is instead', type: 'text/plain' } },
    },
    () => {
      throw new IsenError(
        'ForbiddenAccess',
        'Lua scripts are not run here. Routing rules (/routes), webhooks (/webhooks) and live changes (GET /changes with "Accept: text/event-stream") take their place',
      );
    },
  );
}
