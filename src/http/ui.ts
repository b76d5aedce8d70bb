/**
 * Owns how the web interface is served: the files that its build left, compressed beside them, and its one page under every address
 * below /ui/app/. They are the same for everybody, so that the page that asks for a password can be shown.
 */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the build leaves the files. */
const FOLDER = fileURLToPath(new URL('../../ui/', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/** How a file may be stored compressed beside itself: the best first. */
const ENCODINGS = [
  { name: 'br', suffix: '.br' },
  { name: 'gzip', suffix: '.gz' },
] as const;

/** Nothing from elsewhere and nothing inline; pictures and films may also be made by the page itself. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; frame-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/** The viewer decodes in workers, with codecs that are WebAssembly. */
const VIEWER_POLICY = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'").concat(
  "; worker-src 'self' blob:",
);

/** Whether an address is one of the interface. */
export function isInterface(url: string): boolean {
  return /^\/ui(\/app(\/|\?|$)|\?|$)/.test(url);
}

/** Serves the interface. */
export interface Interface {
  /** Answers a request for the interface; false where it is for something else. */
  answer(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
}

/** The interface, from the files in `folder`: those that are there now. */
export function createInterface(folder = FOLDER): Interface {
  const names = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [];
  const files = new Set(
    names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length)),
  );
  const read = async (name: string): Promise<Buffer> => readFile(join(folder, name));

  const send = async (
    request: IncomingMessage,
    response: ServerResponse,
    file: string,
    body: Buffer,
    headers: Readonly<Record<string, string>>,
  ): Promise<void> => {
    const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
    response.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('ETag', tag);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (request.headers['if-none-match'] === tag) {
      response.writeHead(304).end();
      return;
    }
    response.writeHead(200, { 'Content-Length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  };

  /** A file whose name holds a hash of what it holds: it never changes. */
  const sendAsset = async (request: IncomingMessage, response: ServerResponse, file: string): Promise<void> => {
    const accepted = String(request.headers['accept-encoding'] ?? '');
    const encoding = ENCODINGS.find(({ name, suffix }) => accepted.includes(name) && files.has(file + suffix));
    await send(request, response, file, await read(file + (encoding?.suffix ?? '')), {
      'Cache-Control': 'public, max-age=31536000, immutable',
      Vary: 'Accept-Encoding',
      ...(encoding && { 'Content-Encoding': encoding.name }),
    });
  };

  /** The one page. Its addresses are relative to the folder of the application, which is `depth` folders up. */
  const sendPage = async (request: IncomingMessage, response: ServerResponse, place: string): Promise<void> => {
    const up = '../'.repeat(place.split('/').length - 1);
    const html = (await read('index.html')).toString('utf8').replaceAll('"./', `"${up === '' ? './' : up}`);
    await send(request, response, 'index.html', Buffer.from(html), {
      'Cache-Control': 'no-cache',
      'Content-Security-Policy': place.startsWith('view/') ? VIEWER_POLICY : POLICY,
      'Referrer-Policy': 'same-origin',
    });
  };

  return {
    async answer(request, response) {
      const [path = ''] = (request.url ?? '').split('?', 1);
      if (request.method !== 'GET' && request.method !== 'HEAD') return false;
      if (path === '/ui/app' || path === '/ui') {
        response.writeHead(302, { Location: path === '/ui' ? 'ui/app/' : 'app/', 'Content-Length': 0 }).end();
        return true;
      }
      if (!path.startsWith('/ui/app/') || !files.has('index.html')) return false;
      const place = path.slice('/ui/app/'.length);
      if (place.startsWith('assets/')) {
        if (!files.has(place)) return false;
        await sendAsset(request, response, place);
      } else await sendPage(request, response, place);
      return true;
    },
  };
}
