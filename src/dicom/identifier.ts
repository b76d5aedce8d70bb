/**
 * Owns the identifiers of queries and what else travels as a small data set of plain values (PS3.4 §C.4, PS3.7 §9.1.2): their decoding
 * from the bytes of a message and their encoding in the character set of the answer.
 */

import { type CharacterSet, characterSet } from './charset.ts';
import { lookup, parseTag, tagName, tagNumber } from './dictionary.ts';
import { privateCreator, type TagsFormat } from './json.ts';
import { type DataSet, readDataSet } from './read.ts';
import { transferSyntax } from './transfer-syntaxes.ts';
import { valueOf } from './value.ts';
import { vrRow } from './vr.ts';
import { type NewElement, type NewValue, writeDataSet } from './write.ts';

/** One element of an identifier. */
export interface Key {
  /** `gggg,eeee`. */
  readonly tag: string;
  readonly vr: string;
  /** Decoded text, several values joined by backslashes (bytes have none: ''); or the items of a sequence. */
  readonly value: string | readonly Identifier[];
}

/** Elements in ascending order of their tags, without Specific Character Set and group lengths. */
export type Identifier = readonly Key[];

/** Bytes that an identifier may have; those of real queries have hundreds. */
export const MAXIMUM_IDENTIFIER = 4 * 1024 * 1024;

const CHARACTER_SET = '0008,0005';

/** The value of a text element, or undefined where it is absent or a sequence. */
export function textIn(identifier: Identifier, tag: string): string | undefined {
  const value = identifier.find((key) => key.tag === tag)?.value;
  return typeof value === 'string' ? value : undefined;
}

/** Plain values of a data set. */
export function identifierOf(dataSet: DataSet): Identifier {
  const keys: Key[] = [];
  for (const element of dataSet.elements.values()) {
    const { tag, items } = element;
    if (tag === CHARACTER_SET || tag.endsWith(',0000')) continue;
    const known = element.vr === 'UN' ? lookup(tagNumber(tag), privateCreator(dataSet, tag))?.vr : undefined;
    const vr = items === undefined ? (known ?? element.vr) : 'SQ';
    if (vr === 'SQ') keys.push({ tag, vr, value: (items ?? []).map(identifierOf) });
    else keys.push({ tag, vr, value: valueOf(dataSet, { ...element, vr }) ?? '' });
  }
  return keys;
}

/** Decodes an identifier; also says its Specific Character Set. Throws BadFileFormat. */
export function readIdentifier(
  bytes: Uint8Array,
  syntax: string,
): { readonly identifier: Identifier; readonly characterSet: CharacterSet } {
  const dataSet = readDataSet(bytes, syntax, MAXIMUM_IDENTIFIER);
  return { identifier: identifierOf(dataSet), characterSet: dataSet.characterSet };
}

/** Every text of an identifier to which a character set applies. */
function* charsetTexts(identifier: Identifier): Generator<string, void> {
  for (const { vr, value } of identifier) {
    if (typeof value !== 'string') for (const item of value) yield* charsetTexts(item);
    else if (vrRow(vr).charset) yield value;
  }
}

/** The first of `wanted` that has every character of the identifier, else UTF-8. */
export function fittingCharacterSet(identifier: Identifier, wanted: readonly CharacterSet[]): CharacterSet {
  const texts = [...charsetTexts(identifier)];
  return wanted.find((set) => texts.every((text) => set.covers(text))) ?? characterSet('ISO_IR 192');
}

/**
 * Encodes an identifier in the first of the character sets that loses nothing (else UTF-8), which it names in (0008,0005). A value that
 * its VR cannot hold becomes an empty one.
 */
export function writeIdentifier(identifier: Identifier, syntax: string, wanted: readonly CharacterSet[]): Buffer {
  const set = fittingCharacterSet(identifier, wanted);
  const encoding = transferSyntax(syntax) ?? { littleEndian: true, explicit: false };
  const elements = identifier.map((key) => newElement(key, set));
  const terms = set.terms.join('\\');
  if (terms !== '') elements.push({ tag: CHARACTER_SET, vr: 'CS', value: terms });
  return writeDataSet(elements, encoding);
}

