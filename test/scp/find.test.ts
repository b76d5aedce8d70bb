/** C-FIND answered to findscu, beside the reference server's answers for the same files; worklists, limits, cancelling, character sets. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { characterSet } from '../../src/dicom/charset.ts';
import { readIdentifier, textIn, writeIdentifier } from '../../src/dicom/identifier.ts';
import { transferSyntax } from '../../src/dicom/transfer-syntaxes.ts';
import { writeFile } from '../../src/dicom/write.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { type Served, serve } from '../http/served.ts';
import { freePort, shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { type Orthanc, startOrthanc } from './orthanc.ts';
import { run } from './programs.ts';
import { findscu, statusesOf } from './queries.ts';

const skip = withoutShared || without('findscu');

/** Samples of every character set, of several modalities, with and without identifiers. */
function samples(): string[] {
  const root = shared('samples') ?? '';
  const folders = ['Encodings', 'Brainix/Epi', 'Knee/T1', 'PatientWith2studies', 'PatientIdsCollision', 'Comunix'];
  const below = folders.flatMap((folder) => {
    try {
      return readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
    } catch {
      return [];
    }
  });
  const files = below.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const single = ['DummyCT.dcm', 'SignedCT.dcm', 'Issue44', 'WithEmptyPatientComments.dcm', 'PrivateTags.dcm'];
  return [...files, ...single.filter((name) => name.endsWith('.dcm')).map((name) => join(root, name))];
}

async function fill(url: string): Promise<void> {
  for (const file of samples()) {
    await fetch(`${url}/instances`, { method: 'POST', body: readFileSync(file) }).then((response) => response.text());
  }
}

const OPEN = {
  DicomServerEnabled: true,
  DicomPort: 0,
  DicomAlwaysAllowFind: true,
  DicomAlwaysAllowFindWorklist: true,
};

let server: Served;
let orthanc: Orthanc | undefined;
let worklists = '';

before(async () => {
  if (skip !== false) return;
  worklists = temporaryFolder();
  for (const step of [1, 2, 3]) writeFileSync(join(worklists, `${step}.wl`), worklistFile(step));
  writeFileSync(join(worklists, 'broken.wl'), 'not DICOM');
  writeFileSync(join(worklists, 'other.dcm'), worklistFile(9));
  const Worklists = { Enable: true, Database: worklists };
  server = await serve({ ...OPEN, DicomPort: await freePort(), Worklists });
  await fill(server.url);
  if (without('Orthanc') === false) {
    orthanc = await startOrthanc(await freePort());
    await fill(orthanc.url);
  }
});

after(async () => {
  await server?.close();
  await orthanc?.stop();
});

/** A scheduled procedure of two steps. */
function worklistFile(step: number): Buffer {
  const syntax = transferSyntax('1.2.840.10008.1.2.1');
  assert.ok(syntax);
  const item = (modality: string, aet: string, date: string, time: string) => [
    { tag: '0008,0060', vr: 'CS', value: modality },
    { tag: '0040,0001', vr: 'AE', value: aet },
    { tag: '0040,0002', vr: 'DA', value: date },
    { tag: '0040,0003', vr: 'TM', value: time },
  ];
  return writeFile({
    transferSyntax: syntax,
    sopClassUid: '1.2.840.10008.5.1.4.31',
    sopInstanceUid: `1.2.3.${step}`,
    dataSet: [
      { tag: '0008,0005', vr: 'CS', value: 'ISO_IR 192' },
      { tag: '0010,0010', vr: 'PN', value: Buffer.from(`Röntgen^Nº${step}`) },
      { tag: '0010,0020', vr: 'LO', value: `WL${step}` },
      {
        tag: '0040,0100',
        vr: 'SQ',
        value: {
          items: [item('CT', 'FINDSCU', `2026012${step}`, '1000'), item('MR', `OTHER${step}`, '20260301', '0800')],
        },
      },
    ],
  });
}

