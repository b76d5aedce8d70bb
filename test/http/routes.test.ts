/** Walks the reference's table of routes: each is served here with every query parameter, header and field of its body that it takes there, or listed with a reason; every GET is asked. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { make } from '../dicom/made.ts';
import { shared, withoutShared } from '../peer.ts';
import { type Served, serve } from './served.ts';

interface Row {
  readonly method: string;
  readonly path: string;
  readonly query: readonly string[];
  readonly headers: readonly string[];
  readonly fields: readonly string[];
}

/** Names of a cell (`name:type name:type`). */
const names = (cell = ''): string[] => cell.split(' ').flatMap((each) => each.split(':', 1)[0] || []);

function rows(): Row[] {
  const table = shared('reference/routes.tsv');
  assert.ok(table);
  return readFileSync(table, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => {
      const [path = '', method = '', , query, headers, , fields] = line.split('\t');
      return { method, path, query: names(query), headers: names(headers), fields: names(fields) };
    });
}

/** What a route of the reference takes that ours does not, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'POST /tools/count-resources Short': 'a count has no form',
  'POST /tools/count-resources Full': 'a count has no form',
  'GET /instances/{id}/series expand': 'one resource is always shown whole',
};

/** GET routes that do not answer 200 when they are asked with what exists. */
const STATUS: Readonly<Record<string, { readonly status: number; readonly reason: string }>> = {};

interface Document {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<
        Record<
          string,
          {
            readonly parameters?: readonly { readonly name: string; readonly in: string }[];
            readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: unknown }>> };
          }
        >
      >
    >
  >;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

/** Names of the fields that a schema describes, whatever its alternatives. */
function fieldsOf(schema: unknown, document: Document): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { $ref, properties, anyOf, oneOf, allOf } = schema as {
    readonly $ref?: string;
    readonly properties?: object;
    readonly anyOf?: unknown[];
    readonly oneOf?: unknown[];
    readonly allOf?: unknown[];
  };
  if ($ref !== undefined) return fieldsOf(document.components.schemas[$ref.split('/').at(-1) ?? ''], document);
  return [
    ...Object.keys(properties ?? {}),
    ...[anyOf, oneOf, allOf].flatMap((each) => each ?? []).flatMap((each) => fieldsOf(each, document)),
  ];
}

const anyName = (path: string): string => path.replaceAll(/\{\w+\}/g, '{}');

