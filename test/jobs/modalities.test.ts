import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serve, type Served } from '../http/served.ts';
import { temporaryFolder } from '../peer.ts';

async function ask(
  { url }: Served,
  method: string,
  path: string,
  body?: string,
): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(url + path, { method, ...(body !== undefined && { body }) });
  const text = await answer.text();
  return { status: answer.status, body: /^[[{]/.test(text) ? (JSON.parse(text) as unknown) : text };
}

const names = async (server: Served): Promise<unknown> => (await ask(server, 'GET', '/modalities')).body;

test('those of the configuration change in memory, those of the index stay', async () => {
  const folder = temporaryFolder();
  const configured = { sample: ['STORESCP', '127.0.0.1', 2000] };
  for (const DicomModalitiesInDatabase of [false, true]) {
    const options = {
      StorageDirectory: folder,
      DicomServerEnabled: false,
      DicomModalities: configured,
      DicomModalitiesInDatabase,
    };
    const first = DicomModalitiesInDatabase ? [] : ['sample'];
    let server = await serve(options);
    try {
      assert.deepEqual(await names(server), first);
      // At once, so that each must build on what the others did.
      const puts = Array.from({ length: 8 }, (_, index) =>
        ask(server, 'PUT', `/modalities/m${index}`, `["AET${index}", "127.0.0.1", ${1000 + index}]`),
      );
      for (const { status } of await Promise.all(puts)) assert.equal(status, 200);
      const all = Array.from({ length: 8 }, (_, index) => `m${index}`);
      assert.deepEqual(await names(server), [...all, ...first]);
      assert.deepEqual(await ask(server, 'DELETE', '/modalities/m0'), { status: 200, body: '' });
      await ask(server, 'PUT', '/modalities/m1', '{"AET": "NEW", "Host": "h", "Port": 104, "RateLimit": 3}');
      await server.close();
      server = await serve(options);
      assert.deepEqual(await names(server), DicomModalitiesInDatabase ? all.slice(1) : first);
      if (!DicomModalitiesInDatabase) continue;
      const { body } = await ask(server, 'GET', '/modalities/m1/configuration');
      assert.equal((body as { AET: string }).AET, 'NEW');
      assert.equal((body as { RateLimit: number }).RateLimit, 3);
    } finally {
      await server.close();
    }
  }
});

test('what is not there, and what is none, is answered as the reference does', async () => {
  const server = await serve({ DicomServerEnabled: false });
  try {
    assert.deepEqual(await ask(server, 'GET', '/modalities/none'), { status: 404, body: '' });
    for (const [method, path, body, status, code, details] of [
      ['GET', '/modalities/none/configuration', undefined, 404, 7, 'No modality with symbolic name: none'],
      ['DELETE', '/modalities/none', undefined, 404, 7, 'Unknown DICOM modality with symbolic name: none'],
      ['GET', '/modalities/none/queue', undefined, 404, 7, 'No modality with symbolic name: none'],
      ['PUT', '/modalities/b', 'nojson', 400, 15, undefined],
      ['PUT', '/modalities/b', '5', 400, 15, undefined],
      ['PUT', '/modalities/b', '{"AET": "x"}', 400, 15, 'String value expected in field: Host'],
    ] as const) {
      const answer = await ask(server, method, path, body);
      const { OrthancStatus, Details } = answer.body as { OrthancStatus: number; Details?: string };
      assert.deepEqual([answer.status, OrthancStatus, Details], [status, code, details], `${method} ${path}`);
    }
    assert.equal((await ask(server, 'POST', '/modalities/none')).status, 405);
  } finally {
    await server.close();
  }
});