/** Queries whose answers must be the reference's. */
const SAME: readonly (readonly string[])[] = [
  ['QueryRetrieveLevel=STUDY', 'PatientName=BRAINIX*', 'StudyInstanceUID', 'StudyDate', 'ModalitiesInStudy'],
  ['QueryRetrieveLevel=STUDY', 'PatientName=BRAINIX', 'NumberOfStudyRelatedInstances', 'NumberOfStudyRelatedSeries'],
  ['QueryRetrieveLevel=STUDY', 'PatientName=bra?nix', 'SOPClassesInStudy', 'InstitutionName', 'BodyPartExamined'],
  ['QueryRetrieveLevel=STUDY', 'ModalitiesInStudy=MR', 'PatientID', 'StudyInstanceUID'],
  ['QueryRetrieveLevel=STUDY', 'ModalitiesInStudy=US\\MR', 'PatientID', 'StudyInstanceUID'],
  ['QueryRetrieveLevel=STUDY', 'StudyDate=20061201', 'PatientID'],
  ['QueryRetrieveLevel=STUDY', 'StudyDate=20050101-20081231', 'PatientID'],
  ['QueryRetrieveLevel=STUDY', 'PatientID=5yp0e'],
  ['QueryRetrieveLevel=STUDY', 'PatientID=5Yp0E', 'PatientAge', 'PatientWeight', 'PatientComments'],
  ['QueryRetrieveLevel=SERIES', 'PatientID=5Yp0E', 'SeriesInstanceUID', 'Modality', 'NumberOfSeriesRelatedInstances'],
  ['QueryRetrieveLevel=SERIES', 'Manufacturer=Philips*', 'SeriesInstanceUID', 'SeriesDate', 'SeriesTime'],
  ['QueryRetrieveLevel=IMAGE', 'PatientID=5Yp0E', 'InstanceNumber=1', 'SOPInstanceUID', 'SOPClassUID', 'Rows'],
  ['QueryRetrieveLevel=IMAGE', 'PatientID=5Yp0E', 'SOPInstanceUID', 'ImageType', 'ImagePositionPatient'],
  ['QueryRetrieveLevel=PATIENT', 'PatientID=5*', 'PatientName', 'PatientSex', 'NumberOfPatientRelatedStudies'],
  ['QueryRetrieveLevel=STUDY', 'PatientName=NOBODY'],
  ['QueryRetrieveLevel=STUDY', 'StudyInstanceUID=1.2*'],
];

test('answers are the reference server’s', { skip: skip || without('Orthanc') }, async () => {
  assert.ok(orthanc);
  for (const keys of SAME) {
    const ours = await findscu(server.dicomPort, 'ORTHANC', keys);
    const theirs = await findscu(orthanc.dicomPort, 'ORTHANC', keys);
    const sorted = (answers: readonly (readonly string[])[]): string[] =>
      answers.map((answer) => answer.join('\n').replace('[ISEN]', '[ORTHANC]')).sort();
    assert.deepEqual(sorted(ours.answers), sorted(theirs.answers), keys.join(' '));
    assert.equal(ours.statuses.at(-1), theirs.statuses.at(-1), keys.join(' '));
    if (!/NOBODY|5yp0e|1\.2\*/.test(keys.join(' ')))
      assert.ok(ours.answers.length > 0, `${keys.join(' ')} finds something`);
  }
});

test('a name comes back whole, in whatever character set it is stored', { skip }, async () => {
  const { answers } = await findscu(server.dicomPort, 'ISEN', [
    'QueryRetrieveLevel=PATIENT',
    'PatientName',
    'PatientID',
  ]);
  const names = new Map(
    answers.map((answer) => {
      const value = (tag: string): string => {
        const line = answer.find((each) => each.startsWith(tag)) ?? '';
        return line.slice(line.indexOf('[') + 1, -1);
      };
      return [value('0010,0020'), { name: value('0010,0010'), set: value('0008,0005') }];
    }),
  );
  const utf8 = (text: string): string => Buffer.from(text).toString('latin1');
  assert.deepEqual(names.get('latin1'), { name: 'Test-éüäöò', set: 'ISO_IR 100' });
  assert.deepEqual(names.get('greek'), { name: utf8('Test-Θ'), set: 'ISO_IR 192' });
  assert.deepEqual(names.get('arabic'), { name: utf8('Test-ص'), set: 'ISO_IR 192' });
  assert.deepEqual(names.get('utf8'), { name: utf8('Test-éüäöòДΘĝדصķћ๛ﾈİ'), set: 'ISO_IR 192' });
});

