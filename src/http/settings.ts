/** Owns the routes that change options while the server runs: log levels, metrics, what the DICOM server accepts, the default encoding. */

import { z } from '@hono/zod-openapi';
import { acceptedSopClasses, acceptedTransferSyntaxes } from '../dicom/acceptance.ts';
import { ENCODING_TERM, type Encoding } from '../dicom/charset.ts';
import { IsenError } from '../errors.ts';
import { LOG_CATEGORIES, LOG_LEVELS, type LogCategory, type LogLevel, logLevel } from '../log.ts';
import { metricsEnabled } from '../metrics.ts';
import { json, text } from './answers.ts';
import { bodyBoolean, bodyText, parseJson } from './body.ts';
import type { Routes } from './routes.ts';

const tag = 'Tools';
const plain = (description: string) => ({ 200: { description, type: 'text/plain' } });

/** Patterns, and UIDs, that one request may set; characters of one. */
const MOST = 1000;
const LONGEST = 64;

function addLogLevels(routes: Routes): void {
  const { settings } = routes.services;
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
        await settings.setLogLevel(wanted as LogLevel, category);
        return text('');
      },
    );
  }
}

function addMetricsSwitch(routes: Routes): void {
  const { settings } = routes.services;
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
      await settings.set('MetricsEnabled', await bodyBoolean(context));
      return text('');
    },
  );
}

/** UIDs or patterns of a body: a list in JSON, or one as JSON text or as it is. Throws BadFileFormat. */
function patternsOf(body: string): string | readonly string[] {
  let value: unknown;
  try {
    value = parseJson(body);
  } catch {
    value = body.trim();
  }
  // A UID up to its second component is a number to JSON.
  if (typeof value === 'number') value = body.trim();
  const parsed = z
    .union([z.string().min(1).max(LONGEST), z.array(z.string().min(1).max(LONGEST)).max(MOST)])
    .safeParse(value);
  if (!parsed.success) throw new IsenError('BadFileFormat');
  return parsed.data;
}

function addAcceptance(routes: Routes): void {
  const { config, settings } = routes.services;
  const strings = z.array(z.string());
  const uids = { 200: { description: 'Their UIDs', type: 'application/json', schema: strings } };
  const body = { 'application/json': strings, 'text/plain': z.string() };

  routes.add(
    {
      method: 'get',
      path: '/tools/accepted-transfer-syntaxes',
      tag,
      summary: 'The transfer syntaxes that the DICOM server accepts',
      answers: uids,
    },
    () => json(acceptedTransferSyntaxes(config.AcceptedTransferSyntaxes)),
  );
  routes.add(
    {
      method: 'put',
      path: '/tools/accepted-transfer-syntaxes',
      tag,
      summary: 'Sets the transfer syntaxes that the DICOM server accepts: UIDs, with `*` and `?` as wildcards',
      body,
      answers: uids,
    },
    async (context) => {
      await settings.set('AcceptedTransferSyntaxes', [patternsOf(await bodyText(context))].flat());
      return json(acceptedTransferSyntaxes(config.AcceptedTransferSyntaxes));
    },
  );
  routes.add(
    {
      method: 'get',
      path: '/tools/accepted-sop-classes',
      tag,
      summary: 'The SOP classes that the DICOM server accepts',
      answers: uids,
    },
    () => json(acceptedSopClasses(config)),
  );
  routes.add(
    {
      method: 'put',
      path: '/tools/accepted-sop-classes',
      tag,
      summary: 'Sets the SOP classes that the DICOM server accepts; an empty list: all of storage',
      body,
      answers: uids,
    },
    async (context) => {
      await settings.set('AcceptedSopClasses', [patternsOf(await bodyText(context))].flat());
      return json(acceptedSopClasses(config));
    },
  );
  routes.add(
    {
      method: 'get',
      path: '/tools/unknown-sop-class-accepted',
      tag,
      summary: 'Whether the DICOM server accepts SOP classes that it does not know',
      answers: plain('`1` or `0`'),
    },
    () => text(config.UnknownSopClassAccepted ? '1' : '0'),
  );
  routes.add(
    {
      method: 'put',
      path: '/tools/unknown-sop-class-accepted',
      tag,
      summary: 'Sets whether the DICOM server accepts SOP classes that it does not know',
      body: { 'text/plain': z.enum(['0', '1']) },
      answers: plain('Done'),
    },
    async (context) => {
      await settings.set('UnknownSopClassAccepted', await bodyBoolean(context));
      return text('');
    },
  );
}

function addEncoding(routes: Routes): void {
  const { config, settings } = routes.services;
  routes.add(
    {
      method: 'get',
      path: '/tools/default-encoding',
      tag,
      summary: 'The character set assumed where a file names none',
      answers: plain('The encoding'),
    },
    () => text(config.DefaultEncoding),
  );
  routes.add(
    {
      method: 'put',
      path: '/tools/default-encoding',
      tag,
      summary: 'Sets the character set assumed where a file names none',
      body: { 'text/plain': z.enum(Object.keys(ENCODING_TERM) as [Encoding, ...Encoding[]]) },
      answers: plain('The encoding'),
    },
    async (context) => {
      const wanted = await bodyText(context, 1024);
      if (!Object.hasOwn(ENCODING_TERM, wanted)) throw new IsenError('ParameterOutOfRange');
      await settings.set('DefaultEncoding', wanted as Encoding);
      return text(config.DefaultEncoding);
    },
  );
}

/** Adds the routes of this file. */
export function addSettings(routes: Routes): void {
  addLogLevels(routes);
  addMetricsSwitch(routes);
  addAcceptance(routes);
  addEncoding(routes);
}
