/**
 * Owns the DICOMDIR of a file-set (PS3.10 §8.6, PS3.3 Annex F): what the record of each file says, read from its header, and the
 * file itself, in which records refer to one another by their offsets.
 */

import { createHash } from 'node:crypto';
import { IsenError } from '../errors.ts';
import { asciiText, type DataSet, type Element } from './elements.ts';
import {
  ALL_INSTANCE_KEYS,
  EXTENDED_KEYS,
  instanceKeys,
  type Key,
  PARENT_KEYS,
  STAND_INS,
  type RecordType,
  recordType,
} from './directory-records.ts';
import { tagNumber } from './dictionary.ts';
import { type DicomFile, readFile } from './read.ts';
import { EXPLICIT_LITTLE_ENDIAN, transferSyntax } from './transfer-syntaxes.ts';
import { numbersOf } from './value.ts';
import { vrRow } from './vr.ts';
import { type NewElement, type NewValue, writeDataSet, writeFile } from './write.ts';

/** What a DICOMDIR says of one file: the keys of its own record and of those above it, encoded, in memory of their own. */
export interface DirectoryEntry {
  readonly patient: Uint8Array;
  readonly study: Uint8Array;
  readonly series: Uint8Array;
  readonly instance: Uint8Array;
  readonly type: RecordType;
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
  readonly transferSyntax: string;
}

/** A file of the set. */
export interface DirectoryFile {
  /** Whose records are the same where these are. */
  readonly patient: string;
  readonly study: string;
  readonly series: string;
  /** Components of the File ID (PS3.10 §8.2): up to eight of up to eight characters out of A to Z, 0 to 9 and underscore. */
  readonly path: readonly string[];
  readonly entry: DirectoryEntry;
}

const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';
const ENCODING = { littleEndian: true, explicit: true };

/** Bytes of the largest DICOMDIR. */
const LARGEST = 256 << 20;
/** Bytes of a value that is copied: those of text have less. */
const LONGEST_VALUE = 1024;
/** Items of a sequence that are copied. */
const MOST_ITEMS = 16;

/** Of an item of a record: its head, then Offset of the Next Directory Record, Record In-use Flag and Offset of the Lower-Level Entity. */
const NEXT_AT = 8 + 8;
const LOWER_AT = NEXT_AT + 4 + 10 + 8;

/** A code (PS3.3 table 8.8-1), as far as a record says it. */
const CODE_KEYS: readonly Key[] = [
  { tag: '0008,0100', vr: 'SH', always: true },
  { tag: '0008,0102', vr: 'SH', always: true },
  { tag: '0008,0103', vr: 'SH', always: false },
  { tag: '0008,0104', vr: 'LO', always: true },
];

/** Every tag that a record may need: the others of a file are not kept. */
const TAGS: ReadonlySet<number> = new Set(
  [
    '0008,0016',
    '0008,0018',
    ...[...STAND_INS.values()].flat(),
    ...[...Object.values(PARENT_KEYS), EXTENDED_KEYS, ALL_INSTANCE_KEYS, CODE_KEYS].flat().map(({ tag }) => tag),
  ].map(tagNumber),
);

/** The value of a key as it is written; undefined where the element is missing, holds nothing of its kind, or need not be empty. */
function valueFor(dataSet: DataSet, { vr, always }: Key, element: Element | undefined): NewValue | undefined {
  if (element === undefined) return undefined;
  if (vr === 'SQ') {
    if (element.items === undefined) return undefined;
    return { items: element.items.slice(0, MOST_ITEMS).map((item) => elementsFor(item, CODE_KEYS)) };
  }
  const { kind } = vrRow(vr);
  if (kind === 'integer') return numbersOf(dataSet, element);
  if (element.length > LONGEST_VALUE || element.items !== undefined || element.fragments !== undefined)
    return undefined;
  // Text in a byte order that means nothing to it; the record names the same character set. Padding is the writer's.
  let end = element.offset + element.length;
  while (end > element.offset && (dataSet.bytes[end - 1] === 0x20 || dataSet.bytes[end - 1] === 0)) end -= 1;
  return end === element.offset && !always ? undefined : dataSet.bytes.subarray(element.offset, end);
}

function elementsFor(dataSet: DataSet, keys: readonly Key[]): NewElement[] {
  return keys.flatMap((key): NewElement[] => {
    const { tag, vr, always } = key;
    for (const each of [tag, ...(STAND_INS.get(tag) ?? [])]) {
      const value = valueFor(dataSet, key, dataSet.elements.get(each));
      if (value !== undefined && !(value instanceof Uint8Array && value.length === 0)) return [{ tag, vr, value }];
    }
    return always ? [{ tag, vr, value: vr === 'SQ' ? { items: [] } : '' }] : [];
  });
}

/** Of a thread's own memory, without what lies beside it. */
const encoded = (dataSet: DataSet, keys: readonly Key[]): Uint8Array =>
  Uint8Array.from(writeDataSet(elementsFor(dataSet, keys), ENCODING));

/**
 * What a DICOMDIR says of a file of `size` bytes, of which `bytes` are the beginning; `extended` adds attributes of type 3. Throws
 * BadFileFormat for what is no DICOM, or where the header goes on past `bytes`.
 */
