/** Attribute matching: every kind of PS3.4 §C.2.2.2 on every sort of value, what is universal, and what is refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lookup, parseTag, tagNumber } from '../../src/dicom/dictionary.ts';
import type { Identifier } from '../../src/dicom/identifier.ts';
import { answerOf, conditionsOf, matches, matchesWildcard, type Values } from '../../src/dicom/match.ts';

const OPTIONS = { caseSensitivePN: false, combined: false };

const tagOf = (keyword: string): string => parseTag(keyword) ?? keyword;

function key(keyword: string, value: Identifier[number]['value']): Identifier[number] {
  const tag = tagOf(keyword);
  return { tag, vr: lookup(tagNumber(tag))?.vr ?? 'UN', value };
}

/** Whether a data set with one value meets one key. */
function meets(keyword: string, wanted: string, value: string | undefined, options = OPTIONS): boolean {
  const values: Values = value === undefined ? {} : { [tagOf(keyword)]: value };
  return conditionsOf([key(keyword, wanted)], options).every((each) => matches(values, each, options.caseSensitivePN));
}

/** Keyword, key, values that match, values that do not (`undefined`: the attribute is absent). */
const CASES: readonly [string, string, readonly (string | undefined)[], readonly (string | undefined)[]][] = [
  // Universal (§C.2.2.2.3): also what is absent.
  ['PatientID', '', ['1', '', undefined], []],
  ['PatientID', '*', ['1', '', undefined], []],
  ['StudyInstanceUID', '*', ['1.2', undefined], []],
  ['StudyDate', '-', ['20200101', undefined], []],
  // Single value (§C.2.2.2.1).
  ['PatientID', 'Ab1', ['Ab1', 'Ab1 '], ['ab1', 'Ab12', '', undefined]],
  ['Modality', 'CT', ['CT'], ['ct', 'MR', undefined]],
  ['PatientName', 'müller^anna', ['Müller^Anna', 'MULLER^ANNA'], ['Müller^Anne', undefined]],
  ['InstanceNumber', '1', ['1', ' 1', '01', '+1'], ['10', '', undefined]],
  ['SliceThickness', '1.50', ['1.5', '1.50', '15e-1'], ['1.05']],
  ['Rows', '512', ['512'], ['513', undefined]],
  ['StudyDate', '20200131', ['20200131', '2020.01.31'], ['20200130', undefined]],
  ['StudyTime', '093000', ['093000', '093000.000', '09:30:00'], ['093001', '0931']],
  ['ImageType', 'PRIMARY', ['ORIGINAL\\PRIMARY\\AXIAL', 'PRIMARY'], ['ORIGINAL', 'PRIMARYX']],
  ['PatientComments', 'a\\b', ['a\\b'], ['a', 'b']],
  // List of UIDs (§C.2.2.2.2), and of anything, as the reference takes it.
  ['StudyInstanceUID', '1.2\\1.3', ['1.2', '1.3'], ['1.2.3', '1', undefined]],
  ['ModalitiesInStudy', 'CR\\US', ['CR', 'MR\\US'], ['MR', 'C', undefined]],
  // Wildcards (§C.2.2.2.4).
  ['PatientName', 'bra?nix*', ['BRAINIX', 'Brainix^A', 'BRAINIX^'], ['BRANIX', 'XBRAINIX']],
  ['PatientName', 'B*^*A', ['B^A', 'b^ana'], ['B^AN']],
  ['PatientID', 'A?C*', ['ABC', 'ABCD', 'AxC'], ['abc', 'AC', undefined]],
  ['PatientName', 'M?LLER', ['Müller', 'MULLER'], ['MULER']],
  ['ManufacturerModelName', '*3000*', ['X3000', '3000'], ['300', undefined]],
  // Ranges (§C.2.2.2.5), inclusive, by the precision of each side.
  ['StudyDate', '20200101-20200131', ['20200101', '20200115', '20200131'], ['20191231', '20200201', '', undefined]],
  ['StudyDate', '-20200131', ['19000101', '20200131'], ['20200201', '', undefined]],
  ['StudyDate', '20200101-', ['20200101', '29991231'], ['20191231', undefined]],
  ['StudyDate', '2019-2020', ['20190101', '20201231'], ['20181231', '20210101']],
  ['StudyTime', '0900-1000', ['090000', '0930', '100059.9', '09'], ['085959', '1001', '110000', undefined]],
  ['StudyTime', '-09', ['080000', '095959.999999'], ['100000']],
  ['StudyTime', '120000-', ['120000', '12', '235959'], ['115959.999']],
  ['AcquisitionDateTime', '20200101-20200102', ['20200101', '202001020930', '20200102235959.9'], ['20200103', '2019']],
  ['AcquisitionDateTime', '202001011200+0200-', ['20200101100000', '20200101120000+0200'], ['202001010959']],
  ['AcquisitionDateTime', '-20200101120000-0500', ['20200101165959', '20200101170000'], ['20200101170001']],
  ['AcquisitionDateTime', '20200101120000-0500', ['20200101120000-0500', '20200101170000'], ['20200101120000']],
  // What is no range is a value that nothing has.
  ['StudyDate', 'garbage', [], ['20200101', '']],
  ['StudyDate', '2001-2002-2003', [], ['20020101']],
];

