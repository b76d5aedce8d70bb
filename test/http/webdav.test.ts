/** The WebDAV server: what its folders hold, what may be put and deleted by whom, and names that come from files. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { make } from '../dicom/made.ts';
import { type RawAnswer, raw, type Served, serve } from './served.ts';

const dav = (server: Served, method: string, path: string, body = '', headers = {}): Promise<RawAnswer> =>
  raw(server.port, `/webdav${path}`, { method, headers: { Depth: '1', ...headers } }, body);

/** The addresses in a folder, below it. */
async function members(server: Served, folder: string): Promise<string[]> {
  const { status, body } = await dav(server, 'PROPFIND', folder);
  assert.equal(status, 207, folder);
  const [, ...below] = [...body.toString().matchAll(/<D:href>([^<]*)<\/D:href>/g)].map((match) => match[1] ?? '');
  return below.map((href) => href.replace(`/webdav${folder === '/' ? '' : folder}/`, ''));
}

const FILE = make({
  patientId: 'A/../B',
  patientName: 'Doe^<b>&',
  studyUid: '2.25.7',
  seriesUid: '2.25.7.1',
  sopUid: '2.25.7.1.1',
  extra: [{ tag: '0008,0020', vr: 'DA', value: '20260203' }],
});

test('what is put into uploads is found in every other folder, and comes back byte for byte', async () => {
  const server = await serve();
  try {
    assert.deepEqual(await members(server, '/'), ['by-dates/', 'by-patients/', 'by-studies/', 'by-uids/', 'uploads/']);
    assert.equal((await dav(server, 'MKCOL', '/uploads/new')).status, 201);
    const put = await raw(server.port, '/webdav/uploads/new/a.dcm', { method: 'PUT' }, FILE);
    assert.equal(put.status, 201);
    assert.deepEqual(await members(server, '/uploads/new'), ['a.dcm']);
    assert.equal((await raw(server.port, '/webdav/uploads/notes.txt', { method: 'PUT' }, 'notes')).status, 201);

    const [patient = ''] = await members(server, '/by-patients');
    // One segment: nothing of a patient's name leads out of its folder, or out of the XML.
    assert.equal(patient, `${encodeURIComponent('A .. B - Doe^<b>&')}/`);
    const [study = ''] = await members(server, `/by-patients/${patient.slice(0, -1)}`);
    assert.match(study, /^20260203/);
    assert.deepEqual(await members(server, '/by-dates'), ['2026/']);
    assert.deepEqual(await members(server, '/by-dates/2026'), ['2026-02/']);
    assert.deepEqual(await members(server, '/by-uids'), ['2.25.7/']);
    assert.deepEqual(await members(server, '/by-uids/2.25.7'), ['study.json', '2.25.7.1/']);
    assert.deepEqual(await members(server, '/by-uids/2.25.7/2.25.7.1'), ['series.json', '2.25.7.1.1.dcm']);
    const file = await dav(server, 'GET', '/by-uids/2.25.7/2.25.7.1/2.25.7.1.1.dcm');
    assert.deepEqual(file.body, FILE);
    const json = JSON.parse((await dav(server, 'GET', '/by-uids/2.25.7/study.json')).body.toString()) as {
      Type: string;
    };
    assert.equal(json.Type, 'Study');

    for (const path of ['/nope', '/by-uids/1.2.3', '/by-dates/2026/2027-01', '/%zz', '/by-patients/..%2f..'])
      assert.equal((await dav(server, 'PROPFIND', path)).status, 404, path);
    assert.equal((await dav(server, 'PROPFIND', '/', '', { Depth: 'infinity' })).status, 400);
    assert.equal((await dav(server, 'PUT', '/by-uids/x.dcm', 'x')).status, 403);
    assert.equal((await dav(server, 'DELETE', '/by-uids/2.25.7')).status, 403, 'unless it is allowed');
    assert.equal((await dav(server, 'PATCH', '/')).status, 405);
  } finally {
    await server.close();
  }
});

test('deleting takes the option, and never everything at once; who only reads changes nothing', async () => {
  const server = await serve({
    WebDavDeleteAllowed: true,
    AuthenticationEnabled: true,
    RegisteredUsers: { alice: 'a', reader: 'r' },
    ReadOnlyUsers: ['reader'],
  });
  const as = (user: string) => ({ Authorization: `Basic ${Buffer.from(`${user}:${user[0]}`).toString('base64')}` });
  const ask = (user: string, method: string, path: string, body: string | Uint8Array = '') =>
    raw(server.port, `/webdav${path}`, { method, headers: { Depth: '0', ...as(user) } }, body);
  try {
    assert.equal((await raw(server.port, '/webdav', { method: 'PROPFIND' })).status, 401);
    for (const method of ['PUT', 'MKCOL', 'LOCK', 'DELETE'])
      assert.equal((await ask('reader', method, '/uploads/a.dcm', method === 'PUT' ? FILE : '')).status, 403, method);
    assert.equal((await ask('alice', 'PUT', '/uploads/a.dcm', FILE)).status, 201);
    const instances = await raw(server.port, '/instances', { headers: as('alice') });
    const [id = ''] = JSON.parse(instances.body.toString()) as string[];
    const metadata = await raw(server.port, `/instances/${id}/metadata?expand`, { headers: as('alice') });
    const { Origin, HttpUsername } = JSON.parse(metadata.body.toString()) as Record<string, string>;
    assert.deepEqual([Origin, HttpUsername], ['WebDav', 'alice']);

    assert.equal((await ask('reader', 'PROPFIND', '/by-uids/2.25.7')).status, 207);
    assert.equal((await ask('reader', 'DELETE', '/by-uids/2.25.7')).status, 403);
    for (const path of ['/', '/by-uids', '/by-patients'])
      assert.equal((await ask('alice', 'DELETE', path)).status, 403, path);
    assert.equal((await ask('alice', 'DELETE', '/by-dates/2026')).status, 204);
    assert.equal((await ask('alice', 'PROPFIND', '/by-uids/2.25.7')).status, 404);
  } finally {
    await server.close();
  }
});
