/** C-MOVE and C-GET answered to DCMTK and to the reference server: what arrives, the counts, failures, cancelling, transcoding. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFile } from '../../src/dicom/read.ts';
import { textOf } from '../../src/dicom/value.ts';
import { type Served, serve } from '../http/served.ts';
import { freePort, shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { startOrthanc } from './orthanc.ts';
import { run, startProgram, stopPrograms } from './programs.ts';
import { countsOf, statusesOf } from './queries.ts';

const skip = withoutShared || without('movescu') || without('getscu') || without('storescp');

const STUDY = '2.16.840.1.113669.632.20.1211.10000357775';
const PATIENT = '5Yp0E';

let server: Served;
let received = '';
let files: string[] = [];

const under = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** SOP Instance UID and the bytes of Pixel Data, by file. */
function contents(paths: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    paths.map((path) => {
      const { dataSet } = readFile(readFileSync(path));
      const uid = dataSet.elements.get('0008,0018');
      const pixels = dataSet.elements.get('7fe0,0010');
      const bytes = pixels && dataSet.bytes.subarray(pixels.offset, pixels.offset + pixels.length);
      return [uid === undefined ? '' : textOf(dataSet, uid), bytes?.toString('base64') ?? ''];
    }),
  );
}

before(async () => {
  if (skip !== false) return;
  const port = await freePort();
  received = temporaryFolder();
  await startProgram('storescp', ['-aet', 'RECEIVER', '-od', received, String(port)], port);
  server = await serve({
    DicomServerEnabled: true,
    DicomPort: await freePort(),
    DicomAlwaysAllowGet: true,
    DicomAlwaysAllowMove: true,
    DicomModalities: { receiver: ['RECEIVER', '127.0.0.1', port], gone: ['GONE', '127.0.0.1', await freePort()] },
  });
  files = under(shared('samples/Brainix') ?? '');
  for (const file of files) await fetch(`${server.url}/instances`, { method: 'POST', body: readFileSync(file) });
});

after(async () => {
  await server?.close();
  await stopPrograms();
});

const identify = (level: string, ...keys: string[]): string[] =>
  [`QueryRetrieveLevel=${level}`, ...keys].flatMap((key) => ['-k', key]);

function movescu(destination: string, keys: readonly string[], options: readonly string[] = ['-S']) {
  const address = ['-aem', destination, '127.0.0.1', String(server.dicomPort)];
  return run('movescu', ['-d', ...options, ...address, ...keys]);
}

test('C-MOVE delivers a study byte by byte and counts what it did', { skip }, async () => {
  const { output } = await movescu('RECEIVER', identify('STUDY', `StudyInstanceUID=${STUDY}`));
  assert.equal(statusesOf(output).at(-1), '0x0000');
  assert.deepEqual(contents(under(received)), contents(files));
  const completed = [...output.matchAll(/Completed Suboperations\s*: (\d+)/g)].map((match) => Number(match[1]));
  const remaining = [...output.matchAll(/Remaining Suboperations\s*: (\d+)/g)].map((match) => Number(match[1]));
  assert.equal(completed.at(-1), files.length);
  for (const [index, count] of remaining.entries()) assert.equal(count + (completed[index] ?? 0), files.length);
});

test('a patient, a series and a list of instances are moved as well', { skip }, async () => {
  const { dataSet } = readFile(readFileSync(files[0] ?? ''));
  const value = (tag: string): string => {
    const element = dataSet.elements.get(tag);
    return element === undefined ? '' : textOf(dataSet, element);
  };
  const uids = [...contents(files).keys()].slice(0, 3).join('\\');
  for (const [options, keys, count] of [
    [['-P'], identify('PATIENT', `PatientID=${PATIENT}`), files.length],
    [['-S'], identify('SERIES', `StudyInstanceUID=${STUDY}`, `SeriesInstanceUID=${value('0020,000e')}`), 22],
    [['-S'], identify('IMAGE', `StudyInstanceUID=${STUDY}`, `SOPInstanceUID=${uids}`), 3],
  ] as const) {
    const { output } = await movescu('RECEIVER', keys, options);
    assert.equal(countsOf(output)['Completed'], count, keys.join(' '));
  }
});

test('what cannot be moved is said with its status and the instances that failed', { skip }, async () => {
  const study = identify('STUDY', `StudyInstanceUID=${STUDY}`);
  const unknown = await movescu('NOBODY', study);
  assert.deepEqual(statusesOf(unknown.output), ['0xa801']);
  const nothing = await movescu('RECEIVER', identify('STUDY', 'StudyInstanceUID=1.2.3'));
  assert.deepEqual(statusesOf(nothing.output), ['0xc000']);
  const incomplete = await movescu('RECEIVER', identify('STUDY'));
  assert.deepEqual(statusesOf(incomplete.output), ['0xa900']);
  const gone = await movescu('GONE', study);
  assert.equal(statusesOf(gone.output).at(-1), '0xa702');
  assert.equal(countsOf(gone.output)['Failed'], files.length);
  assert.match(gone.output, /\(0008,0058\) UI \[[\d.\\]+\]/);
});

