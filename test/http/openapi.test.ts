/** The OpenAPI document says what is served, no more and no less, and the page to read it needs nothing from elsewhere. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { allRoutes } from '../../src/http/app.ts';
import type { Services } from '../../src/http/services.ts';
import type { Sessions } from '../../src/http/sessions.ts';
import { raw, serve } from './served.ts';

test('every route is in the document, and the other way round', async () => {
  const server = await serve();
  try {
    const document = JSON.parse((await raw(server.port, '/openapi.json')).body.toString()) as {
      openapi: string;
      paths: Record<string, Record<string, { summary?: string; responses: object }>>;
    };
    assert.match(document.openapi, /^3\.1/);
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => {
        assert.ok(operation.summary, `${method} ${path} has no summary`);
        assert.ok(Object.keys(operation.responses).length > 1, `${method} ${path} describes no answer`);
        return `${method.toUpperCase()} ${path}`;
      }),
    );
    // Registering touches no service.
    const { config } = loadConfig({ env: {} });
    const { app, registered } = allRoutes(
      { config, version: '' } as Services,
      {} as Sessions,
      new AbortController().signal,
    );
    assert.deepEqual(described.sort(), [...registered].sort());
    const served = app.routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`);
    assert.deepEqual([...new Set(served)].sort(), [...registered].sort());
  } finally {
    await server.close();
  }
});

test('the page to read and try it loads from this server only', async () => {
  const server = await serve();
  try {
    const page = await raw(server.port, '/docs');
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-security-policy']), /script-src 'self'/);
    const html = page.body.toString();
    assert.doesNotMatch(html, /https?:\/\//);
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '');
    assert.ok(links.length >= 3);
    for (const link of links) assert.equal((await raw(server.port, `/${link}`)).status, 200, link);
    assert.equal((await raw(server.port, '/docs/package.json')).status, 404);
  } finally {
    await server.close();
  }
});
