/** Modification by splicing: what is not named keeps its bytes, what is named is what was asked for, in every encoding. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Body, parseAnonymization, parseModification } from '../../src/dicom/modification.ts';
import { modifyFile } from '../../src/dicom/modify.ts';
import { PROFILE_VERSIONS, PROFILES } from '../../src/dicom/profiles.ts';
import { type DataSet, type DicomFile, readFile } from '../../src/dicom/read.ts';
import { TRANSFER_SYNTAXES } from '../../src/dicom/transfer-syntaxes.ts';
import { sharedKeys, UidMap, uidKey } from '../../src/dicom/uid-map.ts';
import { textOf, valueOf } from '../../src/dicom/value.ts';
import { type NewElement, writeDataSet } from '../../src/dicom/write.ts';
import { IsenError } from '../../src/errors.ts';
import { shared, withoutShared } from '../peer.ts';
import { make, ODD_ELEMENTS } from './made.ts';

const NONE = new UidMap('seed', []);

function modified(bytes: Uint8Array, body: Body, uids = NONE): DataSet {
  return readFile(modifyFile(readFile(bytes), parseModification(body, 'Instance'), uids)).dataSet;
}

function text(dataSet: DataSet | undefined, tag: string): string | null | undefined {
  const element = dataSet?.elements.get(tag);
  return element && dataSet && valueOf(dataSet, element);
}

const itemsOf = (dataSet: DataSet | undefined, tag: string): readonly DataSet[] =>
  dataSet?.elements.get(tag)?.items ?? [];

function rawOf(dataSet: DataSet): Map<string, string> {
  return new Map(
    [...dataSet.elements].map(([tag, { start, end }]) => [tag, dataSet.bytes.subarray(start, end).toString('hex')]),
  );
}

const refusal = (code: string, details?: RegExp) => (thrown: unknown) =>
  thrown instanceof IsenError && thrown.code === code && (details === undefined || details.test(thrown.details ?? ''));

test('in every transfer syntax all but the named elements keep their bytes', () => {
  for (const { uid } of TRANSFER_SYNTAXES) {
    const bytes = make({ transferSyntax: uid, extra: ODD_ELEMENTS });
    const before = rawOf(readFile(bytes).dataSet);
    const after = modified(bytes, {
      Replace: { PatientName: 'New^Name', Rows: '7', StudyDescription: 'added', '0018,1310': '1\\2\\3\\4' },
      Remove: ['AccessionNumber'],
    });
    assert.equal(text(after, '0010,0010'), 'New^Name', uid);
    assert.equal(text(after, '0028,0010'), '7', uid);
    assert.equal(text(after, '0008,1030'), 'added', uid);
    assert.equal(text(after, '0018,1310'), '1\\2\\3\\4', uid);
    const raw = rawOf(after);
    for (const tag of ['0010,0010', '0028,0010', '0008,1030', '0018,1310', '0008,0050']) {
      before.delete(tag);
      raw.delete(tag);
    }
    assert.deepEqual(raw, before, uid);
  }
});

test('paths name one item or each of them', () => {
  const items: NewElement[][] = ['A', 'B', 'C'].map((value) => [
    { tag: '0008,0100', vr: 'SH', value },
    { tag: '0040,a170', vr: 'SQ', value: { items: [[{ tag: '0008,0104', vr: 'LO', value }]], undefinedLength: true } },
  ]);
  const bytes = make({ extra: [{ tag: '0008,1032', vr: 'SQ', value: { items } }] });
  const after = modified(bytes, {
    Replace: {
      'ProcedureCodeSequence[1].CodeValue': 'X',
      '(0008,1032)[*].CodingSchemeDesignator': 'DCM',
      'ProcedureCodeSequence[*].PurposeOfReferenceCodeSequence[0].CodeMeaning': 'deep',
      'ProcedureCodeSequence[9].CodeValue': 'nowhere',
    },
    Remove: ['ProcedureCodeSequence[2].CodeValue'],
  });
  const changed = itemsOf(after, '0008,1032');
  assert.deepEqual(
    changed.map((item) => text(item, '0008,0100')),
    ['A', 'X', undefined],
  );
  for (const item of changed) {
    assert.equal(text(item, '0008,0102'), 'DCM');
    assert.equal(text(itemsOf(item, '0040,a170')[0], '0008,0104'), 'deep');
  }
});

test('a sequence is an array of objects, in every byte order', () => {
  for (const transferSyntax of ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.2']) {
    const after = modified(make({ transferSyntax }), {
      Replace: {
        ReferencedStudySequence: [
          { ReferencedSOPInstanceUID: '1.2.3', '0028,0010': '513', ProcedureCodeSequence: [{ CodeValue: 'A' }, {}] },
        ],
        ReferencedSeriesSequence: [],
        PatientAddress: null,
      },
    });
    const [item] = itemsOf(after, '0008,1110');
    assert.equal(text(item, '0008,1155'), '1.2.3');
    assert.equal(text(item, '0028,0010'), '513');
    assert.equal(itemsOf(item, '0008,1032').length, 2);
    assert.deepEqual(itemsOf(after, '0008,1115'), []);
    assert.equal(after.elements.get('0010,1040')?.length, 0);
  }
});

test('bytes come by data URI', () => {
  const uri = `data:application/octet-stream;base64,${Buffer.from([1, 2, 3, 4]).toString('base64')}`;
  const after = modified(make(), {
    Replace: { PixelData: uri, '0009,1001': uri, StudyDescription: 'data:x;base64,!!' },
  });
  for (const tag of ['7fe0,0010', '0009,1001']) {
    const element = after.elements.get(tag);
    assert.ok(element);
    assert.equal(after.bytes.toString('hex', element.offset, element.offset + element.length), '01020304', tag);
  }
  assert.equal(text(after, '0008,1030'), 'data:x;base64,!!');
});

test('texts are written in the character set of the file, and all in UTF-8 where it lacks a character', () => {
  const latin = make({
    charset: 'ISO_IR 100',
    patientName: Buffer.from('M\xfcller', 'latin1'),
    extra: [
      {
        tag: '0008,1032',
        vr: 'SQ',
        value: {
          items: [
            [
              { tag: '0008,0005', vr: 'CS', value: 'ISO_IR 144' },
              { tag: '0008,0104', vr: 'LO', value: Buffer.from([0xbc, 0xd8, 0xe0]) },
            ],
          ],
        },
      },
    ],
  });
  const kept = modified(latin, { Replace: { StudyDescription: 'Stöße' } });
  const description = kept.elements.get('0008,1030');
  assert.ok(description);
  assert.equal(kept.bytes.toString('latin1', description.offset, description.offset + 5), 'Stöße');
  const wide = modified(latin, { Replace: { StudyDescription: '膝' } });
  assert.equal(text(wide, '0008,0005'), 'ISO_IR 192');
  assert.equal(text(wide, '0008,1030'), '膝');
  assert.equal(text(wide, '0010,0010'), 'Müller');
  const [item] = itemsOf(wide, '0008,1032');
  assert.equal(text(item, '0008,0104'), 'Мир');
  assert.equal(item?.elements.has('0008,0005'), false);
  const asked = modified(latin, { Replace: { SpecificCharacterSet: 'ISO_IR 192' } });
  assert.equal(text(asked, '0010,0010'), 'Müller');
});

test('private elements go at every depth, but for those that are kept with their creator', () => {
  const own: NewElement[] = [
    { tag: '0009,0010', vr: 'LO', value: 'ISEN MADE' },
    { tag: '0009,1001', vr: 'LO', value: 'a' },
    { tag: '0009,1002', vr: 'LO', value: 'b' },
  ];
  const bytes = make({ extra: [...own, { tag: '0008,1032', vr: 'SQ', value: { items: [own] } }] });
  const after = modified(bytes, { RemovePrivateTags: true, Keep: ['0009-1001'] });
  assert.deepEqual(
    [...after.elements.keys()].filter((tag) => tag.startsWith('0009')),
    ['0009,0010', '0009,1001'],
  );
  assert.deepEqual([...(itemsOf(after, '0008,1032')[0]?.elements.keys() ?? [])], ['0009,0010', '0009,1001']);
});

test('UIDs of the set are mapped wherever they are named, also where they were written as UN', () => {
  const references: NewElement[] = [
    { tag: '0008,1155', vr: 'UI', value: '1.2.30' },
    { tag: '0009,1001', vr: 'UI', value: '1.2.30\\1.9' },
  ];
  const hidden = writeDataSet([{ tag: '0008,1199', vr: 'SQ', value: { items: [references.slice(0, 1)] } }], {
    littleEndian: true,
    explicit: false,
  }).subarray(8);
  const bytes = make({
    sopUid: '1.2.30',
    extra: [
      { tag: '0008,1140', vr: 'SQ', value: { items: [references], undefinedLength: true } },
      { tag: '0008,1199', vr: 'UN', value: hidden },
      { tag: '0020,000d', vr: 'UN', value: Buffer.from('1.2.10') },
    ],
  });
  const uids = new UidMap('seed', [
    { uids: sharedKeys([uidKey('1.2.10')]), becomes: { uid: '1.2.11' } },
    { uids: sharedKeys(['1.2.29', '1.2.30', '1.2.31'].map(uidKey)), becomes: 'new' },
  ]);
  const after = modified(bytes, {}, uids);
  const fresh = uids.of('1.2.30', false) ?? '';
  assert.match(fresh, /^2\.25\.\d{36,39}$/);
  assert.equal(text(after, '0008,0018'), fresh);
  assert.equal(text(after, '0020,000d'), '1.2.11');
  assert.equal(after.elements.get('0020,000d')?.vr, 'UI', 'who writes a value knows its VR');
  assert.equal(text(itemsOf(after, '0008,1140')[0], '0008,1155'), fresh);
  assert.equal(text(itemsOf(after, '0008,1140')[0], '0009,1001'), `${fresh}\\1.9`);
  assert.equal(text(itemsOf(after, '0008,1199')[0], '0008,1155'), fresh);
  assert.equal(new UidMap('seed', []).of('1.2.30', true), fresh, 'the same seed makes the same');
  assert.notEqual(new UidMap('other', []).of('1.2.30', true), fresh);
});

test('a sequence in UN of undefined length is turned into the encoding around it', () => {
  const implicit = writeDataSet([{ tag: '0028,0010', vr: 'US', value: [513] }], {
    littleEndian: true,
    explicit: false,
  });
  const head = Buffer.from('08003210554e0000ffffffff', 'hex');
  const item = Buffer.alloc(8);
  item.writeUInt32LE(0xe000fffe);
  item.writeUInt32LE(implicit.length, 4);
  const raw = Buffer.concat([head, item, implicit, Buffer.from('feffdde000000000', 'hex')]);
  const bytes = make({ extra: [{ tag: '0008,1032', raw }] });
  const after = modified(bytes, { Replace: { 'ProcedureCodeSequence[0].CodeValue': 'A' } });
  const [changed] = itemsOf(after, '0008,1032');
  assert.equal(changed?.explicit, true);
  assert.equal(text(changed, '0028,0010'), '513');
  assert.equal(text(changed, '0008,0100'), 'A');
});

test('what a request may not say is refused as by the reference', () => {
  const rows: [Body, string, RegExp?][] = [
    [{ Replace: [] }, 'BadRequest'],
    [{ Replace: { Nope: 'x' } }, 'UnknownDicomTag', /^Nope$/],
    [{ Remove: 'x' }, 'BadRequest'],
    [{ Remove: ['PatientID'] }, 'BadRequest', /^Marking tag "PatientID" as to be removed requires the "Force" option/],
    [{ Keep: ['SOPInstanceUID'] }, 'BadRequest', /as to be kept/],
    [{ Remove: ['PatientID'], Force: true }, 'BadRequest', /^An instance cannot be without PatientID$/],
    [{ Remove: ['SOPInstanceUID'], Force: true }, 'BadRequest', /without SOPInstanceUID$/],
    [{ KeepSource: 'no' }, 'BadFileFormat', /^Boolean value expected in field: KeepSource$/],
    [{ Replace: { SeriesInstanceUID: '1.2' } }, 'BadRequest', /as to be replaced/],
    [{ Replace: { Rows: 7 } }, 'BadParameterType', /^Bad Parameter type for tag 0028,0010$/],
    [{ Replace: { Rows: 'abc' } }, 'BadFileFormat', /tag \(0028,0010\) has out-of-range value: "abc"$/],
    [{ Replace: { Rows: '65536' } }, 'BadFileFormat', /out-of-range/],
    [{ Replace: { ReferencedStudySequence: 'x' } }, 'BadFileFormat', /out-of-range/],
    [{ Replace: { ReferencedStudySequence: ['x'] } }, 'BadParameterType'],
    [{ Replace: { PatientName: ['x'] } }, 'BadParameterType'],
    [{ Replace: { 'ReferencedStudySequence.PatientName': 'x' } }, 'ParameterOutOfRange', /an index$/],
    [{ Replace: { 'ReferencedStudySequence[x].PatientName': 'x' } }, 'ParameterOutOfRange', /: \[x\]$/],
    [{ Force: 1 }, 'BadFileFormat', /^Member "Force" should be a Boolean value$/],
    [{ Transcode: '1.2' }, 'ParameterOutOfRange', /^Unknown transfer syntax: 1\.2$/],
    [{ PrivateCreator: 1 }, 'BadFileFormat'],
  ];
  for (const [body, code, details] of rows)
    assert.throws(() => modified(make(), body), refusal(code, details), JSON.stringify(body));
  assert.throws(() => parseModification({}, 'Patient'), refusal('BadRequest', /^When modifying a patient/));
  assert.throws(() => parseAnonymization({ DicomVersion: '1999' }, 'A'), refusal('ParameterOutOfRange', /: 1999$/));
  assert.throws(() => parseAnonymization({ Remove: ['StudyInstanceUID'], Force: true }, 'A'), refusal('BadRequest'));
  const both = { Remove: ['PatientID'], Replace: { PatientID: 'x' }, Force: true };
  assert.equal(text(modified(make(), both), '0010,0020'), 'x', 'what is replaced is there');
});

test('pixels are replaced where they may be as they are given, and never in a compressed file', () => {
  const body = { Replace: { PixelData: 'data:application/octet-stream;base64,AAECAw==' } };
  const after = modified(make(), body);
  assert.equal(after.elements.get('7fe0,0010')?.length, 4);
  const compressed = make({ transferSyntax: '1.2.840.10008.1.2.4.70' });
  assert.throws(() => modified(compressed, body), refusal('BadRequest', /compressed/));
});

test('a file without a SOP class says one in its File Meta Information', () => {
  const bytes = make();
  const sopClass = readFile(bytes).dataSet.elements.get('0008,0016');
  assert.ok(sopClass);
  const request = parseModification({ Remove: ['SOPClassUID'] }, 'Instance');
  const file = readFile(modifyFile(readFile(bytes), request, NONE));
  assert.equal(file.dataSet.elements.has('0008,0016'), false);
  assert.equal(text(file.meta, '0002,0002'), textOf(readFile(bytes).dataSet, sopClass), 'what it said before');
  const bare = { ...file, meta: { ...file.meta, elements: new Map() } };
  const again = readFile(modifyFile(bare, request, NONE));
  assert.equal(text(again.meta, '0002,0002'), '1.2.276.0.7230010.3.1.0.1');
});

test('each edition of the profile does what its table says, at every depth', () => {
  for (const version of PROFILE_VERSIONS) {
    const profile = PROFILES[version];
    const secret = [...profile.remove, ...profile.empty].map((tag): NewElement => ({ tag, vr: 'LO', value: 'SECRET' }));
    const uids = [...profile.map].map((tag): NewElement => ({ tag, vr: 'UI', value: '1.2.3.4' }));
    const all = [...secret, ...uids, { tag: '0010,0010', vr: 'PN', value: 'SECRET' } as const];
    const own: NewElement[] = [
      ...all,
      { tag: '5000,3000', vr: 'OW', value: Buffer.from('SECRET') },
      { tag: '6002,3000', vr: 'OW', value: Buffer.from('SECRET') },
      { tag: '0009,1001', vr: 'LO', value: 'SECRET' },
      { tag: '0010,0020', vr: 'LO', value: 'SECRET' },
    ];
    const bytes = make({ extra: [...own, { tag: '0008,9215', vr: 'SQ', value: { items: [own] } }] });
    const file = modifyFile(readFile(bytes), parseAnonymization({ DicomVersion: version }, 'Anonymized1'), NONE);
    assert.equal(file.includes('SECRET'), false, version);
    const { dataSet } = readFile(file);
    const mapped = NONE.of('1.2.3.4', true);
    for (const each of [dataSet, ...itemsOf(dataSet, '0008,9215')]) {
      for (const tag of profile.remove) assert.equal(each.elements.has(tag), false, `${version} ${tag}`);
      for (const tag of profile.empty) assert.equal(each.elements.get(tag)?.length, 0, `${version} ${tag}`);
      for (const tag of profile.map) assert.equal(text(each, tag), mapped, `${version} ${tag}`);
      assert.match(text(each, '0010,0020') ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    }
    assert.equal(text(dataSet, '0010,0010'), 'Anonymized1');
    assert.equal(text(dataSet, '0012,0062'), 'YES');
    assert.match(text(dataSet, '0012,0063') ?? '', new RegExp(`PS 3.15-${version} Table E.1-1`));
    assert.equal(text(itemsOf(dataSet, '0012,0064')[0], '0008,0100'), '113100');
  }
});

test('what is kept or replaced stays out of the profile', () => {
  const bytes = make({
    extra: [
      { tag: '0008,1030', vr: 'LO', value: 'kept' },
      { tag: '0009,0010', vr: 'LO', value: 'ISEN MADE' },
      { tag: '0009,1001', vr: 'LO', value: 'private' },
    ],
  });
  const body = {
    Keep: ['StudyDescription', 'SOPInstanceUID'],
    Replace: { PatientName: 'Own^Name', PatientID: 'own' },
    KeepPrivateTags: true,
    Force: true,
  };
  const { dataSet } = readFile(modifyFile(readFile(bytes), parseAnonymization(body, 'Anonymized1'), NONE));
  const original = readFile(bytes).dataSet;
  for (const tag of ['0008,1030', '0008,0018', '0009,1001']) {
    const element = original.elements.get(tag);
    assert.ok(element);
    assert.equal(text(dataSet, tag) ?? undefined, textOf(original, element), tag);
  }
  assert.equal(text(dataSet, '0010,0010'), 'Own^Name');
  assert.equal(text(dataSet, '0010,0020'), 'own');
});

test('an anonymisation removes at every depth what it is told to, and keeps sequences with what is in them', () => {
  const item: NewElement[] = [
    { tag: '0008,0060', vr: 'CS', value: 'CT' },
    { tag: '0008,1155', vr: 'UI', value: '1.2.30' },
    { tag: '0010,0010', vr: 'PN', value: 'Kept^Name' },
    { tag: '0009,1001', vr: 'LO', value: 'private' },
    { tag: '0008,1030', vr: 'LO', value: 'kept' },
  ];
  const bytes = make({
    sopUid: '1.2.30',
    extra: ['0008,1140', '0008,9215'].map((tag): NewElement => ({ tag, vr: 'SQ', value: { items: [item] } })),
  });
  const uids = new UidMap('seed', [{ uids: sharedKeys([uidKey('1.2.30')]), becomes: 'new' }]);
  const body = { Remove: ['Modality'], Keep: ['ReferencedImageSequence'] };
  const { dataSet } = readFile(modifyFile(readFile(bytes), parseAnonymization(body, 'A'), uids));
  const [kept] = itemsOf(dataSet, '0008,1140');
  assert.deepEqual([text(kept, '0008,1030'), text(kept, '0010,0010')], ['kept', 'Kept^Name']);
  assert.equal(kept?.elements.has('0009,1001'), false, 'private elements are kept by their own name only');
  assert.equal(text(kept, '0008,1155'), uids.of('1.2.30', false), 'references stay those of the set');
  const [other] = itemsOf(dataSet, '0008,9215');
  assert.deepEqual([other?.elements.has('0008,0060'), other?.elements.has('0008,1030')], [false, false]);
  assert.equal(dataSet.elements.has('0008,0060'), false);
  const modification = modified(bytes, { Remove: ['Modality'] });
  assert.equal(text(itemsOf(modification, '0008,1140')[0], '0008,0060'), 'CT', 'a modification means the top alone');
});

test('only an anonymisation by the whole profile claims it', () => {
  const methodOf = (body: Body): [string | null | undefined, boolean] => {
    const { dataSet } = readFile(modifyFile(readFile(make()), parseAnonymization(body, 'A'), NONE));
    return [text(dataSet, '0012,0063'), dataSet.elements.has('0012,0064')];
  };
  assert.deepEqual(methodOf({}), ['Isen - PS 3.15-2023b Table E.1-1 Basic Profile', true]);
  for (const body of [{ KeepPrivateTags: true }, { Keep: ['StudyDate'] }, { Replace: { PatientName: 'B' } }])
    assert.deepEqual(methodOf(body), ['Isen - PS 3.15-2023b Table E.1-1 Basic Profile, customized', false]);
});

/** The sample files that can be read. */
function* samples(): Generator<[string, DicomFile]> {
  const root = shared('samples') ?? '';
  for (const name of readdirSync(root, { recursive: true }).map(String)) {
    const path = join(root, name);
    if (!statSync(path).isFile() || statSync(path).size > 4_000_000) continue;
    try {
      yield [name, readFile(readFileSync(path))];
    } catch (thrown) {
      assert.ok(thrown instanceof IsenError);
    }
  }
}

