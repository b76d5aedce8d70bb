/** Owns the routes of frames as arrays: NumPy files of a frame, an instance or a series, and MATLAB's text. */

import { Readable } from 'node:stream';
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { ZipFile } from 'yazl';
import { asError, IsenError } from '../errors.ts';
import { NUMPY_HEAD, numpyHead } from '../imaging/arrays.ts';
import type { ShowAnswer } from '../imaging/show.ts';
import type { StoredFile } from '../ingest/header.ts';
import { log } from '../log.ts';
import { bytes, frameOf } from './images.ts';
import { attachedFile, fileOf } from './instances.ts';
import { findOne } from './resources.ts';
import { type Environment, flag, type Routes } from './routes.ts';
import type { Services } from './services.ts';
import { MOST_INSTANCES, orderSlices } from './slices.ts';

type Numbers = Required<ShowAnswer>;

/** Bytes up to which an array is made before its answer begins, so that whatever is wrong with it can be said. */
const SMALL = 32 << 20;

const binary = z.string().openapi({ format: 'binary' });

/** One frame of a stored file. */
interface FrameRef {
  readonly file: StoredFile;
  readonly frame: number;
}

/** What an answer holds: its first frame, made already, and the others. */
interface Volume {
  readonly first: Numbers;
  readonly rest: readonly FrameRef[];
  /** Of the shape's first axis; undefined for a single frame, which has none. */
  readonly frames: number | undefined;
}

const chosen = { compress: flag(), rescale: flag(true) };
interface Chosen {
  readonly compress: boolean;
  readonly rescale: boolean;
}

/** The arrays of all frames in order. Throws IncompatibleImageSize, IncompatibleImageFormat where one differs from the first. */
async function* values(
  services: Services,
  { first, rest }: Volume,
  rescale: boolean,
): AsyncGenerator<Uint8Array, void> {
  yield first.bytes;
  const { rows, columns, channels, type } = first.array;
  for (const { file, frame } of rest) {
    const next = await services.pictures.array(file, frame, rescale);
    if (next.array.rows !== rows || next.array.columns !== columns) throw new IsenError('IncompatibleImageSize');
    if (next.array.channels !== channels || next.array.type !== type) throw new IsenError('IncompatibleImageFormat');
    yield next.bytes;
  }
}

/** A NumPy file: its head, then the frames as they are made. */
async function* numpyFile(services: Services, volume: Volume, rescale: boolean): AsyncGenerator<Uint8Array, void> {
  yield numpyHead(volume.first.array, volume.frames);
  yield* values(services, volume, rescale);
}

/** The archive of a NumPy file that `numpy.load` opens by its name `arr_0`. */
function npz(source: AsyncIterable<Uint8Array>): Readable {
  const zip = new ZipFile();
  const output = zip.outputStream as Readable;
  const input = Readable.from(source, { objectMode: false });
  zip.on('error', (error: unknown) => output.destroy(asError(error)));
  input.once('error', (error) => output.destroy(error));
  output.once('close', () => input.destroy());
  zip.addReadStream(input, 'arr_0', { compress: true, mtime: new Date(1980, 0, 1) });
  zip.end();
  return output;
}

async function answer(
  context: Context<Environment>,
  services: Services,
  volume: Volume,
  { compress, rescale }: Chosen,
): Promise<Response> {
  const size = NUMPY_HEAD + volume.first.bytes.length * (1 + volume.rest.length);
  const headers: Record<string, string> = { 'Content-Type': 'application/octet-stream' };
  if (!compress) headers['Content-Length'] = String(size);
  if (context.req.method === 'HEAD') return new Response(null, { headers });
  let source: AsyncIterable<Uint8Array> = numpyFile(services, volume, rescale);
  if (size <= SMALL) {
    const parts: Uint8Array[] = [];
    for await (const part of source) parts.push(part);
    if (!compress) return new Response(Buffer.concat(parts), { headers });
    source = Readable.from(parts, { objectMode: false });
  }
  const stream = compress ? npz(source) : Readable.from(source, { objectMode: false });
  stream.once('error', (error) => {
    // The status has left: all that can be told is that it does not end well.
    log.http.error({ err: error }, 'an array was broken off');
    context.env.outgoing.destroy();
  });
  return new Response(Readable.toWeb(stream) as ReadableStream, { headers });
}

