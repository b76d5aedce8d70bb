import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { readContent, contentBytes } from '../../src/dicom/content.ts';
import { metaToJson, toJson } from '../../src/dicom/json.ts';
import { readFile } from '../../src/dicom/read.ts';
import { summarize } from '../../src/dicom/summary.ts';
import { IsenError } from '../../src/errors.ts';
import { BIG, EXPLICIT, element, encapsulated, file, instance, item, sequence } from './bytes.ts';

const LE = '1.2.840.10008.1.2.1';
const BE = '1.2.840.10008.1.2.2';

const doubles = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 8);
  values.forEach((value, index) => bytes.writeDoubleLE(value, index * 8));
  return bytes;
};

test('identifiers are SHA-1 over the joined identifying values', () => {
  const { ids } = summarize(file(LE, instance(EXPLICIT)));
  const hash = (text: string): string => (createHash('sha1').update(text).digest('hex').match(/.{8}/g) ?? []).join('-');
  assert.deepEqual(ids, {
    Patient: hash('PATIENT'),
    Study: hash('PATIENT|1.2.3'),
    Series: hash('PATIENT|1.2.3|1.2.3.0'),
    Instance: hash('PATIENT|1.2.3|1.2.3.0|1.2.3.1'),
  });
});

test('what places the file must be there, and fit', () => {
  const details = 'missing StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID';
  for (const missing of ['0008,0018', '0020,000d', '0020,000e']) {
    const body = Buffer.concat(
      ['0008,0018', '0020,000d', '0020,000e'].filter((tag) => tag !== missing).map((tag) => element(tag, 'UI', '1.2')),
    );
    assert.throws(
      () => summarize(file(LE, body)),
      (thrown) => thrown instanceof IsenError && thrown.code === 'BadFileFormat' && thrown.details === details,
    );
  }
  const long = Buffer.concat([
    element('0008,0018', 'UI', '1.2'),
    element('0010,0020', 'LO', 'P'.repeat(300)),
    element('0020,000d', 'UI', '1.2'),
    element('0020,000e', 'UI', '1.2'),
  ]);
  assert.throws(
    () => summarize(file(LE, long)),
    (thrown) => thrown instanceof IsenError && thrown.code === 'BadParameterType',
  );
});

test('metadata: index, pixel data, expected count and sequences', () => {
  const of = (...extra: Buffer[]): ReturnType<typeof summarize>['metadata'] =>
    summarize(file(LE, instance(EXPLICIT, ...extra))).metadata;
  const eight = element('0028,0100', 'US', Buffer.of(8, 0));
  assert.equal(of().Instance['PixelDataOffset'], undefined);
  assert.equal(of(eight, element('7fe0,0010', 'OB', 'ab')).Instance['PixelDataVR'], undefined);
  assert.equal(of(eight, element('7fe0,0010', 'OW', 'ab')).Instance['PixelDataVR'], 'OW');
  const request = sequence('0040,0275', [item(element('0040,0009', 'SH', 'STEP'))]);
  const { Series } = of(element('0020,0105', 'IS', '3'), element('0020,1002', 'IS', '20'), request);
  assert.equal(Series['ExpectedNumberOfInstances'], '60');
  assert.equal(
    Series['MainDicomSequences'],
    '{"Sequences":{"0040,0275":{"Name":"RequestAttributesSequence","Type":"Sequence","Value":[{"0040,0009":' +
      '{"Name":"ScheduledProcedureStepID","Type":"String","Value":"STEP"}}]}},"Version":1}',
  );
});

test('a private creator that is longer than one can be is not repeated with each of its elements', () => {
  const creator = (size: number): Buffer =>
    file(LE, instance(EXPLICIT, element('0009,0010', 'LO', 'A'.repeat(size)), element('0009,1001', 'LO', 'x')));
  const shown = (size: number): unknown => toJson(readFile(creator(size)).dataSet, 'Full')['0009,1001'];
  const known = { Name: 'Unknown Tag & Data', Type: 'String', Value: 'x' };
  assert.deepEqual(shown(64), { ...known, PrivateCreator: 'A'.repeat(64) });
  assert.deepEqual(shown(300), known);
});

