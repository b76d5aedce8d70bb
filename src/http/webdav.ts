/**
 * Owns the WebDAV server at /webdav (RFC 4918, classes 1 and 2): folders to browse and download from, `uploads` to put files into, and
 * (`WebDavDeleteAllowed`) deleting. What is put there is stored like any upload and then found in the other folders. Locks lock nothing,
 * since nobody can change a file here: they are given because some clients refuse to write without one.
 */

import { randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { recordRequest } from '../metrics.ts';
import { receivedAt } from '../ingest/header.ts';
import { fromTimestamp } from '../timestamp.ts';
import { onlyReads, receptionOf } from './access.ts';
import { jsonText, json } from './answers.ts';
import { bodyText } from './body.ts';
import { expand, expansionRequest } from './expansion.ts';
import { sendFile } from './files.ts';
import { findOne } from './resources.ts';
import type { Environment, Routes } from './routes.ts';
import type { Services } from './services.ts';
import { upload } from './upload.ts';
import { Folders, type Member, type Node } from './webdav-folders.ts';

const ROOT = '/webdav';
const METHODS = 'GET, PUT, DELETE, OPTIONS, PROPFIND, HEAD, LOCK, UNLOCK, PROPPATCH, MKCOL';
/** Methods that change something. */
const WRITING: ReadonlySet<string> = new Set(['PUT', 'DELETE', 'MKCOL', 'LOCK', 'PROPPATCH']);
const XML = 'application/xml; charset=UTF-8';

/** Bytes of what clients say about properties and locks. */
const LONGEST_BODY = 1 << 20;

/** Uploads, and folders made for them, that are shown where they were put, and milliseconds for which they are. */
const MOST_UPLOADS = 10_000;
const SHOWN = 3_600_000;

/** Studies deleted together. */
const PAGE = 1000;

/** Something that was put into `uploads`; without a size a folder. */
interface Uploaded {
  readonly at: number;
  readonly size: number | undefined;
}

/** What one `response` of a multistatus says. */
interface Entry {
  /** Segments below {@link ROOT}. */
  readonly path: readonly string[];
  readonly modified: number;
  /** Of a file. */
  readonly file?: { readonly size: number; readonly type: string };
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const href = (path: readonly string[], isFolder: boolean): string =>
  escaped([ROOT, ...path.map(encodeURIComponent)].join('/') + (isFolder ? '/' : ''));

function responseOf({ path, modified, file }: Entry): string {
  const date = new Date(modified);
  const about =
    file === undefined
      ? '<D:resourcetype><D:collection/></D:resourcetype>'
      : `<D:resourcetype/><D:getcontentlength>${file.size}</D:getcontentlength><D:getcontenttype>${file.type}</D:getcontenttype>`;
  return `<D:response><D:href>${href(path, file === undefined)}</D:href><D:propstat><D:prop>
<D:displayname>${escaped(path.at(-1) ?? 'webdav')}</D:displayname>
<D:creationdate>${date.toISOString().slice(0, 19)}Z</D:creationdate>
<D:getlastmodified>${date.toUTCString()}</D:getlastmodified>
${about}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
`;
}

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n';

const empty = (status: 201 | 204 | 403 | 404 | 405 | 409, headers: Record<string, string> = {}): Response =>
  new Response(null, { status, headers });

/** Adds the WebDAV server, where the configuration offers one. */
export function addWebDav(routes: Routes): void {
  const { app, services } = routes;
  if (!services.config.WebDavEnabled) return;
  const server = new WebDav(services);
  for (const path of [ROOT, `${ROOT}/*`]) {
    app.all(path, async (context) => {
      const began = performance.now();
      const answer = await server.answer(context);
      recordRequest(ROOT, context.req.method, answer.status, (performance.now() - began) / 1000);
      return answer;
    });
  }
}

class WebDav {
  readonly #services: Services;
  readonly #folders: Folders;
  /** By path below `uploads`, the oldest first. */
  readonly #uploads = new Map<string, Uploaded>();
  readonly #started = Date.now();

  constructor(services: Services) {
    this.#services = services;
    this.#folders = new Folders(services.database);
  }

  async answer(context: Context<Environment>): Promise<Response> {
    const { config } = this.#services;
    if (WRITING.has(context.req.method) && (config.ReadOnly || onlyReads(config, context.env.incoming)))
      return empty(403);
    const path = context.req.path
      .slice(ROOT.length)
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent);
    switch (context.req.method) {
      case 'OPTIONS':
        return new Response(null, { headers: { DAV: '1,2', Allow: METHODS } });
      case 'PROPFIND':
        return this.#find(context, path);
      case 'GET':
      case 'HEAD':
        return this.#get(context, path);
      case 'PUT':
        return this.#put(context, path);
      case 'DELETE':
        return this.#delete(path);
      case 'MKCOL':
        return this.#make(path);
      case 'LOCK':
        return this.#lock(context, path);
      case 'UNLOCK':
        return empty(204);
      case 'PROPPATCH':
        await bodyText(context, LONGEST_BODY);
        return xml(
          `${HEAD}<D:multistatus xmlns:D="DAV:">${responseOf(this.#entryOf(path, undefined))}</D:multistatus>\n`,
        );
      default:
        return empty(405, { Allow: METHODS });
    }
  }

  async #find(context: Context<Environment>, path: readonly string[]): Promise<Response> {
    await bodyText(context, LONGEST_BODY);
    const depth = context.req.header('depth') ?? 'infinity';
    // RFC 4918 §9.1 lets servers refuse to list everything there is.
    if (depth !== '0' && depth !== '1') throw new IsenError('BadRequest', 'PROPFIND: the depth must be 0 or 1');
    const uploaded = this.#uploaded(path);
    const node = uploaded === undefined ? await this.#folders.at(path) : undefined;
    if (uploaded === undefined && node === undefined) return empty(404);
    const self = uploaded === undefined ? await this.#entry(path, node) : this.#entryOf(path, uploaded);
    const entries = async function* (this: WebDav): AsyncGenerator<Uint8Array, void> {
      const text = new TextEncoder();
      yield text.encode(`${HEAD}<D:multistatus xmlns:D="DAV:">\n${responseOf(self)}`);
      if (depth === '1') {
        if (path[0] === 'uploads') {
          for (const entry of this.#uploadsIn(path)) yield text.encode(responseOf(entry));
        } else if (node !== undefined) {
          for await (const member of this.#folders.members(node))
            yield text.encode(responseOf(await this.#entry([...path, member.name], member.node)));
        }
      }
      yield text.encode('</D:multistatus>\n');
    };
    return new Response(ReadableStream.from(entries.call(this)), { status: 207, headers: { 'Content-Type': XML } });
  }

  async #entry(path: readonly string[], node: Member['node'] | undefined): Promise<Entry> {
    if (node?.kind === 'file') {
      const { attachment, found } = node;
      const modified = receivedAt(found.metadata);
      const file = { size: attachment.uncompressedSize, type: 'application/dicom' };
      return { path, modified: modified || this.#started, file };
    }
    if (node?.kind === 'json') {
      const size = Buffer.byteLength(await this.#json(node));
      return { path, modified: modifiedOf(node) || this.#started, file: { size, type: 'application/json' } };
    }
    return { path, modified: (node?.kind === 'resource' && modifiedOf(node)) || this.#started };
  }

  async #json({ found: { level, id } }: Node & { kind: 'json' }): Promise<string> {
    const found = await findOne(this.#services, level, id, expansionRequest(level, undefined));
    return jsonText(await expand(this.#services, found, 'Simplify'));
  }

  async #get(context: Context<Environment>, path: readonly string[]): Promise<Response> {
    const node = await this.#folders.at(path);
    if (node?.kind === 'json') return json(JSON.parse(await this.#json(node)));
    if (node?.kind !== 'file') return empty(404);
    return sendFile(context, this.#services.storage, node.attachment, { 'Content-Type': 'application/dicom' });
  }

  async #put(context: Context<Environment>, path: readonly string[]): Promise<Response> {
    const { config } = this.#services;
    if (!config.WebDavUploadAllowed || path[0] !== 'uploads' || path.length < 2) return empty(403);
    const { incoming } = context.env;
    try {
      await upload(this.#services, incoming, { ...receptionOf(incoming), origin: 'WebDav' });
    } catch (thrown) {
      if (!(thrown instanceof IsenError && thrown.code === 'BadFileFormat')) throw thrown;
      // A folder of images holds other files as well, and its copying must not end at the first of them.
      log.http.info('a file that was put into the WebDAV folder is not DICOM, and is not kept');
    }
    this.#note(path, sizeOf(context));
    return empty(201);
  }

  async #delete(path: readonly string[]): Promise<Response> {
    const { config, database, ingest } = this.#services;
    if (!config.WebDavDeleteAllowed) return empty(403);
    if (this.#uploaded(path) !== undefined) {
      const below = path.slice(1).join('/');
      for (const each of this.#uploads.keys())
        if (each === below || each.startsWith(`${below}/`)) this.#uploads.delete(each);
      return empty(204);
    }
    const node = await this.#folders.at(path);
    if (node === undefined) return empty(404);
    if (node.kind === 'resource' || node.kind === 'file') {
      const { level, id } = node.found;
      await ingest.apply({ kind: 'delete', level, id });
      return empty(204);
    }
    // One slip in a file manager would empty the server.
    if (node.kind !== 'dates') return empty(403);
    for (;;) {
      const { from, to } = node;
      const where = [{ tag: '0008,0020', match: 'range', from, to, caseSensitive: false }] as const;
      const studies = await database.find({ level: 'Study', where, idsOnly: true, limit: PAGE });
      for (const { level, id } of studies) await ingest.apply({ kind: 'delete', level, id });
      if (studies.length < PAGE) return empty(204);
    }
  }

  #make(path: readonly string[]): Response {
    const { config } = this.#services;
    if (!config.WebDavUploadAllowed || path[0] !== 'uploads' || path.length < 2) return empty(403);
    this.#note(path, undefined);
    return empty(201);
  }

  async #lock(context: Context<Environment>, path: readonly string[]): Promise<Response> {
    await bodyText(context, LONGEST_BODY);
    const token = `opaquelocktoken:${randomUUID()}`;
    const body = `${HEAD}<D:prop xmlns:D="DAV:"><D:lockdiscovery><D:activelock><D:locktype><D:write/></D:locktype>
<D:lockscope><D:exclusive/></D:lockscope><D:depth>0</D:depth><D:timeout>Second-3599</D:timeout>
<D:lockroot><D:href>${href(path, false)}</D:href></D:lockroot><D:locktoken><D:href>${token}</D:href></D:locktoken>
</D:activelock></D:lockdiscovery></D:prop>\n`;
    const status = this.#uploaded(path) === undefined ? 201 : 200;
    return new Response(body, { status, headers: { 'Content-Type': XML, 'Lock-Token': `<${token}>` } });
  }

  #note(path: readonly string[], size: number | undefined): void {
    this.#uploads.set(path.slice(1).join('/'), { at: Date.now(), size });
    for (const [oldest, { at }] of this.#uploads) {
      if (this.#uploads.size <= MOST_UPLOADS && at > Date.now() - SHOWN) break;
      this.#uploads.delete(oldest);
    }
  }

  #uploaded(path: readonly string[]): Uploaded | undefined {
    const uploaded = path[0] === 'uploads' ? this.#uploads.get(path.slice(1).join('/')) : undefined;
    return uploaded !== undefined && uploaded.at > Date.now() - SHOWN ? uploaded : undefined;
  }

  #entryOf(path: readonly string[], uploaded: Uploaded | undefined): Entry {
    const modified = uploaded?.at ?? this.#started;
    if (uploaded?.size === undefined) return { path, modified };
    return { path, modified, file: { size: uploaded.size, type: 'application/octet-stream' } };
  }

  *#uploadsIn(folder: readonly string[]): Generator<Entry, void> {
    for (const key of this.#uploads.keys()) {
      const path = ['uploads', ...key.split('/')];
      const isIn = path.length === folder.length + 1 && folder.every((segment, index) => segment === path[index]);
      const uploaded = isIn ? this.#uploaded(path) : undefined;
      if (uploaded !== undefined) yield this.#entryOf(path, uploaded);
    }
  }
}

const xml = (body: string): Response => new Response(body, { status: 207, headers: { 'Content-Type': XML } });

/** What a client says that it sends, in bytes; one that does not (macOS) says it in a header of its own. */
function sizeOf(context: Context<Environment>): number {
  const said = context.req.header('content-length') ?? context.req.header('x-expected-entity-length') ?? '0';
  return /^\d{1,15}$/.test(said) ? Number(said) : 0;
}

/** When a resource last got something, in milliseconds since the epoch; NaN where that is not known. */
function modifiedOf({ found }: Node & { kind: 'resource' | 'json' }): number {
  return fromTimestamp(found.metadata['LastUpdate']?.value ?? '');
}