test('every route of the reference is served, with all that it takes', { skip: withoutShared }, async (context) => {
  const server = await serve();
  try {
    const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
    const ours = new Map(
      Object.entries(document.paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${anyName(path)}`, operation]),
      ),
    );
    const missing: string[] = [];
    const needed = new Set<string>();
    let answered = 0;
    const all = rows();
    assert.equal(all.length, 299);
    for (const { method, path, query, headers, fields } of all) {
      const route = `${method} ${path}`;
      const operation = ours.get(anyName(route));
      if (operation === undefined) {
        missing.push(route);
        continue;
      }
      answered += 1;
      const parameters = (where: string): string[] =>
        (operation.parameters ?? []).flatMap((each) => (each.in === where ? each.name.toLowerCase() : []));
      const content = Object.values(operation.requestBody?.content ?? {});
      const known = [
        ...parameters('query'),
        ...parameters('header'),
        ...content.flatMap(({ schema }) => fieldsOf(schema, document)).map((name) => name.toLowerCase()),
      ];
      for (const name of [...query, ...headers, ...fields]) {
        if (known.includes(name.toLowerCase())) continue;
        const row = `${route} ${name}`;
        if (LEFT_OUT[row] === undefined) missing.push(row);
        else needed.add(row);
      }
    }
    context.diagnostic(`${answered} of ${all.length} routes are served`);
    assert.deepEqual(missing, []);
    assert.deepEqual([...needed].sort(), Object.keys(LEFT_OUT).sort(), 'a reason that nothing needs');
  } finally {
    await server.close();
  }
});

/** A server that has one of everything that a GET route can name, and its name. */
async function furnished(): Promise<{ server: Served; named: (path: string) => string }> {
  const server = await serve({
    DicomServerEnabled: true,
    DicomPort: 0,
    DicomAlwaysAllowFind: true,
    StableAge: 600,
    UserMetadata: { sample: 1024 },
    UserContentType: { report: 1025 },
    Worklists: { Enable: true },
  });
  const send = async (
    method: string,
    path: string,
    body: string | Uint8Array<ArrayBuffer> = '',
  ): Promise<Record<string, string>> => {
    const answer = await fetch(server.url + path, { method, body });
    const text = await answer.text();
    assert.equal(answer.status, 200, `${method} ${path}: ${text}`);
    return text.startsWith('{') ? (JSON.parse(text) as Record<string, string>) : {};
  };
  const ids = await send('POST', '/instances', new Uint8Array(make()));
  const pdf = `data:application/pdf;base64,${Buffer.from('%PDF-1.4').toString('base64')}`;
  const { ID: document = '' } = await send('POST', '/tools/create-dicom', JSON.stringify({ Tags: {}, Content: pdf }));
  const level: Readonly<Record<string, string | undefined>> = {
    patients: ids['ParentPatient'],
    studies: ids['ParentStudy'],
    series: ids['ParentSeries'],
    instances: ids['ID'],
  };
  for (const [name, id = ''] of Object.entries(level)) {
    await send('PUT', `/${name}/${id}/labels/seen`);
    await send('PUT', `/${name}/${id}/metadata/sample`, 'value');
    await send('PUT', `/${name}/${id}/attachments/report`, 'content');
  }
  await send('PUT', '/peers/self', JSON.stringify({ Url: `${server.url}/` }));
  await send('PUT', '/modalities/self', JSON.stringify(['ISEN', '127.0.0.1', server.dicomPort]));
  const { ID: query = '' } = await send(
    'POST',
    '/modalities/self/query',
    JSON.stringify({ Level: 'Study', Query: { PatientID: '*' } }),
  );
  const { ID: commitment = '' } = await send(
    'POST',
    '/modalities/self/storage-commitment',
    JSON.stringify({ Resources: [ids['ID']] }),
  );
  const { ID: job = '' } = await send(
    'POST',
    `/studies/${ids['ParentStudy']}/archive`,
    JSON.stringify({ Asynchronous: true }),
  );
  // Its output is there only once it has ended.
  for (const end = performance.now() + 20_000; performance.now() < end; await sleep(20)) {
    const { State } = (await (await fetch(`${server.url}/jobs/${job}`)).json()) as { State: string };
    if (State === 'Success') break;
  }
  const give: Readonly<Record<string, string | undefined>> = {
    ...level,
    peers: 'self',
    modalities: 'self',
    queries: query,
    'storage-commitment': commitment,
    jobs: job,
    plugins: 'worklists',
  };
  const named = (path: string): string => {
    const [, family = ''] = path.split('/');
    if (path === '/instances/{id}/pdf') return `/instances/${document}/pdf`;
    return path
      .replace('{id}', give[family] ?? '')
      .replace('{label}', 'seen')
      .replace('{path}', 'PatientID')
      .replace('{frame}', '0')
      .replace('{index}', '0')
      .replace('{key}', 'archive')
      .replace('{name}', path.includes('/metadata/') ? 'sample' : 'report');
  };
  return { server, named };
}

test('every GET of the reference answers what exists', { skip: withoutShared }, async () => {
  const { server, named } = await furnished();
  try {
    const wrong: string[] = [];
    for (const { method, path } of rows()) {
      if (method !== 'GET') continue;
      const query = /^\/tools\/create-(archive|media)/.test(path)
        ? `?resources=${named('/studies/{id}').split('/').at(-1)}`
        : path === '/tools/generate-uid'
          ? '?level=patient'
          : '';
      const answer = await fetch(server.url + named(path) + query, { redirect: 'manual' });
      const body = await answer.text();
      const expected = STATUS[path]?.status ?? 200;
      if (answer.status !== expected) wrong.push(`${path}: ${answer.status} ${body.slice(0, 200)}`);
    }
    assert.deepEqual(wrong, []);
  } finally {
    await server.close();
  }
});
