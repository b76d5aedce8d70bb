/** Owns the log of what was sent elsewhere, and its routes. */

import { z } from '@hono/zod-openapi';
import type { Export } from '../database/database.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { json, text } from './answers.ts';
import { LenientNumber, type Routes, Text } from './routes.ts';
import type { Services } from './services.ts';

const DEFAULT_LIMIT = 100;
const MAXIMUM_LIMIT = 10_000;

const ExportSchema = z
  .object({
    Date: z.string(),
    ID: z.string(),
    Path: z.string(),
    PatientID: z.string().optional(),
    RemoteModality: z.string(),
    ResourceType: z.enum(LEVELS),
    SOPInstanceUID: z.string().optional(),
    Seq: z.number(),
    SeriesInstanceUID: z.string().optional(),
    StudyInstanceUID: z.string().optional(),
  })
  .openapi('Export');

function show(row: Export): z.output<typeof ExportSchema> {
  const below = LEVELS.indexOf(row.level);
  return {
    Date: row.date,
    ID: row.id,
    Path: `/${LEVEL[row.level].path}/${row.id}`,
    PatientID: row.patientId,
    RemoteModality: row.remote,
    ResourceType: row.level,
    ...(below >= 3 && { SOPInstanceUID: row.sopInstanceUid }),
    Seq: row.seq,
    ...(below >= 2 && { SeriesInstanceUID: row.seriesInstanceUid }),
    ...(below >= 1 && { StudyInstanceUID: row.studyInstanceUid }),
  };
}

/** Logs that a resource is sent to `remote`, where that is wanted (`LogExportedResources`). Throws UnknownResource. */
export async function logExport(services: Services, level: Level, id: string, remote: string): Promise<void> {
  if (services.config.LogExportedResources) await services.ingest.apply({ kind: 'export', level, id, remote });
}

/** Adds the routes of this file. */
export function addExports(routes: Routes): void {
  const { services } = routes;
  const tag = 'Changes';
  routes.add(
    {
      method: 'get',
      path: '/exports',
      tag,
      summary: 'The log of what was sent elsewhere (LogExportedResources)',
      query: { last: Text, limit: LenientNumber, since: LenientNumber },
      answers: {
        200: {
          description: 'A page of the log',
          type: 'application/json',
          schema: z.object({ Done: z.boolean(), Exports: z.array(ExportSchema), Last: z.number() }),
        },
      },
    },
    async (_, { last, limit = DEFAULT_LIMIT, since = 0 }) => {
      const { exports, more } = await services.database.exports({
        since: Math.max(0, since),
        last: last !== undefined,
        limit: Math.min(Math.max(0, limit), MAXIMUM_LIMIT),
      });
      return json({ Done: !more, Exports: exports.map(show), Last: exports.at(-1)?.seq ?? since });
    },
  );
  routes.add(
    {
      method: 'delete',
      path: '/exports',
      tag,
      summary: 'Empties that log; its numbers go on',
      writes: true,
      answers: { 200: { description: 'Done', type: 'text/plain' } },
    },
    async () => {
      await services.ingest.apply({ kind: 'clear-exports' });
      return text('');
    },
  );
}
