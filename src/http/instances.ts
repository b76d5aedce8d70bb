/** Owns the routes of what one instance's file holds: its bytes, tags, header, content and raw frames. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { DICOM_ATTACHMENT, type Found } from '../database/database.ts';
import type { TagsFormat } from '../dicom/json.ts';
import { IsenError } from '../errors.ts';
import { receivedAt, type StoredFile } from '../ingest/header.ts';
import { negotiate } from './accept.ts';
import { empty, json, jsonOf, keyOf } from './answers.ts';
import { disposition, sendFile } from './files.ts';
import { frameOf, sendFrame } from './frames.ts';
import { checkId, findOne } from './resources.ts';
import { type Environment, type Routes, Text } from './routes.ts';
import { Dataset, formatOf, formatQuery, ignoredLength, ignoreLength } from './schemas.ts';
import type { Services } from './services.ts';
import { lossyQuality, sendTranscoded } from './transcoded.ts';

/** The DICOM file of an instance that was found. Throws InexistentItem. */
export function attachedFile({ attachments, metadata }: Found): StoredFile {
  const attachment = attachments.find((each) => each.contentType === DICOM_ATTACHMENT);
  if (attachment === undefined) throw new IsenError('InexistentItem');
  return { attachment, metadata };
}

/** The DICOM file of an instance. Throws UnknownResource. */
export async function fileOf(services: Services, id: string): Promise<StoredFile> {
  return attachedFile(await findOne(services, 'Instance', id));
}

const fileFor = (services: Services, context: Context<Environment>): Promise<StoredFile> =>
  fileOf(services, context.req.param('id') ?? '');

function addTags(routes: Routes): void {
  const { services, kept, plain } = routes;
  const tag = 'Instances';
  const answers = { 200: { description: 'The data set', type: 'application/json', schema: Dataset } };
  const tagsOf = async (id: string, format: TagsFormat, ignored = ignoredLength(undefined)): Promise<string> =>
    services.headers.tags(await fileOf(services, id), { format, ignoreLength: ignored });
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/tags',
      tag,
      summary: 'The data set',
      query: { ...formatQuery, 'ignore-length': ignoreLength },
      answers,
    },
    async (context, query) => {
      const format = formatOf(query, 'Full');
      const ignored = ignoredLength(query['ignore-length']);
      const tags = (): Promise<string> => tagsOf(context.req.param('id') ?? '', format, ignored);
      return jsonOf(await kept.of(keyOf(context.req.url), tags));
    },
  );
  plain.set('/instances/{id}/tags', (id) => tagsOf(id, 'Full'));
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/simplified-tags',
      tag,
      summary: 'The data set by keyword',
      query: { 'ignore-length': ignoreLength },
      answers,
    },
    async (context, query) => {
      const ignored = ignoredLength(query['ignore-length']);
      const tags = (): Promise<string> => tagsOf(context.req.param('id') ?? '', 'Simplify', ignored);
      return jsonOf(await kept.of(keyOf(context.req.url), tags));
    },
  );
  plain.set('/instances/{id}/simplified-tags', (id) => tagsOf(id, 'Simplify'));
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/header',
      tag,
      summary: 'The File Meta Information',
      query: formatQuery,
      answers,
    },
    async (context, query) =>
      jsonOf(await services.headers.meta(await fileFor(services, context), formatOf(query, 'Full'))),
  );
}

function addContent(routes: Routes): void {
  const { services } = routes;
  const answers = {
    200: {
      description: 'Names of what is below, or a raw value',
      type: ['application/octet-stream', 'application/json'],
    },
    404: { description: 'There is nothing' },
  };
  const send = async (context: Context<Environment>, path: string): Promise<Response> => {
    const content = await services.headers.content(await fileFor(services, context), path);
    if (content === undefined) return empty(404);
    if (!(content instanceof Uint8Array)) return json(content);
    const body = context.req.method === 'HEAD' ? null : (content as Uint8Array<ArrayBuffer>);
    return new Response(body, {
      headers: { 'Content-Type': 'application/octet-stream', 'Content-Length': String(content.length) },
    });
  };
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/content',
      tag: 'Instances',
      summary: 'The tags of the data set',
      answers: { 200: { description: 'The tags', type: 'application/json', schema: z.array(z.string()) } },
    },
    (context) => send(context, ''),
  );
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/content/{path}',
      tag: 'Instances',
      summary: 'What is at a path of tags, item numbers and fragment numbers',
      answers,
    },
    (context) => send(context, context.req.param('path') ?? ''),
  );
}

