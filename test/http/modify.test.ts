/** Modification and anonymisation over HTTP: results and their origin, references, safety checks, and the reference server beside. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DataSet, readFile } from '../../src/dicom/read.ts';
import { valueOf } from '../../src/dicom/value.ts';
import type { NewElement } from '../../src/dicom/write.ts';
import { make, ODD_ELEMENTS } from '../dicom/made.ts';
import { freePort, shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { type Served, serve } from './served.ts';

let server: Served;

before(async () => {
  server = await serve({ StableAge: 600 });
});
after(() => server.close());

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function post(path: string, body: unknown, url = server.url): Promise<Answer> {
  const answer = await fetch(url + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

async function get<T>(path: string): Promise<T> {
  const answer = await fetch(server.url + path);
  assert.equal(answer.status, 200, path);
  return (await answer.json()) as T;
}

interface Uploaded {
  readonly ID: string;
  readonly ParentPatient: string;
  readonly ParentStudy: string;
  readonly ParentSeries: string;
}

async function upload(bytes: Uint8Array, url = server.url): Promise<Uploaded> {
  const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(bytes) });
  assert.equal(answer.status, 200);
  return (await answer.json()) as Uploaded;
}

interface Tags {
  readonly [name: string]: string;
}
const tagsOf = (id: string): Promise<Tags & { readonly ReferencedImageSequence?: readonly Tags[] }> =>
  get(`/instances/${id}/simplified-tags`);
const instancesOf = async (path: string): Promise<string[]> =>
  (await get<{ ID: string }[]>(`${path}/instances`)).map(({ ID }) => ID);

/** Two series of two instances that refer to one another, and one that refers to nothing of the study. */
async function uploadStudy(name: string): Promise<Uploaded[]> {
  const uploaded: Uploaded[] = [];
  for (const series of [1, 2]) {
    for (const instance of [1, 2]) {
      const reference = (uid: string): NewElement[] => [
        { tag: '0008,1150', vr: 'UI', value: '1.2.840.10008.5.1.4.1.1.2' },
        { tag: '0008,1155', vr: 'UI', value: uid },
      ];
      const other = `2.25.7${name}.${3 - series}.${instance}`;
      uploaded.push(
        await upload(
          make({
            patientId: `P${name}`,
            studyUid: `2.25.7${name}`,
            seriesUid: `2.25.7${name}.${series}`,
            sopUid: `2.25.7${name}.${series}.${instance}`,
            extra: [
              { tag: '0008,1140', vr: 'SQ', value: { items: [reference(other), reference('1.2.3.4.5')] } },
              { tag: '0008,1030', vr: 'LO', value: 'a description' },
            ],
          }),
        ),
      );
    }
  }
  return uploaded;
}

test('an instance is answered changed, and nothing is stored', async () => {
  const { ID } = await upload(
    make({ sopUid: '2.25.70.1', patientId: 'P0', studyUid: '2.25.70', seriesUid: '2.25.70.0' }),
  );
  const before = await get<unknown[]>('/instances');
  const answer = await fetch(`${server.url}/instances/${ID}/modify`, {
    method: 'POST',
    body: JSON.stringify({
      Replace: { PatientName: 'Other^Name' },
      Transcode: '1.2.840.10008.1.2.4.70',
    }),
  });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/dicom');
  const file = readFile(new Uint8Array(await answer.arrayBuffer()));
  assert.equal(file.transferSyntax, '1.2.840.10008.1.2.4.70');
  const value = (tag: string): string | null => {
    const element = file.dataSet.elements.get(tag);
    return element === undefined ? null : valueOf(file.dataSet, element);
  };
  assert.equal(value('0010,0010'), 'Other^Name');
  assert.equal(value('0020,000d'), '2.25.70');
  assert.notEqual(value('0008,0018'), '2.25.70.1');
  assert.deepEqual(await get('/instances'), before);
  assert.equal((await post(`/instances/${ID}/modify`, '{')).body['OrthancStatus'], 15);
  assert.equal((await post('/instances/nope/anonymize', {})).status, 404);
});

