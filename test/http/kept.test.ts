/** Answers kept while the index stays as it is, on a whole server: none is older than the last commit. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { make } from '../dicom/made.ts';
import { raw, type Served, serve } from './served.ts';

let server: Served;
let study: string;
before(async () => {
  server = await serve();
  const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(make()) });
  study = ((await answer.json()) as { ParentStudy: string }).ParentStudy;
});
after(() => server.close());

const get = async (path: string): Promise<string> => (await fetch(`${server.url}${path}`)).text();
const send = async (method: string, path: string): Promise<void> => {
  assert.equal((await fetch(`${server.url}${path}`, { method })).status, 200);
};

test('a resource asked for again is as it is now', async () => {
  const first = await get(`/studies/${study}`);
  assert.equal(await get(`/studies/${study}`), first);
  for (let round = 0; round < 20; round++) {
    await send('PUT', `/studies/${study}/labels/round-${round}`);
    assert.match(await get(`/studies/${study}`), new RegExp(`"round-${round}"`));
    await send('DELETE', `/studies/${study}/labels/round-${round}`);
    assert.equal(await get(`/studies/${study}`), first);
  }
});

test('forms of one resource are kept apart', async () => {
  const forms = await Promise.all(['', '?short', '?full'].map((query) => get(`/studies/${study}${query}`)));
  assert.equal(new Set(forms).size, 3);
  for (const [index, query] of ['', '?short', '?full'].entries()) {
    assert.equal(await get(`/studies/${study}${query}`), forms[index]);
  }
});

test('the shortest way answers what the routes do', async () => {
  const uploaded = await fetch(`${server.url}/instances`, {
    method: 'POST',
    body: new Uint8Array(make({ patientId: 'S', studyUid: '2.25.71', seriesUid: '2.25.71.1', sopUid: '2.25.71.1.1' })),
  });
  const made = (await uploaded.json()) as Record<'ID' | 'ParentPatient' | 'ParentStudy' | 'ParentSeries', string>;
  const unknown = '00000000-00000000-00000000-00000000-00000000';
  const instances = [made.ID, unknown, 'nonsense', encodeURIComponent(made.ID).replace('-', '%2D')];
  const paths = [
    `/patients/${made.ParentPatient}`,
    `/studies/${made.ParentStudy}`,
    `/series/${made.ParentSeries}`,
    ...instances.flatMap((id) =>
      ['', '/tags', '/simplified-tags', '/nothing'].map((rest) => `/instances/${id}${rest}`),
    ),
  ];
  for (const path of paths) {
    const answers: unknown[] = [];
    // A query is what the shortest way leaves to the routes; once for what is made, and once for what is kept.
    for (const asked of [path, path, `${path}?`, `${path}?`]) {
      const { status, headers, body } = await raw(server.port, asked);
      const { date: _, ...others } = headers;
      answers.push({ status, headers: others, body: body.toString() });
    }
    for (const answer of answers) assert.deepEqual(answer, answers[0], path);
  }
});

test('a page of the log shows what was committed since, and nothing once it is emptied', async () => {
  const first = await get('/changes?limit=100');
  assert.equal(await get('/changes?limit=100'), first);
  const answer = await fetch(`${server.url}/instances`, {
    method: 'POST',
    body: new Uint8Array(make({ sopUid: '2.25.2' })),
  });
  assert.equal(answer.status, 200);
  assert.notEqual(await get('/changes?limit=100'), first);
  await send('DELETE', '/changes');
  assert.match(await get('/changes?limit=100'), /"Changes": \[\]/);
});

test('what is deleted is gone, and stays so', async () => {
  assert.equal((await fetch(`${server.url}/studies/${study}`)).status, 200);
  await send('DELETE', `/studies/${study}`);
  for (let round = 0; round < 2; round++) assert.equal((await fetch(`${server.url}/studies/${study}`)).status, 404);
});

test('an image that is being overwritten is there all the time', async () => {
  const always = await serve({ OverwriteInstances: 'Always' });
  const send = async (level: number): Promise<{ ID: string; ParentSeries: string }> => {
    const bytes = make({ sopUid: '1.2.840.96.1', pixels: Buffer.alloc(48, level) });
    const { body } = await raw(always.port, '/instances', { method: 'POST' }, bytes);
    return JSON.parse(body.toString()) as { ID: string; ParentSeries: string };
  };
  const { ID: id, ParentSeries: series } = await send(0);
  const sets = `/series/${series}/instances-tags`;
  let overwriting = true;
  const statuses = new Map<string, number>();
  const readers = [
    sets,
    'file',
    'tags?short',
    'frames/0/raw',
    'preview',
    'attachments/dicom/data',
    'content/0010-0010',
  ].map(async (route) => {
    while (overwriting) {
      const { status, body } = await raw(always.port, route.startsWith('/') ? route : `/instances/${id}/${route}`);
      if (route.startsWith('/')) JSON.parse(body.toString());
      statuses.set(`${route} ${status}`, (statuses.get(`${route} ${status}`) ?? 0) + 1);
    }
  });
  for (let level = 1; level < 250; level++) await send(level);
  overwriting = false;
  await Promise.all(readers);
  await always.close();
  assert.deepEqual(
    [...statuses].filter(([key]) => !key.endsWith(' 200')),
    [],
  );
});
