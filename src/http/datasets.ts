/** Owns the routes that read the data sets of several instances, or the part of one that makes up a module. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { DICOM_ATTACHMENT, type Found } from '../database/database.ts';
import type { TagsFormat } from '../dicom/json.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import type { StoredFile, TagsRequest } from '../ingest/header.ts';
import { json, jsonOf } from './answers.ts';
import { fileOf } from './instances.ts';
import { mapOrdered, objectText, streamText } from './lists.ts';
import { checkId, findOne } from './resources.ts';
import { type Environment, lookingAgain, type Routes } from './routes.ts';
import { Dataset, formatOf, formatQuery, ignoredLength, ignoreLength } from './schemas.ts';
import type { Services } from './services.ts';

/** Instances read from the index at once, and headers read side by side. */
const PAGE = 500;
const WIDTH = 8;

async function* instancesOf(
  services: Services,
  level: Level,
  id: string,
): AsyncGenerator<{ id: string; file: StoredFile }, void> {
  for (let after: string | undefined; ; ) {
    const page: readonly Found[] = await services.database.find({
      level: 'Instance',
      of: { level, id },
      limit: PAGE,
      ...(after !== undefined && { after }),
    });
    for (const found of page) {
      const file = fileIn(found);
      if (file !== undefined) yield { id: found.id, file };
    }
    after = page.at(-1)?.id;
    if (page.length < PAGE) return;
  }
}

function fileIn({ attachments, metadata }: Found): StoredFile | undefined {
  const attachment = attachments.find((each) => each.contentType === DICOM_ATTACHMENT);
  return attachment && { attachment, metadata };
}

/** The data sets of every instance below, in order. */
function dataSets(
  services: Services,
  level: Level,
  id: string,
  request: TagsRequest,
): AsyncGenerator<readonly [string, string], void> {
  return mapOrdered(instancesOf(services, level, id), WIDTH, async ({ id: instance, file }) => {
    let known: StoredFile | undefined = file;
    const tags = await lookingAgain(async () => {
      const current = known ?? (await fileOf(services, instance));
      known = undefined;
      return services.headers.tags(current, request);
    });
    return [instance, tags];
  });
}

/** The elements that every data set has with one value. */
async function sharedTags(
  sets: AsyncIterable<readonly [string, string]>,
  format: TagsFormat,
): Promise<Record<string, unknown>> {
  let shared: Map<string, { text: string; value: unknown }> | undefined;
  for await (const [, text] of sets) {
    const dataSet = JSON.parse(text) as Record<string, unknown>;
    if (shared === undefined) {
      shared = new Map(
        Object.entries(dataSet)
          .filter(([, value]) => isPlain(value, format))
          .map(([key, value]) => [key, { text: JSON.stringify(value), value }]),
      );
      continue;
    }
    for (const [key, { text: known }] of shared) {
      if (JSON.stringify(dataSet[key]) !== known) shared.delete(key);
    }
    if (shared.size === 0) break;
  }
  return Object.fromEntries([...(shared ?? [])].map(([key, { value }]) => [key, value]));
}

/** Whether an element has a value that can be compared: no sequence, nothing left out. */
function isPlain(value: unknown, format: TagsFormat): boolean {
  if (format === 'Full') return (value as { Type: string }).Type === 'String';
  return typeof value === 'string';
}

const query = { ...formatQuery, 'ignore-length': ignoreLength };

function addModule(routes: Routes, level: Level, path: string, module: Level): void {
  const { services } = routes;
  routes.add(
    {
      method: 'get',
      path: `/${LEVEL[level].path}/{id}/${path}`,
      tag: 'Tags',
      summary: `The ${module.toLowerCase()} module of a ${level.toLowerCase()}`,
      query,
      answers: { 200: { description: 'The module', type: 'application/json', schema: Dataset } },
    },
    async (context: Context<Environment>, given) => {
      const found = await findOne(services, level, context.req.param('id') ?? '', { instance: true });
      const file = found.instance ?? fileIn(found);
      if (file === undefined) throw new IsenError('UnknownResource');
      return jsonOf(
        await services.headers.module(file, module, {
          format: formatOf(given, 'Full'),
          ignoreLength: ignoredLength(given['ignore-length']),
        }),
      );
    },
  );
}

/** Adds the routes of this file. */
export function addDatasets(routes: Routes): void {
  const { services } = routes;
  for (const level of LEVELS) addModule(routes, level, 'module', level);
  addModule(routes, 'Study', 'module-patient', 'Patient');
  for (const level of LEVELS) {
    if (level === 'Instance') continue;
    const one = `/${LEVEL[level].path}/{id}`;
    routes.add(
      {
        method: 'get',
        path: `${one}/instances-tags`,
        tag: 'Tags',
        summary: `The data sets of the instances of a ${level.toLowerCase()}`,
        query,
        answers: {
          200: { description: 'By instance', type: 'application/json', schema: z.record(z.string(), Dataset) },
        },
      },
      async (context, given) => {
        const { id } = await findOne(services, level, checkId(context.req.param('id') ?? ''), { idsOnly: true });
        const sets = dataSets(services, level, id, {
          format: formatOf(given, 'Full'),
          ignoreLength: ignoredLength(given['ignore-length']),
        });
        return new Response(streamText(objectText(sets)), {
          headers: { 'Content-Type': 'application/json; charset=utf-8' },
        });
      },
    );
    routes.add(
      {
        method: 'get',
        path: `${one}/shared-tags`,
        tag: 'Tags',
        summary: `The elements that all instances of a ${level.toLowerCase()} have in common`,
        query,
        answers: { 200: { description: 'The elements', type: 'application/json', schema: Dataset } },
      },
      async (context, given) => {
        const { id } = await findOne(services, level, checkId(context.req.param('id') ?? ''), { idsOnly: true });
        const format = formatOf(given, 'Full');
        const sets = dataSets(services, level, id, { format, ignoreLength: ignoredLength(given['ignore-length']) });
        return json(await sharedTags(sets, format));
      },
    );
  }
}