test('the JSON forms: types, numbers, tags, names and limits', () => {
  const long = 'x'.repeat(257);
  const bytes = file(
    LE,
    Buffer.concat([
      element('0008,0008', 'CS', 'A\\B '),
      element('0009,0010', 'LO', 'GEMS_IDEN_01'),
      element('0009,1001', 'LO', 'FULL'),
      element('0009,10f5', 'UN', 'text'),
      element('0010,4000', 'LT', long),
      element(
        '0018,9087',
        'FD',
        doubles(0.8, -2, 1e22, 1e-7, -180.535797119140625, Number.NaN, Number.NEGATIVE_INFINITY),
      ),
      element('0020,4000', 'LT', `${long.slice(1)}`),
      element('0028,0009', 'AT', Buffer.of(0x18, 0, 0x63, 0x10)),
      element('0042,0011', 'OB', 'text'),
      element('0008,1140', 'SQ', ''),
    ]),
  );
  const { dataSet } = readFile(bytes);
  assert.deepEqual(toJson(dataSet, 'Full'), {
    '0008,0008': { Name: 'ImageType', Type: 'String', Value: 'A\\B' },
    '0008,1140': { Name: 'ReferencedImageSequence', Type: 'Sequence', Value: [] },
    '0009,0010': { Name: 'PrivateCreator', Type: 'String', Value: 'GEMS_IDEN_01' },
    '0009,1001': { Name: 'FullFidelity', PrivateCreator: 'GEMS_IDEN_01', Type: 'String', Value: 'FULL' },
    '0009,10f5': { Name: 'Unknown Tag & Data', PrivateCreator: 'GEMS_IDEN_01', Type: 'Null', Value: null },
    '0010,4000': { Name: 'PatientComments', Type: 'TooLong', Value: null },
    '0018,9087': {
      Name: 'DiffusionBValue',
      Type: 'String',
      Value: '0.80000000000000004\\-2\\1e+22\\9.9999999999999995e-08\\-180.53579711914062\\nan\\-inf',
    },
    '0020,4000': { Name: 'ImageComments', Type: 'String', Value: long.slice(1) },
    '0028,0009': { Name: 'FrameIncrementPointer', Type: 'String', Value: '0018,1063' },
    '0042,0011': { Name: 'EncapsulatedDocument', Type: 'Null', Value: null },
  });
  assert.equal(toJson(dataSet, 'Short')['0009,1001'], 'FULL');
  assert.equal(toJson(dataSet, 'Simplify', { ignoreLength: new Set(['0010,4000']) })['PatientComments'], long);
  assert.equal(toJson(dataSet, 'Simplify', { maximumLength: 0 })['PatientComments'], long);
  assert.equal(toJson(dataSet, 'Simplify')['PatientComments'], null);
  assert.deepEqual(Object.keys(metaToJson(readFile(bytes), 'Short')), ['0002,0000', '0002,0010', '0002,0012']);
});

test('/content: listings, values at any depth, fragments, bad paths', () => {
  const nested = sequence('0008,1140', [
    item(element('0008,1150', 'UI', '1.2')),
    item(sequence('0008,1111', [item(element('0008,1155', 'UI', '1.2.3'))]), true),
  ]);
  const bytes = file(
    LE,
    Buffer.concat([
      nested,
      element('0010,0010', 'PN', 'A^B'),
      encapsulated([Buffer.alloc(4), Buffer.from('abcd'), Buffer.from('ef')]),
    ]),
  );
  const read = readFile(bytes);
  const at = (path: string): unknown => {
    const content = readContent(read, path);
    return content?.kind === 'value' ? contentBytes(read, content).toString('latin1') : content?.names;
  };
  assert.deepEqual(at(''), ['0008-1140', '0010-0010', '7fe0-0010']);
  assert.deepEqual(at('0008-1140'), ['0', '1']);
  assert.deepEqual(at('0008-1140/1/'), ['0008-1111']);
  assert.equal(at('0008-1140/0/0008-1150'), '1.2\0');
  assert.equal(at('ReferencedImageSequence/1/0008,1111/0/00081155'), '1.2.3\0');
  assert.equal(at('PatientName'), 'A^B ');
  assert.deepEqual(at('7fe0-0010'), ['0', '1', '2']);
  assert.deepEqual([at('7fe0-0010/0'), at('7fe0-0010/1'), at('7fe0-0010/2')], ['\0\0\0\0', 'abcd', 'ef']);
  for (const path of [
    '0008-1140/2',
    '0008-1140/x',
    '0008-1140/-1',
    '0008-1140/99999999999',
    '0010-0010/0',
    '7fe0-0010/3',
    '7fe0-0010/1/0',
    '0010-0020',
    '0008-1140/0/0010-0010',
  ]) {
    assert.equal(at(path), undefined, path);
  }
  assert.throws(
    () => at('0008-1140/0/zzz'),
    (thrown) => thrown instanceof IsenError && thrown.code === 'UnknownDicomTag',
  );
});

test('/content: native Pixel Data is one fragment; big endian values come little endian', () => {
  const body = Buffer.concat([
    element('0028,0010', 'US', Buffer.of(1, 0xe0), BIG),
    element('7fe0,0010', 'OW', Buffer.of(1, 2, 3, 4), BIG),
  ]);
  const read = readFile(file(BE, body));
  const rows = readContent(read, '0028-0010');
  const pixels = readContent(read, '7fe0-0010/0');
  assert.deepEqual(readContent(read, '7fe0-0010'), { kind: 'listing', names: ['0'] });
  assert.deepEqual(rows?.kind === 'value' && contentBytes(read, rows), Buffer.of(0xe0, 1));
  assert.deepEqual(pixels?.kind === 'value' && contentBytes(read, pixels), Buffer.of(2, 1, 4, 3));
});
