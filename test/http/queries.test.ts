/** Queries to modalities over the REST API: the reference server as peer, its own answers beside ours for right and wrong requests. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { freePort, shared, without, withoutShared } from '../peer.ts';
import { type Orthanc, startOrthanc } from '../scp/orthanc.ts';
import { startProgram, stopPrograms } from '../scp/programs.ts';
import { type Served, serve } from './served.ts';

const skip = withoutShared || without('Orthanc') || without('storescp');

const STUDY = '2.16.840.1.113669.632.20.1211.10000357775';
const SERIES = '1.3.46.670589.11.0.0.11.4.2.0.8743.5.5396.2006120114285654497';
const MR = '1.2.840.10008.5.1.4.1.1.4';

let server: Served;
/** The one that is asked, and the one that asks as we do. */
let peer: Orthanc;
let other: Orthanc;

before(async () => {
  if (skip !== false) return;
  const [ours, theirs, others, storescp, nobody] = await Promise.all(Array.from({ length: 5 }, () => freePort()));
  assert.ok(ours && theirs && others && storescp && nobody);
  const modalities = {
    peer: ['PEER', '127.0.0.1', theirs],
    storescp: ['STORESCP', '127.0.0.1', storescp],
    offline: ['NOWHERE', '127.0.0.1', nobody],
  };
  await startProgram('storescp', ['--ignore', String(storescp)], storescp);
  peer = await startOrthanc(theirs, {
    DicomAet: 'PEER',
    DicomModalities: { isen: ['ASKER', '127.0.0.1', ours], other: ['OTHER', '127.0.0.1', others] },
  });
  other = await startOrthanc(others, { DicomAet: 'OTHER', DicomModalities: modalities });
  server = await serve({
    DicomAet: 'ASKER',
    DicomServerEnabled: true,
    DicomPort: ours,
    DicomModalities: modalities,
    DicomScuTimeout: 5,
    QueryRetrieveSize: 20,
  });
  const folder = shared('samples/Brainix') ?? '';
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const body = readFileSync(join(entry.parentPath, entry.name));
    await fetch(`${peer.url}/instances`, { method: 'POST', body });
  }
  const latin1 = readFileSync(shared('samples/Encodings/Lena-latin1.dcm') ?? '');
  await fetch(`${peer.url}/instances`, { method: 'POST', body: latin1 });
});

after(async () => {
  await server?.close();
  await peer?.stop();
  await other?.stop();
  await stopPrograms();
});

/** An answer without what differs from server to server and from run to run. */
async function ask(url: string, method: string, path: string, body?: string): Promise<unknown> {
  const answer = await fetch(url + path, { method, ...(body !== undefined && { body }) });
  const text = (await answer.text())
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID')
    .replaceAll(/2\.25\.\d+/g, 'UID')
    .replaceAll(/"(ASKER|OTHER)"/g, '"SELF"');
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {
    // Plain text, or nothing.
  }
  if (Array.isArray(value)) {
    // Answers come in the order of the index of the peer; what findscu of DCMTK adds by itself is not asked here.
    for (const each of value as unknown[]) if (typeof each === 'object' && each !== null) clean(each);
    value.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  } else if (typeof value === 'object' && value !== null) clean(value);
  return { status: answer.status, value };
}

/** Leaves out what only the newer or the older API shows. */
function clean(value: object): void {
  for (const key of ['TargetAet', 'MediaStorageSOPInstanceUID', '0002,0003']) Reflect.deleteProperty(value, key);
}

const query = (level: string, keys: object): string => JSON.stringify({ Level: level, Query: keys });

