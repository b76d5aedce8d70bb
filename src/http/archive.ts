/** Owns the routes that answer archives: of folders or with a DICOMDIR, at once or as the output of a job. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { LEVEL } from '../dicom/levels.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { IsenError } from '../errors.ts';
import type { ArchiveOrder } from '../jobs/archive-bytes.ts';
import { type Asked, levelsOf } from '../jobs/storing.ts';
import { log } from '../log.ts';
import { bodyText, parseJson } from './body.ts';
import { disposition } from './files.ts';
import { answerJob, jobOptions, jobFields } from './jobs.ts';
import { textField } from './querying.ts';
import { checkId, findOne } from './resources.ts';
import { type Environment, flag, type Routes, Text } from './routes.ts';
import { ResourceId } from './schemas.ts';
import type { Services } from './services.ts';
import { lossyQuality } from './transcoded.ts';

/** Bytes of a body: its ids are kept with the job. */
const LARGEST_BODY = 4 << 20;

const ZIP = 'application/zip';
const binary = z.string().openapi({ format: 'binary' });

const transcode = Text.openapi({ description: 'UID of the transfer syntax of the files that can be had in it' });
const filename = Text.openapi({ description: 'Name of the file, for whoever downloads it' });
const listed = z.string().max(LARGEST_BODY).optional().openapi({ description: 'Public ids, separated by commas' });
const chosen = { transcode, 'lossy-quality': lossyQuality, filename };

const bodyFields = {
  ...jobFields,
  Transcode: z.string().optional(),
  LossyQuality: z.number().optional(),
  Filename: z.string().optional(),
  Utf8: z.boolean().optional(),
};
const Quality = z.number().int().min(1).max(100).optional();

/** What a request says about its archive. */
interface Wanted extends Omit<ArchiveOrder, 'resources'> {
  readonly filename: string;
}

/** One address, with GET and POST. */
interface Place extends Pick<ArchiveOrder, 'media' | 'extended'> {
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  /** Whether requests list their resources, as those under /tools do. */
  readonly lists: boolean;
  /** The resources of a request, which may list `ids`. Throws UnknownResource. */
  resources(context: Context<Environment>, ids: () => readonly string[]): Promise<readonly Asked[]>;
  /** What the file is called where nobody says so. */
  filename(context: Context<Environment>): string;
}

/** Throws ParameterOutOfRange for a transfer syntax that does not exist. */
function checkSyntax(uid: string | undefined): void {
  if (uid !== undefined && transferSyntax(uid) === undefined)
    throw new IsenError('ParameterOutOfRange', `Unknown transfer syntax: ${uid}`);
}

/** An optional field of a body. Throws BadFileFormat. */
function booleanField(body: Readonly<Record<string, unknown>>, field: string): boolean | undefined {
  const value = body[field];
  if (value === undefined || typeof value === 'boolean') return value;
  throw new IsenError('BadFileFormat', `Boolean value expected in field: ${field}`);
}

/** Throws BadFileFormat, ParameterOutOfRange. */
function wantedIn(
  body: Readonly<Record<string, unknown>>,
  initial: Pick<Wanted, 'media' | 'extended' | 'filename' | 'utf8'>,
): Wanted {
  const syntax = textField(body, 'Transcode');
  checkSyntax(syntax);
  const quality = Quality.safeParse(body['LossyQuality']);
  if (!quality.success) throw new IsenError('ParameterOutOfRange', 'LossyQuality is a quality from 1 to 100');
  return {
    media: initial.media,
    extended: booleanField(body, 'Extended') ?? initial.extended,
    filename: textField(body, 'Filename') ?? initial.filename,
    utf8: booleanField(body, 'Utf8') ?? initial.utf8,
    ...(syntax !== undefined && { transcode: syntax }),
    ...(quality.data !== undefined && { quality: quality.data }),
  };
}

/** Every address. */
function places(services: Services): readonly Place[] {
  const found: Place[] = [];
  for (const media of [false, true]) {
    const what = media ? 'A file-set with a DICOMDIR' : 'An archive';
    for (const level of ['Patient', 'Study', 'Series'] as const) {
      found.push({
        path: `/${LEVEL[level].path}/{id}/${media ? 'media' : 'archive'}`,
        tag: level === 'Patient' ? 'Patients' : level === 'Study' ? 'Studies' : 'Series',
        summary: `${what} of the files of a ${level.toLowerCase()}`,
        media,
        extended: false,
        lists: false,
        async resources(context) {
          const { id } = await findOne(services, level, context.req.param('id') ?? '', { idsOnly: true });
          return [{ level, id }];
        },
        filename: (context) => `${context.req.param('id') ?? ''}.zip`,
      });
    }
    for (const extended of media ? [false, true] : [false]) {
      found.push({
        path: `/tools/create-${media ? 'media' : 'archive'}${extended ? '-extended' : ''}`,
        tag: 'Tools',
        summary: `${what} of the files of resources of any level`,
        media,
        extended,
        lists: true,
        async resources(_, ids) {
          return levelsOf(services.database, ids().map(checkId));
        },
        filename: () => 'Archive.zip',
      });
    }
  }
  return found;
}

/** The archive itself as the answer. */
async function sendArchive(
  services: Services,
  context: Context<Environment>,
  resources: readonly Asked[],
  { filename: name, ...order }: Wanted,
): Promise<Response> {
  const headers = { 'Content-Type': ZIP, 'Content-Disposition': disposition(name) };
  if (context.req.method === 'HEAD') return new Response(null, { headers });
  const bytes = services.archives.stream({ ...order, resources });
  if (!services.config.SynchronousZipStream) return sendStored(context, services, bytes, headers);
  // What is wrong with the first file can still be told.
  const first = await bytes.next();
  return new Response(streamed(context, first, bytes), { headers });
}

