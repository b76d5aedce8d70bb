/** Owns the routes of pictures: frames as images, and the document of an encapsulated one. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type ErrorName, IsenError } from '../errors.ts';
import { type ImageFormat, MEDIA_TYPES } from '../imaging/encode.ts';
import type { Rendering } from '../imaging/render.ts';
import type { StoredFile } from '../ingest/header.ts';
import { negotiate } from './accept.ts';
import { empty } from './answers.ts';
import { fileOf, frameNumber } from './instances.ts';
import { type Environment, flag, type QueryShape, type Routes } from './routes.ts';
import { UNSUPPORTED } from './unsupported.ts';

const FORMATS = Object.keys(MEDIA_TYPES) as readonly ImageFormat[];
const TYPES = FORMATS.map((format) => MEDIA_TYPES[format]);
const formatOfType = new Map(FORMATS.map((format) => [MEDIA_TYPES[format], format]));

/** Errors that mean that a frame cannot be shown so: answered by 415, or by a picture that says so. */
const NOT_SHOWN: ReadonlySet<ErrorName> = new Set<ErrorName>([
  'BadFileFormat',
  'BadRequest',
  'IncompatibleImageFormat',
  'NotImplemented',
  'ParameterOutOfRange',
]);

const size = z
  .string()
  .regex(/^\d{1,9}$/, 'a number of pixels is expected')
  .transform(Number)
  .optional()
  .openapi({ type: 'integer', minimum: 0 });

const level = z
  .string()
  .regex(/^[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})(e[+-]?\d{1,2})?$/i, 'a number is expected')
  .transform(Number)
  .optional()
  .openapi({ type: 'number' });

/** What the routes of pictures have in common. */
const common = {
  quality: z
    .string()
    .regex(/^([1-9]\d?|100)$/, 'a quality from 1 to 100 is expected')
    .transform(Number)
    .optional()
    .openapi({ type: 'integer', minimum: 1, maximum: 100, default: 90 }),
  returnUnsupportedImage: flag(),
};

const windowed = {
  ...common,
  width: size,
  height: size,
  smooth: flag(),
  'window-center': level,
  'window-width': level,
};

const binary = z.string().openapi({ format: 'binary' });

interface Common {
  readonly quality: number | undefined;
  readonly returnUnsupportedImage: boolean;
}

/** Adds a picture of an instance's first frame, and of each frame. */
function addPicture<const Query extends QueryShape>(
  routes: Routes,
  name: string,
  summary: string,
  query: Query,
  rendering: (query: { [Key in keyof Query]: z.output<Query[Key]> }) => Rendering,
): void {
  const { services } = routes;
  for (const path of ['/instances/{id}', '/instances/{id}/frames/{frame}']) {
    routes.add(
      {
        method: 'get',
        path: `${path}/${name}`,
        tag: 'Pictures',
        summary,
        query,
        headers: { accept: `One of ${TYPES.join(', ')}` },
        answers: {
          200: { description: 'The picture', type: 'image/png', schema: binary },
          404: { description: 'No such frame' },
          406: { description: 'None of the media types is acceptable' },
          415: { description: 'There is nothing that could be shown so' },
        },
      },
      async (context, checked) => {
        const { quality = 90, returnUnsupportedImage } = checked as unknown as Common;
        const type = negotiate(context.req.header('accept'), TYPES);
        const format = type && formatOfType.get(type);
        if (type === undefined || format === undefined) throw new IsenError('NotAcceptable');
        const frame = frameOf(context);
        if (frame === undefined) return empty(404);
        const file = await fileFor(routes, context);
        try {
          const request = { rendering: rendering(checked), format, quality };
          return bytes(context, await services.pictures.picture(file, frame, request), type);
        } catch (thrown) {
          if (!(thrown instanceof IsenError && NOT_SHOWN.has(thrown.code))) throw thrown;
          return returnUnsupportedImage ? bytes(context, UNSUPPORTED, 'image/png') : empty(415);
        }
      },
    );
  }
}

/** The frame that a path names, the first where it names none; undefined for what is no number. */
export function frameOf(context: Context<Environment>): number | undefined {
  const text = context.req.param('frame');
  return text === undefined ? 0 : frameNumber(text);
}

const fileFor = ({ services }: Routes, context: Context<Environment>): Promise<StoredFile> =>
  fileOf(services, context.req.param('id') ?? '');

/** 200 with these bytes. */
export function bytes(context: Context<Environment>, body: Uint8Array<ArrayBuffer>, type: string): Response {
  return new Response(context.req.method === 'HEAD' ? null : body, {
    headers: { 'Content-Type': type, 'Content-Length': String(body.length) },
  });
}

const MIME_TYPE_OF_DOCUMENT = '0042,0012';
const ENCAPSULATED_DOCUMENT = '0042,0011';

function addPdf(routes: Routes): void {
  const { headers } = routes.services;
  routes.add(
    {
      method: 'get',
      path: '/instances/{id}/pdf',
      tag: 'Pictures',
      summary: 'The document of an instance that encapsulates one',
      answers: {
        200: { description: 'The document', type: 'application/pdf', schema: binary },
        404: { description: 'There is none' },
      },
    },
    async (context) => {
      const file = await fileFor(routes, context);
      const type = await headers.content(file, MIME_TYPE_OF_DOCUMENT);
      if (!(type instanceof Uint8Array) || !/^application\/pdf[\0 ]*$/i.test(Buffer.from(type).toString('latin1')))
        return empty(404);
      const document = await headers.content(file, ENCAPSULATED_DOCUMENT);
      if (!(document instanceof Uint8Array)) return empty(404);
      // Its padding (PS3.5 §7.1.1) is not part of it.
      const end = document.at(-1) === 0 ? document.length - 1 : document.length;
      return bytes(context, document.subarray(0, end) as Uint8Array<ArrayBuffer>, 'application/pdf');
    },
  );
}

/** Adds the routes of this file. */
export function addImages(routes: Routes): void {
  addPicture(routes, 'preview', 'A picture to recognise a frame by', common, () => ({ kind: 'preview' }));
  addPicture(routes, 'rendered', 'A frame as it is to be displayed', windowed, (query) => ({
    kind: 'rendered',
    width: query.width,
    height: query.height,
    smooth: query.smooth,
    window: { center: query['window-center'], width: query['window-width'] },
  }));
  for (const kind of ['uint8', 'uint16', 'int16'] as const) {
    addPicture(routes, `image-${kind}`, `The stored values of a grey frame, limited to ${kind}`, common, () => ({
      kind,
    }));
  }
  addPdf(routes);
}
