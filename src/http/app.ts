/**
 * Owns the HTTP door: who is let in, the shortest way for uploads, every other route, and how errors answer.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { compress } from 'hono/compress';
import { z } from '@hono/zod-openapi';
import { asIsenError, type ErrorName, IsenError } from '../errors.ts';
import { isImpossible } from '../ingest/transcoder.ts';
import { log } from '../log.ts';
import { recordRequest } from '../metrics.ts';
import { admit, onlyReads, receptionOf } from './access.ts';
import { empty, errorAnswer, JSON_TYPE, type JsonBody, jsonText } from './answers.ts';
import { addAdministration } from './administration.ts';
import { addArchives } from './archive.ts';
import { addAttachments } from './attachments.ts';
import { addBulk } from './bulk.ts';
import { addChanges } from './changes.ts';
import { addCommitments } from './commitments.ts';
import { addCreate } from './create.ts';
import { addConformance } from './conformance.ts';
import { addDatasets } from './datasets.ts';
import { addArrays } from './arrays.ts';
import { addExports } from './exports.ts';
import { addFind } from './find.ts';
import { addImages } from './images.ts';
import { addHealth, isHealth } from './health.ts';
import { addInstances } from './instances.ts';
import { addJobs } from './jobs.ts';
import { addLabels } from './labels.ts';
import { addMetadata } from './metadata.ts';
import { addModalities } from './modalities.ts';
import { addModify } from './modify.ts';
import { addOpenApi } from './openapi.ts';
import { plainPath, tidyUrl } from './paths.ts';
import { addPeerStoring } from './peer-storing.ts';
import { addPeers } from './peers.ts';
import { addPlugins } from './plugins.ts';
import { addQueues } from './queues.ts';
import { addQueries } from './queries.ts';
import { addQuerying } from './querying.ts';
import { addRetrievals } from './retrievals.ts';
import { addResources, PUBLIC_ID } from './resources.ts';
import { createRoutes, lookingAgain, type Routes } from './routes.ts';
import { addRouting } from './routing.ts';
import { ResourceId } from './schemas.ts';
import { createServer, type HttpServer } from './server.ts';
import { addSession, isOpen } from './session.ts';
import { createSessions, isOfPage, type Sessions } from './sessions.ts';
import type { Services } from './services.ts';
import { addSettings } from './settings.ts';
import { addSlices } from './slices.ts';
import { addStoring } from './storing.ts';
import { addSplitMerge } from './split-merge.ts';
import { addSystem } from './system.ts';
import { addStatistics } from './statistics.ts';
import { addTools } from './tools.ts';
import { createInterface, isInterface } from './ui.ts';
import { upload } from './upload.ts';
import { addWebDav } from './webdav.ts';
import { addWebhooks } from './webhooks.ts';

const UPLOAD = '/instances';

/** URLs of answers that may be kept: a resource, or something of it. */
const KEPT_ROUTE = /^\/(patients|studies|series|instances)\/([^/?]+)(\/[^?]+)?(\?|$)/;

/** Every route over `services`; live streams end when `ended` aborts. */
export function allRoutes(services: Services, sessions: Sessions, ended: AbortSignal): Routes {
  const routes = createRoutes(services);
  const { app } = routes;
  if (services.config.HttpCompressionEnabled) app.use(compress());
  addResources(routes);
  addStatistics(routes);
  addLabels(routes);
  addInstances(routes);
  addImages(routes);
  addArrays(routes);
  addDatasets(routes);
  addSlices(routes);
  addMetadata(routes);
  addAttachments(routes);
  addChanges(routes, ended);
  addExports(routes);
  addJobs(routes);
  addHealth(routes);
  addModify(routes);
  addArchives(routes);
  addCreate(routes);
  addSplitMerge(routes);
  addSystem(routes);
  addFind(routes);
  addBulk(routes);
  addTools(routes);
  addPlugins(routes);
  addSettings(routes);
  addAdministration(routes);
  addConformance(routes);
  addModalities(routes);
  addPeers(routes);
  addPeerStoring(routes);
  addQueues(routes);
  addStoring(routes);
  addRouting(routes);
  addWebhooks(routes);
  addQuerying(routes);
  addRetrievals(routes);
  addQueries(routes);
  addCommitments(routes);
  addUpload(routes);
  addSession(routes, sessions);
  addOpenApi(routes);
  addWebDav(routes);

  app.onError((thrown, context) => {
    const error = asIsenError(thrown);
    report(error, context.req.method, context.req.path);
    const { status, headers, body } = errorAnswer(
      error,
      context.req.method,
      plainPath(context.req.path),
      services.config.HttpDescribeErrors,
    );
    return new Response(body, { status, headers });
  });
  app.notFound((context) => {
    const methods = routes.methodsAt(context.req.path);
    if (methods.length > 0) return empty(405, { Allow: methods.join(',') });
    throw new IsenError('UnknownResource');
  });
  return routes;
}

