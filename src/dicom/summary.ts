/**
 * Owns what the index keeps of one instance: the shape that travels from the parsing worker to the writer.
 * It is plain data, so that it crosses threads by structured clone.
 */

import { IsenError } from '../errors.ts';
import { lookup, tagNumber } from './dictionary.ts';
import { identifiers } from './ids.ts';
import { MAXIMUM_LENGTH, toJson } from './json.ts';
import { hasMore, LEVEL, LEVELS, type Level } from './levels.ts';
import { type DataSet, type DicomFile, readFile, type ReadOptions } from './read.ts';
import { transferSyntax } from './transfer-syntaxes.ts';
import { numbersOf, valueOf } from './value.ts';

/** Main DICOM tags: `gggg,eeee` (lower case) → decoded UTF-8 value, padding stripped. Absent tags have no key. */
export type Tags = Record<string, string>;

/** Orthanc's public identifiers, one a level: SHA-1 as five groups of eight hex digits. */
export type Identifiers = Readonly<Record<Level, string>>;

/** What the header of one instance says. */
export interface Summary {
  readonly ids: Identifiers;
  /**
   * By level. A study also has its patient's: two studies of one PatientID may name the patient differently, and each must
   * be shown with its own.
   */
  readonly tags: Readonly<Record<Level, Tags>>;
  /**
   * Metadata that comes from the header, by level and Orthanc's name. Instance: TransferSyntax, SopClassUid,
   * IndexInSeries, PixelDataOffset, PixelDataVR; Series: ExpectedNumberOfInstances, MainDicomSequences; …
   * Sequences among the main tags travel as `MainDicomSequences` (JSON text).
   */
  readonly metadata: Readonly<Record<Level, Record<string, string>>>;
}

/** What a summary reads. */
interface Wanted {
  /** The main tags that it follows from. */
  readonly of: readonly (readonly string[])[];
  /** Every tag; the private creators of none are needed. */
  readonly read: ReadonlySet<number>;
  /** Those that are sequences. */
  readonly sequences: ReadonlySet<string>;
}

let wanted: Wanted | undefined;

function wantedNow(): Wanted {
  const of = LEVELS.map((level) => LEVEL[level].mainDicomTags);
  if (wanted?.of.every((tags, index) => tags === of[index]) === true) return wanted;
  const main = of.flat();
  wanted = {
    of,
    read: new Set([...main, '0008,0005', '0008,0016', '0028,0100', '7fe0,0010'].map(tagNumber)),
    sequences: new Set(main.filter((tag) => lookup(tagNumber(tag))?.vr === 'SQ')),
  };
  return wanted;
}

/** Bytes of a value from which on it is too long for the index whatever its encoding: it need not be decoded. */
const LONGEST_ENCODED = 64 << 10;

/** The value of a main tag as the index keeps it, or undefined where it is absent, binary or too long. */
function mainTag(dataSet: DataSet, tag: string): string | undefined {
  const element = dataSet.elements.get(tag);
  if (element === undefined || element.items !== undefined || element.length > LONGEST_ENCODED) return undefined;
  const value = valueOf(dataSet, element);
  return value === null || Buffer.byteLength(value) > MAXIMUM_LENGTH ? undefined : value;
}

function valueLength(dataSet: DataSet, tag: string): number {
  return dataSet.elements.get(tag)?.length ?? 0;
}

/** A whole number, or undefined. */
function count(value: string | undefined): number | undefined {
  return value !== undefined && /^\s*\d{1,9}\s*$/.test(value) ? Number(value) : undefined;
}

/** The VR that native Pixel Data has by its transfer syntax and Bits Allocated (PS3.5 §8.1.2, §A.1, §A.2). */
export function usualPixelVr(file: DicomFile): string {
  const syntax = transferSyntax(file.transferSyntax);
  if (!(syntax?.explicit ?? true)) return 'OW';
  const bits = file.dataSet.elements.get('0028,0100');
  return bits !== undefined && Number(numbersOf(file.dataSet, bits)?.[0] ?? 16) <= 8 ? 'OB' : 'OW';
}