/** What both are asked, and must answer alike. */
const REQUESTS: readonly (readonly [string, string])[] = [
  ...['', 'x', '[]', '{}', '"x"', '{"Level":"Foo"}', '{"Level":5}', '{"Query":{}}'].map(
    (body) => ['/modalities/peer/query', body] as const,
  ),
  ['/modalities/peer/query', '{"Level":"Study"}'],
  ['/modalities/peer/query', '{"Level":"study","Query":{}}'],
  ['/modalities/peer/query', '{"Level":"Study","Query":[]}'],
  ['/modalities/peer/query', query('Study', { Nope: 'x' })],
  ['/modalities/peer/query', query('Study', { PatientID: 1 })],
  ['/modalities/peer/query', query('Study', { '0010,0010': null })],
  ['/modalities/peer/query', query('Study', { StudyInstanceUID: '1*' })],
  ['/modalities/peer/query', '{"Level":"Study","Timeout":"x"}'],
  ['/modalities/peer/query', '{"Level":"Study","Normalize":3}'],
  ['/modalities/nope/query', '{"Level":"Study"}'],
  ['/modalities/offline/query', '{}'],
  ['/modalities/offline/query', '{"Level":"Study"}'],
  ['/modalities/offline/echo', '{}'],
  ['/modalities/offline/move', '{"Level":"Study","Resources":[{"StudyInstanceUID":"1.2.3"}]}'],
  ['/modalities/storescp/query', '{"Level":"Study"}'],
  ['/modalities/peer/find', '{"PatientID":"5*"}'],
  ['/modalities/peer/find', 'x'],
  ['/modalities/peer/find-patient', '{}'],
  ['/modalities/peer/find-study', '{}'],
  ['/modalities/peer/find-study', '{"PatientID":"5Yp0E"}'],
  ['/modalities/peer/find-series', `{"PatientID":"5Yp0E","StudyInstanceUID":"${STUDY}"}`],
  ['/modalities/peer/find-series', '{"PatientID":"5Yp0E"}'],
  [
    '/modalities/peer/find-instance',
    `{"PatientID":"5Yp0E","StudyInstanceUID":"${STUDY}","SeriesInstanceUID":"${SERIES}"}`,
  ],
  ['/modalities/peer/find-worklist', 'x'],
  ['/modalities/nope/find-worklist', '{}'],
  ['/modalities/peer/echo', ''],
  ['/modalities/peer/echo', 'x'],
  ['/modalities/peer/echo', '{"CheckFind":true}'],
  ['/modalities/peer/echo', '{"CheckFind":"x"}'],
  ['/modalities/peer/echo', '{"Timeout":-1}'],
  ['/modalities/storescp/echo', '{}'],
  ['/modalities/storescp/echo', '{"CheckFind":true}'],
  ['/modalities/nope/echo', '{}'],
  ['/tools/dicom-echo', ''],
  ['/tools/dicom-echo', '{}'],
  ['/tools/dicom-echo', '[]'],
  ['/modalities/peer/move', ''],
  ['/modalities/peer/move', '{"Level":"Study"}'],
  ['/modalities/peer/move', '{"Level":"Study","Resources":["x"]}'],
  ['/modalities/peer/move', '{"Level":"Foo","Resources":[{"StudyInstanceUID":"1.2.3"}]}'],
  ['/modalities/peer/move', '{"Level":"Study","Resources":[{"PatientID":"1.2.3"}]}'],
  ['/modalities/storescp/move', '{"Level":"Study","Resources":[{"StudyInstanceUID":"1.2.3"}]}'],
  ['/modalities/peer/storage-commitment', ''],
  ['/modalities/peer/storage-commitment', '{}'],
  ['/modalities/peer/storage-commitment', '{"Resources":["nope"]}'],
  ['/modalities/peer/storage-commitment', '{"Resources":"x"}'],
  ['/modalities/peer/storage-commitment', '{"DicomInstances":[["1.2"]]}'],
  ['/modalities/peer/storage-commitment', `{"DicomInstances":[["${MR}","1.2.3.4"]]}`],
  ['/modalities/storescp/storage-commitment', `{"DicomInstances":[["${MR}","1.2.3.4"]]}`],
  ['/storage-commitment/nope/remove', ''],
];

test('right and wrong requests are answered as the reference server answers them', { skip }, async () => {
  for (const [path, body] of REQUESTS) {
    const [ours, theirs] = [await ask(server.url, 'POST', path, body), await ask(other.url, 'POST', path, body)];
    assert.deepEqual(ours, theirs, `POST ${path} ${body}`);
  }
});

/** Puts a query and answers its id. */
async function put(url: string, level: string, keys: object): Promise<string> {
  const answer = await fetch(`${url}/modalities/peer/query`, { method: 'POST', body: query(level, keys) });
  return ((await answer.json()) as { ID: string }).ID;
}

