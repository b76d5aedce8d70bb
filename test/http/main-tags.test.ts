/** `ExtraMainDicomTags`: tags that the index keeps besides the built-in ones, of new files and (reconstructed) of old ones. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { make } from '../dicom/made.ts';
import { temporaryFolder } from '../peer.ts';
import { type Served, serve } from './served.ts';

const EXTRA = {
  Patient: ['PatientWeight'],
  Study: ['0008,1080'],
  Series: ['RequestAttributesSequence', 'ProcedureCodeSequence'],
  Instance: ['SliceThickness', 'SOPClassUID'],
};

function file(number: number): Uint8Array<ArrayBuffer> {
  const made = make({
    patientId: 'P',
    studyUid: `2.25.${number}`,
    seriesUid: `2.25.${number}.1`,
    sopUid: `2.25.${number}.1.1`,
    // Larger than its header: reconstruction reads that alone.
    rows: 64,
    columns: 64,
    extra: [
      { tag: '0010,1030', vr: 'DS', value: '70' },
      { tag: '0008,1080', vr: 'LO', value: `Diagnosis ${number}` },
      { tag: '0018,0050', vr: 'DS', value: `${number}.5` },
      { tag: '0008,1032', vr: 'SQ', value: { items: [[{ tag: '0008,0100', vr: 'SH', value: 'code' }]] } },
    ],
  });
  return new Uint8Array(made);
}

interface Uploaded {
  readonly ID: string;
  readonly ParentStudy: string;
  readonly ParentSeries: string;
  readonly ParentPatient: string;
}
type Shown = Readonly<Record<'MainDicomTags' | 'PatientMainDicomTags' | 'RequestedTags', Record<string, unknown>>>;

const upload = async (server: Served, number: number): Promise<Uploaded> =>
  (await (await fetch(`${server.url}/instances`, { method: 'POST', body: file(number) })).json()) as Uploaded;
const get = async (server: Served, path: string): Promise<Shown> =>
  (await (await fetch(server.url + path)).json()) as Shown;
async function find(server: Served, body: object): Promise<unknown> {
  const answer = await fetch(`${server.url}/tools/find`, { method: 'POST', body: JSON.stringify(body) });
  return answer.json();
}

test('they are shown, searched, counted and sorted by, without reading a file', async () => {
  const server = await serve({ ExtraMainDicomTags: EXTRA, StorageAccessOnFind: 'Never' });
  try {
    const first = await upload(server, 1);
    const second = await upload(server, 2);
    const study = await get(server, `/studies/${first.ParentStudy}`);
    assert.equal(study.MainDicomTags['AdmittingDiagnosesDescription'], 'Diagnosis 1');
    assert.equal(study.PatientMainDicomTags['PatientWeight'], '70');
    assert.equal((await get(server, `/patients/${first.ParentPatient}`)).MainDicomTags['PatientWeight'], '70');
    const series = await get(server, `/series/${first.ParentSeries}`);
    assert.deepEqual(series.MainDicomTags['ProcedureCodeSequence'], [{ CodeValue: 'code' }]);
    const instance = await get(server, `/instances/${first.ID}?requested-tags=AdmittingDiagnosesDescription`);
    assert.equal(instance.MainDicomTags['SliceThickness'], '1.5');
    assert.equal(instance.RequestedTags['AdmittingDiagnosesDescription'], 'Diagnosis 1');

    const query = { AdmittingDiagnosesDescription: 'DIAG*2' };
    assert.deepEqual(await find(server, { Level: 'Study', Query: query }), [second.ParentStudy]);
    const count = await fetch(`${server.url}/tools/count-resources`, {
      method: 'POST',
      body: JSON.stringify({ Level: 'Study', Query: query }),
    });
    assert.deepEqual(await count.json(), { Count: 1 });
    const order = [{ Type: 'DicomTagAsFloat', Key: 'SliceThickness', Direction: 'DESC' }];
    assert.deepEqual(await find(server, { Level: 'Instance', Query: {}, OrderBy: order }), [second.ID, first.ID]);

    const { MainDicomTags } = await get(server, '/system');
    assert.match(String(MainDicomTags['Study']), /0008,1030;0008,1080;/);
    const signature = await fetch(`${server.url}/studies/${first.ParentStudy}/metadata/MainDicomTagsSignature`);
    assert.equal(await signature.text(), MainDicomTags['Study']);
  } finally {
    await server.close();
  }
});

test('what was there before has them after reconstruction', async () => {
  const folder = temporaryFolder();
  const before = await serve({ StorageDirectory: folder });
  const { ParentStudy: id } = await upload(before, 1);
  const old = await get(before, `/studies/${id}`);
  assert.equal(old.MainDicomTags['AdmittingDiagnosesDescription'], undefined);
  await before.close();
  const server = await serve({ StorageDirectory: folder, ExtraMainDicomTags: EXTRA });
  try {
    const answer = await fetch(`${server.url}/tools/reconstruct`, { method: 'POST', body: '{}' });
    assert.equal(answer.status, 200);
    const study = await get(server, `/studies/${id}`);
    assert.equal(study.MainDicomTags['AdmittingDiagnosesDescription'], 'Diagnosis 1');
  } finally {
    await server.close();
  }
});

test('a tag that nobody knows ends the start, with its name', async () => {
  await assert.rejects(serve({ ExtraMainDicomTags: { Study: ['Nonsense'] } }), /Nonsense/);
  const server = await serve();
  await server.close();
});
