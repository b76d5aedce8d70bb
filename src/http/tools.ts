/** Owns the routes under /tools: clock, identifiers, lookup, logs and metrics. */

import { randomUUID } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { generateUid } from '../dicom/ids.ts';
import { TRANSFER_SYNTAXES } from '../dicom/transfer-syntaxes.ts';
import { IsenError } from '../errors.ts';
import { LOG_CATEGORIES, LOG_LEVELS, type LogCategory, type LogLevel, logLevel } from '../log.ts';
import { metricsEnabled, metricsText, recordWork } from '../metrics.ts';
import { timestamp } from '../timestamp.ts';
import { empty, json, text } from './answers.ts';
import { bodyBoolean, bodyText } from './body.ts';
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
      body: { 'text/plain': z.string() },
      answers: { 200: { description: 'The resources', type: 'application/json', schema: z.array(Reference) } },
    },
    async (context) => {
      const value = await bodyText(context, 64 * 1024);
      return json((await services.database.lookup(value)).map(reference));
    },
  );
}

function addLogLevels(routes: Routes): void {
  const { services } = routes;
  const rows: [string, LogCategory | undefined][] = [
    ['/tools/log-level', undefined],
    ...LOG_CATEGORIES.map((category): [string, LogCategory] => [`/tools/log-level-${category}`, category]),
  ];
  for (const [path, category] of rows) {
    const what = category === undefined ? 'of the logs' : `of the log "${category}"`;
    routes.add({ method: 'get', path, tag, summary: `The level ${what}`, answers: plain('The level') }, () =>
      text(logLevel(category ?? 'generic')),
    );
    routes.add(
      {
        method: 'put',
        path,
        tag,
        summary: `Sets the level ${what}`,
        body: { 'text/plain': z.enum(['default', 'verbose', 'trace']) },
        answers: plain('Done'),
      },
      async (context) => {
        const wanted = await bodyText(context, 1024);
        if (!Object.hasOwn(LOG_LEVELS, wanted)) {
          const rule = 'Verbosity can be "default", "verbose" or "trace"';
          throw new IsenError('ParameterOutOfRange', `${rule}: ${wanted.slice(0, 64)}`);
        }
        await services.settings.setLogLevel(wanted as LogLevel, category === undefined ? LOG_CATEGORIES : [category]);
        return text('');
      },
    );
  }
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
      path: '/tools/metrics',
      tag,
      summary: 'Whether metrics are collected',
      answers: plain('`1` or `0`'),
    },
    () => text(metricsEnabled() ? '1' : '0'),
  );
  routes.add(
    {
      method: 'put',
      path: '/tools/metrics',
      tag,
      summary: 'Starts or stops collecting metrics',
      body: { 'text/plain': z.enum(['0', '1']) },
      answers: plain('Done'),
    },
    async (context) => {
      await services.settings.setMetrics(await bodyBoolean(context));
      return text('');
    },
  );
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
  addLogLevels(routes);
  addMetrics(routes);
  const strings = z.array(z.string());
  routes.add(
    {
      method: 'get',
      path: '/tools/accepted-transfer-syntaxes',
      tag,
      summary: 'The transfer syntaxes that are taken in',
      answers: { 200: { description: 'Their UIDs', type: 'application/json', schema: strings } },
    },
    () => json(TRANSFER_SYNTAXES.map(({ uid }) => uid).sort()),
  );
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
  routes.add(
    {
      method: 'get',
      path: '/tools/default-encoding',
      tag,
      summary: 'The character set assumed where a file names none',
      answers: plain('The encoding'),
    },
    () => text(services.config.DefaultEncoding),
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
