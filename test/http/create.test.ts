/** `/tools/create-dicom`: what files hold that are made of tags, pictures and documents, and the reference server beside. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import sharp, { type Raw } from 'sharp';
import { type DicomFile, readFile } from '../../src/dicom/read.ts';
import { valueOf } from '../../src/dicom/value.ts';
import { startReference } from '../debian-reference.ts';
import { make } from '../dicom/made.ts';
import { shared, temporaryFolder, without, withoutShared } from '../peer.ts';
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

async function create(body: unknown, url = server.url): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await fetch(`${url}/tools/create-dicom`, { method: 'POST', body: text });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

async function fileOf(id: unknown, url = server.url): Promise<Buffer> {
  return Buffer.from(await (await fetch(`${url}/instances/${String(id)}/file`)).arrayBuffer());
}

async function created(body: unknown): Promise<DicomFile> {
  const answer = await create(body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return readFile(await fileOf(answer.body['ID']));
}

function value({ dataSet }: DicomFile, tag: string): string | null | undefined {
  const element = dataSet.elements.get(tag);
  return element && valueOf(dataSet, element);
}

const dataUri = (type: string, bytes: Uint8Array): string =>
  `data:${type};base64,${Buffer.from(bytes).toString('base64')}`;

function bytesOf({ dataSet }: DicomFile, tag: string): Buffer {
  const element = dataSet.elements.get(tag);
  assert.ok(element, tag);
  return Buffer.from(dataSet.bytes.subarray(element.offset, element.offset + element.length));
}

const GREY = { width: 3, height: 3, channels: 1 } as const;
const png = (samples: Uint8Array | Uint16Array, raw: Raw): Promise<Buffer> => {
  const image = sharp(samples, { raw });
  const isWide = samples instanceof Uint16Array;
  return (raw.channels < 3 ? image.toColourspace(isWide ? 'grey16' : 'b-w') : image).png().toBuffer();
};
const SAMPLES = Uint8Array.from([1, 20, 30, 40, 50, 60, 70, 80, 255]);

test('an instance of its own has identifiers, dates and the tags that were given', async () => {
  const file = await created({
    Tags: {
      PatientName: 'Ünï^Code',
      '0008,0060': 'CT',
      StudyDate: '20200101',
      OtherPatientIDsSequence: [{ PatientID: 'other', IssuerOfPatientID: '日本' }],
      '0029,0010': 'SIEMENS CSA HEADER',
      '0029,1008': 'IMAGE NUM 4',
      EncapsulatedDocument: 'data:application/octet-stream;base64,AAEC',
    },
    PrivateCreator: 'SIEMENS CSA HEADER',
  });
  assert.equal(value(file, '0010,0010'), 'Ünï^Code');
  assert.equal(value(file, '0008,0005'), 'ISO_IR 192', 'Latin 1 has not every character');
  assert.equal(value(file, '0008,0020'), '20200101');
  assert.match(value(file, '0008,0021') ?? '', /^\d{8}$/);
  assert.match(value(file, '0008,0030') ?? '', /^\d{6}\.\d{6}$/);
  assert.match(value(file, '0020,000d') ?? '', /^2\.25\.\d+$/);
  assert.match(value(file, '0010,0020') ?? '', /^[0-9a-f-]{36}$/);
  assert.equal(file.dataSet.elements.get('0029,1008')?.vr, 'CS');
  assert.deepEqual(bytesOf(file, '0042,0011').subarray(0, 3), Buffer.of(0, 1, 2));
  const text = await created({
    Tags: { ImageComments: dataUri('text/plain', Buffer.of(65)) },
    InterpretBinaryTags: false,
  });
  assert.equal(value(text, '0020,4000'), 'data:text/plain;base64,QQ==');
  assert.equal(value(text, '0008,0005'), 'ISO_IR 100');
  const latin2 = await created({ Tags: { PatientName: 'Š', SpecificCharacterSet: 'ISO_IR 101' } });
  assert.deepEqual([value(latin2, '0010,0010'), value(latin2, '0008,0005')], ['Š', 'ISO_IR 101']);
});

test('who asked is in the metadata of what was created', async () => {
  const { body } = await create({ Tags: { PatientName: 'Origin' } });
  const answer = await fetch(`${server.url}/instances/${String(body['ID'])}/metadata?expand`);
  const metadata = (await answer.json()) as Record<string, string>;
  assert.deepEqual([metadata['Origin'], metadata['RemoteIP'], metadata['HttpUsername']], ['RestApi', '127.0.0.1', '']);
});

test('pictures become pixels', async () => {
  const rows: [string, Promise<Buffer> | Buffer, Buffer, Record<string, string>][] = [
    ['image/png', png(SAMPLES, GREY), Buffer.from(SAMPLES), { '0028,0100': '8', '0028,0004': 'MONOCHROME2' }],
    [
      'image/png',
      png(Uint16Array.of(1, 515, 65_535, 4), { width: 2, height: 2, channels: 1 }),
      Buffer.from(Uint16Array.of(1, 515, 65_535, 4).buffer),
      { '0028,0100': '16', '0028,0102': '15', '0028,0103': '0' },
    ],
    [
      'image/png',
      png(Uint8Array.of(1, 2, 3, 255, 5, 6, 7, 0), { width: 2, height: 1, channels: 4 }),
      Buffer.of(1, 2, 3, 5, 6, 7),
      { '0028,0002': '3', '0028,0004': 'RGB', '0028,0006': '0', '0028,0010': '1', '0028,0011': '2' },
    ],
    [
      'image/x-portable-arbitrarymap',
      Buffer.from(
        'P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 65535\nTUPLTYPE GRAYSCALE\nENDHDR\n\x01\x02\x03\x04',
        'latin1',
      ),
      Buffer.of(2, 1, 4, 3),
      { '0028,0100': '16', '0028,0011': '2' },
    ],
  ];
  for (const [type, bytes, pixels, tags] of rows) {
    const file = await created({ Tags: { Rows: '7', Modality: 'OT' }, Content: dataUri(type, await bytes) });
    for (const [tag, expected] of Object.entries(tags)) assert.equal(value(file, tag), expected, `${type} ${tag}`);
    assert.deepEqual(bytesOf(file, '7fe0,0010').subarray(0, pixels.length), pixels, type);
  }
});

test('who sends a grey picture may say that it is inverted', async () => {
  const Content = dataUri('image/png', await png(SAMPLES, GREY));
  const inverted = await created({ Tags: { PhotometricInterpretation: 'MONOCHROME1' }, Content });
  assert.equal(value(inverted, '0028,0004'), 'MONOCHROME1');
  const coloured = dataUri('image/png', await png(Uint8Array.of(1, 2, 3), { width: 1, height: 1, channels: 3 }));
  const rgb = await created({ Tags: { PhotometricInterpretation: 'MONOCHROME1' }, Content: coloured });
  assert.equal(value(rgb, '0028,0004'), 'RGB');
});

test('a JPEG file is decoded, or encapsulated as it is', async () => {
  const jpeg = await sharp({ create: { width: 64, height: 32, channels: 3, background: '#336699' } })
    .jpeg()
    .toBuffer();
  const { status, body } = await create({ Tags: {}, Content: dataUri('image/jpeg', jpeg), Encapsulate: true });
  assert.equal(status, 200);
  const url = `${server.url}/instances/${String(body['ID'])}`;
  const file = readFile(await fileOf(body['ID']));
  assert.equal(file.transferSyntax, '1.2.840.10008.1.2.4.50');
  assert.deepEqual([value(file, '0028,0010'), value(file, '0028,0011'), value(file, '0028,2110')], ['32', '64', '01']);
  const raw = Buffer.from(await (await fetch(`${url}/frames/0/raw`)).arrayBuffer());
  assert.ok(raw.subarray(0, jpeg.length).equals(jpeg));
  const shown = await sharp(Buffer.from(await (await fetch(`${url}/preview`)).arrayBuffer()))
    .raw()
    .toBuffer();
  const expected = await sharp(jpeg).raw().toBuffer();
  assert.deepEqual([...shown.subarray(0, 3)], [...expected.subarray(0, 3)]);
  const decoded = await created({ Tags: {}, Content: dataUri('image/jpeg', jpeg) });
  assert.ok(bytesOf(decoded, '7fe0,0010').equals(expected));
  const progressive = await sharp(jpeg).jpeg({ progressive: true }).toBuffer();
  const refused = await create({ Tags: {}, Content: dataUri('image/jpeg', progressive), Encapsulate: true });
  assert.equal(refused.body['OrthancStatus'], 2);
});

test('documents are encapsulated under their SOP class', async () => {
  for (const [type, sopClass, modality] of [
    ['application/pdf', '104.1', 'OT'],
    ['model/stl', '104.3', 'M3D'],
    ['model/obj', '104.4', 'M3D'],
    ['model/mtl', '104.5', 'M3D'],
  ] as const) {
    const file = await created({ Tags: {}, Content: dataUri(type, Buffer.from('%PDF-1')) });
    assert.equal(value(file, '0008,0016'), `1.2.840.10008.5.1.4.1.1.${sopClass}`);
    assert.deepEqual([value(file, '0008,0060'), value(file, '0042,0012')], [modality, type]);
    assert.equal(bytesOf(file, '0042,0011').toString(), '%PDF-1');
  }
  const chosen = await created({
    Tags: { Modality: 'CT' },
    Content: dataUri('application/pdf', Buffer.from('%PDF-1')),
  });
  assert.equal(value(chosen, '0008,0060'), 'CT');
});

test('an instance of a parent has what the parent has, and no more', async () => {
  const source = make({
    patientId: 'parent',
    studyUid: '2.25.91',
    seriesUid: '2.25.91.1',
    extra: [
      { tag: '0008,0005', vr: 'CS', value: 'ISO_IR 101' },
      { tag: '0008,1030', vr: 'LO', value: 'a study' },
      { tag: '0008,103e', vr: 'LO', value: 'a series' },
      { tag: '0008,0020', vr: 'DA', value: '19990101' },
    ],
  });
  const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(source) });
  const parents = (await answer.json()) as Record<'ParentPatient' | 'ParentStudy' | 'ParentSeries' | 'ID', string>;
  for (const [level, has] of [
    ['Patient', 1],
    ['Study', 2],
    ['Series', 3],
  ] as const) {
    const made = await create({ Tags: {}, Parent: parents[`Parent${level}`] });
    assert.equal(made.status, 200);
    const file = readFile(await fileOf(made.body['ID']));
    const own = ['0010,0020', '0020,000d', '0020,000e'].map((tag) => value(file, tag));
    assert.deepEqual(
      own.map((each, index) => each === ['parent', '2.25.91', '2.25.91.1'][index]),
      [true, has >= 2, has >= 3],
      level,
    );
    assert.equal(value(file, '0008,1030'), has >= 2 ? 'a study' : undefined);
    assert.equal(value(file, '0008,103e'), has >= 3 ? 'a series' : undefined);
    assert.equal(value(file, '0008,0005'), 'ISO_IR 101');
    assert.equal(value(file, '0008,0020') === '19990101', has >= 2);
    assert.equal(made.body[`Parent${level}`], parents[`Parent${level}`]);
  }
  const refused = await create({ Tags: { StudyDescription: 'x' }, Parent: parents.ParentStudy });
  assert.deepEqual([refused.body['OrthancStatus'], refused.body['Details']], [2020, 'StudyDescription']);
  assert.equal(
    (await create({ Tags: { StudyDescription: 'x' }, Parent: parents.ParentStudy, Force: true })).status,
    200,
  );
});

test('several payloads make a series, or nothing', async () => {
  const content = dataUri('image/png', await png(SAMPLES, GREY));
  const count = async (): Promise<number> =>
    ((await (await fetch(`${server.url}/instances`)).json()) as unknown[]).length;
  const { status, body } = await create({
    Tags: { PatientName: 'Series' },
    Content: [content, { Content: content, Tags: { ImageComments: 'second' } }],
  });
  assert.equal(status, 200);
  assert.deepEqual(body, { ID: body['ID'], Path: `/series/${String(body['ID'])}`, Status: 'Success' });
  const list = (await (await fetch(`${server.url}/series/${String(body['ID'])}/instances`)).json()) as { ID: string }[];
  const files = await Promise.all(list.map(async ({ ID }) => readFile(await fileOf(ID))));
  const shown = files
    .map((file) => ['0020,0013', '0054,1330', '0020,1002', '0020,0105', '0020,4000'].map((tag) => value(file, tag)))
    .sort(([a], [b]) => Number(a) - Number(b));
  assert.deepEqual(shown, [
    ['1', '1', '2', '1', undefined],
    ['2', '2', '2', '1', 'second'],
  ]);
  const before = await count();
  for (const [last, code] of [
    [{}, 2022],
    [12, 2023],
    ['x', 15],
    [{ Content: content, Tags: { PatientName: 'other' } }, 2020],
  ] as const) {
    assert.equal(
      (await create({ Tags: { PatientName: 'Gone' }, Content: [content, last] })).body['OrthancStatus'],
      code,
    );
    assert.equal(await count(), before);
  }
});

/** What the reference refuses, or takes; both servers must agree on status and number. */
const REQUESTS: readonly unknown[] = [
  '',
  'nope',
  [],
  {},
  { Tags: [] },
  { Tags: { StudyInstanceUID: '1.2.3' } },
  { Tags: { StudyInstanceUID: '1.2.3' }, Force: true },
  { Tags: { SOPInstanceUID: '1.2.3' } },
  { Tags: { PatientID: 'mine' } },
  { Tags: { NoTag: '1' } },
  { Tags: { PixelData: 'x' } },
  { Tags: { PatientName: 12 } },
  { Tags: { PatientName: null } },
  { Tags: { PatientName: ['a'] } },
  { Tags: { PatientName: true } },
  { Tags: { Rows: 'abc' } },
  { Tags: { SpecificCharacterSet: 'nope' } },
  { Tags: {}, Parent: 'nope' },
  { Tags: {}, Parent: 12 },
  { Tags: {}, Force: 'x' },
  { Tags: {}, InterpretBinaryTags: 'x' },
  { Tags: {}, PrivateCreator: 1 },
  { Tags: {}, Content: 12 },
  { Tags: {}, Content: null },
  { Tags: {}, Content: [] },
  { Tags: {}, Content: '' },
  { Tags: {}, Content: 'x' },
  { Tags: {}, Content: 'data:image/png;base64,AAAA' },
  { Tags: {}, Content: 'data:image/png;base64,%%%%' },
  { Tags: {}, Content: 'data:application/pdf;base64,AAAA' },
  { PatientName: 'old form', StudyInstanceUID: '1.2.3.4' },
];