test('a key in another character set finds what it names', { skip }, async () => {
  const association = await requestAssociation({
    host: '127.0.0.1',
    port: server.dicomPort,
    callingAet: 'SUITE',
    calledAet: 'ISEN',
    contexts: [{ abstractSyntax: '1.2.840.10008.5.1.4.1.2.2.1', transferSyntaxes: ['1.2.840.10008.1.2.1'] }],
    patience: 10_000,
    maximumPdu: 16384,
  });
  const [context] = association.contexts;
  assert.ok(context);
  const query = writeIdentifier(
    [
      { tag: '0008,0052', vr: 'CS', value: 'STUDY' },
      { tag: '0010,0010', vr: 'PN', value: 'test-Θ' },
      { tag: '0010,0020', vr: 'LO', value: '' },
    ],
    context.transferSyntax,
    [characterSet('ISO_IR 126')],
  );
  const command = { CommandField: 0x20, AffectedSOPClassUID: context.abstractSyntax, MessageID: 7, Priority: 0 };
  await association.send(context, command, [query]);
  const found: string[] = [];
  for (;;) {
    const message = await association.receive();
    assert.ok(message);
    if (message.command.Status === 0) break;
    assert.equal(message.command.Status, 0xff00);
    assert.equal(message.command.MessageIDBeingRespondedTo, 7);
    const { identifier, characterSet: set } = readIdentifier(
      message.dataSet ?? Buffer.alloc(0),
      context.transferSyntax,
    );
    assert.deepEqual(set.terms, ['ISO_IR 126']);
    found.push(textIn(identifier, '0010,0020') ?? '');
  }
  assert.deepEqual(found, ['greek']);
  await association.release();
});

test('what cannot be asked is refused with the status of the Standard', { skip }, async () => {
  for (const [keys, status] of [
    [['PatientID'], '0xa900'],
    [['QueryRetrieveLevel=FOO', 'PatientID'], '0xa900'],
    [['QueryRetrieveLevel=STUDY', 'StudyDate=2020*'], '0xc000'],
  ] as const) {
    const { statuses, answers } = await findscu(server.dicomPort, 'ISEN', keys);
    assert.deepEqual([statuses, answers.length], [[status], 0], keys.join(' '));
  }
});

test('many pages of answers come one by one, and stop when they are cancelled', { skip }, async () => {
  const all = await findscu(server.dicomPort, 'ISEN', ['QueryRetrieveLevel=IMAGE', 'SOPInstanceUID', 'PatientID']);
  assert.equal(new Set(all.answers.map((answer) => answer.join())).size, all.answers.length);
  const { CountInstances } = (await (await fetch(`${server.url}/statistics`)).json()) as { CountInstances: number };
  assert.equal(all.answers.length, CountInstances);
  const cancelled = await run('findscu', [
    '-d',
    '-S',
    '--cancel',
    '1',
    '127.0.0.1',
    String(server.dicomPort),
    '-k',
    'QueryRetrieveLevel=IMAGE',
    '-k',
    'Rows',
    '-k',
    'ImageType',
  ]);
  assert.equal(statusesOf(cancelled.output).at(-1), '0xfe00');
});

