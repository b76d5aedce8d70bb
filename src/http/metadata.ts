/** Owns the routes of metadata, at the four levels. */

import { createHash } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { empty, json, text } from './answers.ts';
import { bodyText } from './body.ts';
import { isUserMetadata, metadataKey, metadataName, metadataValues } from './metadata-names.ts';
import { checkId, findOne } from './resources.ts';
import { type Environment, flag, type Routes } from './routes.ts';

/** Bytes that one metadata may have. */
const MAXIMUM_VALUE = 10 * 1024 * 1024;

/** The reference's entity tag: revision and MD5 of the value. */
export const entityTag = (revision: number, md5: string): string => `"${revision}-${md5}"`;

/** Whether the client has what `etag` names already: `If-None-Match` with one tag, several or any, weak ones too (RFC 9110 §13.1.2). */
export function isKnown(context: Context<Environment>, etag: string): boolean {
  const header = context.req.header('if-none-match')?.trim() ?? '';
  return header === '*' || [...header.matchAll(/"[^"]*"/g)].some(([tag]) => tag === etag);
}

/**
 * The revision that a change expects (`If-Match: "3-d41d8…"`, weak where something on the way compresses), as an operation
 * takes it. Throws ParameterOutOfRange for a header that cannot be read: a condition must not be passed over.
 */
export function expectedRevision(context: Context<Environment>): { revision?: number } {
  const header = context.req.header('if-match');
  if (header === undefined || header.trim() === '*') return {};
  const digits = /^\s*(?:W\/)?"?(\d{1,15})(?:-[0-9a-f]*)?"?\s*$/.exec(header)?.[1];
  if (digits === undefined) throw new IsenError('ParameterOutOfRange', 'If-Match holds no entity tag of ours');
  return { revision: Number(digits) };
}

const md5 = (value: string): string => createHash('md5').update(value).digest('hex');

function addLevel(routes: Routes, level: Level): void {
  const { services } = routes;
  const { config } = services;
  const all = `/${LEVEL[level].path}/{id}/metadata`;
  const tag = 'Metadata';

  routes.add(
    {
      method: 'get',
      path: all,
      tag,
      summary: `The metadata of a ${level.toLowerCase()}`,
      query: { expand: flag(), numeric: flag() },
      answers: {
        200: {
          description: 'Names, or names with values',
          type: 'application/json',
          schema: z.union([z.array(z.union([z.string(), z.number()])), z.record(z.string(), z.string())]),
        },
      },
    },
    async (context, { expand, numeric }) => {
      const { metadata } = await findOne(services, level, context.req.param('id') ?? '');
      if (expand) return json(metadataValues(config, metadata, numeric));
      const rows = Object.keys(metadata)
        .map((key) => metadataName(config, key))
        // What has no number is the index's own.
        .filter(({ number }) => Number.isInteger(number))
        .sort((a, b) => a.number - b.number);
      return json(rows.map(({ number, name }) => (numeric ? number : name)));
    },
  );

  routes.add(
    {
      method: 'get',
      path: `${all}/{name}`,
      tag,
      summary: 'The value of one metadata',
      headers: { 'if-none-match': 'Answers 304 where the metadata still has this entity tag' },
      answers: {
        200: { description: 'The value', type: 'text/plain' },
        304: { description: 'Unchanged' },
      },
    },
    async (context) => {
      const key = metadataKey(config, context.req.param('name') ?? '');
      const found = await findOne(services, level, context.req.param('id') ?? '');
      const metadata = key === undefined ? undefined : found.metadata[key.key];
      if (metadata === undefined) throw new IsenError('InexistentItem');
      const etag = entityTag(metadata.revision, md5(metadata.value));
      if (isKnown(context, etag)) return empty(304, { ETag: etag });
      return text(metadata.value, { ETag: etag });
    },
  );

  const headers = { 'if-match': 'The revision that the metadata must have' };
  routes.add(
    {
      method: 'put',
      path: `${all}/{name}`,
      tag,
      summary: 'Sets a metadata of the user',
      headers,
      body: { 'text/plain': z.string() },
      writes: true,
      answers: {
        200: { description: 'Done', type: 'text/plain' },
        403: { description: "The metadata is the server's own" },
      },
    },
    async (context) => {
      const name = context.req.param('name') ?? '';
      const key = metadataKey(config, name);
      // A number that Orthanc gave to nothing is reserved all the same.
      if (key === undefined && !/^\d+$/.test(name)) throw new IsenError('ParameterOutOfRange');
      if (key === undefined || !isUserMetadata(key.number)) return empty(403);
      const value = await bodyText(context, MAXIMUM_VALUE);
      const outcome = await services.ingest.apply({
        kind: 'metadata',
        level,
        id: checkId(context.req.param('id') ?? ''),
        name: key.key,
        value,
        ...expectedRevision(context),
      });
      return text('', { ETag: entityTag(outcome.kind === 'written' ? outcome.revision : 0, md5(value)) });
    },
  );
  routes.add(
    {
      method: 'delete',
      path: `${all}/{name}`,
      tag,
      summary: 'Deletes a metadata of the user',
      headers,
      writes: true,
      answers: {
        200: { description: 'Done', type: 'text/plain' },
        403: { description: "The metadata is the server's own" },
      },
    },
    async (context) => {
      const key = metadataKey(config, context.req.param('name') ?? '');
      if (key === undefined || !isUserMetadata(key.number)) return empty(403);
      await services.ingest.apply({
        kind: 'metadata',
        level,
        id: checkId(context.req.param('id') ?? ''),
        name: key.key,
        value: undefined,
        ...expectedRevision(context),
      });
      return text('');
    },
  );
}

/** Adds the routes of this file. */
export function addMetadata(routes: Routes): void {
  for (const level of LEVELS) addLevel(routes, level);
}
