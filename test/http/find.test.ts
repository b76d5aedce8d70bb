/** `/tools/find`, `/tools/count-resources`, `/tools/bulk-*`: what is found, in what order and form, what is refused, and what one question may cost. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startReference } from '../debian-reference.ts';
import { make, type Made } from '../dicom/made.ts';
import { without } from '../peer.ts';
import { type Served, serve } from './served.ts';

interface Uploaded {
  readonly ID: string;
  readonly ParentPatient: string;
  readonly ParentStudy: string;
  readonly ParentSeries: string;
}
interface Row {
  readonly name: string;
  readonly date: string;
  readonly modality: string;
  readonly count: number;
  readonly protocol: string;
}

/** Studies by the number in their UID. */
const STUDIES: readonly Row[] = [
  { name: 'Müller^Anna', date: '20240101', modality: 'CT', count: 2, protocol: 'head' },
  { name: 'MULLER^BERT', date: '20240615', modality: 'MR', count: 1, protocol: 'knee' },
  { name: 'Smith^Carl', date: '20250101', modality: 'CT', count: 10, protocol: 'head' },
  { name: 'smithson^dora', date: '', modality: 'US', count: 1, protocol: 'neck' },
];

const FILES: readonly Uint8Array<ArrayBuffer>[] = STUDIES.flatMap((row, index) =>
  Array.from({ length: row.count }, (_, number) => {
    const studyUid = `2.25.${index + 1}`;
    const options: Made = {
      patientId: `P${index + 1}`,
      patientName: new TextEncoder().encode(row.name),
      charset: 'ISO_IR 192',
      studyUid,
      seriesUid: `${studyUid}.1`,
      sopUid: `${studyUid}.1.${number + 1}`,
      extra: [
        { tag: '0008,0020', vr: 'DA', value: row.date },
        { tag: '0008,0060', vr: 'CS', value: row.modality },
        { tag: '0020,0013', vr: 'IS', value: String(number + 1) },
        { tag: '0018,9004', vr: 'CS', value: row.protocol.toUpperCase() },
        { tag: '0040,0275', vr: 'SQ', value: { items: [[{ tag: '0040,0009', vr: 'SH', value: 'step' }]] } },
      ],
    };
    return new Uint8Array(make(options));
  }),
);

let server: Served;
const uploaded: Uploaded[] = [];
/** The number of a study by its public id. */
const studies = new Map<string, number>();

async function upload(url: string): Promise<Uploaded[]> {
  const answers: Uploaded[] = [];
  for (const body of FILES)
    answers.push((await (await fetch(`${url}/instances`, { method: 'POST', body })).json()) as Uploaded);
  return answers;
}

before(async () => {
  server = await serve({ StableAge: 600, UserMetadata: { sample: 1024 } });
  uploaded.push(...(await upload(server.url)));
  let at = 0;
  for (const [index, { count }] of STUDIES.entries()) {
    studies.set(uploaded[at]?.ParentStudy ?? '', index + 1);
    at += count;
  }
  const id = (number: number): string => [...studies].find(([, each]) => each === number)?.[0] ?? '';
  for (const [method, path, body] of [
    ['PUT', `/studies/${id(1)}/labels/a`],
    ['PUT', `/studies/${id(1)}/labels/b`],
    ['PUT', `/studies/${id(2)}/labels/a`],
    ['PUT', `/studies/${id(1)}/metadata/sample`, 'x10'],
    ['PUT', `/studies/${id(2)}/metadata/sample`, 'x9'],
  ]) {
    const answer = await fetch(server.url + path, { method: method ?? '', ...(body !== undefined && { body }) });
    assert.equal(answer.status, 200);
  }
});
after(() => server.close());

async function post(path: string, body: unknown, url = server.url): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? '' : (JSON.parse(text) as unknown) };
}

/** Numbers of the studies found, in the order of the answer. */
async function found(question: object, url = server.url): Promise<(number | undefined)[]> {
  const { status, body } = await post('/tools/find', { Level: 'Study', Query: {}, ...question }, url);
  assert.equal(status, 200, JSON.stringify(body));
  return (body as string[]).map((id) => studies.get(id));
}
const inOrder = (numbers: readonly (number | undefined)[]): (number | undefined)[] =>
  numbers.toSorted((a = 0, b = 0) => a - b);