test('remembered queries show what the reference server shows', { skip }, async () => {
  for (const [level, keys] of [
    ['Patient', { PatientName: 'Test*' }],
    ['Study', { PatientName: 'B*', StudyDate: '', PatientID: '', StudyDescription: '' }],
    ['Series', { PatientID: '5Yp0E', SeriesDescription: '' }],
    ['Instance', { PatientID: '5Yp0E', InstanceNumber: '1' }],
  ] as const) {
    const [ours, theirs] = [await put(server.url, level, keys), await put(other.url, level, keys)];
    const paths = [
      '',
      '/answers',
      '/answers?expand',
      '/answers?expand&short',
      '/answers?expand&simplify',
      '/level',
      '/modality',
      '/query',
      '/query?short',
      '/query?simplify',
      '/answers/9',
      '/answers/x',
      '/answers/9/content',
      '/nope',
      ...(level === 'Series' || level === 'Instance' ? [] : ['/answers/0/content', '/answers/0/content?simplify']),
      ...(level === 'Patient' ? [] : ['/answers/0']),
    ];
    for (const path of paths) {
      assert.deepEqual(
        await ask(server.url, 'GET', `/queries/${ours}${path}`),
        await ask(other.url, 'GET', `/queries/${theirs}${path}`),
        `${level}${path}`,
      );
    }
    for (const [path, body] of [
      ['answers/0/query-series', '{"Query":{"SeriesDescription":""}}'],
      ['answers/0/query-instances', '{}'],
      ['answers/0/query-series', ''],
      ['answers/9/retrieve', ''],
      ['retrieve', '{"TargetAet":4}'],
      ['retrieve', '{"TargetAet":"NOBODY"}'],
    ] as const) {
      if (path === 'answers/0/query-instances' && level === 'Instance') continue;
      assert.deepEqual(
        await ask(server.url, 'POST', `/queries/${ours}/${path}`, body),
        await ask(other.url, 'POST', `/queries/${theirs}/${path}`, body),
        `${level} ${path} ${body}`,
      );
    }
  }
});

test('what is asked further is asked below the answer', { skip }, async () => {
  const patient = await put(server.url, 'Patient', { PatientID: '5Yp0E' });
  const below = async (id: string, level: string): Promise<{ ID: string; answers: Record<string, string>[] }> => {
    const path = `${server.url}/queries/${id}/answers/0/query-${level}`;
    const { ID } = (await (await fetch(path, { method: 'POST', body: '{}' })).json()) as { ID: string };
    const answers = await fetch(`${server.url}/queries/${ID}/answers?expand&simplify`);
    return { ID, answers: (await answers.json()) as Record<string, string>[] };
  };
  const studies = await below(patient, 'studies');
  assert.deepEqual(
    studies.answers.map((each) => each['StudyInstanceUID']),
    [STUDY],
  );
  const series = await below(studies.ID, 'series');
  assert.equal(series.answers.length, 2);
  const instances = await below(series.ID, 'instances');
  assert.equal(instances.answers.length, 22);
  assert.equal(
    (await fetch(`${server.url}/queries/${series.ID}/answers/0/query-studies`, { method: 'POST' })).status,
    404,
  );
});

