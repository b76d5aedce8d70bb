/** Owns the routes of attachments, at the four levels. */

import { createHash } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type Attachment, DICOM_ATTACHMENT, type RevisedAttachment } from '../database/database.ts';
import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { streamContent } from '../storage/content.ts';
import { empty, emptyObject, json, text } from './answers.ts';
import { disposition, sendFile } from './files.ts';
import { contentType, type ContentType, contentTypeName, isUserContentType } from './metadata-names.ts';
import { entityTag, expectation, expectationOfDeletion, isKnown } from './metadata.ts';
import { checkId, findOne } from './resources.ts';
import { type Environment, flag, type Routes, Text } from './routes.ts';
import type { Services } from './services.ts';
import { receiveBody } from './upload.ts';

interface Chosen {
  readonly attachment: RevisedAttachment;
  readonly type: ContentType;
  readonly etag: string;
}

/** What a path names. Throws InexistentItem for an unknown content type, UnknownResource for one that is not there. */
async function choose(services: Services, level: Level, context: Context<Environment>): Promise<Chosen> {
  const found = await findOne(services, level, context.req.param('id') ?? '');
  const type = contentType(services.config, context.req.param('name') ?? '');
  const attachment = found.attachments.find((each) => each.contentType === type.number);
  if (attachment === undefined) throw new IsenError('UnknownResource');
  return { attachment, type, etag: entityTag(attachment.revision, attachment.uncompressedMD5) };
}

/** A recorded MD5. Throws InexistentItem where none was computed (`StoreMD5ForAttachments`). */
function digest(value: string): string {
  if (value === '') throw new IsenError('InexistentItem', 'no MD5 was computed for this attachment');
  return value;
}

/** The small answers about one attachment, by the last segment of their path. */
const FACTS: Readonly<Record<string, { summary: string; say(attachment: RevisedAttachment): string }>> = {
  size: { summary: 'Bytes of an attachment', say: (attachment) => String(attachment.uncompressedSize) },
  md5: { summary: 'MD5 of an attachment', say: (attachment) => digest(attachment.uncompressedMD5) },
  'compressed-size': {
    summary: 'Bytes of an attachment as it is stored',
    say: (attachment) => String(attachment.compressedSize),
  },
  'compressed-md5': {
    summary: 'MD5 of an attachment as it is stored',
    say: (attachment) => digest(attachment.compressedMD5),
  },
  'is-compressed': {
    summary: 'Whether an attachment is stored compressed',
    say: (attachment) => (attachment.compression === 'none' ? '0' : '1'),
  },
};

/** Segments of which `/attachments/{name}` lists what exists. */
const PARTS = [...Object.keys(FACTS), 'data', 'compressed-data', 'info', 'verify-md5', 'compress', 'uncompress'].sort();

const tag = 'Attachments';
const ifNoneMatch = { 'if-none-match': 'Answers 304 where the attachment still has this entity tag' };
const unchanged = { 304: { description: 'Unchanged' } };

function addLevel(routes: Routes, level: Level): void {
  const { services } = routes;
  const all = `/${LEVEL[level].path}/{id}/attachments`;

  /** A GET below one attachment, with its entity tag. */
  const get = (
    segment: string,
    summary: string,
    type: string,
    schema: z.ZodType,
    answer: (chosen: Chosen) => Response,
  ): void => {
    routes.add(
      {
        method: 'get',
        path: `${all}/{name}${segment}`,
        tag,
        summary,
        headers: ifNoneMatch,
        answers: { 200: { description: summary, type, schema }, ...unchanged },
      },
      async (context) => {
        const chosen = await choose(services, level, context);
        const { etag } = chosen;
        return isKnown(context, etag) ? empty(304, { ETag: etag }) : answer(chosen);
      },
    );
  };

  routes.add(
    {
      method: 'get',
      path: all,
      tag,
      summary: `The attachments of a ${level.toLowerCase()}`,
      query: { full: flag() },
      answers: {
        200: {
          description: 'Names, or names with numbers',
          type: 'application/json',
          schema: z.union([z.array(z.string()), z.record(z.string(), z.number())]),
        },
      },
    },
    async (context, { full }) => {
      const { attachments } = await findOne(services, level, context.req.param('id') ?? '');
      const rows = attachments
        .map(({ contentType: number }): [string, number] => [contentTypeName(services.config, number), number])
        .sort(([, a], [, b]) => a - b);
      return json(
        full ? Object.fromEntries(rows.toSorted(([a], [b]) => (a < b ? -1 : 1))) : rows.map(([name]) => name),
      );
    },
  );

  get('', 'What there is to ask about an attachment', 'application/json', z.array(z.string()), ({ etag }) =>
    json(PARTS, { ETag: etag }),
  );
  for (const [name, { summary, say }] of Object.entries(FACTS)) {
    get(`/${name}`, summary, 'text/plain', z.string(), ({ attachment, etag }) => text(say(attachment), { ETag: etag }));
  }
  get(
    '/info',
    'Everything the index knows of an attachment',
    'application/json',
    z.object({
      CompressedMD5: z.string(),
      CompressedSize: z.number(),
      ContentType: z.number(),
      UncompressedMD5: z.string(),
      UncompressedSize: z.number(),
      Uuid: z.string(),
    }),
    ({ attachment, etag }) =>
      json(
        {
          CompressedMD5: attachment.compressedMD5,
          CompressedSize: attachment.compressedSize,
          ContentType: attachment.contentType,
          UncompressedMD5: attachment.uncompressedMD5,
          UncompressedSize: attachment.uncompressedSize,
          Uuid: attachment.uuid,
        },
        { ETag: etag },
      ),
  );

  for (const segment of ['data', 'compressed-data']) {
    routes.add(
      {
        method: 'get',
        path: `${all}/{name}/${segment}`,
        tag,
        summary: segment === 'data' ? 'An attachment' : 'An attachment as it is stored',
        query: { filename: Text },
        headers: { ...ifNoneMatch, range: 'One range of bytes' },
        answers: {
          200: {
            description: 'The bytes',
            type: '*/*',
            schema: z.string().openapi({ format: 'binary' }),
          },
          206: { description: 'The range', type: '*/*' },
          ...unchanged,
          416: { description: 'The range is behind the end' },
        },
      },
      async (context, { filename }) => {
        const { attachment, type, etag } = await choose(services, level, context);
        if (isKnown(context, etag)) return empty(304, { ETag: etag });
        const suffix = type.number === DICOM_ATTACHMENT ? '.dcm' : '';
        return sendFile(context, services.storage, segment === 'data' ? attachment : asStored(attachment), {
          ETag: etag,
          'Content-Type': type.mime,
          'Content-Disposition': disposition(filename ?? `${attachment.uuid}${suffix}`),
        });
      },
    );
  }

  addVerification(routes, level, all);
  addChanges(routes, level, all);
}