/** Errors that clients make, although the reference gives them a status of the server. */
const OF_CLIENTS: ReadonlySet<ErrorName> = new Set([
  'UnknownDicomTag',
  'NotImplemented',
  'IncompatibleImageFormat',
  'IncompatibleImageSize',
]);

/** What went wrong on our side is logged with its cause; what a client did wrong is for the curious only. */
function report(error: IsenError, method: string, path: string): void {
  const isOfClient = OF_CLIENTS.has(error.code) || isImpossible(error.cause);
  if (error.http >= 500 && error.http !== 503 && !isOfClient)
    log.http.error({ err: error, method }, `${method} failed`);
  log.http.debug({ method, path, status: error.http }, error.message);
}

/** Describes the upload, and serves it to whoever calls the application without the server. */
function addUpload(routes: Routes): void {
  const { services } = routes;
  const binary = z.string().openapi({ format: 'binary' });
  const Uploaded = z
    .object({
      ID: ResourceId,
      ParentPatient: ResourceId,
      ParentSeries: ResourceId,
      ParentStudy: ResourceId,
      Path: z.string(),
      Status: z.enum(['Success', 'AlreadyStored', 'FilteredOut']),
    })
    .openapi('Uploaded');
  routes.add(
    {
      method: 'post',
      path: UPLOAD,
      tag: 'Instances',
      summary: 'Stores a DICOM file, or every one of a ZIP archive or a form',
      headers: { 'content-encoding': '`gzip`, when the body is' },
      body: { 'application/dicom': binary, 'application/zip': binary, 'multipart/form-data': binary },
      writes: true,
      answers: {
        200: {
          description: 'What became of it; an array for several',
          type: 'application/json',
          schema: z.union([Uploaded, z.array(Uploaded)]),
        },
        503: { description: 'Too busy, try again', type: 'text/plain' },
        507: { description: 'The storage is full', type: 'text/plain' },
      },
    },
    async (context) =>
      new Response(jsonText(await upload(services, context.env.incoming, receptionOf(context.env.incoming))), {
        headers: { 'Content-Type': 'application/json; charset=utf-8' },
      }),
  );
}