/** A volume of frames: the first is made to learn what all are. */
async function volumeOf(
  services: Services,
  { file, frame }: FrameRef,
  rescale: boolean,
  rest: (frames: number) => readonly FrameRef[],
): Promise<Volume> {
  const first = await services.pictures.array(file, frame, rescale);
  const others = rest(first.array.frames);
  return { first, rest: others, frames: others.length + 1 };
}

/** What is no image is the fault of the server, as the reference has it for arrays. */
async function asReference<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof IsenError && thrown.code === 'NotImplemented')
      throw new IsenError('NotImplemented', thrown.details, { cause: thrown, http: 500 });
    throw thrown;
  }
}

const framesFrom = (file: StoredFile, start: number, end: number): FrameRef[] =>
  Array.from({ length: Math.max(0, end - start) }, (_, index) => ({ file, frame: start + index }));

/** The number of the frame that a path names. Throws ParameterOutOfRange. */
function needFrame(context: Context<Environment>): number {
  const frame = frameOf(context);
  if (frame === undefined)
    throw new IsenError('ParameterOutOfRange', 'Expected an unsigned integer for the "frame" argument');
  return frame;
}

async function seriesVolume(services: Services, id: string, rescale: boolean): Promise<Volume> {
  const of = await findOne(services, 'Series', id, { idsOnly: true });
  const instances = await services.database.find({ level: 'Instance', of, limit: MOST_INSTANCES });
  const byId = new Map(instances.map((found) => [found.id, found]));
  const files = orderSlices(instances).slices.map((slice) => {
    const found = byId.get(slice.id);
    if (found === undefined) throw new IsenError('UnknownResource');
    return { file: attachedFile(found), frames: slice.frames };
  });
  const [head, ...tail] = files;
  if (head === undefined) throw new IsenError('UnknownResource');
  return volumeOf(services, { file: head.file, frame: 0 }, rescale, (frames) => [
    ...framesFrom(head.file, 1, frames),
    ...tail.flatMap((each) => framesFrom(each.file, 0, each.frames)),
  ]);
}

function addNumpy(
  routes: Routes,
  path: string,
  summary: string,
  volume: (context: Context<Environment>, rescale: boolean) => Promise<Volume>,
): void {
  routes.add(
    {
      method: 'get',
      path: `${path}/numpy`,
      tag: 'Pictures',
      summary,
      query: chosen,
      answers: {
        200: { description: 'A .npy file, or .npz', type: 'application/octet-stream', schema: binary },
        500: { description: 'There is no image, or none that can be decoded' },
      },
    },
    (context, query) =>
      asReference(async () => answer(context, routes.services, await volume(context, query.rescale), query)),
  );
}

/** Adds the routes of this file. */
export function addArrays(routes: Routes): void {
  const { services } = routes;
  const { pictures } = services;
  const fileFor = (context: Context<Environment>): Promise<StoredFile> =>
    fileOf(services, context.req.param('id') ?? '');
  addNumpy(
    routes,
    '/instances/{id}',
    'The frames as an array: frame, row, column, channel',
    async (context, rescale) => {
      const file = await fileFor(context);
      return volumeOf(services, { file, frame: 0 }, rescale, (frames) => framesFrom(file, 1, frames));
    },
  );
  addNumpy(
    routes,
    '/instances/{id}/frames/{frame}',
    'A frame as an array: row, column, channel',
    async (context, rescale) => {
      const frame = needFrame(context);
      const first = await pictures.array(await fileFor(context), frame, rescale);
      return { first, rest: [], frames: undefined };
    },
  );
  addNumpy(routes, '/series/{id}', 'The slices in order as an array: slice, row, column, channel', (context, rescale) =>
    seriesVolume(services, context.req.param('id') ?? '', rescale),
  );
  for (const path of ['/instances/{id}', '/instances/{id}/frames/{frame}']) {
    routes.add(
      {
        method: 'get',
        path: `${path}/matlab`,
        tag: 'Pictures',
        summary: 'The stored values of a frame as an expression of MATLAB and Octave',
        answers: {
          200: { description: 'The expression', type: 'text/plain' },
          500: { description: 'There is no image, or none that can be decoded' },
        },
      },
      (context) =>
        asReference(async () => {
          const frame = needFrame(context);
          return bytes(context, await pictures.matlab(await fileFor(context), frame), 'text/plain');
        }),
    );
  }
}