/** What `GET /instances/{id}/frames/{frame}` lists. */
const FRAME_ROUTES = [
  'image-int16',
  'image-uint16',
  'image-uint8',
  'matlab',
  'numpy',
  'preview',
  'raw',
  'raw.gz',
  'rendered',
];

/** The number of a frame in a path; undefined for what is none. */
export const frameNumber = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;

function addFrames(routes: Routes): void {
  const { services } = routes;
  const tag = 'Instances';
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/frames',
      tag,
      summary: 'The frames',
      answers: { 200: { description: 'Their numbers', type: 'application/json', schema: z.array(z.number()) } },
    },
    async (context) => {
      const count = await services.headers.frameCount(await fileFor(services, context));
      return json(Array.from({ length: count }, (_, index) => index));
    },
  );
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/frames/{frame}',
      tag,
      summary: 'The forms of a frame',
      answers: { 200: { description: 'Their names', type: 'application/json', schema: z.array(z.string()) } },
    },
    async (context) => {
      const frame = frameNumber(context.req.param('frame'));
      const count = await services.headers.frameCount(await fileFor(services, context));
      if (frame === undefined || frame >= count) throw new IsenError('InexistentItem');
      return json(FRAME_ROUTES);
    },
  );
  for (const form of ['raw', 'raw.gz']) {
    const type = form === 'raw' ? 'application/octet-stream' : 'application/gzip';
    routes.add(
      {
        method: 'get',
        path: `/instances/{id}/frames/{frame}/${form}`,
        tag,
        summary: form === 'raw' ? 'The bytes of a frame as they are stored' : 'The same, compressed by gzip',
        answers: { 200: { description: 'The frame', type }, 404: { description: 'No such frame' } },
      },
      async (context) => {
        const frame = frameNumber(context.req.param('frame'));
        if (frame === undefined) return empty(404);
        const file = await fileFor(services, context);
        const raw =
          (await services.headers.frame(file, frame)) ??
          frameOf((await services.pictures.array(file, frame, false)).bytes);
        return sendFrame(context, raw, form !== 'raw');
      },
    );
  }
}

const FILE_TYPE = 'application/dicom';

/** What else a file is answered as, when it is asked for by name. */
const WEB_FORMATS = { 'application/dicom+json': 'json', 'application/dicom+xml': 'xml' } as const;

const WEB_TYPES = ['application/dicom+json', 'application/dicom+xml'] as const;

/** The format of the web that an `Accept` header prefers to the file; undefined for the file. */
function webTypeOf(accept = ''): keyof typeof WEB_FORMATS | undefined {
  // Where anything will do, today's clients expect the file.
  const named = WEB_TYPES.filter((type) => accept.toLowerCase().includes(type));
  if (named.length === 0) return undefined;
  const type = negotiate(accept, [...named, FILE_TYPE]);
  return type === FILE_TYPE ? undefined : type;
}

/** Adds the routes of this file. */
export function addInstances(routes: Routes): void {
  const { services } = routes;
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/file',
      tag: 'Instances',
      summary: 'The DICOM file, or a range of it; or all of it in another transfer syntax',
      query: { filename: Text, transcode: Text, 'lossy-quality': lossyQuality },
      headers: {
        range: 'One range of bytes',
        accept: `${WEB_TYPES.join(' or ')} for the data set in this format, its bulk data by reference; else the file`,
      },
      answers: {
        200: {
          description: 'The file, or its data set',
          type: [FILE_TYPE, ...WEB_TYPES],
          schema: z.string().openapi({ format: 'binary' }),
        },
        206: { description: 'The range', type: 'application/dicom' },
        416: { description: 'The range is behind the end' },
        500: { description: 'It cannot be had in this transfer syntax' },
      },
    },
    async (context, { filename, transcode, 'lossy-quality': quality }) => {
      const id = checkId(context.req.param('id') ?? '');
      const file = await fileOf(services, id);
      const { attachment, metadata } = file;
      const type = webTypeOf(context.req.header('accept'));
      if (type !== undefined) {
        const text = await services.headers.web(file, WEB_FORMATS[type], `/instances/${id}`);
        return new Response(text, { headers: { 'Content-Type': type, Vary: 'Accept' } });
      }
      const headers = {
        'Content-Type': FILE_TYPE,
        Vary: 'Accept',
        'Content-Disposition': disposition(filename ?? `${attachment.uuid}.dcm`),
      };
      return transcode === undefined || transcode === metadata['TransferSyntax']?.value
        ? sendFile(context, services.storage, attachment, headers, receivedAt(metadata))
        : sendTranscoded(context, services.transcoder, file, { transcode, quality }, headers);
    },
  );
  addTags(routes);
  addContent(routes);
  addFrames(routes);
}