const sorted = async (question: object): Promise<(number | undefined)[]> => inOrder(await found(question));

test('values, patterns, lists and ranges; case and accents', async () => {
  const rows: [object, number[]][] = [
    [{}, [1, 2, 3, 4]],
    [{ Query: { PatientName: '' } }, [1, 2, 3, 4]],
    [{ Query: { PatientName: 'SMITH*' } }, [3, 4]],
    [{ Query: { PatientName: 'SMITH*' }, CaseSensitive: true }, []],
    [{ Query: { PatientName: 'Smith*' }, CaseSensitive: true }, [3]],
    [{ Query: { PatientName: '?mith^*' } }, [3]],
    [{ Query: { PatientName: 'MÜLLER*' } }, [1]],
    [{ Query: { PatientName: '*^bert' } }, [2]],
    [{ Query: { PatientID: 'P1\\P3' } }, [1, 3]],
    [{ Query: { '0010,0020': 'P2' } }, [2]],
    [{ Query: { '00100020': 'P2', StudyDate: '20240615' } }, [2]],
    [{ Query: { StudyDate: '20240101-20241231' } }, [1, 2]],
    [{ Query: { StudyDate: '20240615-' } }, [2, 3]],
    [{ Query: { StudyDate: '-20240101' } }, [1, 4]],
    [{ Query: { ModalitiesInStudy: 'CT' } }, [1, 3]],
    [{ Query: { ModalitiesInStudy: 'MR\\US' } }, [2, 4]],
    [{ Query: { NumberOfStudyRelatedInstances: '10' } }, [3]],
    // In no index: files are read.
    [{ Query: { ContentQualification: 'x' } }, []],
    [{ Query: { '0018,9004': 'HEAD' } }, [1, 3]],
    [{ Query: { '0018,9004': 'ne*', PatientID: 'P*' } }, [4]],
    [{ Query: {}, Labels: ['a'] }, [1, 2]],
    [{ Query: {}, Labels: ['a', 'b'] }, [1]],
    [{ Query: {}, Labels: ['a', 'b'], LabelsConstraint: 'Any' }, [1, 2]],
    [{ Query: {}, Labels: ['a', 'b'], LabelsConstraint: 'None' }, [3, 4]],
    [{ MetadataQuery: { sample: 'x*' } }, [1, 2]],
    [{ MetadataQuery: { sample: 'X9' } }, [2]],
    [{ ParentPatient: uploaded[0]?.ParentPatient }, [1]],
    [{ ParentPatient: uploaded[0]?.ParentPatient, Query: { PatientID: 'P2' } }, []],
    [{ ParentPatient: 'nope' }, []],
  ];
  for (const [question, expected] of rows) assert.deepEqual(await sorted(question), expected, JSON.stringify(question));
});

test('the same questions find the same in the reference server', { skip: without('Orthanc') }, async () => {
  const reference = await startReference();
  try {
    await upload(reference.url);
    for (const Query of [
      {},
      { PatientName: 'SMITH*' },
      { PatientName: 'müller^anna' },
      { PatientName: 'muller*' },
      { PatientName: '?mith^*' },
      { PatientID: 'P1\\P3' },
      { StudyDate: '20240101-20241231' },
      { StudyDate: '20240615-' },
      { StudyDate: '-20240101' },
      { ModalitiesInStudy: 'CT' },
    ]) {
      const theirs = await found({ Query }, reference.url);
      assert.deepEqual(await sorted({ Query }), inOrder(theirs), JSON.stringify(Query));
    }
  } finally {
    reference.close();
  }
});

