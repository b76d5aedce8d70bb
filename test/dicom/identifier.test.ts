/** Identifiers: decoded and encoded without loss in the character set that fits, in every plain transfer syntax, and from JSON. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { characterSet, ENCODING_TERM } from '../../src/dicom/charset.ts';
import {
  type Identifier,
  identifierFromJson,
  identifierJson,
  readIdentifier,
  writeIdentifier,
} from '../../src/dicom/identifier.ts';

const PLAIN = ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.2'];

const identifier: Identifier = [
  { tag: '0008,0016', vr: 'UI', value: '1.2.840.10008.5.1.4.1.1.2' },
  { tag: '0008,0052', vr: 'CS', value: 'STUDY' },
  { tag: '0008,0060', vr: 'CS', value: 'CT\\MR' },
  { tag: '0008,1140', vr: 'SQ', value: [[{ tag: '0008,1155', vr: 'UI', value: '1.2.3' }], []] },
  { tag: '0010,0010', vr: 'PN', value: 'Test-éüäö^Ö' },
  { tag: '0018,0050', vr: 'DS', value: '1.5' },
  { tag: '0020,9165', vr: 'AT', value: '0010,0010\\7fe0,0010' },
  { tag: '0028,0010', vr: 'US', value: '512' },
  { tag: '0028,0106', vr: 'US', value: '' },
];

test('what is written is read again, in every plain transfer syntax', () => {
  for (const syntax of PLAIN) {
    const bytes = writeIdentifier(identifier, syntax, [characterSet('ISO_IR 100')]);
    const read = readIdentifier(bytes, syntax);
    assert.deepEqual(read.identifier, identifier, syntax);
    assert.deepEqual(read.characterSet.terms, ['ISO_IR 100']);
  }
});

test('an answer is in the first character set that loses nothing, else in UTF-8', () => {
  const named = (value: string): Identifier => [{ tag: '0010,0010', vr: 'PN', value }];
  for (const [value, wanted, term] of [
    ['Brainix', ['ISO_IR 100'], 'ISO_IR 100'],
    ['Müller', ['ISO_IR 6', 'ISO_IR 101'], 'ISO_IR 101'],
    ['Гусева', ['ISO_IR 100', 'ISO_IR 144'], 'ISO_IR 144'],
    ['Yamada^Tarou=山田^太郎', ['ISO_IR 100', '\\ISO 2022 IR 87'], '\\ISO 2022 IR 87'],
    ['김희중', ['ISO_IR 100'], 'ISO_IR 192'],
  ] as const) {
    const bytes = writeIdentifier(
      named(value),
      '1.2.840.10008.1.2.1',
      wanted.map((each) => characterSet(each)),
    );
    const read = readIdentifier(bytes, '1.2.840.10008.1.2.1');
    assert.equal(read.characterSet.terms.join('\\'), term, value);
    assert.equal(read.identifier[0]?.value, value);
  }
});

test('every encoding of the configuration has a character set that writes and reads', () => {
  for (const [name, term] of Object.entries(ENCODING_TERM)) {
    const bytes = writeIdentifier([{ tag: '0010,0010', vr: 'PN', value: 'A^B' }], '1.2.840.10008.1.2.1', [
      characterSet(term),
    ]);
    assert.deepEqual(readIdentifier(bytes, '1.2.840.10008.1.2.1').characterSet.terms, term.split('\\'), name);
  }
});

test('a value that its VR cannot hold is left empty', () => {
  const keys: Identifier = [
    { tag: '0028,0010', vr: 'US', value: '70000' },
    { tag: '0028,0011', vr: 'US', value: 'many' },
    { tag: '0018,9306', vr: 'FD', value: 'x' },
    { tag: '0020,9165', vr: 'AT', value: 'nothing' },
  ];
  const read = readIdentifier(writeIdentifier(keys, '1.2.840.10008.1.2.1', []), '1.2.840.10008.1.2.1');
  assert.deepEqual(
    read.identifier.map(({ value }) => value),
    ['', '', '', ''],
  );
});

test('bytes that are no data set are refused', () => {
  const good = writeIdentifier(identifier, '1.2.840.10008.1.2.1', [characterSet('ISO_IR 100')]);
  assert.throws(() => readIdentifier(good.subarray(0, good.length - 1), '1.2.840.10008.1.2.1'), {
    code: 'BadFileFormat',
  });
  assert.throws(() => readIdentifier(Buffer.from('08000500CS\xff\xff', 'latin1'), '1.2.840.10008.1.2.1'), {
    code: 'BadFileFormat',
  });
});

test('JSON becomes keys and keys become JSON', () => {
  const json = { PatientName: 'A*', '0008-0060': 'CT', '00081140': [{ ReferencedSOPInstanceUID: '1.2' }] };
  const keys = identifierFromJson(json) ?? [];
  assert.deepEqual(
    keys.map(({ tag, vr }) => `${tag} ${vr}`),
    ['0008,0060 CS', '0008,1140 SQ', '0010,0010 PN'],
  );
  assert.deepEqual(identifierJson(keys, 'Simplify', 'ISO_IR 100'), {
    Modality: 'CT',
    PatientName: 'A*',
    ReferencedImageSequence: [{ ReferencedSOPInstanceUID: '1.2' }],
    SpecificCharacterSet: 'ISO_IR 100',
  });
  for (const none of [null, [], 'x', { Nope: 'x' }, { PatientID: 1 }, { PatientID: null }]) {
    assert.equal(identifierFromJson(none), undefined);
  }
});
