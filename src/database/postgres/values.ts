/** Owns what values must be for PostgreSQL to take them: its text holds neither NUL nor half a surrogate pair. */

import type { Level } from '../../dicom/levels.ts';
import { normalise } from '../../dicom/match.ts';
import type { Summary } from '../../dicom/summary.ts';
import { IsenError } from '../../errors.ts';
import type { Attachment, StoreOperation } from '../database.ts';
import { IDENTIFIERS } from '../find.ts';
import { isPublicId } from '../rows.ts';

/** `value` without what no text of PostgreSQL can hold. */
export function text(value: string): string {
  // oxlint-disable-next-line no-control-regex
  if (!/[\0\ud800-\udfff]/.test(value)) return value;
  return value.replaceAll('\0', '').replace(/\p{Surrogate}/gu, '\ufffd');
}

/** JSON text of strings by name, likewise. */
export function json(value: Readonly<Record<string, string>>): string {
  return jsonText(JSON.stringify(value));
}

/** {@link json} of what is written already. */
export function jsonText(written: string): string {
  // Escapes of either are rare: only then is it worth looking closer.
  if (!/\\u(0000|d[89a-f])/i.test(written)) return written;
  const value = JSON.parse(written) as Readonly<Record<string, string>>;
  return JSON.stringify(Object.fromEntries(Object.entries(value).map(([name, each]) => [text(name), text(each)])));
}

/** A {@link StoreOperation} with its summary read. */
export interface ReadStore extends Omit<StoreOperation, 'summary'> {
  readonly summary: Summary;
}

/** Column values of a resource's row that come from its file: tags, metadata, then its identifiers. */
export function columnsOf(level: Level, { summary, metadata }: ReadStore): readonly (string | null)[] {
  const tags = summary.tags[level];
  const received: Readonly<Record<string, string>> =
    level === 'Instance'
      ? metadata
      : level === 'Series' && metadata['RemoteAET'] !== undefined
        ? { RemoteAET: metadata['RemoteAET'] }
        : {};
  const identifiers = Object.values(IDENTIFIERS[level]).map((tag) => {
    const value = tags[tag];
    return value === undefined ? null : text(normalise(value));
  });
  return [json(tags), json({ ...summary.metadata[level], ...received }), ...identifiers];
}

/** SQL names and types of {@link columnsOf}. */
export function columnNames(level: Level): readonly { readonly name: string; readonly type: string }[] {
  return [
    { name: 'tags', type: 'json' },
    { name: 'metadata', type: 'json' },
    ...Object.keys(IDENTIFIERS[level]).map((name) => ({ name, type: 'text' })),
  ];
}

/** Columns of an attachment in every table that has one. */
export const FILE_VALUES = [
  { name: 'uuid', type: 'uuid' },
  { name: 'size', type: 'bigint' },
  { name: 'md5', type: 'bytea' },
  { name: 'compressed_size', type: 'bigint' },
  { name: 'compressed_md5', type: 'bytea' },
  { name: 'compression', type: 'smallint' },
] as const;

/** Values of {@link FILE_VALUES}, MD5 in hex; what equals the uncompressed is null. Throws `ParameterOutOfRange` for no UUID. */
export function fileValues(attachment: Attachment): readonly (string | number | null)[] {
  const { uuid, uncompressedSize, uncompressedMD5, compressedSize, compressedMD5, compression } = attachment;
  return [
    uuidText(uuid),
    uncompressedSize,
    uncompressedMD5 === '' ? null : uncompressedMD5,
    compressedSize === uncompressedSize ? null : compressedSize,
    compressedMD5 === uncompressedMD5 || compressedMD5 === '' ? null : compressedMD5,
    compression === 'none' ? 0 : 1,
  ];
}

/** `uuid` itself; throws `ParameterOutOfRange` for text that is none. */
export function uuidText(uuid: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) {
    throw new IsenError('ParameterOutOfRange', 'Not a UUID');
  }
  return uuid;
}

/** A public id as the hex of its bytes; throws `ParameterOutOfRange` for text that is none. */
export function hexOf(id: string): string {
  if (!isPublicId(id)) throw new IsenError('ParameterOutOfRange', 'Not a public identifier');
  return id.replaceAll('-', '');
}
