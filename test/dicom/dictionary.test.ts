import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isPrivate,
  lookup,
  parseTag,
  tagName,
  tagNumber,
  tagText,
  uidName,
  UNKNOWN_NAME,
} from '../../src/dicom/dictionary.ts';
import { LEVEL, LEVELS } from '../../src/dicom/levels.ts';
import { MODULE } from '../../src/dicom/module.ts';
import { TAGS } from '../../src/dicom/tags.generated.ts';
import { EXPLICIT_LITTLE_ENDIAN } from '../../src/dicom/transfer-syntaxes.ts';
import { isVr, VR, vrOfCode } from '../../src/dicom/vr.ts';

test('every row of the dictionary is found by tag and by keyword', () => {
  const rows = TAGS.trim().split('\n');
  assert.ok(rows.length > 4900);
  for (const row of rows) {
    const tag = `${row.slice(0, 4)},${row.slice(4, 8)}`;
    const keyword = row.slice(10, row.lastIndexOf(' '));
    assert.equal(tagName(tag), keyword);
    const entry = lookup(tagNumber(tag));
    assert.ok(entry !== undefined && isVr(entry.vr), tag);
    assert.match(entry.vm, /^\d+(-(\d*n|\d+))?$/, tag);
    assert.equal(tagText(tagNumber(tag)), tag);
    const back = parseTag(keyword);
    assert.ok(back !== undefined && tagName(back) === keyword, keyword);
  }
});

test('ranges, group lengths, creators and private elements', () => {
  assert.equal(tagName('6000,3000'), 'OverlayData');
  assert.equal(tagName('601e,0010'), 'OverlayRows');
  assert.equal(tagName('6100,0010'), UNKNOWN_NAME);
  assert.equal(tagName('0020,3142'), 'RETIRED_SourceImageIDs');
  assert.equal(tagName('0010,0000'), 'GenericGroupLength');
  assert.equal(tagName('0009,0000'), 'PrivateGroupLength');
  assert.equal(tagName('0009,0010'), 'PrivateCreator');
  assert.equal(tagName('0009,1001'), UNKNOWN_NAME);
  assert.equal(tagName('0009,1001', 'GEMS_IDEN_01'), 'FullFidelity');
  assert.equal(tagName('0009,4201', 'GEMS_IDEN_01'), 'FullFidelity');
  assert.equal(tagName('0009,1001', 'nobody'), UNKNOWN_NAME);
  assert.equal(tagName('0010,1000'), 'OtherPatientIDs');
});

test('a tag is read in every usual spelling', () => {
  for (const spelling of ['PatientName', '0010,0010', '0010-0010', '00100010'])
    assert.equal(parseTag(spelling), '0010,0010');
  assert.equal(parseTag('7FE0,0010'), '7fe0,0010');
  assert.equal(parseTag('OverlayRows'), '6000,0010', 'the first of the repeating groups');
  for (const nonsense of ['', 'patientname', '0010', '0010,001', '0010,00100', 'zzzz,0010', '0010 0010']) {
    assert.equal(parseTag(nonsense), undefined, nonsense);
  }
});

test('odd groups are private', () => {
  for (let group = 0; group < 0x10000; group += 1) {
    assert.equal(isPrivate(tagText(group * 0x10000)), group % 2 === 1);
  }
});

test('the VR table: lengths and padding of PS3.5 table 7.1-1', () => {
  const long = Object.entries(VR)
    .filter(([, row]) => row.lengthSize === 4)
    .map(([vr]) => vr);
  assert.deepEqual(long, ['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']);
  const charset = Object.entries(VR)
    .filter(([, row]) => row.charset)
    .map(([vr]) => vr);
  assert.deepEqual(charset, ['LO', 'LT', 'PN', 'SH', 'ST', 'UC', 'UT']);
  for (const [vr, row] of Object.entries(VR)) {
    assert.equal(vrOfCode(vr.charCodeAt(0) * 256 + vr.charCodeAt(1)), vr);
    assert.equal(row.padding, row.kind === 'text' && vr !== 'UI' ? 0x20 : 0, vr);
  }
  assert.equal(vrOfCode(0), undefined);
});

test('every main tag and module attribute has a name', () => {
  for (const level of LEVELS) {
    for (const tag of [...LEVEL[level].mainDicomTags, ...MODULE[level]])
      assert.notEqual(tagName(tag), UNKNOWN_NAME, tag);
    assert.ok(LEVEL[level].mainDicomTags.includes(LEVEL[level].key));
  }
  assert.equal(uidName(EXPLICIT_LITTLE_ENDIAN), 'LittleEndianExplicit');
  assert.equal(uidName('1.2.3'), undefined);
});