function addGet(routes: Routes, place: Place): void {
  const { path, tag, summary, media, lists } = place;
  const { services } = routes;
  routes.add(
    {
      method: 'get',
      path,
      tag,
      summary,
      query: { ...chosen, ...(media && { extended: flag() }), ...(lists && { resources: listed }) },
      answers: { 200: { description: 'The archive', type: ZIP, schema: binary } },
    },
    async (context, query) => {
      // Where the place knows them not, they are not there.
      const { extended = false, resources: list = '' } = query as { extended?: boolean; resources?: string };
      const ids = (): readonly string[] => list.split(',').flatMap((id) => id.trim() || []);
      const resources = await place.resources(context, ids);
      checkSyntax(query.transcode);
      const quality = query['lossy-quality'];
      return sendArchive(services, context, resources, {
        media,
        extended: place.extended || extended,
        filename: query.filename ?? place.filename(context),
        utf8: services.config.ZipUseUtf8,
        ...(query.transcode !== undefined && { transcode: query.transcode }),
        ...(quality !== undefined && { quality }),
      });
    },
  );
}

function addPost(routes: Routes, place: Place): void {
  const { path, tag, summary, media, extended, lists } = place;
  const { services } = routes;
  const fields = z.object({
    ...bodyFields,
    ...(media && { Extended: z.boolean().optional() }),
    ...(lists && { Resources: z.array(ResourceId) }),
  });
  routes.add(
    {
      method: 'post',
      path,
      tag,
      summary: `${summary}; (\`Asynchronous\`) as the output \`archive\` of a job`,
      reads: true,
      body: { 'application/json': lists ? z.union([z.array(ResourceId), fields]) : fields },
      answers: {
        200: {
          description: 'The archive, or (`application/json`) the job',
          type: [ZIP, 'application/json'],
          schema: binary,
        },
      },
    },
    async (context) => {
      const value = await jsonBody(context);
      const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
      const body = isObject ? (value as Readonly<Record<string, unknown>>) : {};
      const { filename: name, ...order } = wantedIn(body, {
        media,
        extended,
        filename: place.filename(context),
        utf8: services.config.ZipUseUtf8,
      });
      const { synchronous, priority, userData } = jobOptions(body, true);
      const resources = await place.resources(context, () => idsIn(value));
      if (synchronous) return sendArchive(services, context, resources, { ...order, filename: name });
      const id = await services.archives.submit({
        order: { ...order, resources },
        filename: name,
        priority,
        userData,
      });
      return answerJob(services, context, id, false);
    },
  );
}

/** Adds the routes of this file. */
export function addArchives(routes: Routes): void {
  for (const place of places(routes.services)) {
    addGet(routes, place);
    addPost(routes, place);
  }
}

async function jsonBody(context: Context<Environment>): Promise<unknown> {
  const text = await bodyText(context, LARGEST_BODY);
  try {
    return parseJson(text);
  } catch (thrown) {
    throw new IsenError('BadFileFormat', undefined, { cause: thrown });
  }
}

/** The ids that a body lists, itself or in `Resources`. Throws BadFileFormat. */
function idsIn(body: unknown): readonly string[] {
  let list = body;
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) {
    list = (body as Readonly<Record<string, unknown>>)['Resources'];
    if (list === undefined) throw new IsenError('BadFileFormat', 'Missing field Resources in the JSON body');
  }
  if (!Array.isArray(list) || !list.every((id): id is string => typeof id === 'string'))
    throw new IsenError('BadFileFormat', 'Expected a list of strings (Orthanc identifiers)');
  return list;
}

/** A body in the pace of the client, whose leaving ends the making. */
function streamed(
  context: Context<Environment>,
  first: IteratorResult<Uint8Array, void>,
  rest: AsyncGenerator<Uint8Array, void>,
): ReadableStream<Uint8Array> {
  let next: IteratorResult<Uint8Array, void> | undefined = first;
  const { outgoing } = context.env;
  let left = false;
  const end = (): void => {
    left = true;
    rest.return().catch((thrown: unknown) => log.http.error({ err: thrown }, 'an archive ended badly'));
  };
  // Whoever left meanwhile never reads the body, nor says so.
  if (outgoing.closed) end();
  else outgoing.once('close', end);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = next ?? (await rest.next());
          next = undefined;
          if (left) return;
          if (done === true) controller.close();
          else controller.enqueue(value);
        } catch (thrown) {
          // The status has left: all that can be told is that it does not end well.
          log.http.error({ err: thrown }, 'an archive was broken off');
          outgoing.destroy();
          controller.error(thrown);
        }
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}

/** The answer once all of it is made: a blob that lives as long as the answer, and that no start keeps. */
async function sendStored(
  context: Context<Environment>,
  { storage }: Services,
  bytes: AsyncGenerator<Uint8Array, void>,
  headers: Readonly<Record<string, string>>,
): Promise<Response> {
  const { outgoing } = context.env;
  const uuid = storage.name();
  const remove = (): void => {
    storage
      .remove(uuid)
      .catch((thrown: unknown) => log.http.error({ err: thrown }, 'the file of an archive is left for the next start'));
  };
  const writer = await storage.create(uuid);
  let size = 0;
  try {
    for await (const chunk of bytes) {
      if (outgoing.closed) throw new IsenError('CanceledJob', 'nobody waits for it');
      await writer.write(chunk);
      size += chunk.length;
    }
  } catch (thrown) {
    await writer.abort().catch(() => {});
    throw thrown;
  }
  await writer.finish();
  if (outgoing.closed) remove();
  else outgoing.once('close', remove);
  return new Response(await storage.stream(uuid), { headers: { ...headers, 'Content-Length': String(size) } });
}
