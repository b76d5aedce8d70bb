/** Owns how the rows of every backend spell values: ids, UUIDs and digests as bytes, dates as numbers, levels as table names. */

import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { IsenError } from '../errors.ts';
import { CHANGE_TYPES, type Change, type Metadata, type RevisedAttachment } from './database.ts';

/** What an index counts of what it holds, as the counters row has it. Sizes in bytes. */
export const COUNTED = [
  'patients',
  'studies',
  'series',
  'instances',
  'disk_size',
  'uncompressed_size',
  'dicom_disk_size',
  'dicom_uncompressed_size',
] as const;

/** Table of each level; the column of the counters row that counts its resources has the same name. */
export const TABLE = {
  Patient: 'patients',
  Study: 'studies',
  Series: 'series',
  Instance: 'instances',
} as const satisfies Record<Level, string>;

/** Number of a level in the rows: 0 is a patient. */
export function levelNumber(level: Level): number {
  return LEVELS.indexOf(level);
}

/** Whether text is a public id. */
export function isPublicId(id: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/.test(id);
}

/** The 20 bytes of a public id, or undefined for text that is none. */
export function publicIdBytes(id: string): Buffer | undefined {
  return isPublicId(id) ? Buffer.from(id.replaceAll('-', ''), 'hex') : undefined;
}

/** A public id from its bytes in hex (either case). */
export function publicId(hex: string): string {
  const low = hex.toLowerCase();
  return `${low.slice(0, 8)}-${low.slice(8, 16)}-${low.slice(16, 24)}-${low.slice(24, 32)}-${low.slice(32)}`;
}

/** A UUID from its bytes in hex (either case). */
export function uuidText(hex: string): string {
  const low = hex.toLowerCase();
  return `${low.slice(0, 8)}-${low.slice(8, 12)}-${low.slice(12, 16)}-${low.slice(16, 20)}-${low.slice(20)}`;
}

/** The last second that was written out: changes come by the hundred in one. */
let latest = { seconds: Number.NaN, text: '' };

/** Seconds since the epoch as `YYYYMMDDTHHMMSS`, UTC. */
export function dateText(seconds: number): string {
  if (latest.seconds !== seconds) {
    const iso = new Date(seconds * 1000).toISOString();
    const date = `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 10)}`;
    const text = `${date}T${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}`;
    latest = { seconds, text };
  }
  return latest.text;
}

/** An attachment as its backend's rows give it: content type, UUID in hex, sizes and MD5s, compression (0 none), revision. */
export type AttachmentRow = readonly [number, string, number, string, number, string, number, number];

export function attachmentOf(row: AttachmentRow): RevisedAttachment {
  const [contentType, uuid, uncompressedSize, md5, compressedSize, compressedMD5, compression, revision] = row;
  return {
    uuid: uuidText(uuid),
    contentType,
    uncompressedSize,
    uncompressedMD5: md5.toLowerCase(),
    compressedSize,
    compressedMD5: compressedMD5.toLowerCase(),
    compression: compression === 0 ? 'none' : 'zlib',
    revision,
  };
}

/** A row of the changes log: seq, type, level, public id in hex, seconds since the epoch. */
export type ChangeRow = readonly [seq: number, type: number, level: number, id: string, date: number];

export function changeOf([seq, number, levelNumber, id, date]: ChangeRow): Change {
  const type = CHANGE_TYPES[number];
  const level = LEVELS[levelNumber];
  if (type === undefined || level === undefined) throw new IsenError('Database', 'A change of unknown type');
  return { seq, type, level, id: publicId(id), date: dateText(date) };
}

/** `MainDicomTagsSignature` of each level. */
export const SIGNATURE: Readonly<Record<Level, string>> = {
  Patient: LEVEL.Patient.mainDicomTags.join(';'),
  Study: LEVEL.Study.mainDicomTags.join(';'),
  Series: LEVEL.Series.mainDicomTags.join(';'),
  Instance: LEVEL.Instance.mainDicomTags.join(';'),
};

/** The metadata column of a row. */
export type RowMetadata = Readonly<Record<string, string>>;
/** Of the metadata table: name → value and revision. */
export type SetMetadata = Readonly<Record<string, readonly [string, number]>>;

/**
 * All metadata of a resource: what its row holds, what every resource of its level has without storing it, and, over
 * both, what was set since (`set`).
 */
export function metadataOf(
  level: Level,
  row: RowMetadata,
  lastUpdate: number | null,
  set?: SetMetadata,
): Readonly<Record<string, Metadata>> {
  const all: Record<string, Metadata> = {};
  for (const name of Object.keys(row)) all[name] = { value: row[name] ?? '', revision: 0 };
  if (lastUpdate !== null) all['LastUpdate'] = { value: dateText(lastUpdate), revision: 0 };
  all['MainDicomTagsSignature'] ??= { value: SIGNATURE[level], revision: 0 };
  if (set === undefined) return all;
  for (const name of Object.keys(set)) {
    const [value = '', revision = 0] = set[name] ?? [];
    all[name] = { value, revision };
  }
  return all;
}