/** Builds the door; nothing listens before {@link HttpServer.listen}. Throws where the certificate cannot be read. */
export async function createHttp(services: Services): Promise<HttpServer> {
  const { config } = services;
  const ended = new AbortController();
  const sessions = createSessions(config, services.database, (operation) => services.ingest.apply(operation));
  const { app, kept, plain, posts } = allRoutes(services, sessions, ended.signal);
  // HTTP/1.0 has requests without a Host.
  const browse = getRequestListener(app.fetch, { hostname: 'localhost' });
  const ui = createInterface();

  const fail = (request: IncomingMessage, response: ServerResponse, thrown: unknown): void => {
    const error = asIsenError(thrown);
    const method = request.method ?? '';
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    report(error, method, path);
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    const { status, headers, body } = errorAnswer(error, method, plainPath(path), config.HttpDescribeErrors);
    // What is left of a body nobody reads must not be taken for the next request.
    if (!request.complete) headers['Connection'] = 'close';
    response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) });
    response.end(method === 'HEAD' ? undefined : body);
  };

  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const started = performance.now();
    let status = 200;
    try {
      if (config.ReadOnly || onlyReads(config, request)) throw new IsenError('ReadOnly', undefined, { http: 403 });
      const body = jsonText(await upload(services, request, receptionOf(request)));
      response.writeHead(200, {
        'Content-Type': 'application/json; charset=utf-8',
        'Content-Length': Buffer.byteLength(body),
      });
      response.end(body);
    } catch (thrown) {
      status = asIsenError(thrown).http;
      fail(request, response, thrown);
    }
    recordRequest(UPLOAD, 'POST', status, (performance.now() - started) / 1000);
  };

  /** The shortest way for an answer that is kept, or may be: whether there was one. */
  const answerKept = async (request: IncomingMessage, response: ServerResponse): Promise<boolean> => {
    if (request.method !== 'GET' || config.HttpCompressionEnabled) return false;
    const url = request.url ?? '';
    const [, level, id = '', rest = '', query] = KEPT_ROUTE.exec(url) ?? [];
    if (level === undefined) return false;
    const started = performance.now();
    const record = (status: number): void =>
      recordRequest(`/${level}/{id}${rest}`, 'GET', status, (performance.now() - started) / 1000);
    let body = kept.known(url);
    const make = query === '' && PUBLIC_ID.test(id) ? plain.get(`/${level}/{id}${rest}`) : undefined;
    if (body === undefined && make !== undefined) {
      try {
        body = await kept.of(url, () => lookingAgain(() => make(id)));
      } catch (thrown) {
        record(asIsenError(thrown).http);
        throw thrown;
      }
    }
    if (body === undefined) return false;
    response.writeHead(200, { 'Content-Type': JSON_TYPE, 'Content-Length': Buffer.byteLength(body) });
    response.end(body);
    record(200);
    return true;
  };

  /** The same for a POST that only reads. */
  const answerPost = async (request: IncomingMessage, response: ServerResponse): Promise<boolean> => {
    const path = request.url ?? '';
    const make = request.method === 'POST' && !config.HttpCompressionEnabled ? posts.get(path) : undefined;
    if (make === undefined) return false;
    const started = performance.now();
    const record = (status: number): void => recordRequest(path, 'POST', status, (performance.now() - started) / 1000);
    let body: JsonBody;
    try {
      body = await make({ incoming: request, outgoing: response });
    } catch (thrown) {
      record(asIsenError(thrown).http);
      // What is read of a body may be all of it, though Node has not come to its end yet.
      if (!request.complete) await setImmediate();
      throw thrown;
    }
    if (typeof body === 'string') {
      const size = Buffer.byteLength(body);
      response.writeHead(200, { 'Content-Type': JSON_TYPE, 'Content-Length': size });
      // Of what is ASCII this is the same, and written faster.
      response.end(body, size === body.length ? 'latin1' : 'utf8');
      record(200);
    } else {
      record(200);
      response.writeHead(200, { 'Content-Type': JSON_TYPE });
      await pipeline(Readable.fromWeb(body), response).catch((thrown: NodeJS.ErrnoException) => {
        // The client left.
        if (thrown.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw thrown;
      });
    }
    return true;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const url = request.url ?? '';
      const admission = isHealth(url) ? { user: '' } : await admit(config, sessions, request);
      const refused = 'refused' in admission ? admission.refused : undefined;
      if (refused === 403) throw new IsenError('ForbiddenAccess', 'only this machine may connect');
      // Strangers see the files of the interface, and nothing that an address below theirs may lead to besides.
      if (config.OrthancExplorerEnabled && isInterface(url) && (await ui.answer(request, response))) return;
      if (refused !== undefined && !isOpen(url)) {
        if (!isOfPage(request)) response.setHeader('WWW-Authenticate', 'Basic realm="Isen", charset="UTF-8"');
        throw new IsenError('Unauthorized');
      }
      if (request.headers.expect !== undefined && /^100-continue$/i.test(request.headers.expect)) {
        response.writeContinue();
      }
      request.url = tidyUrl(request.url ?? '/');
      if (request.method === 'POST' && request.url === UPLOAD) await receive(request, response);
      else if (!(await answerKept(request, response)) && !(await answerPost(request, response)))
        await browse(request, response);
    } catch (thrown) {
      fail(request, response, thrown);
    }
  };

  return createServer(config, handle, () => ended.abort());
}