test('limits cut the answers off, and say so', { skip }, async () => {
  const limited = await serve({ ...OPEN, DicomPort: await freePort(), LimitFindResults: 2, LimitFindInstances: 3 });
  try {
    await fill(limited.url);
    for (const [level, count] of [
      ['STUDY', 2],
      ['SERIES', 2],
      ['IMAGE', 3],
    ] as const) {
      const found = await findscu(limited.dicomPort, 'ISEN', [`QueryRetrieveLevel=${level}`, 'PatientID']);
      assert.deepEqual([found.answers.length, found.statuses.at(-1)], [count, '0xfe00'], level);
    }
    const few = await findscu(limited.dicomPort, 'ISEN', ['QueryRetrieveLevel=STUDY', 'PatientID=5Yp0E']);
    assert.deepEqual([few.answers.length, few.statuses.at(-1)], [1, '0x0000']);
  } finally {
    await limited.close();
  }
});

test('files stay shut where the configuration says so, and the answers say that keys were not matched', {
  skip,
}, async () => {
  const shut = await serve({ ...OPEN, DicomPort: await freePort(), StorageAccessOnFind: 'Never' });
  try {
    await fill(shut.url);
    const found = await findscu(shut.dicomPort, 'ISEN', [
      'QueryRetrieveLevel=STUDY',
      'PatientID=5Yp0E',
      'PatientAge=1',
    ]);
    assert.deepEqual(found.statuses, ['0xff01', '0x0000']);
    assert.ok(found.answers[0]?.includes('0010,1010 AS (no value available)'));
  } finally {
    await shut.close();
  }
});

test('a modality that may not ask is not accepted', { skip }, async () => {
  const closed = await serve({ DicomServerEnabled: true, DicomPort: await freePort() });
  try {
    const { output } = await run('findscu', ['-v', '-S', '127.0.0.1', String(closed.dicomPort), '-k', 'PatientID']);
    assert.match(output, /No Acceptable Presentation Contexts/);
  } finally {
    await closed.close();
  }
});

test('a worklist is matched by patient and step, and shows the steps that match', { skip }, async () => {
  const ask = (...keys: string[]) => findscu(server.dicomPort, 'ISEN', keys, ['-W', '-aet', 'FINDSCU']);
  const step = 'ScheduledProcedureStepSequence[0]';
  assert.equal((await ask('PatientID')).answers.length, 3);
  const one = await ask('PatientID', `${step}.Modality=CT`, `${step}.ScheduledProcedureStepStartDate=20260122`);
  assert.equal(one.answers.length, 1);
  assert.ok(one.answers[0]?.includes('0010,0020 LO [WL2]'));
  assert.equal(one.answers[0]?.filter((line) => line.includes('0008,0060 CS')).length, 1);
  // From the evening of the first to the morning of the third.
  const span = await ask(
    'PatientID',
    `${step}.ScheduledProcedureStepStartDate=20260121-20260123`,
    `${step}.ScheduledProcedureStepStartTime=1800-0900`,
  );
  assert.deepEqual(
    span.answers.map((answer) => answer.find((line) => line.startsWith('0010,0020'))),
    ['0010,0020 LO [WL2]'],
  );
  assert.equal((await ask('PatientName=R*', 'PatientID=WL1')).answers[0]?.[0], '0008,0005 CS [ISO_IR 100]');
  assert.equal((await ask('PatientName=NOBODY')).answers.length, 0);
});

test('a modality sees its own steps only, and so many entries, where the options say so', { skip }, async () => {
  const options = { Enable: true, Database: worklists };
  const own = await serve({ ...OPEN, DicomPort: await freePort(), Worklists: { ...options, FilterIssuerAet: true } });
  const few = await serve({ ...OPEN, DicomPort: await freePort(), Worklists: { ...options, LimitAnswers: 2 } });
  try {
    const ask = (port: number, aet: string) => findscu(port, 'ISEN', ['PatientID'], ['-W', '-aet', aet]);
    assert.equal((await ask(own.dicomPort, 'OTHER2')).answers.length, 1);
    assert.equal((await ask(own.dicomPort, 'FINDSCU')).answers.length, 3);
    assert.equal((await ask(own.dicomPort, 'STRANGER')).answers.length, 0);
    const limited = await ask(few.dicomPort, 'FINDSCU');
    assert.deepEqual([limited.answers.length, limited.statuses.at(-1)], [2, '0xfe00']);
  } finally {
    await own.close();
    await few.close();
  }
});
