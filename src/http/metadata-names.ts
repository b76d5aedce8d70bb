/** Owns the numbers of metadata and content types: Orthanc's own, and the user's from the configuration. */

import type { Config } from '../config.ts';
import type { Metadata } from '../database/database.ts';
import { BUILT_IN_METADATA } from '../database/metadata.ts';
import { IsenError } from '../errors.ts';

/** First and last number that users may give. */
const USER_START = 1024;
const USER_END = 65535;

/** What the index calls a metadata (Orthanc's name, or the number of a user's one), and its number. */
export interface MetadataKey {
  readonly key: string;
  readonly number: number;
}

/** The metadata that a client calls `name` (a name or a number), or undefined. */
export function metadataKey(config: Config, name: string): MetadataKey | undefined {
  const number = /^\d{1,5}$/.test(name) ? Number(name) : (BUILT_IN_METADATA[name] ?? userMetadata(config)[name]);
  if (number === undefined || number > USER_END) return undefined;
  if (number >= USER_START) return { key: String(number), number };
  const key = Object.keys(BUILT_IN_METADATA).find((each) => BUILT_IN_METADATA[each] === number);
  return key === undefined ? undefined : { key, number };
}

/** Whether users may write this metadata. */
export const isUserMetadata = (number: number): boolean => number >= USER_START;

/** What clients see of the index's key: number, and name (the configured one of a user's metadata). */
export function metadataName(config: Config, key: string): { readonly number: number; readonly name: string } {
  const own = BUILT_IN_METADATA[key];
  if (own !== undefined) return { number: own, name: key };
  const number = Number(key);
  const name = Object.entries(userMetadata(config)).find(([, each]) => each === number)?.[0];
  return { number, name: name ?? key };
}

/** Values of the metadata that clients see, by name (or number), sorted. */
export function metadataValues(
  config: Config,
  metadata: Readonly<Record<string, Metadata>>,
  numeric = false,
): Record<string, string> {
  const rows = Object.entries(metadata).flatMap(([key, { value }]): [string, string][] => {
    const { number, name } = metadataName(config, key);
    // What has no number is the index's own.
    return Number.isInteger(number) ? [[numeric ? String(number) : name, value]] : [];
  });
  return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const userMetadata = (config: Config): Readonly<Record<string, number>> => config.UserMetadata;

/** A content type of attachments. */
export interface ContentType {
  readonly number: number;
  readonly name: string;
  readonly mime: string;
}

/** Orthanc's content types; files of the last two are only of its earlier versions. */
const BUILT_IN: readonly ContentType[] = [
  { number: 1, name: 'dicom', mime: 'application/dicom' },
  { number: 2, name: 'dicom-as-json', mime: 'application/json' },
  { number: 3, name: 'dicom-until-pixel-data', mime: 'application/dicom' },
];

function contentTypes(config: Config): ContentType[] {
  return [
    ...BUILT_IN,
    ...Object.entries(config.UserContentType).map(([name, { code, mime }]) => ({ number: code, name, mime })),
  ];
}

/** Whether users may write attachments of this content type. */
export const isUserContentType = (number: number): boolean => number >= USER_START && number <= USER_END;

/** The content type that a client calls `name` (a name or a number). Throws InexistentItem, as the reference does. */
export function contentType(config: Config, name: string): ContentType {
  const known = contentTypes(config).find((each) => each.name === name || String(each.number) === name);
  if (known !== undefined) return known;
  if (/^\d{1,9}$/.test(name)) return { number: Number(name), name, mime: 'application/octet-stream' };
  throw new IsenError('InexistentItem');
}

/** Name of a content type of the index. */
export function contentTypeName(config: Config, number: number): string {
  return contentTypes(config).find((each) => each.number === number)?.name ?? String(number);
}
