/**
 * Owns the way from a value of the REST API's JSON to an element: text in the character set of the data set, numbers, tags, bytes by
 * data URI, sequences as arrays of objects.
 */

import { IsenError } from '../errors.ts';
import type { CharacterSet } from './charset.ts';
import { lookup, tagNumber } from './dictionary.ts';
import { tagOf } from './path.ts';
import { type NewElement, type NewValue, writeDataSet } from './write.ts';
import { vrRow } from './vr.ts';

/** A value as requests give it; null is empty. */
export type JsonValue = string | null | readonly JsonItem[];

/** An item of a sequence: values by keyword or tag. */
export interface JsonItem {
  readonly [name: string]: JsonValue;
}

/** Sequences in sequences at most. */
const DEEPEST = 64;

/** Bytes of a value that is no sequence, at most: what a length field can say. */
const LARGEST = 0xfffffffe;

const DATA_URI = /^data:[^,]{0,256};base64,/;
const BASE64 = /^[A-Za-z0-9+/\s]*={0,2}\s*$/;

/** What an element is encoded with. */
export interface Surroundings {
  readonly characterSet: CharacterSet;
  /** Byte order of the data set. */
  readonly littleEndian: boolean;
  /** Creator whose dictionary says the VR of private tags. */
  readonly privateCreator?: string | undefined;
  /** Whether a data URI means its bytes (the default), or is the text that it is. */
  readonly interpretBinary?: boolean;
}

/** Whether a character set has every character of a value, at every depth. */
export function isCovered(value: JsonValue, set: CharacterSet): boolean {
  if (value === null) return true;
  if (typeof value === 'string') return /^[\x00-\x7f]*$/.test(value) || set.covers(value);
  return value.every((item) => Object.values(item).every((each) => isCovered(each, set)));
}

/**
 * Checks that JSON is a value of the element `tag`, at every depth.
 * @throws {IsenError} BadParameterType for another type; UnknownDicomTag for a name in an item that no dictionary has.
 */
export function checkValue(tag: string, value: unknown, depth = 0): asserts value is JsonValue {
  if (value === null || typeof value === 'string') return;
  if (!Array.isArray(value) || depth >= DEEPEST || vrOf(tag) !== 'SQ')
    throw new IsenError('BadParameterType', `Bad Parameter type for tag ${tag}`);
  for (const item of value as unknown[]) {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) throw new IsenError('BadParameterType');
    for (const [name, each] of Object.entries(item)) checkValue(tagOf(name), each, depth + 1);
  }
}

/** The VR of the dictionary; UN where it has none. */
function vrOf(tag: string, privateCreator?: string): string {
  return lookup(tagNumber(tag), privateCreator)?.vr ?? 'UN';
}

const outOfRange = (tag: string, value: string): IsenError =>
  new IsenError(
    'BadFileFormat',
    `While creating a DICOM instance, tag (${tag}) has out-of-range value: "${value.slice(0, 256)}"`,
  );

/**
 * The element of a checked value. `vr` is that of the element in whose place it comes, if there is one.
 * @throws {IsenError} BadFileFormat for a value that the VR cannot hold.
 */
export function elementOf(tag: string, value: JsonValue, around: Surroundings, vr?: string): NewElement {
  const known = vrOf(tag, around.privateCreator);
  const own = vr === undefined || (vr === 'UN' && known !== 'UN') ? known : vr;
  if (value === null || value === '') return { tag, vr: own, value: own === 'SQ' ? { items: [] } : '' };
  if (typeof value !== 'string') {
    const items = value.map((item) => Object.entries(item).map(([name, each]) => elementOf(tagOf(name), each, around)));
    return { tag, vr: 'SQ', value: { items } };
  }
  const made = { tag, vr: own, value: plainValue(tag, own, value, around) };
  try {
    // What the VR cannot hold is refused here, by the element's own name.
    writeDataSet([made], { littleEndian: around.littleEndian, explicit: true });
  } catch (thrown) {
    throw new IsenError('BadFileFormat', outOfRange(tag, value).details, { cause: thrown });
  }
  return made;
}

function plainValue(tag: string, vr: string, text: string, around: Surroundings): NewValue {
  const { characterSet, interpretBinary = true } = around;
  const { kind, charset } = vrRow(vr);
  const uri = interpretBinary ? DATA_URI.exec(text) : null;
  const base64 = text.slice(uri?.[0].length ?? text.length);
  // What is no base64 is the text that it is, as in the reference.
  const bytes = base64 !== '' && BASE64.test(base64) ? Buffer.from(base64, 'base64') : undefined;
  if (bytes !== undefined && bytes.length > LARGEST) throw outOfRange(tag, '');
  switch (kind) {
    case 'text':
      return bytes ?? (charset ? characterSet.encode(text) : Buffer.from(text, 'latin1'));
    case 'bytes':
      return bytes ?? (vr === 'UN' ? characterSet.encode(text) : Buffer.from(text, 'latin1'));
    case 'integer':
      return text.split('\\').map((part) => {
        if (!/^\s*[+-]?\d{1,20}\s*$/.test(part)) throw outOfRange(tag, text);
        return BigInt(part.trim().replace(/^\+/, ''));
      });
    case 'float':
      return text.split('\\').map((part) => {
        const number = part.trim() === '' ? Number.NaN : Number(part);
        if (!Number.isFinite(number)) throw outOfRange(tag, text);
        return number;
      });
    case 'tag':
      return text.split('\\').map((part) => tagNumber(tagOf(part)));
    case 'sequence':
      throw outOfRange(tag, text);
  }
}
