/** Owns the routes under /tools that tell something: clock, identifiers, lookup, metrics. */

import { randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { generateUid } from '../dicom/ids.ts';
import { IsenError } from '../errors.ts';
import { metricsEnabled, metricsText, recordWork } from '../metrics.ts';
import { timestamp } from '../timestamp.ts';
import { empty, json, text } from './answers.ts';
import { bodyText } from './body.ts';
import { reference } from './resources.ts';
import { type Routes, Text } from './routes.ts';
import { Reference } from './schemas.ts';
import type { Services } from './services.ts';

const tag = 'Tools';
const plain = (description: string) => ({ 200: { description, type: 'text/plain' } });

function addClock(routes: Routes): void {
  routes.add(
    { method: 'get', path: '/tools/now', tag, summary: 'The time in UTC', answers: plain('YYYYMMDDTHHMMSS') },
    () => text(timestamp(Date.now())),
  );
  routes.add(
    { method: 'get', path: '/tools/now-local', tag, summary: 'The local time', answers: plain('YYYYMMDDTHHMMSS') },
    () => text(timestamp(Date.now() - new Date().getTimezoneOffset() * 60_000)),
  );
}

function addIdentifiers(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'get',
      path: '/tools/generate-uid',
      tag,
      summary: 'A new identifier for a DICOM resource',
      query: { level: Text.openapi({ description: '`patient`, `study`, `series` or `instance`' }) },
      answers: { ...plain('The identifier'), 404: { description: 'There is no such level' } },
    },
    (_, { level }) => {
      if (level === 'patient') return text(randomUUID());
      return level === 'study' || level === 'series' || level === 'instance' ? text(generateUid()) : empty(404);
    },
  );
  routes.add(
    {
      method: 'post',
      path: '/tools/lookup',
      tag,
      summary: 'The resources that a DICOM identifier (or an accession number) names',
      reads: true,
      body: { 'text/plain': z.string() },
      answers: { 200: { description: 'The resources', type: 'application/json', schema: z.array(Reference) } },
    },
    async (context) => {
      const value = await bodyText(context, 64 * 1024);
      return json((await services.database.lookup(value)).map(reference));
    },
  );
}

const MEGABYTE = 1024 * 1024;

/** The metrics that Orthanc's dashboards read, in Prometheus' text format. */
async function orthancMetrics(services: Services): Promise<string> {
  const found = await services.database.statistics();
  if (found === undefined) throw new IsenError('Database');
  const jobs = await services.jobs.count();
  const now = Date.now();
  const values: [string, number][] = [
    ['orthanc_count_instances', found.instances],
    ['orthanc_count_patients', found.patients],
    ['orthanc_count_series', found.series],
    ['orthanc_count_studies', found.studies],
    ['orthanc_disk_size_mb', found.diskSize / MEGABYTE],
    ['orthanc_jobs_completed', jobs.Success + jobs.Failure],
    ['orthanc_jobs_failed', jobs.Failure],
    ['orthanc_jobs_pending', jobs.Pending],
    ['orthanc_jobs_running', jobs.Running],
    ['orthanc_jobs_success', jobs.Success],
    ['orthanc_last_change', await services.changes.last()],
    ['orthanc_uncompressed_size_mb', found.uncompressedSize / MEGABYTE],
    ['orthanc_up_time_s', Math.floor(process.uptime())],
  ];
  return values.map(([name, value]) => `${name} ${value} ${now}\n`).join('');
}

function addMetrics(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'get',
      path: '/tools/metrics-prometheus',
      tag,
      summary: "The metrics, under Orthanc's names and ours",
      answers: { 200: { description: 'The metrics', type: 'text/plain; version=0.0.4' } },
    },
    async () => {
      if (!metricsEnabled()) return text('', {}, 'text/plain; version=0.0.4');
      recordWork(await services.queue.count());
      return text((await orthancMetrics(services)) + (await metricsText()), {}, 'text/plain; version=0.0.4');
    },
  );
}

/** Adds the routes of this file. */
export function addTools(routes: Routes): void {
  const { services } = routes;
  addClock(routes);
  addIdentifiers(routes);
  addMetrics(routes);
  const strings = z.array(z.string());
  routes.add(
    {
      method: 'get',
      path: '/tools/labels',
      tag,
      summary: 'The labels in use',
      answers: { 200: { description: 'The labels', type: 'application/json', schema: strings } },
    },
    async () => json(await services.database.labels()),
  );
  // Last: it lists what the others registered.
  routes.add(
    {
      method: 'get',
      path: '/tools',
      tag,
      summary: 'The tools there are',
      answers: { 200: { description: 'Their names', type: 'application/json', schema: strings } },
    },
    () => {
      const names = routes.registered.flatMap((route) => / \/tools\/([^/]+)$/.exec(route)?.[1] ?? []);
      return json([...new Set(names)].sort());
    },
  );
}
