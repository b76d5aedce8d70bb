/**
 * Owns the reading of data elements (PS3.5 §7): from bytes in a known encoding to the tree of where each element is. Every length
 * is checked against what encloses it; nesting and the number of kept elements are bounded.
 */

import { type CharacterSet, characterSet, DEFAULT_CHARACTER_SET } from './charset.ts';
import { lookup, SIGNED_LIKE_PIXELS, tagText } from './dictionary.ts';
import { VR, vrOfCode } from './vr.ts';

/** One item of a fragmented value. */
export interface Fragment {
  /** Of its first byte in the data set's bytes. */
  readonly offset: number;
  readonly length: number;
}

/** One data element: where it is, not what it says. Offsets count from the start of {@link DataSet.bytes}. */
export interface Element {
  /** `gggg,eeee`, lower case. */
  readonly tag: string;
  /** As stored; for implicit VR as the dictionary says, `UN` when it does not know. */
  readonly vr: string;
  /** Of the tag. */
  readonly start: number;
  /** Of the value. */
  readonly offset: number;
  /** Of the value; within the file. Of undefined length: up to the delimiter, which is not counted. */
  readonly length: number;
  /** Just after the element, its delimiter included. */
  readonly end: number;
  /** Items of a sequence (VR SQ, or UN of undefined length, PS3.5 §6.2.2). */
  readonly items?: readonly DataSet[];
  /** Fragments of an encapsulated value, without the Basic Offset Table (PS3.5 §A.4). */
  readonly fragments?: readonly Fragment[];
  /** Basic Offset Table of an encapsulated value, empty when it is. */
  readonly basicOffsetTable?: readonly number[];
  /** Where the Basic Offset Table's item is. */
  readonly offsetTable?: Fragment;
}

/** A data set or an item of a sequence. */
export interface DataSet {
  readonly bytes: Buffer;
  readonly littleEndian: boolean;
  readonly explicit: boolean;
  /** By `gggg,eeee`, ascending. Of two elements of one tag the first is kept. */
  readonly elements: ReadonlyMap<string, Element>;
  /** Own Specific Character Set, else that of what encloses it. */
  readonly characterSet: CharacterSet;
}

/** Levels of nested sequences; real objects have fewer than ten. */
export const MAXIMUM_DEPTH = 128;
/** Elements and items that one file may have kept in memory. */
export const MAXIMUM_ELEMENTS = 2_000_000;

/** Bytes of a value read as ASCII that are looked at. */
const MAXIMUM_ASCII = 1024;

const UNDEFINED = 0xffffffff;
const ITEM = 0xfffee000;
const ITEM_END = 0xfffee00d;
const SEQUENCE_END = 0xfffee0dd;
const PIXEL_DATA = 0x7fe00010;
const CHARACTER_SET = 0x00080005;
const PIXEL_REPRESENTATION = 0x00280103;

/** A fault in the bytes. */
export class Malformed extends Error {}

/** What stays the same while a data set is read. */
export interface Source {
  readonly bytes: Buffer;
  readonly littleEndian: boolean;
  readonly explicit: boolean;
  /** Elements and items that may still be kept. */
  budget: number;
}

/** A data set as the reader builds it. */
interface KeptDataSet extends DataSet {
  readonly elements: Map<string, Element>;
}

/** What may differ between a data set and its items. */
export interface Scope {
  /** Offset that no element may pass. */
  readonly end: number;
  /** The data set ends at an Item Delimitation Item, not at `end`. */
  readonly delimited: boolean;
  readonly depth: number;
  /** Nothing, only `only`, or everything is kept. */
  readonly keep: 'none' | 'only' | 'all';
  readonly only: ReadonlySet<number> | undefined;
  readonly untilPixelData: boolean;
  /** What the value of Pixel Data may not pass when it is not entered. */
  readonly pixelEnd: number;
  /** An element that passes `end` but not `pixelEnd` ends the data set as Pixel Data does. */
  readonly cut: boolean;
  /** Of the elements that follow: it changes where (0008,0005) was read. */
  characterSet: CharacterSet;
  /** Whether pixels are signed (0028,0103), which decides the VR of some elements of implicit VR (PS3.5 §A.1). */
  signed: boolean;
}