function newElement({ tag, vr, value }: Key, set: CharacterSet): NewElement {
  if (typeof value !== 'string') {
    return { tag, vr: 'SQ', value: { items: value.map((item) => item.map((key) => newElement(key, set))) } };
  }
  // A value of unknown VR is known here as text only.
  if (vr === 'UN') return { tag, vr, value: set.encode(value) };
  return { tag, vr, value: newValue(vr, value, set) };
}

function newValue(vr: string, value: string, set: CharacterSet): NewValue {
  const { kind, charset, lengthSize } = vrRow(vr);
  if (kind === 'text') {
    const bytes = charset ? set.encode(value) : Buffer.from(value, 'latin1');
    return lengthSize === 2 && bytes.length > 0xfffe ? bytes.subarray(0, 0) : bytes;
  }
  if (value === '' || kind === 'bytes') return new Uint8Array(0);
  const parts = value.split('\\');
  if (kind === 'tag') {
    const tags = parts.map((part) => /^([0-9a-f]{4})[,-]?([0-9a-f]{4})$/i.exec(part.trim()));
    return tags.every((tag) => tag !== null)
      ? tags.map((tag) => Number.parseInt(`${tag[1] ?? ''}${tag[2] ?? ''}`, 16))
      : new Uint8Array(0);
  }
  if (kind === 'float') {
    const numbers = parts.map(Number);
    return numbers.every(Number.isFinite) ? numbers : new Uint8Array(0);
  }
  if (!parts.every((part) => /^\s*-?\d{1,20}\s*$/.test(part))) return new Uint8Array(0);
  const { unit, signed } = vrRow(vr);
  const numbers = parts.map((part) => BigInt(part.trim()));
  const fits = (number: bigint): boolean => (signed ? BigInt.asIntN : BigInt.asUintN)(unit * 8, number) === number;
  return numbers.every(fits) ? numbers : new Uint8Array(0);
}

/** An identifier in one of the JSON forms, with its Specific Character Set where it has one. */
export function identifierJson(identifier: Identifier, format: TagsFormat, terms?: string): Record<string, unknown> {
  const keys: Identifier = terms ? [{ tag: CHARACTER_SET, vr: 'CS', value: terms }, ...identifier] : identifier;
  const entries = keys.map(({ tag, value }): [string, unknown] => {
    const shown = typeof value === 'string' ? value : value.map((item) => identifierJson(item, format));
    const Type = typeof value === 'string' ? 'String' : 'Sequence';
    if (format === 'Full') return [tag, { Name: tagName(tag), Type, Value: shown }];
    return [format === 'Short' ? tag : tagName(tag), shown];
  });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Sequences in sequences that JSON may ask for. */
const MAXIMUM_DEPTH = 8;

/**
 * The identifier that a JSON object of tags (in any spelling) with texts, or with arrays of such objects for sequences, means. Undefined
 * for JSON that means none.
 */
export function identifierFromJson(json: unknown, depth = 0): Identifier | undefined {
  if (typeof json !== 'object' || json === null || Array.isArray(json) || depth > MAXIMUM_DEPTH) return undefined;
  const keys = new Map<string, Key>();
  for (const [name, value] of Object.entries(json)) {
    const tag = parseTag(name);
    if (tag === undefined) return undefined;
    const vr = lookup(tagNumber(tag))?.vr ?? 'UN';
    if (typeof value === 'string') {
      keys.set(tag, vr === 'SQ' ? { tag, vr, value: [] } : { tag, vr, value });
      continue;
    }
    if (!Array.isArray(value)) return undefined;
    const items = value.map((item: unknown) => identifierFromJson(item, depth + 1));
    if (!items.every((item) => item !== undefined)) return undefined;
    keys.set(tag, { tag, vr: 'SQ', value: items });
  }
  return [...keys.values()].filter(({ tag }) => tag !== CHARACTER_SET).sort((a, b) => (a.tag < b.tag ? -1 : 1));
}