/** Lines of dcmdump without what differs between any two files. */
function dump(bytes: Uint8Array, folder: string): string[] {
  const path = join(folder, 'file.dcm');
  writeFileSync(path, bytes);
  const { stdout } = spawnSync('dcmdump', ['-q', '+L', '+R', '4096', path], { encoding: 'latin1', maxBuffer: 1 << 28 });
  return stdout
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => /^ *\(/.test(line) && !/^\(0002,00(00|03|1[23])\)/.test(line))
    .map((line) =>
      /^\((0008,0018|0010,0020|0020,000[de])\)/.test(line) || /^\(0008,00[123][0-3]\) (DA|TM)/.test(line)
        ? line.slice(0, 14)
        : line,
    );
}

test('the reference server answers and makes the same', { skip: withoutShared || without('Orthanc') }, async () => {
  const reference = await startReference();
  const folder = temporaryFolder();
  try {
    for (const request of REQUESTS) {
      const [ours, theirs] = await Promise.all([create(request), create(request, reference.url)]);
      const shown = ({ status, body }: Answer): unknown[] => [status, body['OrthancStatus'], Object.keys(body).sort()];
      const name = JSON.stringify(request);
      if (theirs.status === 200) assert.deepEqual(shown(ours), shown(theirs), name);
      else assert.deepEqual(shown(ours).slice(0, 2), shown(theirs).slice(0, 2), name);
    }
    const sample = readFileSync(shared('samples/DummyCT.dcm') ?? '');
    const parents = await Promise.all(
      [server.url, reference.url].map(async (url) => {
        const answer = await fetch(`${url}/instances`, { method: 'POST', body: sample });
        return (await answer.json()) as Record<string, string>;
      }),
    );
    assert.equal(parents[0]?.['ParentStudy'], parents[1]?.['ParentStudy']);
    const Parent = (level: string): string => parents[0]?.[`Parent${level}`] ?? '';
    const of = (type: string, path: string): string => dataUri(type, readFileSync(shared(`samples/${path}`) ?? ''));
    const bodies: Record<string, unknown>[] = [
      { Tags: { PatientName: 'A^B', Modality: 'CT', OtherPatientIDsSequence: [{ PatientID: 'a' }] } },
      { PatientName: 'old form' },
      { Tags: { PatientName: 'Lena', Rows: '7' }, Content: of('image/png', 'Lena.png') },
      { Tags: {}, Content: of('image/png', 'LenaGrayscale.png') },
      { Tags: {}, Content: of('image/jpeg', 'Lena.jpg') },
      { Tags: {}, Content: of('application/pdf', 'HelloWorld.pdf') },
      { Tags: { Modality: 'MR' }, Parent: Parent('Patient') },
      { Tags: { SeriesDescription: 'new' }, Parent: Parent('Study') },
      { Tags: { InstanceNumber: '7' }, Parent: Parent('Series') },
    ];
    for (const body of bodies) {
      const [ours, theirs] = await Promise.all(
        [server.url, reference.url].map(async (url) => {
          const answer = await create(body, url);
          assert.equal(answer.status, 200, JSON.stringify(answer.body));
          return dump(await fileOf(answer.body['ID'], url), folder);
        }),
      );
      assert.deepEqual(ours, theirs, JSON.stringify(body).slice(0, 200));
    }
  } finally {
    reference.close();
  }
});