export function readDirectoryEntry(bytes: Uint8Array, size: number, extended: boolean): DirectoryEntry {
  const file: DicomFile = readFile(bytes, { size, cut: true, only: TAGS, untilPixelData: true });
  const { dataSet } = file;
  const uid = (tag: string): string => {
    const element = dataSet.elements.get(tag);
    return element === undefined ? '' : asciiText(dataSet.bytes, element.offset, element.offset + element.length);
  };
  const sopClassUid = uid('0008,0016');
  const type = recordType(sopClassUid);
  return {
    patient: encoded(dataSet, PARENT_KEYS.PATIENT),
    study: encoded(dataSet, PARENT_KEYS.STUDY),
    series: encoded(dataSet, [...PARENT_KEYS.SERIES, ...(extended ? EXTENDED_KEYS : [])]),
    instance: encoded(dataSet, instanceKeys(type)),
    type,
    sopClassUid,
    sopInstanceUid: uid('0008,0018'),
    transferSyntax: file.transferSyntax,
  };
}

/** A record as it will stand in the file; the two offsets are still missing. */
interface DirectoryRecord {
  readonly depth: number;
  readonly item: Buffer;
}

/** A DICOMDIR that grows with its files; some 250 bytes each. */
export class Dicomdir {
  readonly #records: DirectoryRecord[] = [];
  readonly #identifier: string;
  #size = 0;
  #patient: string | undefined;
  #study: string | undefined;
  #series: string | undefined;

  /** `identifier`: File-set ID (0004,1130). */
  constructor(identifier: string) {
    this.#identifier = identifier;
  }

  /**
   * Adds a file. Those of one series, study and patient come one after another. Throws NotEnoughMemory for one more than a
   * DICOMDIR can have.
   */
  add({ patient, study, series, path, entry }: DirectoryFile): void {
    const isPatient = patient !== this.#patient;
    const isStudy = isPatient || study !== this.#study;
    const isSeries = isStudy || series !== this.#series;
    if (isPatient) this.#push(0, 'PATIENT', entry.patient);
    if (isStudy) this.#push(1, 'STUDY', entry.study);
    if (isSeries) this.#push(2, 'SERIES', entry.series);
    this.#push(3, entry.type, entry.instance, [
      { tag: '0004,1500', vr: 'CS', value: path.join('\\') },
      { tag: '0004,1510', vr: 'UI', value: entry.sopClassUid },
      { tag: '0004,1511', vr: 'UI', value: entry.sopInstanceUid },
      { tag: '0004,1512', vr: 'UI', value: entry.transferSyntax },
    ]);
    this.#patient = patient;
    this.#study = study;
    this.#series = series;
  }

  #push(depth: number, type: string, keys: Uint8Array, reference: readonly NewElement[] = []): void {
    const head = writeDataSet(
      [
        { tag: '0004,1400', vr: 'UL', value: [0] },
        { tag: '0004,1410', vr: 'US', value: [0xffff] },
        { tag: '0004,1420', vr: 'UL', value: [0] },
        { tag: '0004,1430', vr: 'CS', value: type },
        ...reference,
      ],
      ENCODING,
    );
    const item = Buffer.alloc(8);
    item.writeUInt16LE(0xfffe, 0);
    item.writeUInt16LE(0xe000, 2);
    item.writeUInt32LE(head.length + keys.length, 4);
    const record = { depth, item: Buffer.concat([item, head, keys]) };
    this.#size += record.item.length;
    if (this.#size > LARGEST) throw new IsenError('NotEnoughMemory', 'too many files for one DICOMDIR');
    this.#records.push(record);
  }

  /** The bytes of the file. */
  finish(): Buffer {
    const syntax = transferSyntax(EXPLICIT_LITTLE_ENDIAN);
    if (syntax === undefined) throw new TypeError('the table lacks a transfer syntax');
    const write = (first: number, last: number, records: Uint8Array): Buffer =>
      writeFile({
        transferSyntax: syntax,
        sopClassUid: MEDIA_STORAGE_DIRECTORY,
        sopInstanceUid: this.#uid(),
        dataSet: [
          { tag: '0004,1130', vr: 'CS', value: this.#identifier },
          { tag: '0004,1200', vr: 'UL', value: [first] },
          { tag: '0004,1202', vr: 'UL', value: [last] },
          { tag: '0004,1212', vr: 'US', value: [0] },
          { tag: '0004,1220', raw: records },
        ],
      });
    // The head of the sequence: its items follow it to the end of the file.
    const sequence = Buffer.alloc(12);
    sequence.writeUInt16LE(0x0004, 0);
    sequence.writeUInt16LE(0x1220, 2);
    sequence.write('SQ', 4, 'latin1');
    sequence.writeUInt32LE(this.#size, 8);
    const start = write(0, 0, sequence).length;
    const last = this.#link(start);
    const any = this.#records.length > 0;
    return write(any ? start : 0, last, Buffer.concat([sequence, ...this.#records.map(({ item }) => item)]));
  }

  /** Writes the offsets into the records, of which the first is at `start`. Answers where the last of the root is. */
  #link(start: number): number {
    /** The latest record of each depth that has the same parent as the next one of that depth. */
    const latest: (Buffer | undefined)[] = [];
    let at = start;
    let last = 0;
    for (const { depth, item } of this.#records) {
      const before = latest[depth];
      if (before !== undefined) before.writeUInt32LE(at, NEXT_AT);
      else latest[depth - 1]?.writeUInt32LE(at, LOWER_AT);
      latest.length = depth;
      latest[depth] = item;
      if (depth === 0) last = at;
      at += item.length;
    }
    return last;
  }

  /** The same files have the same UID (PS3.5 §B.2). */
  #uid(): string {
    const hash = createHash('md5');
    for (const { item } of this.#records) hash.update(item);
    return `2.25.${BigInt(`0x${hash.digest('hex')}`)}`;
  }
}
