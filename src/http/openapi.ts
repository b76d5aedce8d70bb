/** Owns the OpenAPI document, and the page to read and try it. */

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { z } from '@hono/zod-openapi';
import { IsenError } from '../errors.ts';
import { jsonOf, jsonText } from './answers.ts';
import type { Routes } from './routes.ts';

/** Swagger UI as its package ships it; served from here, so that nothing is fetched from elsewhere. */
const SWAGGER = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
const SWAGGER_FILES: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
  'favicon-32x32.png': 'image/png',
};

/** Scripts and styles of this server only. Swagger UI sets style attributes and shows icons from data URLs. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const page = (html: string): Response =>
  new Response(html, {
    headers: {
      'Content-Type': 'text/html',
      'Content-Security-Policy': PAGE_POLICY,
      'X-Content-Type-Options': 'nosniff',
    },
  });

const head = (title: string, extra = ''): string =>
  `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>${title}</title>\n${extra}`;

const DOCS = `${head('Isen: REST API', '<link rel="stylesheet" href="docs/swagger-ui.css">\n<link rel="icon" href="docs/favicon-32x32.png">\n')}<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
`;

const START = `SwaggerUIBundle({ url: 'openapi.json', dom_id: '#ui', deepLinking: true, docExpansion: 'none' });\n`;

/** Adds the routes of this file. They come last: the document describes the others too. */
export function addOpenApi(routes: Routes): void {
  const { app, services } = routes;
  const tag = 'Documentation';
  let document: string | undefined;
  routes.add(
    {
      method: 'get',
      path: '/openapi.json',
      tag,
      summary: 'This API as an OpenAPI document',
      answers: { 200: { description: 'The document', type: 'application/json', schema: z.looseObject({}) } },
    },
    () => {
      document ??= jsonText(
        app.getOpenAPI31Document({
          openapi: '3.1.0',
          info: {
            title: 'Isen',
            version: services.version,
            description: "A DICOM server that speaks Orthanc's REST API.",
          },
          ...(services.config.AuthenticationEnabled && { security: [{ basic: [] }] }),
        }),
      );
      return jsonOf(document);
    },
  );
  app.openAPIRegistry.registerComponent('securitySchemes', 'basic', { type: 'http', scheme: 'basic' });

  const html = { 200: { description: 'The page', type: 'text/html' } };
  routes.add({ method: 'get', path: '/docs', tag, summary: 'A page to read and try the API', answers: html }, () =>
    page(DOCS),
  );
  routes.add(
    {
      method: 'get',
      path: '/docs/{file}',
      tag,
      summary: 'Scripts and styles of that page',
      answers: { 200: { description: 'The file', type: 'text/javascript' } },
    },
    async (context) => {
      const file = context.req.param('file') ?? '';
      if (file === 'start.js') return new Response(START, { headers: { 'Content-Type': 'text/javascript' } });
      const type = Object.hasOwn(SWAGGER_FILES, file) ? SWAGGER_FILES[file] : undefined;
      if (type === undefined) throw new IsenError('UnknownResource');
      const path = join(SWAGGER, file);
      const { size } = await stat(path);
      const body = context.req.method === 'HEAD' ? null : (Readable.toWeb(createReadStream(path)) as ReadableStream);
      return new Response(body, {
        headers: { 'Content-Type': type, 'Content-Length': String(size), 'Cache-Control': 'max-age=3600' },
      });
    },
  );
}