test('order, pages and parts', async () => {
  const by = (Type: string, Key: string, Direction = 'ASC') => ({ OrderBy: [{ Type, Key, Direction }] });
  assert.deepEqual(await found(by('DicomTag', 'StudyDate', 'DESC')), [3, 2, 1, 4]);
  assert.deepEqual(await found({ ...by('DicomTag', 'PatientID'), Since: 1, Limit: 2 }), [2, 3]);
  assert.deepEqual(await found({ ...by('Metadata', 'sample'), Labels: ['a'] }), [1, 2], 'x10 before x9');
  const numbers = await post('/tools/find', {
    Level: 'Instance',
    Query: { PatientID: 'P3' },
    ...by('DicomTagAsInt', 'InstanceNumber', 'DESC'),
    ResponseContent: ['MainDicomTags'],
  });
  assert.deepEqual(
    (numbers.body as { MainDicomTags: { InstanceNumber: string } }[]).map((each) => each.MainDicomTags.InstanceNumber),
    ['10', '9', '8', '7', '6', '5', '4', '3', '2', '1'],
  );
  const shown = await post('/tools/find', {
    Level: 'Study',
    Query: { PatientID: 'P3' },
    Expand: true,
    Short: true,
    RequestedTags: ['ModalitiesInStudy', 'NumberOfStudyRelatedInstances', 'PatientName', '0018,9004'],
  });
  const [study] = shown.body as { MainDicomTags: object; RequestedTags: object; Series: string[] }[];
  assert.deepEqual(study?.RequestedTags, {
    '0008,0061': 'CT',
    '0010,0010': 'Smith^Carl',
    '0018,9004': 'HEAD',
    '0020,1208': '10',
  });
  assert.equal(study?.Series.length, 1);
  const sequences = await post('/tools/find', {
    Level: 'Series',
    Query: { PatientID: 'P1' },
    ResponseContent: ['Labels', 'Metadata'],
    RequestedTags: ['RequestAttributesSequence'],
  });
  const [series] = sequences.body as Record<string, unknown>[];
  assert.deepEqual(series?.['RequestedTags'], {
    RequestAttributesSequence: [{ ScheduledProcedureStepID: 'step' }],
  });
  assert.deepEqual(Object.keys(series ?? {}).sort(), ['ID', 'Labels', 'Metadata', 'RequestedTags', 'Type']);
});

test('what is counted is what is found', async () => {
  for (const question of [
    { Level: 'Study', Query: {} },
    { Level: 'Instance', Query: { PatientID: 'P3' } },
    { Level: 'Series', Query: { Modality: 'CT' } },
    { Level: 'Study', Query: {}, Labels: ['a', 'b'], LabelsConstraint: 'Any' },
    { Level: 'Patient', Query: { PatientName: 'smith*' } },
  ]) {
    const { body } = await post('/tools/find', question);
    assert.deepEqual((await post('/tools/count-resources', question)).body, { Count: (body as unknown[]).length });
  }
});

test('what is no question is refused as the reference does', async () => {
  const rows: [unknown, number][] = [
    [[], 400],
    [{}, 400],
    [{ Level: 'Study' }, 400],
    [{ Level: 'Nope', Query: {} }, 400],
    [{ Level: 'Study', Query: [] }, 400],
    [{ Level: 'Study', Query: { PatientID: 1 } }, 400],
    [{ Level: 'Study', Query: {}, Limit: -1 }, 400],
    [{ Level: 'Study', Query: {}, Limit: 'x' }, 400],
    [{ Level: 'Study', Query: {}, Labels: 'a' }, 400],
    [{ Level: 'Study', Query: {}, OrderBy: [{ Type: 'Nope', Key: 'PatientID', Direction: 'ASC' }] }, 400],
    [{ Level: 'Study', Query: {}, ResponseContent: ['Nope'] }, 400],
    [{ Level: 'Study', Query: { Nonsense: 'x' } }, 500],
    // Bounds on what one question may cost.
    [{ Level: 'Study', Query: { PatientName: '*a'.repeat(2000) } }, 400],
    [{ Level: 'Study', Query: { PatientID: 'a\\'.repeat(100_000) } }, 400],
    [
      { Level: 'Study', Query: {}, OrderBy: Array(100).fill({ Type: 'DicomTag', Key: 'PatientID', Direction: 'ASC' }) },
      400,
    ],
  ];
  for (const [body, status] of rows) {
    const answer = await post('/tools/find', body);
    assert.equal(answer.status, status, `${JSON.stringify(body).slice(0, 100)}: ${JSON.stringify(answer.body)}`);
  }
  const huge = await fetch(`${server.url}/tools/find`, { method: 'POST', body: 'x'.repeat(5 << 20) });
  assert.equal(huge.status, 413);
});

