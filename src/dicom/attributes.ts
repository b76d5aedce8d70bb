/**
 * Owns a data set as the web formats see it, DICOM JSON (PS3.18 Annex F) and the Native DICOM Model (PS3.19 Annex A): its
 * attributes with their values apart, what is too large for text as a reference.
 */

import { contentBytes } from './content.ts';
import { isPrivate, lookup, tagNumber } from './dictionary.ts';
import { privateCreator } from './json.ts';
import type { DataSet, Element } from './read.ts';
import { numbersOf, tagsOf, textOf } from './value.ts';
import { isVr, type Vr, vrRow } from './vr.ts';

/** One value: text without padding ('' when it is empty), a number as stored, of AT a tag as `GGGGEEEE`. */
export type AttributeValue = string | number | bigint;

/** What an attribute holds. */
export type Held =
  | { readonly kind: 'nothing' }
  /** One at least. */
  | { readonly kind: 'values'; readonly values: readonly AttributeValue[] }
  | { readonly kind: 'items'; readonly items: readonly (readonly Attribute[])[] }
  /** In little endian. */
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  /** Where the value is to be had. */
  | { readonly kind: 'reference'; readonly uri: string };

/** One attribute. */
export interface Attribute {
  /** `GGGGEEEE`, upper case. */
  readonly tag: string;
  readonly vr: Vr;
  /** Of a tag of the Standard. */
  readonly keyword?: string | undefined;
  /** Of a private element whose block is reserved. */
  readonly privateCreator?: string | undefined;
  readonly held: Held;
}

/** What the values that are not told are replaced by, and which they are. */
export interface AttributesOptions {
  /** URI of the instance: its `/content` has the values that are referred to, its `/frames` encapsulated Pixel Data. */
  readonly base: string;
  /** Pixel Data of the data set itself, never told; its VR and whether it is encapsulated. */
  readonly pixelData: { readonly vr: string; readonly encapsulated: boolean };
}

/** Bytes of the largest value that is told. */
export const LARGEST_INLINE = 1 << 20;

/** Bytes of bulk values that are told together; those that follow are referred to. */
export const INLINE_TOGETHER = 16 << 20;

const PIXEL_DATA = '7fe0,0010';

/** VRs of which leading spaces mean nothing either (PS3.5 table 6.2-1). */
const TRIMMED: ReadonlySet<string> = new Set(['AE', 'CS', 'DS', 'IS', 'LO', 'SH']);

/** What stays the same at every depth. */
interface Walk extends AttributesOptions {
  /** Bytes that may still be told. */
  left: number;
}

/** `GGGGEEEE` of `gggg,eeee`. */
const plainTag = (tag: string): string => tag.replace(',', '').toUpperCase();

function textValues(dataSet: DataSet, element: Element, vr: Vr): readonly string[] {
  // What a reader of UTF-8 is told is no longer in the character set of the file (PS3.18 §F.2, PS3.19 §A.1).
  if (element.tag === '0008,0005') return textOf(dataSet, element).trim() === '' ? [] : ['ISO_IR 192'];
  const text = textOf(dataSet, element);
  if (text === '') return [];
  if (!vrRow(vr).multiple) return [text];
  return text.split('\\').map((value) => {
    const end = value.replace(/ +$/, '');
    return TRIMMED.has(vr) ? end.replace(/^ +/, '') : end;
  });
}

function valuesOf(dataSet: DataSet, element: Element, vr: Vr): readonly AttributeValue[] {
  const { kind } = vrRow(vr);
  if (kind === 'text') return textValues(dataSet, element, vr);
  if (kind === 'tag') return tagsOf(dataSet, element).map(plainTag);
  return numbersOf(dataSet, element) ?? [];
}

function heldBy(dataSet: DataSet, element: Element, vr: Vr, path: string, walk: Walk): Held {
  const { base, pixelData } = walk;
  const own = `${path}/${element.tag.replace(',', '-')}`;
  const reference = (uri: string): Held => ({ kind: 'reference', uri: `${base}/${uri}` });
  if (path === 'content' && element.tag === PIXEL_DATA) {
    return reference(pixelData.encapsulated ? 'frames' : `${own}/0`);
  }
  if (element.items !== undefined) {
    if (element.items.length === 0) return { kind: 'nothing' };
    const items = element.items.map((item, index) => attributesAt(item, `${own}/${index}`, walk));
    return { kind: 'items', items };
  }
  // Fragments are a list at their path.
  if (element.fragments !== undefined) return reference(own);
  if (element.length === 0 || vr === 'SQ') return { kind: 'nothing' };
  if (element.length > LARGEST_INLINE) return reference(own);
  if (vrRow(vr).kind === 'bytes') {
    if (element.length > walk.left) return reference(own);
    walk.left -= element.length;
    const { offset, length } = element;
    const swap = dataSet.littleEndian ? 1 : vrRow(vr).unit;
    return { kind: 'bytes', bytes: contentBytes(dataSet, { kind: 'value', offset, length, swap }) };
  }
  const values = valuesOf(dataSet, element, vr);
  return values.length === 0 ? { kind: 'nothing' } : { kind: 'values', values };
}

function attributesAt(dataSet: DataSet, path: string, walk: Walk): readonly Attribute[] {
  const attributes: Attribute[] = [];
  for (const element of dataSet.elements.values()) {
    const { tag } = element;
    if (tag.startsWith('0002,') || tag.endsWith(',0000')) continue;
    const isPixelData = path === 'content' && tag === PIXEL_DATA;
    const stored = isPixelData ? walk.pixelData.vr : element.vr;
    // UN of undefined length is a sequence in implicit VR (PS3.5 §6.2.2 note 4).
    const vr = element.items !== undefined ? 'SQ' : isVr(stored) ? stored : 'UN';
    attributes.push({
      tag: plainTag(tag),
      vr,
      // Retired ones have a prefix in our dictionary, as DCMTK's have, and none in PS3.6.
      keyword: isPrivate(tag) ? undefined : lookup(tagNumber(tag))?.keyword.replace(/^RETIRED_/, ''),
      privateCreator: privateCreator(dataSet, tag),
      held: heldBy(dataSet, element, vr, path, walk),
    });
  }
  return attributes;
}

/**
 * The attributes of a data set in the order of their tags, without File Meta Information and group lengths. Told are values of up to
 * {@link LARGEST_INLINE} bytes, and {@link INLINE_TOGETHER} of bulk data; of the others, and of Pixel Data, where they are.
 */
export function attributesOf(dataSet: DataSet, options: AttributesOptions): readonly Attribute[] {
  return attributesAt(dataSet, 'content', { ...options, left: INLINE_TOGETHER });
}

/** The component groups of a person name (PS3.5 §6.2.1.2) that say something, by what both web formats call them. */
export function componentGroups(name: string): readonly (readonly [string, string])[] {
  const [alphabetic = '', ideographic = '', phonetic = ''] = name.split('=');
  const groups = { Alphabetic: alphabetic, Ideographic: ideographic, Phonetic: phonetic };
  return Object.entries(groups).filter(([, group]) => group !== '');
}