/** How many instances the series says that it has, or undefined. */
function expectedInstances(series: Tags): number | undefined {
  const product = (a: string, b: string): number | undefined => {
    const first = count(series[a]);
    const second = count(series[b]);
    return first === undefined || second === undefined ? undefined : first * second;
  };
  const expected = product('0020,1002', '0020,0105') ?? product('0054,0081', '0054,0101') ?? count(series['0018,1090']);
  return expected === 0 ? undefined : expected;
}

/**
 * Reads a DICOM file for the index. Throws BadFileFormat where {@link readFile} does, and for a file without the UIDs that place
 * it; BadParameterType where an identifying value is longer than the index takes.
 */
export function summarize(
  bytes: Uint8Array,
  options: Pick<ReadOptions, 'size' | 'cut' | 'maximumInflated' | 'maximumElements'> = {},
): Summary {
  const { read, sequences: known } = wantedNow();
  const file = readFile(bytes, { ...options, only: read });
  const { dataSet } = file;
  const tags: Record<Level, Tags> = { Patient: {}, Study: {}, Series: {}, Instance: {} };
  const metadata: Record<Level, Record<string, string>> = { Patient: {}, Study: {}, Series: {}, Instance: {} };
  for (const level of LEVELS) {
    for (const tag of LEVEL[level].mainDicomTags) {
      const value = mainTag(dataSet, tag);
      if (value !== undefined) tags[level][tag] = value;
    }
  }
  const study = tags.Study['0020,000d']?.trim();
  const series = tags.Series['0020,000e']?.trim();
  const instance = tags.Instance['0008,0018']?.trim();
  for (const level of LEVELS) {
    const key = LEVEL[level].key;
    // Without it the instance would get the identifier of one that has none.
    if (tags[level][key] === undefined && valueLength(dataSet, key) > 0) throw new IsenError('BadParameterType');
  }
  Object.assign(tags.Study, tags.Patient);
  if (!study || !series || !instance) {
    throw new IsenError('BadFileFormat', 'missing StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID');
  }
  metadata.Instance['TransferSyntax'] = file.transferSyntax;
  const sopClass = mainTag(dataSet, '0008,0016');
  if (sopClass) metadata.Instance['SopClassUid'] = sopClass;
  const index = tags.Instance['0020,0013'] ?? tags.Instance['0054,1330'];
  if (index !== undefined) metadata.Instance['IndexInSeries'] = index.trim();
  if (file.pixelData?.offset !== undefined && file.meta.elements.size > 0) {
    metadata.Instance['PixelDataOffset'] = String(file.pixelData.offset);
    const native = transferSyntax(file.transferSyntax)?.encapsulated === false;
    if (native && file.pixelData.vr !== usualPixelVr(file)) metadata.Instance['PixelDataVR'] = file.pixelData.vr;
  }
  const expected = expectedInstances(tags.Series);
  if (expected !== undefined) metadata.Series['ExpectedNumberOfInstances'] = String(expected);
  for (const level of LEVELS) {
    if (hasMore(level)) metadata[level]['MainDicomTagsSignature'] = LEVEL[level].mainDicomTags.join(';');
    const sequences = LEVEL[level].mainDicomTags.filter(
      (tag) => known.has(tag) && dataSet.elements.get(tag)?.items !== undefined,
    );
    if (sequences.length > 0) {
      const elements = new Map([...dataSet.elements].filter(([tag]) => sequences.includes(tag)));
      const json = toJson({ ...dataSet, elements }, 'Full');
      metadata[level]['MainDicomSequences'] = JSON.stringify({
        Sequences: json,
        Version: 1,
      });
    }
  }
  return { ids: identifiers(tags.Patient['0010,0020'] ?? '', study, series, instance), tags, metadata };
}