// Byte by byte: several times faster than Buffer's methods in the loops below. Callers have checked the bounds.
function uint16({ bytes, littleEndian }: Source, at: number): number {
  const first = bytes[at] ?? 0;
  const second = bytes[at + 1] ?? 0;
  return littleEndian ? first | (second << 8) : (first << 8) | second;
}

function uint32(source: Source, at: number): number {
  const first = uint16(source, at);
  const second = uint16(source, at + 2);
  return source.littleEndian ? second * 0x10000 + first : first * 0x10000 + second;
}

const tagAt = (source: Source, at: number): number => uint16(source, at) * 0x10000 + uint16(source, at + 2);

export function need(at: number, size: number, end: number): void {
  if (at + size > end) throw new Malformed('a length passes the end of what encloses it');
}

/** Spends one element or item of the budget. */
function spend(source: Source): void {
  source.budget -= 1;
  if (source.budget < 0) throw new Malformed('too many elements');
}

/**
 * Text of a value that is ASCII by definition (a UID, a private creator, a term of (0008,0005)), without the padding at its
 * edges. At most {@link MAXIMUM_ASCII} bytes of it.
 */
export function asciiText(bytes: Buffer, start: number, end: number): string {
  let first = start;
  let last = Math.min(end, start + MAXIMUM_ASCII);
  while (first < last && bytes[first] === 0x20) first += 1;
  while (last > first && (bytes[last - 1] === 0x20 || bytes[last - 1] === 0)) last -= 1;
  return bytes.toString('latin1', first, last);
}

/** One element while its head is being read. Reused within a data set, since heads are read by the hundred. */
export interface Head {
  tag: number;
  vr: string;
  offset: number;
  length: number;
}

/** Reads tag, VR and length at `at` into `head` (PS3.5 §7.1). */
export function readHead(source: Source, at: number, end: number, head: Head): void {
  need(at, 8, end);
  head.tag = tagAt(source, at);
  if (!source.explicit || (head.tag >= ITEM && head.tag <= SEQUENCE_END)) {
    head.vr = '';
    head.length = uint32(source, at + 4);
    head.offset = at + 8;
    return;
  }
  const code = ((source.bytes[at + 4] ?? 0) << 8) | (source.bytes[at + 5] ?? 0);
  const vr = vrOfCode(code);
  // Two capitals are a VR of a later edition, which has a long length field (PS3.5 §6.2.2 note 2).
  const lengthSize = vr === undefined ? (isCapitals(code) ? 4 : 2) : VR[vr].lengthSize;
  head.vr = vr ?? 'UN';
  if (lengthSize === 2) {
    head.length = uint16(source, at + 6);
    head.offset = at + 8;
  } else {
    need(at, 12, end);
    head.length = uint32(source, at + 8);
    head.offset = at + 12;
  }
}

function isCapitals(code: number): boolean {
  const first = code >> 8;
  const second = code & 0xff;
  return first >= 0x41 && first <= 0x5a && second >= 0x41 && second <= 0x5a;
}

/** The VR of an element of an implicit VR data set (PS3.5 §A.1); `creators` are those read so far, by group and block. */
function implicitVr(tag: number, creators: ReadonlyMap<number, string> | undefined): string {
  const block = Math.floor(tag / 0x10000) * 0x100 + ((tag % 0x10000) >> 8);
  return lookup(tag, creators?.get(block))?.vr ?? 'UN';
}

