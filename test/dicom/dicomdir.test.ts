/** The DICOMDIR: its tree, the records of every kind of instance, and what other programs make of it. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DirectoryFile, Dicomdir, readDirectoryEntry } from '../../src/dicom/dicomdir.ts';
import { ALL_INSTANCE_KEYS, EXTENDED_KEYS, PARENT_KEYS, recordType } from '../../src/dicom/directory-records.ts';
import { lookup, tagNumber } from '../../src/dicom/dictionary.ts';
import { type DataSet, readFile } from '../../src/dicom/read.ts';
import { STORAGE_CLASSES } from '../../src/dicom/storage-classes.ts';
import { valueOf } from '../../src/dicom/value.ts';
import type { NewElement } from '../../src/dicom/write.ts';
import { temporaryFolder, without } from '../peer.ts';
import { type Made, make } from './made.ts';

function file(made: Made, number: number, extended = false): DirectoryFile {
  const bytes = make(made);
  return {
    patient: made.patientId ?? '',
    study: made.studyUid ?? '',
    series: made.seriesUid ?? '',
    path: ['IMAGES', `IM${number}`],
    entry: readDirectoryEntry(bytes, bytes.length, extended),
  };
}

/** Two patients; the first has two studies, its first one two series of two instances. */
const MADE: readonly Made[] = [
  { patientId: 'P1', studyUid: '2.25.1', seriesUid: '2.25.11', sopUid: '2.25.111' },
  { patientId: 'P1', studyUid: '2.25.1', seriesUid: '2.25.11', sopUid: '2.25.112' },
  { patientId: 'P1', studyUid: '2.25.1', seriesUid: '2.25.12', sopUid: '2.25.121' },
  { patientId: 'P1', studyUid: '2.25.1', seriesUid: '2.25.12', sopUid: '2.25.122' },
  { patientId: 'P1', studyUid: '2.25.2', seriesUid: '2.25.21', sopUid: '2.25.211' },
  { patientId: 'P2', studyUid: '2.25.3', seriesUid: '2.25.31', sopUid: '2.25.311' },
];

function directoryOf(files: readonly DirectoryFile[]): Buffer {
  const directory = new Dicomdir('ISEN_MEDIA');
  for (const each of files) directory.add(each);
  return directory.finish();
}

interface Read {
  readonly type: string;
  readonly uid: string;
  readonly next: number;
  readonly lower: number;
}

const value = (dataSet: DataSet, tag: string): string => {
  const element = dataSet.elements.get(tag);
  return element === undefined ? '' : (valueOf(dataSet, element) ?? '');
};

/** The records by the offsets of their items. */
function recordsOf(bytes: Buffer): { readonly records: Map<number, Read>; readonly dataSet: DataSet } {
  const { dataSet } = readFile(bytes);
  const sequence = dataSet.elements.get('0004,1220');
  assert.ok(sequence?.items);
  let at = sequence.offset;
  const records = new Map<number, Read>();
  for (const item of sequence.items) {
    const type = value(item, '0004,1430');
    const tag = { PATIENT: '0010,0020', STUDY: '0020,000d', SERIES: '0020,000e' }[type] ?? '0004,1511';
    records.set(at, {
      type,
      uid: value(item, tag),
      next: Number(value(item, '0004,1400')),
      lower: Number(value(item, '0004,1420')),
    });
    at += 8 + bytes.readUInt32LE(at + 4);
  }
  return { records, dataSet };
}

test('the offsets make the tree', () => {
  const { records, dataSet } = recordsOf(directoryOf(MADE.map((made, index) => file(made, index))));
  const tree = (at: number): unknown[] => {
    const found: unknown[] = [];
    for (let next = at; next !== 0; ) {
      const record = records.get(next);
      assert.ok(record, `no record at ${next}`);
      found.push(record.type === 'IMAGE' ? record.uid : { [record.uid]: tree(record.lower) });
      next = record.next;
    }
    return found;
  };
  assert.deepEqual(tree(Number(value(dataSet, '0004,1200'))), [
    {
      P1: [
        { '2.25.1': [{ '2.25.11': ['2.25.111', '2.25.112'] }, { '2.25.12': ['2.25.121', '2.25.122'] }] },
        { '2.25.2': [{ '2.25.21': ['2.25.211'] }] },
      ],
    },
    { P2: [{ '2.25.3': [{ '2.25.31': ['2.25.311'] }] }] },
  ]);
  assert.equal(records.get(Number(value(dataSet, '0004,1202')))?.uid, 'P2');
  const empty = recordsOf(directoryOf([]));
  assert.equal(empty.records.size, 0);
  assert.equal(value(empty.dataSet, '0004,1200'), '0');
});

test('every storage class has a record, and every key the VR of the dictionary', () => {
  const cases: readonly (readonly [end: string, type: string])[] = [
    ['2', 'IMAGE'],
    ['481.1', 'IMAGE'],
    ['481.11', 'RADIOTHERAPY'],
    ['481.3', 'RT STRUCTURE SET'],
    ['66', 'RAW DATA'],
    ['66.4', 'IMAGE'],
    ['66.7', 'IMAGE'],
    ['88.59', 'KEY OBJECT DOC'],
    ['88.33', 'SR DOCUMENT'],
    ['11.12', 'PRESENTATION'],
    ['9.100.1', 'PRESENTATION'],
    ['9.1.1', 'WAVEFORM'],
    ['104.1', 'ENCAP DOC'],
  ];
  for (const [end, type] of cases) assert.equal(recordType(`1.2.840.10008.5.1.4.1.1.${end}`), type, end);
  assert.equal(recordType('1.3.46.670589.1'), 'IMAGE');
  const types = new Map<string, number>();
  for (const uid of STORAGE_CLASSES) types.set(recordType(uid), (types.get(recordType(uid)) ?? 0) + 1);
  assert.ok(types.size > 15);
  for (const { tag, vr } of [...Object.values(PARENT_KEYS), EXTENDED_KEYS, ALL_INSTANCE_KEYS].flat())
    assert.equal(lookup(tagNumber(tag))?.vr, vr, tag);
});