test('real files of every odd kind keep the bytes of what does not change', { skip: withoutShared }, () => {
  let count = 0;
  for (const [name, file] of samples()) {
    const request = parseModification(
      { Replace: { PatientName: 'New^Name' }, Remove: ['StudyDescription'] },
      'Instance',
    );
    const { dataSet } = readFile(modifyFile(file, request, NONE));
    assert.equal(text(dataSet, '0010,0010'), 'New^Name', name);
    const [before, after] = [rawOf(file.dataSet), rawOf(dataSet)];
    for (const tag of ['0010,0010', '0008,1030', ...before.keys()]) {
      if (!/,0000$|^0010,0010$|^0008,1030$/.test(tag)) continue;
      before.delete(tag);
      after.delete(tag);
    }
    assert.deepEqual(after, before, name);
    count += 1;
  }
  assert.ok(count > 150, `${count} files`);
});

test('no name, date or identifier of a real file is left in its anonymised one', { skip: withoutShared }, () => {
  const names = ['0010,0010', '0010,0020', '0008,0050', '0010,0030', '0020,000d', '0008,0018', '0008,0020'];
  for (const [name, file] of samples()) {
    const request = parseAnonymization({}, 'Nobody^Here');
    const { dataSet, meta } = readFile(modifyFile(file, request, new UidMap(name, [])));
    assert.equal(meta.elements.has('0002,0016'), false, name);
    for (const tag of names) {
      const old = text(file.dataSet, tag);
      if (old) assert.notEqual(text(dataSet, tag), old, `${name} ${tag}`);
    }
    const ours = new Set(names.slice(4, 6).flatMap((tag) => text(file.dataSet, tag) || []));
    const walk = (each: DataSet): void => {
      for (const [tag, { items, vr }] of each.elements) {
        if (vr === 'UI') assert.ok(!ours.has(text(each, tag) ?? '') || tag === '0008,1150', `${name} ${tag}`);
        for (const item of items ?? []) walk(item);
      }
    };
    walk(dataSet);
  }
});