/** Reads elements from `at`; returns them when they are kept, and the offset after the last (and its delimiter). */
export function readElements(
  source: Source,
  at: number,
  scope: Scope,
): { readonly dataSet: KeptDataSet | undefined; readonly end: number } {
  const elements = scope.keep === 'none' ? undefined : new Map<string, Element>();
  let creators: Map<number, string> | undefined;
  let last = -1;
  let ascending = true;
  let position = at;
  const head: Head = { tag: 0, vr: '', offset: 0, length: 0 };
  while (position < scope.end) {
    readHead(source, position, scope.end, head);
    const { tag, offset, length } = head;
    if (tag === ITEM_END || tag === SEQUENCE_END) {
      position = offset;
      if (scope.delimited && tag === ITEM_END)
        return { dataSet: finish(source, elements, ascending, scope.characterSet), end: position };
      // A stray delimiter means nothing here; DCMTK passes over it as well.
      continue;
    }
    if (tag === ITEM) throw new Malformed('an item outside a sequence');
    if (!source.explicit) {
      head.vr = scope.signed && SIGNED_LIKE_PIXELS.has(tag) ? 'SS' : implicitVr(tag, creators);
      if (tag === PIXEL_REPRESENTATION && length === 2) {
        need(offset, 2, scope.end);
        scope.signed = uint16(source, offset) === 1;
      }
    }
    const vr = head.vr;
    if (tag === PIXEL_DATA && scope.untilPixelData) {
      if (length !== UNDEFINED) need(offset, length, scope.pixelEnd);
      const kept: Element = {
        tag: tagText(tag),
        vr,
        start: position,
        offset,
        length: length === UNDEFINED ? 0 : length,
        end: position,
      };
      elements?.set(kept.tag, kept);
      if (tag < last) ascending = false;
      break;
    }
    const valueEnd = offset + length;
    if (scope.cut && length !== UNDEFINED && valueEnd > scope.end && valueEnd <= scope.pixelEnd) break;
    const keep = scope.keep === 'all' || (scope.keep === 'only' && (scope.only?.has(tag) ?? false));
    if (!keep && length !== UNDEFINED && head.vr !== 'SQ') {
      need(offset, length, scope.end);
      position = offset + length;
      continue;
    }
    const element = readValue(source, position, head, scope, keep);
    if (keep && elements !== undefined) {
      spend(source);
      if (!elements.has(element.tag)) elements.set(element.tag, element);
      if (tag < last) ascending = false;
      last = tag;
      if (tag === CHARACTER_SET)
        scope.characterSet = characterSet(asciiText(source.bytes, offset, offset + element.length), scope.characterSet);
      const odd = tag % 0x20000;
      if (!source.explicit && odd >= 0x10010 && odd <= 0x100ff) {
        creators ??= new Map();
        creators.set(
          Math.floor(tag / 0x10000) * 0x100 + (tag % 0x100),
          asciiText(source.bytes, offset, offset + length),
        );
      }
    }
    position = element.end;
  }
  if (scope.delimited) throw new Malformed('an item without its delimiter');
  return { dataSet: finish(source, elements, ascending, scope.characterSet), end: position };
}