test('a record says what the standard asks of its type, in the character set of the file', () => {
  const code = [
    { tag: '0008,0100', vr: 'SH', value: '113000' },
    { tag: '0008,0102', vr: 'SH', value: 'DCM' },
    { tag: '0008,0104', vr: 'LO', value: 'Of Interest' },
  ];
  for (const transferSyntax of ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.2']) {
    const bytes = make({
      transferSyntax,
      charset: 'ISO_IR 100',
      patientName: Buffer.from('J\xe9r\xf4me', 'latin1'),
      pixels: false,
      extra: [
        { tag: '0008,0016', vr: 'UI', value: '1.2.840.10008.5.1.4.1.1.88.59' },
        { tag: '0008,0023', vr: 'DA', value: '20261124' },
        { tag: '0040,a043', vr: 'SQ', value: { items: [code] } },
        { tag: '0008,103e', vr: 'LO', value: 'Key images' },
      ],
    });
    const entry = readDirectoryEntry(bytes, bytes.length, true);
    assert.equal(entry.type, 'KEY OBJECT DOC');
    const base = { patient: 'p', study: 's', series: 'e', path: ['IMAGES', 'IM0'] };
    const { dataSet } = readFile(directoryOf([{ ...base, entry }]));
    const [patient, , series, document] = dataSet.elements.get('0004,1220')?.items ?? [];
    assert.ok(patient && series && document);
    assert.equal(value(patient, '0010,0010'), 'Jérôme');
    assert.equal(value(series, '0008,103e'), 'Key images');
    assert.equal(value(document, '0004,1500'), 'IMAGES\\IM0');
    assert.equal(value(document, '0004,1512'), transferSyntax);
    assert.equal(value(document, '0008,0023'), '20261124');
    assert.equal(value(document, '0008,0033'), '');
    const [concept] = document.elements.get('0040,a043')?.items ?? [];
    assert.equal(concept && value(concept, '0008,0104'), 'Of Interest');
  }
});

test('a study without a date or a time has those of the series, the acquisition or the content', () => {
  const studyOf = (date: string, ...extra: NewElement[]): string[] => {
    const bytes = make({ extra: [{ tag: '0008,0020', vr: 'DA', value: date }, ...extra] });
    const entry = readDirectoryEntry(bytes, bytes.length, false);
    const base = { patient: 'p', study: 's', series: 'e', path: ['IMAGES', 'IM0'] };
    const [, study] = readFile(directoryOf([{ ...base, entry }])).dataSet.elements.get('0004,1220')?.items ?? [];
    assert.ok(study);
    return [value(study, '0008,0020'), value(study, '0008,0030')];
  };
  const content: NewElement[] = [
    { tag: '0008,0023', vr: 'DA', value: '20200303' },
    { tag: '0008,0033', vr: 'TM', value: '230000' },
  ];
  assert.deepEqual(studyOf('', ...content), ['20200303', '230000']);
  assert.deepEqual(studyOf('', ...content, { tag: '0008,0022', vr: 'DA', value: '20200202' }), ['20200202', '230000']);
  assert.deepEqual(studyOf('20190101', ...content), ['20190101', '230000']);
  assert.deepEqual(studyOf(''), ['', '']);
});

test('the beginning of a large file is enough, unless its header goes on', () => {
  const bytes = make({ rows: 512, columns: 512 });
  assert.equal(readDirectoryEntry(bytes.subarray(0, 4096), bytes.length, false).sopInstanceUid, '2.25.20261123.1.1.1');
  assert.throws(() => readDirectoryEntry(bytes.subarray(0, 300), bytes.length, false), /invalid DICOM/);
});

test('DCMTK reads it and adds a file to it', { skip: without('dcmmkdir') }, () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'IMAGES'));
  const extra = [{ tag: '0008,0030', vr: 'TM', value: '101500' }];
  const made = MADE.map((each) => ({ ...each, extra }));
  for (const [index, each] of made.entries()) writeFileSync(join(folder, 'IMAGES', `IM${index}`), make(each));
  writeFileSync(join(folder, 'DICOMDIR'), directoryOf(made.map((each, index) => file(each, index))));
  const dump = spawnSync('dcmdump', [join(folder, 'DICOMDIR')], { encoding: 'latin1' });
  assert.equal(dump.status, 0, dump.stderr);
  assert.equal(dump.stderr, '');
  writeFileSync(join(folder, 'IMAGES', 'NEW'), make({ ...made[5], sopUid: '2.25.312' }));
  const add = spawnSync('dcmmkdir', ['--append', '--invent', '-Nrc', 'IMAGES/NEW'], { cwd: folder, encoding: 'utf8' });
  assert.equal(add.status, 0, add.stderr);
  const again = spawnSync('dcmdump', [join(folder, 'DICOMDIR')], { encoding: 'latin1' }).stdout;
  assert.equal(again.match(/"Directory Record" IMAGE/g)?.length, MADE.length + 1);
  assert.equal(again.match(/"Directory Record" PATIENT/g)?.length, 2);
});