test('an anonymised study refers to itself, and says what it was made from', async () => {
  const uploaded = await uploadStudy('1');
  const [first] = uploaded;
  assert.ok(first);
  const { status, body } = await post(`/studies/${first.ParentStudy}/anonymize`, {});
  assert.equal(status, 200);
  assert.equal(body['IsAnonymization'], true);
  assert.equal(body['InstancesCount'], 4);
  assert.deepEqual(body['ParentResources'], [first.ParentStudy]);
  const study = String(body['ID']);
  const ids = await instancesOf(`/studies/${study}`);
  assert.equal(ids.length, 4);
  const all = await Promise.all(ids.map(tagsOf));
  const sops = new Set(all.map((tags) => tags['SOPInstanceUID']));
  assert.equal(sops.size, 4);
  for (const tags of all) {
    assert.ok(sops.has(tags.ReferencedImageSequence?.[0]?.['ReferencedSOPInstanceUID'] ?? ''));
    assert.doesNotMatch(JSON.stringify(tags), /2\.25\.71[".]|1\.2\.3\.4\.5|P1|a description/);
    assert.match(tags['PatientName'] ?? '', /^Anonymized\d+$/);
  }
  assert.equal(new Set(all.map((tags) => tags['SeriesInstanceUID'])).size, 2);
  const from = async (path: string): Promise<string> =>
    (await fetch(`${server.url}${path}/metadata/AnonymizedFrom`)).text();
  assert.equal(await from(`/studies/${study}`), first.ParentStudy);
  assert.equal(await from(`/patients/${String(body['PatientID'])}`), first.ParentPatient);
  const sources = new Set(await Promise.all(ids.map((id) => from(`/instances/${id}`))));
  assert.deepEqual(sources, new Set(uploaded.map(({ ID }) => ID)));
  assert.equal(await (await fetch(`${server.url}/instances/${ids[0]}/metadata/Origin`)).text(), 'RestApi');
});

test('a modified series is another one of its study; references follow within it only', async () => {
  const [first] = await uploadStudy('2');
  assert.ok(first);
  const { body } = await post(`/series/${first.ParentSeries}/modify`, {
    Replace: { SeriesDescription: 'changed' },
    KeepSource: false,
  });
  assert.equal(body['Type'], 'Series');
  const ids = await instancesOf(`/series/${String(body['ID'])}`);
  assert.equal(ids.length, 2);
  for (const id of ids) {
    const tags = await tagsOf(id);
    assert.equal(tags['StudyInstanceUID'], '2.25.72');
    assert.equal(tags['SeriesDescription'], 'changed');
    assert.match(tags.ReferencedImageSequence?.[0]?.['ReferencedSOPInstanceUID'] ?? '', /^2\.25\.72\.2\./);
  }
  assert.equal((await fetch(`${server.url}/series/${first.ParentSeries}`)).status, 404);
  assert.equal((await get<{ Series: string[] }>(`/studies/${first.ParentStudy}`)).Series.length, 2);
});

test('several instances never become one', async () => {
  const [first] = await uploadStudy('11');
  assert.ok(first);
  const chosen = { Replace: { SOPInstanceUID: '2.25.7.1' }, Force: true, KeepSource: false };
  const refused = await post(`/studies/${first.ParentStudy}/modify`, chosen);
  assert.deepEqual([refused.status, refused.body['Details']], [400, '4 instances cannot have the same SOPInstanceUID']);
  assert.equal((await instancesOf(`/studies/${first.ParentStudy}`)).length, 4);
  const one = await post('/tools/bulk-modify', { ...chosen, Resources: [first.ID] });
  assert.equal(one.status, 200);
});

test('instances that keep their identifiers are replaced, and are not deleted as sources', async () => {
  const uploaded = await uploadStudy('3');
  const [first] = uploaded;
  assert.ok(first);
  const Keep = ['StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID'];
  const path = `/studies/${first.ParentStudy}/modify`;
  assert.equal((await post(path, { Keep })).status, 400);
  const { status, body } = await post(path, {
    Keep,
    Force: true,
    Replace: { StudyDescription: 'overwritten' },
    KeepSource: false,
  });
  assert.equal(status, 200);
  assert.equal(body['ID'], first.ParentStudy);
  assert.deepEqual(new Set(await instancesOf(`/studies/${first.ParentStudy}`)), new Set(uploaded.map(({ ID }) => ID)));
  for (const { ID } of uploaded) assert.equal((await tagsOf(ID))['StudyDescription'], 'overwritten');
  // What the index says of the levels above follows.
  const study = `/studies/${first.ParentStudy}`;
  type Described = { MainDicomTags: Record<string, string>; PatientMainDicomTags?: Record<string, string> };
  assert.equal((await get<Described>(study)).MainDicomTags['StudyDescription'], 'overwritten');
  const Replace = {
    PatientName: 'Other^Name',
    PatientID: (await get<Described>(study)).PatientMainDicomTags?.['PatientID'],
  };
  assert.equal((await post(path, { Keep, Force: true, Replace, KeepSource: true })).status, 200);
  assert.equal((await get<Described>(study)).PatientMainDicomTags?.['PatientName'], 'Other^Name');
});

test('patients need another identifier; labels are kept where that is asked', async () => {
  const [first] = await uploadStudy('4');
  assert.ok(first);
  await fetch(`${server.url}/studies/${first.ParentStudy}/labels/teaching`, { method: 'PUT' });
  const path = `/patients/${first.ParentPatient}/modify`;
  const refused = await post(path, {});
  assert.match(String(refused.body['Details']), /her PatientID is required to be modified/);
  const { body } = await post(path, { Replace: { PatientID: 'P4b' }, Force: true, KeepLabels: true });
  assert.equal(body['ID'], body['PatientID']);
  const [study] = await get<{ ID: string; Labels: string[] }[]>(`/patients/${String(body['ID'])}/studies`);
  assert.deepEqual(study?.Labels, ['teaching']);
  assert.equal((await tagsOf((await instancesOf(`/studies/${study?.ID}`))[0] ?? ''))['PatientID'], 'P4b');
});

test('bulk requests name all that they made', async () => {
  const uploaded = await uploadStudy('5');
  const Resources = uploaded.slice(0, 2).map(({ ID }) => ID);
  const { body } = await post('/tools/bulk-modify', {
    Resources,
    Level: 'series',
    Replace: { SeriesDescription: 'b' },
  });
  const made = body['Resources'] as { ID: string; Type: string; Path: string }[];
  assert.deepEqual(made.map(({ Type }) => Type).sort(), ['Instance', 'Instance', 'Patient', 'Series', 'Study']);
  assert.deepEqual(body['ParentResources'], Resources);
  const anonymised = await post('/tools/bulk-anonymize', { Resources: [uploaded[0]?.ParentPatient] });
  assert.equal(anonymised.body['InstancesCount'], 6);
  assert.equal((await post('/tools/bulk-modify', {})).body['Details'], 'List of strings expected in field: Resources');
  assert.equal((await post('/tools/bulk-modify', { Resources: ['nope'] })).status, 404);
  assert.equal((await post('/tools/bulk-modify', { Resources, Level: 'x' })).body['OrthancStatus'], 3);
});

test('an asynchronous request answers its job, which says what it made', async () => {
  const [first] = await uploadStudy('6');
  assert.ok(first);
  const { body } = await post(`/studies/${first.ParentStudy}/modify`, { Asynchronous: true, UserData: { mine: 1 } });
  assert.deepEqual(Object.keys(body), ['ID', 'Path']);
  let job: { State: string; Type: string; UserData: unknown; Content: Record<string, unknown> };
  do {
    await sleep(20);
    job = await get(String(body['Path']));
  } while (job.State === 'Pending' || job.State === 'Running');
  assert.equal(job.State, 'Success');
  assert.equal(job.Type, 'ResourceModification');
  assert.deepEqual(job.UserData, { mine: 1 });
  assert.equal((await instancesOf(String(job.Content['Path']))).length, 4);
});

test('what is stored of a changed file is what is stored of one that is sent', async () => {
  const other = await serve({ ExtraMainDicomTags: { Instance: ['BitsStored'] } });
  try {
    const json = async (path: string): Promise<Record<string, unknown>> =>
      (await (await fetch(other.url + path)).json()) as Record<string, unknown>;
    /** All that does not say when or how it came. */
    const kept = async (id: string): Promise<unknown> => {
      const { FileUuid: _, ModifiedFrom: __, ...shown } = await json(`/instances/${id}?requested-tags=BitsStored`);
      const { Uuid: ___, ...file } = await json(`/instances/${id}/attachments/dicom/info`);
      const { MainDicomTagsSignature, PixelDataOffset, SopClassUid, TransferSyntax } = await json(
        `/instances/${id}/metadata?expand`,
      );
      return { shown, file, MainDicomTagsSignature, PixelDataOffset, SopClassUid, TransferSyntax };
    };
    // Some that are stored together, some that lie in memory that is shared, and some that are too large for it.
    for (const [index, rows] of [8, 512, 1024].entries()) {
      const study = { patientId: 'P', studyUid: `2.25.${index}`, seriesUid: `2.25.${index}.1` };
      const from = Array.from({ length: 8 }, (_, at) =>
        make({ ...study, sopUid: `2.25.${index}.1.${at}`, rows, columns: 512 }),
      );
      const [sent] = await Promise.all(from.map((bytes) => upload(bytes, other.url)));
      const { body } = await post(
        `/studies/${sent?.ParentStudy}/modify`,
        { Replace: { AccessionNumber: 'A' } },
        other.url,
      );
      const instances = await json(`/studies/${String(body['ID'])}/instances`);
      const made = (instances as unknown as { ID: string }[]).map(({ ID }) => ID);
      assert.equal(made.length, from.length);
      for (const id of made) {
        const verified = await post(`/instances/${id}/attachments/dicom/verify-md5`, '', other.url);
        assert.equal(verified.status, 200);
        const before = await kept(id);
        const file = await fetch(`${other.url}/instances/${id}/file`);
        const bytes = new Uint8Array(await file.arrayBuffer());
        await fetch(`${other.url}/instances/${id}`, { method: 'DELETE' });
        assert.equal((await upload(bytes, other.url)).ID, id);
        assert.deepEqual(await kept(id), before);
      }
    }
  } finally {
    await other.close();
  }
});

test('a permissive job leaves out what cannot be changed, another fails', async () => {
  const good = make({ patientId: 'P7', studyUid: '2.25.77', seriesUid: '2.25.77.1', sopUid: '2.25.77.1.1' });
  const bad = make({
    patientId: 'P7',
    studyUid: '2.25.77',
    seriesUid: '2.25.77.1',
    sopUid: '2.25.77.1.2',
    transferSyntax: '1.2.840.10008.1.2.4.70',
  });
  await upload(good);
  const { ParentStudy } = await upload(bad);
  const body = { Transcode: '1.2.840.10008.1.2.1' };
  assert.notEqual((await post(`/studies/${ParentStudy}/modify`, body)).status, 200);
  const permissive = await post(`/studies/${ParentStudy}/modify`, { ...body, Permissive: true });
  assert.equal(permissive.status, 200);
  assert.equal(permissive.body['Transcode'], body.Transcode);
  assert.equal(permissive.body['FailedInstancesCount'], 1);
});

test('series are split from a study, and merged into another as parts of it', async () => {
  const [first] = await uploadStudy('8');
  const [target] = await uploadStudy('9');
  assert.ok(first && target);
  const missing = await post(`/studies/${first.ParentStudy}/split`, {});
  assert.match(String(missing.body['Details']), /^Both the "Series" and the "Instances" fields are missing$/);
  const stranger = await post(`/studies/${first.ParentStudy}/split`, { Series: [target.ParentSeries] });
  assert.equal(stranger.status, 404);
  const chosen = { Series: [first.ParentSeries], Replace: { StudyInstanceUID: '1.2' } };
  assert.equal((await post(`/studies/${first.ParentStudy}/split`, chosen)).status, 400);
  const split = await post(`/studies/${first.ParentStudy}/split`, {
    Series: [first.ParentSeries],
    Replace: { PatientName: 'Split' },
  });
  const made = String(split.body['TargetStudy']);
  const tags = await tagsOf((await instancesOf(`/studies/${made}`))[0] ?? '');
  assert.equal(tags['PatientName'], 'Split');
  assert.equal(tags['StudyInstanceUID'], split.body['TargetStudyUID']);
  assert.equal((await instancesOf(`/studies/${first.ParentStudy}`)).length, 2);
  for (const [body, number, details] of [
    [
      { Replace: { SeriesDescription: 'x' } },
      3,
      /\(not in the patient\/study modules\): SeriesDescription \(0008,103e\)$/,
    ],
    [{ Remove: ['ReferencedImageSequence[0].ReferencedSOPInstanceUID'] }, 3, /ReferencedImageSequence/],
    [{ Replace: [] }, 15, undefined],
    [{ KeepSource: 'yes' }, 15, /^Boolean value expected in field: KeepSource$/],
  ] as const) {
    const [series] = (await get<{ Series: string[] }>(`/studies/${made}`)).Series;
    const { body: answer } = await post(`/studies/${made}/split`, { Series: [series], ...body });
    assert.equal(answer['OrthancStatus'], number, JSON.stringify(body));
    if (details !== undefined) assert.match(String(answer['Details']), details);
  }
  const [ofTarget = ''] = await instancesOf(`/studies/${target.ParentStudy}`);
  const own = await post(`/studies/${target.ParentStudy}/merge`, { Resources: [ofTarget] });
  const parent = `into its parent study ${target.ParentStudy}`;
  assert.equal(own.body['Details'], `Cannot merge instance ${ofTarget} ${parent}`);
  const [single = ''] = await instancesOf(`/studies/${made}`);
  const one = await post(`/studies/${first.ParentStudy}/merge`, { Resources: [single], KeepSource: true });
  assert.equal(one.body['InstancesCount'], 1);
  assert.equal((await instancesOf(`/studies/${first.ParentStudy}`)).length, 3);
  const nameless = await post(`/studies/${first.ParentStudy}/split`, {
    Instances: [(await instancesOf(`/studies/${first.ParentStudy}`))[0]],
    KeepSource: true,
    Remove: ['PatientID'],
  });
  const [without = ''] = await instancesOf(`/studies/${String(nameless.body['TargetStudy'])}`);
  assert.equal((await tagsOf(without))['PatientID'], '');
  const merged = await post(`/studies/${target.ParentStudy}/merge`, { Resources: [made] });
  assert.equal(merged.body['TargetStudy'], target.ParentStudy);
  assert.equal((await fetch(`${server.url}/studies/${made}`)).status, 404);
  const all = await instancesOf(`/studies/${target.ParentStudy}`);
  assert.equal(all.length, 6);
  for (const id of all) assert.equal((await tagsOf(id))['PatientID'], 'P9');
});

/** A data set without what differs between any two runs: values of UIDs, and what both servers choose. */
function shapeOf(dataSet: DataSet, known: ReadonlySet<string>, top = true): Record<string, unknown> {
  const shape: Record<string, unknown> = {};
  for (const [tag, element] of dataSet.elements) {
    if (tag.endsWith(',0000') || (top && CHOSEN.has(tag))) continue;
    if (element.items !== undefined || element.vr === 'SQ') {
      shape[tag] = (element.items ?? []).map((item) => shapeOf(item, known, false));
    } else if (tag === '0010,0020') shape[tag] = 'a patient';
    else {
      const value = valueOf(dataSet, element);
      shape[tag] = element.vr === 'UI' && value !== '' && !known.has(value ?? '') ? 'another UID' : value;
    }
  }
  return shape;
}

/**
 * What the servers choose: name and identifier of the patient (we give one where there is none), the method (and we its code as
 * well). Overlays and trailing padding are in the table of PS3.15, but the reference leaves them.
 */
const CHOSEN: ReadonlySet<string> = new Set([
  '0010,0010',
  '0010,0020',
  '0012,0063',
  '0012,0064',
  '6000,3000',
  'fffc,fffc',
]);

function uidsOf(dataSet: DataSet, uids = new Set<string>()): Set<string> {
  for (const element of dataSet.elements.values()) {
    if (element.vr === 'UI') uids.add(valueOf(dataSet, element) ?? '');
    for (const item of element.items ?? []) uidsOf(item, uids);
  }
  return uids;
}

const SAMPLES = [
  'samples/DummyCT.dcm',
  'samples/2020-11-16-SalimKanounAnonymization.dcm',
  'samples/HierarchicalAnonymization/RTH/CT01.dcm',
  'samples/TransferSyntaxes/1.2.840.10008.1.2.2.dcm',
];

test('each edition changes real files as the reference server does', {
  skip: withoutShared || without('Orthanc'),
  timeout: 60_000,
}, async () => {
  const folder = temporaryFolder();
  const port = await freePort();
  const config = {
    Name: 'reference',
    HttpPort: port,
    StorageDirectory: folder,
    DicomServerEnabled: false,
    Plugins: [],
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, AuthenticationEnabled: false }));
  const command = process.env['PATH']?.split(':').includes('/usr/sbin') === false ? '/usr/sbin/Orthanc' : 'Orthanc';
  const reference = spawn(command, [join(folder, 'config.json')], { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  try {
    for (let tries = 0; ; tries += 1) {
      const name = await fetch(`${url}/system`).then(
        async (answer) => ((await answer.json()) as { Name: string }).Name,
        () => '',
      );
      if (name === 'reference') break;
      assert.ok(tries < 200, 'the reference server did not start');
      await sleep(50);
    }
    const files = SAMPLES.map((sample) => readFileSync(shared(sample) ?? ''));
    for (const bytes of [...files, make({ extra: ODD_ELEMENTS, sopUid: '2.25.79' })]) {
      const known = uidsOf(readFile(bytes).dataSet);
      const { ID } = await upload(bytes);
      assert.equal((await upload(bytes, url)).ID, ID);
      const bodies: [string, unknown][] = [
        ...['2008', '2017c', '2021b'].map((DicomVersion): [string, unknown] => ['anonymize', { DicomVersion }]),
        ['modify', { Replace: { StudyDescription: 'x', '0008,1140[*].0008,1160': '1' }, Remove: ['Modality'] }],
        ['anonymize', { DicomVersion: '2021b', Keep: ['StudyDate', 'SOPInstanceUID'], Force: true }],
      ];
      for (const [verb, body] of bodies) {
        const [ours, theirs] = await Promise.all(
          [server.url, url].map(async (each) => {
            const answer = await fetch(`${each}/instances/${ID}/${verb}`, {
              method: 'POST',
              body: JSON.stringify(body),
            });
            assert.equal(answer.status, 200);
            return shapeOf(readFile(new Uint8Array(await answer.arrayBuffer())).dataSet, known);
          }),
        );
        assert.deepEqual(ours, theirs, `${ID} ${JSON.stringify(body)}`);
      }
    }
  } finally {
    reference.kill('SIGKILL');
  }
});