function finish(
  source: Source,
  elements: Map<string, Element> | undefined,
  ascending: boolean,
  charset: CharacterSet,
): KeptDataSet | undefined {
  if (elements === undefined) return undefined;
  const sorted = ascending ? elements : new Map([...elements].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return {
    bytes: source.bytes,
    littleEndian: source.littleEndian,
    explicit: source.explicit,
    elements: sorted,
    characterSet: charset,
  };
}

/** The element whose head was read, its value checked; items and fragments are listed when it is kept. */
function readValue(source: Source, start: number, head: Head, scope: Scope, keep: boolean): Element {
  const { tag, vr, offset, length } = head;
  const text = keep ? tagText(tag) : '';
  if (length !== UNDEFINED) {
    need(offset, length, scope.end);
    if (vr !== 'SQ') return { tag: text, vr, start, offset, length, end: offset + length };
  } else if (vr !== 'SQ' && vr !== 'UN') {
    return readFragments(source, start, head, vr, scope.end, keep, text);
  }
  // UN of undefined length holds implicit VR little endian, whatever surrounds it (PS3.5 §6.2.2 note 2).
  const inner: Source = vr === 'UN' && source.explicit ? { ...source, explicit: false, littleEndian: true } : source;
  const items: DataSet[] | undefined = keep ? [] : undefined;
  const end = length === UNDEFINED ? scope.end : offset + length;
  const valueEnd = readItems(inner, offset, end, length === UNDEFINED, scope, items);
  source.budget = inner.budget;
  const after = length === UNDEFINED ? valueEnd + 8 : end;
  if (items === undefined) return { tag: text, vr, start, offset, length: valueEnd - offset, end: after };
  return { tag: text, vr, start, offset, length: valueEnd - offset, end: after, items };
}

/** Reads the items of a sequence (PS3.5 §7.5) into `items`; returns the offset after the last, before any delimiter. */
function readItems(
  source: Source,
  at: number,
  end: number,
  delimited: boolean,
  outer: Scope,
  items: DataSet[] | undefined,
): number {
  if (outer.depth >= MAXIMUM_DEPTH) throw new Malformed(`sequences nest more than ${MAXIMUM_DEPTH} deep`);
  let position = at;
  while (position < end) {
    need(position, 8, end);
    const tag = tagAt(source, position);
    const length = uint32(source, position + 4);
    if (tag === SEQUENCE_END) {
      if (delimited) return position;
      position += 8;
      continue;
    }
    if (tag !== ITEM) throw new Malformed('a sequence holds something else than items');
    position += 8;
    if (length !== UNDEFINED) need(position, length, end);
    const read = readElements(source, position, {
      end: length === UNDEFINED ? end : position + length,
      delimited: length === UNDEFINED,
      depth: outer.depth + 1,
      keep: items === undefined ? 'none' : 'all',
      only: undefined,
      untilPixelData: false,
      pixelEnd: 0,
      cut: false,
      characterSet: outer.characterSet,
      signed: outer.signed,
    });
    position = read.end;
    if (items !== undefined && read.dataSet !== undefined) {
      spend(source);
      items.push(read.dataSet);
    }
  }
  if (delimited) throw new Malformed('a sequence without its delimiter');
  return position;
}

/** Reads an encapsulated value (PS3.5 §A.4). */
function readFragments(
  source: Source,
  start: number,
  head: Head,
  vr: string,
  end: number,
  keep: boolean,
  text: string,
): Element {
  const fragments: Fragment[] = [];
  let offsetTable: Fragment | undefined;
  let position = head.offset;
  for (;;) {
    need(position, 8, end);
    const tag = tagAt(source, position);
    const length = uint32(source, position + 4);
    if (tag === SEQUENCE_END) break;
    if (tag !== ITEM || length === UNDEFINED)
      throw new Malformed('an encapsulated value holds something else than fragments');
    need(position + 8, length, end);
    const fragment = { offset: position + 8, length };
    if (offsetTable === undefined) offsetTable = fragment;
    else if (keep) {
      spend(source);
      fragments.push(fragment);
    }
    position += 8 + length;
  }
  const element = { tag: text, vr, start, offset: head.offset, length: position - head.offset, end: position + 8 };
  if (!keep || offsetTable === undefined) return keep ? { ...element, fragments, basicOffsetTable: [] } : element;
  const basicOffsetTable: number[] = [];
  for (let at = 0; at + 4 <= offsetTable.length; at += 4) {
    spend(source);
    basicOffsetTable.push(uint32(source, offsetTable.offset + at));
  }
  return { ...element, fragments, basicOffsetTable, offsetTable };
}

/** The scope of a data set that no other encloses and that ends at `end`. */
export function wholeScope(
  end: number,
  { keep, only, untilPixelData, pixelEnd, cut }: Pick<Scope, 'keep' | 'only' | 'untilPixelData' | 'pixelEnd' | 'cut'>,
): Scope {
  // Of the same shape as those of items, which the reader is compiled for.
  return {
    end,
    delimited: false,
    depth: 0,
    keep,
    only,
    untilPixelData,
    pixelEnd,
    cut,
    characterSet: DEFAULT_CHARACTER_SET,
    signed: false,
  };
}
