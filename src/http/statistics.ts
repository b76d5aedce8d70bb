/** Owns the routes of the counts and sizes of one resource. */

import { z } from '@hono/zod-openapi';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { json } from './answers.ts';
import { checkId } from './resources.ts';
import type { Routes } from './routes.ts';

const JSON_TYPE = 'application/json';

const megabytes = (bytes: number): number => Math.floor(bytes / 1024 / 1024);
const size = z.string().openapi({ description: 'Bytes' });

function addLevel(routes: Routes, level: Level): void {
  const { services } = routes;
  const tag = plural(level);
  const below = LEVELS.slice(LEVELS.indexOf(level) + 1);
  routes.add(
    {
      method: 'get',
      path: `/${LEVEL[level].path}/{id}/statistics`,
      tag,
      summary: `Counts and sizes of a ${level.toLowerCase()}`,
      answers: {
        200: {
          description: 'The statistics',
          type: JSON_TYPE,
          schema: z.object({
            ...Object.fromEntries(below.map((each) => [`Count${plural(each)}`, z.number()])),
            DicomDiskSize: size,
            DicomDiskSizeMB: z.number(),
            DicomUncompressedSize: size,
            DicomUncompressedSizeMB: z.number(),
            DiskSize: size,
            DiskSizeMB: z.number(),
            UncompressedSize: size,
            UncompressedSizeMB: z.number(),
          }),
        },
      },
    },
    async (context) => {
      const found = await services.database.statistics({ level, id: checkId(context.req.param('id') ?? '') });
      if (found === undefined) throw new IsenError('UnknownResource');
      const counts = { Patient: found.patients, Study: found.studies, Series: found.series, Instance: found.instances };
      const shown = below.map((each): [string, number] => [`Count${plural(each)}`, counts[each]]);
      return json({
        ...Object.fromEntries(shown.sort(([a], [b]) => (a < b ? -1 : 1))),
        DicomDiskSize: String(found.dicomDiskSize),
        DicomDiskSizeMB: megabytes(found.dicomDiskSize),
        DicomUncompressedSize: String(found.dicomUncompressedSize),
        DicomUncompressedSizeMB: megabytes(found.dicomUncompressedSize),
        DiskSize: String(found.diskSize),
        DiskSizeMB: megabytes(found.diskSize),
        UncompressedSize: String(found.uncompressedSize),
        UncompressedSizeMB: megabytes(found.uncompressedSize),
      });
    },
  );
}

function plural(level: Level): string {
  const { path } = LEVEL[level];
  return path[0]?.toUpperCase() + path.slice(1);
}

/** Adds the routes of this file. */
export function addStatistics(routes: Routes): void {
  for (const level of LEVELS) addLevel(routes, level);
}