test('patterns that are made to be slow are not', async () => {
  const slow = await serve({ StableAge: 600 });
  try {
    const name = new TextEncoder().encode('a'.repeat(60));
    for (let number = 1; number <= 20; number += 1) {
      const uid = `2.25.9.${number}`;
      const body = new Uint8Array(
        make({
          patientId: `S${number}`,
          patientName: name,
          studyUid: uid,
          seriesUid: `${uid}.1`,
          sopUid: `${uid}.1.1`,
        }),
      );
      await fetch(`${slow.url}/instances`, { method: 'POST', body });
    }
    const began = performance.now();
    for (const PatientName of [`${'*a'.repeat(500)}b`, `${'a*'.repeat(500)}b`, `${'?*'.repeat(500)}b`]) {
      const { status, body } = await post('/tools/find', { Level: 'Study', Query: { PatientName } }, slow.url);
      assert.deepEqual([status, body], [200, []]);
    }
    const took = performance.now() - began;
    assert.ok(took < 5000, `${took} ms`);
  } finally {
    await slow.close();
  }
});

test('LimitFindResults, LimitFindInstances, CaseSensitivePN, StorageAccessOnFind', async () => {
  const strict = await serve({
    StableAge: 600,
    LimitFindResults: 2,
    LimitFindInstances: 3,
    CaseSensitivePN: true,
    StorageAccessOnFind: 'Answers',
  });
  try {
    await upload(strict.url);
    const count = async (question: object): Promise<number> =>
      ((await post('/tools/find', question, strict.url)).body as unknown[]).length;
    assert.equal(await count({ Level: 'Study', Query: {} }), 2);
    assert.equal(await count({ Level: 'Study', Query: {}, Limit: 100 }), 2);
    assert.equal(await count({ Level: 'Instance', Query: {} }), 3);
    assert.equal(await count({ Level: 'Study', Query: { PatientName: 'SMITH*' } }), 0);
    assert.equal(await count({ Level: 'Study', Query: { PatientName: 'Smith*' } }), 1);
    // Files are read for what is shown, not for what is searched.
    assert.equal(await count({ Level: 'Study', Query: { '0018,9004': 'HEAD' } }), 0);
    const shown = await post(
      '/tools/find',
      { Level: 'Study', Query: { PatientID: 'P1' }, Expand: true, RequestedTags: ['0018,9004'] },
      strict.url,
    );
    const [study] = shown.body as { RequestedTags: Record<string, string> }[];
    assert.deepEqual(Object.values(study?.RequestedTags ?? {}), ['HEAD']);
  } finally {
    await strict.close();
  }
});

test('many resources are shown and deleted in one request, in both forms', async () => {
  const other = await serve({ StableAge: 600 });
  try {
    const all = await upload(other.url);
    const [first, , third] = all;
    const shown = await post('/tools/bulk-content', { Resources: [first?.ID, 'nope', first?.ParentStudy] }, other.url);
    const [instance, study] = shown.body as { Type: string; Metadata: object }[];
    assert.deepEqual([instance?.Type, study?.Type], ['Instance', 'Study']);
    assert.ok(instance?.Metadata);
    const below = await post(
      '/tools/bulk-content',
      { Resources: [first?.ParentPatient], Level: 'Instance', Metadata: false },
      other.url,
    );
    assert.equal((below.body as unknown[]).length, 2);
    assert.equal(
      (await post('/tools/bulk-delete', { Resources: [first?.ID, 'nope', first?.ParentPatient] }, other.url)).status,
      200,
    );
    assert.equal((await post('/tools/bulk-delete', [third?.ParentStudy], other.url)).status, 200);
    const left = (await (await fetch(`${other.url}/statistics`)).json()) as { CountStudies: number };
    assert.equal(left.CountStudies, 2);
    for (const body of [{}, { Resources: 'x' }, { Resources: [1] }, 'x'])
      assert.equal((await post('/tools/bulk-delete', body, other.url)).status, 400, JSON.stringify(body));
  } finally {
    await other.close();
  }
});