test('C-GET brings a study over the same association', { skip }, async () => {
  const folder = temporaryFolder();
  const { output } = await run('getscu', [
    '-v',
    '-S',
    '-od',
    folder,
    '127.0.0.1',
    String(server.dicomPort),
    ...identify('STUDY', `StudyInstanceUID=${STUDY}`),
  ]);
  assert.deepEqual(contents(under(folder)), contents(files));
  assert.equal(countsOf(output)['Completed'], files.length);
});

test('C-GET transcodes for a peer that takes no compressed images, and says what it cannot send', {
  skip,
}, async () => {
  const folder = temporaryFolder();
  const compressed = under(shared('samples/Knee') ?? '')[0] ?? '';
  await fetch(`${server.url}/instances`, { method: 'POST', body: readFileSync(compressed) });
  const { dataSet, transferSyntax } = readFile(readFileSync(compressed));
  assert.match(transferSyntax, /1\.2\.4\.9/, 'the sample is JPEG 2000');
  const study = dataSet.elements.get('0020,000d');
  assert.ok(study);
  const { output } = await run('getscu', [
    '-v',
    '-S',
    '-od',
    folder,
    '127.0.0.1',
    String(server.dicomPort),
    ...identify('STUDY', `StudyInstanceUID=${textOf(dataSet, study)}`),
  ]);
  assert.deepEqual([countsOf(output)['Completed'], countsOf(output)['Failed']], [1, 0]);
  const [file = ''] = under(folder);
  assert.equal(readFile(readFileSync(file)).transferSyntax, '1.2.840.10008.1.2.1');
});

test('a retrieval that is cancelled ends, with what remains', { skip }, async () => {
  const { output } = await movescu('RECEIVER', identify('STUDY', `StudyInstanceUID=${STUDY}`), ['-S', '--cancel', '1']);
  assert.equal(statusesOf(output).at(-1), '0xfe00');
  const { Remaining = 0, Completed = 0, Failed = 0 } = countsOf(output);
  assert.ok(Completed < files.length && Failed === 0, `${Completed} completed, ${Remaining} remaining`);
});

test('with SynchronousCMove off the instances go by the queue of the modality', { skip }, async () => {
  const port = await freePort();
  const folder = temporaryFolder();
  await startProgram('storescp', ['-aet', 'LATER', '-od', folder, String(port)], port);
  const queued = await serve({
    DicomServerEnabled: true,
    DicomPort: await freePort(),
    DicomAlwaysAllowMove: true,
    SynchronousCMove: false,
    DicomModalities: { later: ['LATER', '127.0.0.1', port] },
  });
  try {
    for (const file of files) await fetch(`${queued.url}/instances`, { method: 'POST', body: readFileSync(file) });
    const { output } = await run('movescu', [
      '-d',
      '-S',
      '-aem',
      'LATER',
      '127.0.0.1',
      String(queued.dicomPort),
      ...identify('STUDY', `StudyInstanceUID=${STUDY}`),
    ]);
    assert.deepEqual(statusesOf(output), ['0x0000']);
    for (let waited = 0; waited < 10_000 && under(folder).length < files.length; waited += 50) await sleep(50);
    assert.deepEqual(contents(under(folder)), contents(files));
  } finally {
    await queued.close();
  }
});

test('the reference server retrieves from here, and we from it, by C-MOVE and C-GET', {
  skip: skip || without('Orthanc'),
}, async () => {
  const [ours, theirs] = [await freePort(), await freePort()];
  const orthanc = await startOrthanc(theirs, { DicomModalities: { isen: ['ISEN', '127.0.0.1', ours] } });
  const isen = await serve({
    DicomServerEnabled: true,
    DicomPort: ours,
    DicomModalities: { orthanc: ['ORTHANC', '127.0.0.1', theirs] },
  });
  const body = (more: object = {}): string =>
    JSON.stringify({ Level: 'Study', Resources: [{ StudyInstanceUID: STUDY }], ...more });
  const count = async (url: string): Promise<number> =>
    ((await (await fetch(`${url}/statistics`)).json()) as { CountInstances: number }).CountInstances;
  try {
    for (const file of files) await fetch(`${isen.url}/instances`, { method: 'POST', body: readFileSync(file) });
    const moved = await fetch(`${orthanc.url}/modalities/isen/move`, { method: 'POST', body: body() });
    assert.equal(moved.status, 200, await moved.text());
    assert.equal(await count(orthanc.url), files.length);
    for (const way of ['move', 'get']) {
      const { ID } = (await (
        await fetch(`${isen.url}/tools/lookup`, { method: 'POST', body: PATIENT })
      )
        .json()
        .then((found) => (found as { ID: string }[])[0])) as { ID: string };
      await fetch(`${isen.url}/patients/${ID}`, { method: 'DELETE' });
      assert.equal(await count(isen.url), 0);
      const answer = await fetch(`${isen.url}/modalities/orthanc/${way}`, { method: 'POST', body: body() });
      const content = (await answer.json()) as { Query: unknown; RemoteAet: string };
      assert.equal(answer.status, 200, JSON.stringify(content));
      assert.deepEqual(content.Query, [{ '0008,0052': 'STUDY', '0020,000d': STUDY }]);
      assert.equal(await count(isen.url), files.length, way);
    }
  } finally {
    await isen.close();
    await orthanc.stop();
  }
});
