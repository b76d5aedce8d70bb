/** Owns the routes that say what this server is and how full it is. */

import { hostname } from 'node:os';
import { z } from '@hono/zod-openapi';
import type { Config } from '../config.ts';
import { identifier } from '../dicom/ids.ts';
import { LEVEL, LEVELS } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { json } from './answers.ts';
import type { Routes } from './routes.ts';

/** The API spoken here, which clients compare. */
const API_VERSION = 31;
const ORTHANC_VERSION = '1.13.0';
/** Version of Orthanc's database that the API's answers correspond to. */
const DATABASE_VERSION = 6;

const megabytes = (bytes: number): number => Math.floor(bytes / 1024 / 1024);

/** What keeps the index, the files, the log of changes and the queues. */
function enginesOf({ PostgreSQL, Redis, S3, AwsS3Storage }: Config): Readonly<Record<string, string>> {
  const index = PostgreSQL?.EnableIndex === true ? 'PostgreSQL' : 'SQLite';
  const queues = Redis === null ? index : 'Redis';
  const files = S3 === null && AwsS3Storage === null ? 'Files' : 'S3';
  return { Changes: queues, Database: index, Queue: queues, Storage: files };
}

/** Adds the routes of this file. */
export function addSystem(routes: Routes): void {
  const { services } = routes;
  const { config } = services;
  // Tells servers that share an index apart, and is the same after a restart.
  const server = identifier([hostname(), config.DicomAet, config.DicomPort, config.HttpPort].join('|'));
  const tag = 'System';
  routes.add(
    {
      method: 'get',
      path: '/system',
      tag,
      summary: 'What this server is',
      answers: {
        200: {
          description: 'Version, limits and options',
          type: 'application/json',
          schema: z.looseObject({ ApiVersion: z.number(), Isen: z.string(), Name: z.string(), Version: z.string() }),
        },
      },
    },
    () =>
      json({
        ApiVersion: API_VERSION,
        Capabilities: { HasExtendedChanges: true, HasExtendedFind: true },
        CheckRevisions: config.CheckRevisions,
        DatabaseBackendPlugin: null,
        DatabaseServerIdentifier: server,
        DatabaseVersion: DATABASE_VERSION,
        DicomAet: config.DicomAet,
        DicomDefaultRetrieveMethod: config.DicomDefaultRetrieveMethod,
        DicomPort: config.DicomPort,
        Engines: enginesOf(config),
        HasLabels: true,
        HttpPort: config.HttpPort,
        IngestTranscoding: config.IngestTranscoding,
        IsHttpServerSecure: !config.RemoteAccessAllowed || config.AuthenticationEnabled,
        Isen: services.version,
        MainDicomTags: Object.fromEntries(
          LEVELS.toSorted().map((level) => [level, LEVEL[level].mainDicomTags.join(';')]),
        ),
        MaximumPatientCount: config.MaximumPatientCount,
        MaximumStorageMode: config.MaximumStorageMode,
        MaximumStorageSize: config.MaximumStorageSize,
        Name: config.Name,
        OverwriteInstances: config.OverwriteInstances !== 'Never',
        OverwriteInstancesMode: config.OverwriteInstances,
        PatientLevelEnabled: true,
        PluginsEnabled: false,
        ReadOnly: config.ReadOnly,
        StorageAreaPlugin: null,
        StorageCompression: config.StorageCompression,
        StoreMD5ForAttachments: config.StoreMD5ForAttachments,
        UserMetadata: config.UserMetadata,
        Version: ORTHANC_VERSION,
      }),
  );
  routes.add(
    {
      method: 'get',
      path: '/statistics',
      tag,
      summary: 'What is stored',
      answers: {
        200: {
          description: 'Counts and sizes',
          type: 'application/json',
          schema: z.object({
            CountInstances: z.number(),
            CountPatients: z.number(),
            CountSeries: z.number(),
            CountStudies: z.number(),
            TotalDiskSize: z.string(),
            TotalDiskSizeMB: z.number(),
            TotalUncompressedSize: z.string(),
            TotalUncompressedSizeMB: z.number(),
          }),
        },
      },
    },
    async () => {
      const found = await services.database.statistics();
      if (found === undefined) throw new IsenError('Database');
      return json({
        CountInstances: found.instances,
        CountPatients: found.patients,
        CountSeries: found.series,
        CountStudies: found.studies,
        TotalDiskSize: String(found.diskSize),
        TotalDiskSizeMB: megabytes(found.diskSize),
        TotalUncompressedSize: String(found.uncompressedSize),
        TotalUncompressedSizeMB: megabytes(found.uncompressedSize),
      });
    },
  );
}
