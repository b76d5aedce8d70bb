/** Administration over HTTP: files read again, written to the disk, scripts that are refused, levels and lists that are set, the end of the server. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../src/config.ts';
import type { Ending } from '../../src/http/services.ts';
import { start } from '../../src/main.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder } from '../peer.ts';
import { type Served, serve } from './served.ts';

/** Larger than its header, which is read alone. */
const LARGE = make({
  patientId: 'L',
  studyUid: '2.25.1',
  seriesUid: '2.25.1.1',
  sopUid: '2.25.1.1.1',
  rows: 64,
  columns: 64,
});
const BARE = make({ patientId: 'B', studyUid: '2.25.2', seriesUid: '2.25.2.1', sopUid: '2.25.2.1.1', pixels: false });

let server: Served;
const ids: Record<'ID' | 'ParentPatient' | 'ParentStudy' | 'ParentSeries', string>[] = [];

before(async () => {
  server = await serve({ StableAge: 600, RestApiWriteToFileSystemEnabled: true });
  for (const body of [LARGE, BARE]) {
    const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(body) });
    ids.push((await answer.json()) as (typeof ids)[number]);
  }
});
after(() => server.close());

async function ask(method: string, path: string, body?: string, url = server.url): Promise<[number, string]> {
  const answer = await fetch(url + path, { method, ...(body !== undefined && { body }) });
  return [answer.status, await answer.text()];
}

test('files of every kind are read again, at every level and all at once, and nothing is lost', async () => {
  const [, before] = await ask('GET', `/studies/${ids[0]?.ParentStudy}`);
  for (const { ID, ParentPatient, ParentStudy, ParentSeries } of ids) {
    for (const path of [
      `patients/${ParentPatient}`,
      `studies/${ParentStudy}`,
      `series/${ParentSeries}`,
      `instances/${ID}`,
    ]) {
      for (const body of ['', '{}', '{"ReconstructFiles": true}', '{"LimitToThisLevelMainDicomTags": true}'])
        assert.deepEqual(await ask('POST', `/${path}/reconstruct`, body), [200, ''], `${path} ${body}`);
    }
  }
  assert.deepEqual(await ask('POST', '/tools/reconstruct', '{}'), [200, '']);
  assert.deepEqual(await ask('POST', '/tools/invalidate-tags', ''), [200, '']);
  const [, again] = await ask('GET', `/studies/${ids[0]?.ParentStudy}`);
  const shown = (text: string): object => ({ ...(JSON.parse(text) as object), LastUpdate: '' });
  assert.deepEqual(shown(again), shown(before));
  assert.equal((await ask('POST', '/studies/nope/reconstruct', '{}'))[0], 404);
  assert.equal((await ask('POST', `/instances/${ids[0]?.ID}/reconstruct`, '{"ReconstructFiles": 1}'))[0], 400);
});

test('a file is written to the disk whole, where that is allowed', async () => {
  const folder = temporaryFolder();
  const target = join(folder, 'copy.dcm');
  assert.deepEqual(await ask('POST', `/instances/${ids[0]?.ID}/export`, target), [200, '{}\n']);
  assert.deepEqual(readFileSync(target), LARGE);
  mkdirSync(join(folder, 'folder'));
  for (const path of ['', join(folder, 'folder'), join(folder, 'no', 'such'), `${target}\0.txt`])
    assert.equal((await ask('POST', `/instances/${ids[0]?.ID}/export`, path))[0], 500, path);
  assert.deepEqual(readdirSync(folder).sort(), ['copy.dcm', 'folder'], 'nothing half written stays');
  const closed = await serve();
  try {
    const body = new Uint8Array(LARGE);
    await fetch(`${closed.url}/instances`, { method: 'POST', body });
    const other = join(folder, 'other.dcm');
    assert.equal((await ask('POST', `/instances/${ids[0]?.ID}/export`, other, closed.url))[0], 403);
    assert.ok(!existsSync(other));
  } finally {
    await closed.close();
  }
});

test('scripts are refused, and the answer says what there is instead', async () => {
  const [status, text] = await ask('POST', '/tools/execute-script', 'print(1)');
  assert.equal(status, 403);
  for (const word of ['/routes', '/webhooks', '/changes']) assert.match(text, new RegExp(word));
});

test('what is built in and in use is listed as plugins are, by name or whole', async () => {
  const folder = temporaryFolder();
  const other = await serve({ Worklists: { Enable: true, Database: folder } });
  try {
    const get = async (path: string): Promise<unknown> => JSON.parse((await ask('GET', path, undefined, other.url))[1]);
    const names = (await get('/plugins')) as string[];
    assert.ok(names.includes('explorer.js') && names.includes('worklists'), String(names));
    const whole = (await get('/plugins?expand')) as { ID: string }[];
    assert.deepEqual(
      whole.map(({ ID }) => ID),
      names.filter((name) => name !== 'explorer.js'),
    );
    for (const plugin of whole) assert.deepEqual(await get(`/plugins/${plugin.ID}`), plugin);
  } finally {
    await other.close();
  }
});

test('what is set while the server runs is what it says then; what is none is refused', async () => {
  const rows: [string, string, string][] = [
    ['/tools/log-level', 'default', 'nope'],
    ['/tools/log-level-http', 'default', ''],
    ['/tools/metrics', '0', 'x'],
    ['/tools/metrics', '1', '2'],
    ['/tools/unknown-sop-class-accepted', '1', 'maybe'],
    ['/tools/default-encoding', 'Utf8', 'Klingon'],
  ];
  for (const [path, good, bad] of rows) {
    assert.equal((await ask('PUT', path, good))[0], 200, path);
    assert.equal((await ask('GET', path))[1].trim(), good, path);
    assert.equal((await ask('PUT', path, bad))[0], 400, `${path} ${bad}`);
    assert.equal((await ask('PUT', path, 'x'.repeat(2 << 20)))[0], 413, `${path}: huge`);
    assert.equal((await ask('GET', path))[1].trim(), good, path);
  }
  const syntaxes = JSON.stringify(['1.2.840.10008.1.2', '1.2.840.10008.1.2.1']);
  const set = await ask('PUT', '/tools/accepted-transfer-syntaxes', syntaxes);
  assert.deepEqual([set[0], JSON.parse(set[1])], [200, JSON.parse(syntaxes)]);
  assert.equal((await ask('PUT', '/tools/accepted-transfer-syntaxes', '{}'))[0], 400);
  assert.equal((await ask('PUT', '/tools/accepted-transfer-syntaxes', JSON.stringify(['*'.repeat(65)])))[0], 400);
});

test('a client may end or restart the server, which finishes first', async () => {
  for (const how of ['shutdown', 'reset'] as const) {
    const { config } = loadConfig({
      env: {
        ISEN__HTTPPORT: '0',
        ISEN__DICOMSERVERENABLED: 'false',
        ISEN__AUTHENTICATIONENABLED: 'false',
        ISEN__STORAGEDIRECTORY: temporaryFolder(),
      },
    });
    const ended: Ending[] = [];
    const own = await start({ config, onEnding: (wanted) => ended.push(wanted) });
    try {
      assert.deepEqual(await ask('POST', `/tools/${how}`, '', own.url), [200, '{}\n']);
      for (let waited = 0; ended.length === 0 && waited < 5000; waited += 10) await sleep(10);
      assert.deepEqual(ended, [how]);
    } finally {
      await own.close();
    }
  }
});