test('each key matches what it should and nothing else', () => {
  for (const [keyword, wanted, good, bad] of CASES) {
    for (const value of good) assert.ok(meets(keyword, wanted, value), `${keyword}=${wanted} has to match ${value}`);
    for (const value of bad) assert.ok(!meets(keyword, wanted, value), `${keyword}=${wanted} must not match ${value}`);
  }
});

test('person names keep their case and accents when asked to', () => {
  const options = { caseSensitivePN: true, combined: false };
  assert.ok(meets('PatientName', 'Müller*', 'Müller^Anna', options));
  assert.ok(!meets('PatientName', 'müller*', 'Müller^Anna', options));
  assert.ok(!meets('PatientName', 'Muller*', 'Müller^Anna', options));
});

test('wildcards in a VR that has none are refused by the name of the attribute', () => {
  for (const [keyword, value] of [
    ['StudyInstanceUID', '1.2.*'],
    ['StudyDate', '2020*'],
    ['InstanceNumber', '?'],
    ['Rows', '5*'],
  ] as const) {
    assert.throws(() => conditionsOf([key(keyword, value)], OPTIONS), {
      code: 'ParameterOutOfRange',
      details: new RegExp(keyword),
    });
  }
});

test('one item of a sequence must meet all its keys', () => {
  const conditions = conditionsOf(
    [key('ScheduledProcedureStepSequence', [[key('Modality', 'CT'), key('ScheduledStationAETitle', 'A*')]])],
    OPTIONS,
  );
  const step = (modality: string, aet: string): Values => ({ '0008,0060': modality, '0040,0001': aet });
  const meetsAll = (...items: Values[]): boolean =>
    conditions.every((each) => matches({ '0040,0100': items }, each, false));
  assert.ok(meetsAll(step('MR', 'B'), step('CT', 'ABC')));
  assert.ok(!meetsAll(step('CT', 'B'), step('MR', 'ABC')));
  assert.ok(!meetsAll());
  assert.deepEqual(conditionsOf([key('ScheduledProcedureStepSequence', [[key('Modality', '')]])], OPTIONS), []);
});

test('a date and its time are one range where they are to be combined, and two where not', () => {
  const keys = [
    key('ScheduledProcedureStepStartDate', '20260705-20260707'),
    key('ScheduledProcedureStepStartTime', '1000-1800'),
  ];
  const found = (date: string, time: string | undefined, combined: boolean): boolean =>
    conditionsOf(keys, { caseSensitivePN: false, combined }).every((each) =>
      matches({ '0040,0002': date, '0040,0003': time }, each, false),
    );
  assert.ok(found('20260706', '0300', true), 'the night between');
  assert.ok(!found('20260706', '0300', false));
  assert.ok(!found('20260705', '0959', true));
  assert.ok(found('20260707', '180059', true));
  assert.ok(!found('20260707', '1801', true));
  assert.ok(found('20260706', undefined, true));
});

test('a pattern that was built to backtrack is answered at once', () => {
  const started = performance.now();
  assert.equal(matchesWildcard('a'.repeat(10_000), `${'*a'.repeat(500)}b`), false);
  assert.ok(performance.now() - started < 1000);
});

test('an answer has the keys that were asked for, empty where there is no value', () => {
  const keys = [
    key('PatientName', 'X*'),
    key('PatientComments', ''),
    key('Rows', ''),
    key('ReferencedImageSequence', [[key('ReferencedSOPInstanceUID', '')]]),
    key('ProcedureCodeSequence', []),
    key(
      'RequestAttributesSequence',
      ''.split('x').map(() => []),
    ),
  ];
  const values: Values = {
    '0010,0010': 'X^Y',
    '0028,0010': '512',
    '0008,1140': [{ '0008,1150': '1.2', '0008,1155': '3.4' }],
    '0008,1032': [{ '0008,0100': 'CODE', '0009,1001': null }],
  };
  assert.deepEqual(
    answerOf(keys, values).map(({ tag, vr, value }) => [tag, vr, value]),
    [
      ['0010,0010', 'PN', 'X^Y'],
      ['0010,4000', 'LT', ''],
      ['0028,0010', 'US', '512'],
      ['0008,1140', 'SQ', [[{ tag: '0008,1155', vr: 'UI', value: '3.4' }]]],
      ['0008,1032', 'SQ', [[{ tag: '0008,0100', vr: 'SH', value: 'CODE' }]]],
      ['0040,0275', 'SQ', []],
    ],
  );
});