test('answers are retrieved by either method, at once or as a job', { skip }, async () => {
  const count = async (): Promise<number> =>
    ((await (await fetch(`${server.url}/statistics`)).json()) as { CountInstances: number }).CountInstances;
  for (const method of ['C-MOVE', 'C-GET']) {
    for (const { ID } of (await (await fetch(`${server.url}/patients?expand`)).json()) as { ID: string }[]) {
      await fetch(`${server.url}/patients/${ID}`, { method: 'DELETE' });
    }
    const series = await put(server.url, 'Series', { PatientID: '5Yp0E', SeriesInstanceUID: '' });
    const retrieve = (path: string, body: object): Promise<Response> =>
      fetch(`${server.url}/queries/${series}/${path}`, { method: 'POST', body: JSON.stringify(body) });
    const one = await retrieve('answers/0/retrieve', { RetrieveMethod: method, Simplify: true });
    const { Query } = (await one.json()) as { Query: Record<string, string>[] };
    assert.equal(one.status, 200);
    assert.deepEqual(Object.keys(Query[0] ?? {}).sort(), [
      'AccessionNumber',
      'PatientID',
      'QueryRetrieveLevel',
      'SeriesInstanceUID',
      'StudyInstanceUID',
    ]);
    assert.equal(await count(), 22);
    const all = await retrieve('retrieve', { RetrieveMethod: method, Asynchronous: true });
    const { Path } = (await all.json()) as { Path: string };
    let job: { State: string; Type: string; Progress: number } | undefined;
    for (let tries = 0; tries < 200 && job?.State !== 'Success'; tries += 1) {
      job = (await (await fetch(server.url + Path)).json()) as typeof job;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual([job?.State, job?.Progress], ['Success', 100]);
    assert.equal(job?.Type, method === 'C-MOVE' ? 'DicomMoveScu' : 'DicomGetScu');
    assert.equal(await count(), 44);
  }
});

test('as many queries are remembered as the options say, and one can be forgotten', { skip }, async () => {
  const ids: string[] = [];
  for (let each = 0; each < 22; each += 1) ids.push(await put(server.url, 'Patient', { PatientID: 'nobody' }));
  const listed = async (): Promise<string[]> => (await (await fetch(`${server.url}/queries`)).json()) as string[];
  assert.deepEqual(await listed(), ids.slice(2));
  await fetch(`${server.url}/queries/${ids[5] ?? ''}`, { method: 'DELETE' });
  assert.equal((await fetch(`${server.url}/queries/${ids[5] ?? ''}`)).status, 404);
  assert.equal((await listed()).length, 19);
});

test('storage commitment goes both ways', { skip }, async () => {
  const present = { SOPClassUID: MR, SOPInstanceUID: '' };
  const [id] = (await (await fetch(`${peer.url}/instances`)).json()) as string[];
  const tags = (await (await fetch(`${peer.url}/instances/${id ?? ''}/simplified-tags`)).json()) as Record<
    string,
    string
  >;
  present.SOPInstanceUID = tags['SOPInstanceUID'] ?? '';
  present.SOPClassUID = tags['SOPClassUID'] ?? '';
  const absent = { SOPClassUID: MR, SOPInstanceUID: '1.2.3.4' };
  const commit = async (url: string, modality: string, instances: object[]): Promise<string> => {
    const body = JSON.stringify({ DicomInstances: instances });
    const answer = await fetch(`${url}/modalities/${modality}/storage-commitment`, { method: 'POST', body });
    return ((await answer.json()) as { ID: string }).ID;
  };
  const report = async (url: string, transaction: string): Promise<Record<string, unknown>> => {
    for (let tries = 0; tries < 200; tries += 1) {
      const found = (await (await fetch(`${url}/storage-commitment/${transaction}`)).json()) as Record<string, unknown>;
      if (found['Status'] !== 'Pending') return found;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return assert.fail('no result came');
  };
  // We ask, the reference server answers; it asks, we answer.
  const failed = await commit(server.url, 'peer', [present, absent]);
  const ours = await report(server.url, failed);
  const body = readFileSync(shared('samples/DummyCT.dcm') ?? '');
  await fetch(`${server.url}/instances`, { method: 'POST', body });
  const stored = (await (await fetch(`${server.url}/instances`)).json()) as string[];
  assert.ok(stored.length > 0);
  const theirs = await report(peer.url, await commit(peer.url, 'isen', [absent]));
  assert.deepEqual(
    { ...ours, Success: [], RemoteAET: '' },
    { ...theirs, Success: [], RemoteAET: '' },
    'the same failure, said alike',
  );
  assert.deepEqual([ours['Status'], ours['Success']], ['Failure', [present]]);
  const removal = await fetch(`${server.url}/storage-commitment/${failed}/remove`, { method: 'POST' });
  assert.equal(removal.status, 500);
  // What the peer has for certain may go here.
  const file = await fetch(`${peer.url}/instances/${id ?? ''}/file`);
  const uploaded = await fetch(`${server.url}/instances`, { method: 'POST', body: await file.arrayBuffer() });
  assert.equal(uploaded.status, 200);
  const kept = await commit(server.url, 'peer', [present]);
  assert.equal((await report(server.url, kept))['Status'], 'Success');
  assert.equal((await fetch(`${server.url}/instances/${id ?? ''}`)).status, 200);
  assert.equal((await fetch(`${server.url}/storage-commitment/${kept}/remove`, { method: 'POST' })).status, 200);
  assert.equal((await fetch(`${server.url}/instances/${id ?? ''}`)).status, 404);
});

test('a store that asks for commitment is followed by its report', { skip }, async () => {
  const file = readFileSync(shared('samples/DummyCT.dcm') ?? '');
  const uploaded = await fetch(`${server.url}/instances`, { method: 'POST', body: file });
  const { ID } = (await uploaded.json()) as { ID: string };
  const tags = (await (await fetch(`${server.url}/instances/${ID}/simplified-tags`)).json()) as Record<string, string>;
  const body = JSON.stringify({ Resources: [ID], StorageCommitment: true });
  const stored = await fetch(`${server.url}/modalities/peer/store`, { method: 'POST', body });
  const content = (await stored.json()) as Record<string, unknown>;
  const transaction = String(content['StorageCommitmentTransactionUID']);
  assert.match(transaction, /^[0-9.]+$/);
  let report: Record<string, unknown> = {};
  for (let tries = 0; tries < 200 && report['Status'] !== 'Success'; tries += 1) {
    report = (await (await fetch(`${server.url}/storage-commitment/${transaction}`)).json()) as typeof report;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.deepEqual(report, {
    Failures: [],
    RemoteAET: 'PEER',
    Status: 'Success',
    Success: [{ SOPClassUID: tags['SOPClassUID'], SOPInstanceUID: tags['SOPInstanceUID'] }],
  });
});