/** What the storage holds of an attachment, as if that were the attachment. */
const asStored = (attachment: Attachment): Attachment => ({
  ...attachment,
  compression: 'none',
  uncompressedSize: attachment.compressedSize,
  uncompressedMD5: attachment.compressedMD5,
});

function addVerification(routes: Routes, level: Level, all: string): void {
  const { services } = routes;
  const isIntact = async (attachment: Attachment): Promise<boolean> => {
    const hash = createHash('md5');
    // Without a range: bytes behind the recorded end are damage too.
    for await (const chunk of await streamContent(services.storage, attachment)) hash.update(chunk);
    return hash.digest('hex') === digest(attachment.uncompressedMD5);
  };
  routes.add(
    {
      method: 'post',
      path: `${all}/{name}/verify-md5`,
      tag,
      summary: 'Reads the stored file again and compares its MD5 with the recorded one',
      reads: true,
      answers: {
        200: { description: 'They are equal', type: 'application/json', schema: z.object({}) },
        500: { description: 'The stored file is damaged' },
      },
    },
    async (context) => {
      const { attachment } = await choose(services, level, context);
      const isWhole = await isIntact(asStored(attachment));
      if (!isWhole || (attachment.compression !== 'none' && !(await isIntact(attachment))))
        throw new IsenError('CorruptedFile');
      return emptyObject();
    },
  );
}

const forbidden = { 403: { description: "The attachment is the server's own" } };
const done = { 200: { description: 'Done', type: 'application/json', schema: z.object({}) } };

function addChanges(routes: Routes, level: Level, all: string): void {
  const { services } = routes;
  const { config, ingest } = services;
  routes.add(
    {
      method: 'put',
      path: `${all}/{name}`,
      tag,
      summary: 'Sets an attachment of the user',
      headers: { 'if-match': 'The entity tag that the attachment must have' },
      body: { 'application/octet-stream': z.string().openapi({ format: 'binary' }) },
      writes: true,
      answers: { ...done, ...forbidden, 409: { description: 'It was changed meanwhile' } },
    },
    async (context) => {
      const type = contentType(config, context.req.param('name') ?? '');
      if (!isUserContentType(type.number)) return empty(403);
      const expected = expectation(context, config);
      const { id } = await findOne(services, level, context.req.param('id') ?? '', { idsOnly: true });
      const slab = await ingest.receive();
      try {
        await receiveBody(context.env.incoming, slab);
      } catch (thrown) {
        slab.release();
        throw thrown;
      }
      const { revision, md5 } = await ingest.attach(slab, { level, id, contentType: type.number, ...expected });
      return emptyObject({ ETag: entityTag(revision, md5) });
    },
  );
  routes.add(
    {
      method: 'delete',
      path: `${all}/{name}`,
      tag,
      summary: 'Deletes an attachment of the user',
      headers: { 'if-match': 'The entity tag that the attachment must have' },
      writes: true,
      answers: { 200: { description: 'Done', type: 'text/plain' }, ...forbidden },
    },
    async (context) => {
      const { number } = contentType(config, context.req.param('name') ?? '');
      if (!isUserContentType(number)) return empty(403);
      const expected = expectationOfDeletion(context, config);
      const id = checkId(context.req.param('id') ?? '');
      await ingest.apply({ kind: 'attachment', level, id, contentType: number, attachment: undefined, ...expected });
      return text('');
    },
  );
  for (const [segment, compression, summary] of [
    ['compress', 'zlib', 'Stores an attachment compressed'],
    ['uncompress', 'none', 'Stores an attachment as it is'],
  ] as const) {
    routes.add(
      { method: 'post', path: `${all}/{name}/${segment}`, tag, summary, writes: true, answers: done },
      async (context) => {
        const { attachment } = await choose(services, level, context);
        await ingest.recompress({ level, id: context.req.param('id') ?? '' }, attachment, compression);
        return emptyObject();
      },
    );
  }
}

/** Adds the routes of this file. */
export function addAttachments(routes: Routes): void {
  for (const level of LEVELS) addLevel(routes, level);
}
