/**
 * Owns the encoding of data sets (PS3.5 §7, Annex A) and of whole DICOM files (PS3.10 §7.1), from plain data or from
 * bytes that were read, into one buffer.
 */

import { deflateRawSync } from 'node:zlib';
import { IsenError } from '../errors.ts';
import type { DataSet } from './read.ts';
import type { TransferSyntax } from './transfer-syntaxes.ts';
import { vrRow } from './vr.ts';

/** What DCMTK writes as Media Storage SOP Class UID where there is none: the file has to have one (PS3.10 §7.1). */
export const GENERIC_FILE = '1.2.276.0.7230010.3.1.0.1';

/** The items of a sequence. */
export interface Items {
  readonly items: readonly (readonly NewElement[])[];
  /** Write lengths as undefined, with delimiters (PS3.5 §7.5.2); otherwise they are computed. */
  readonly undefinedLength?: boolean;
}

/** Encapsulated pixel data (PS3.5 §A.4). */
export interface Fragments {
  readonly fragments: readonly Uint8Array[];
  /** Basic Offset Table; none or empty writes an empty one. */
  readonly offsets?: readonly number[];
}

/**
 * A value: bytes (already in the byte order that is written), text (ASCII, values separated by a backslash), numbers in
 * the VR's own unit (an AT is 0xggggeeee), items or fragments. Odd lengths are padded as the VR says (PS3.5 §6.2).
 */
export type NewValue = Uint8Array | string | readonly (number | bigint)[] | Items | Fragments;

/** One element to write. */
export type NewElement =
  | { readonly tag: string; readonly vr: string; readonly value: NewValue }
  /** A whole element as it was read (header, value, delimiters), copied byte for byte. */
  | { readonly tag: string; readonly raw: Uint8Array };

/** What the writer needs to know of a transfer syntax. */
export type Encoding = Pick<TransferSyntax, 'littleEndian' | 'explicit'>;

/** A DICOM file to write. */
export interface NewFile {
  readonly transferSyntax: Pick<TransferSyntax, 'uid' | 'littleEndian' | 'explicit' | 'deflated'>;
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
  readonly dataSet: readonly NewElement[];
  /** Elements of group 0002 besides those that the writer makes (Source AE Title, private information). */
  readonly meta?: readonly NewElement[];
}

/** Implementation Class UID (0002,0012) of what this program writes and of its associations (PS3.7 §D.3.3.2). */
export const IMPLEMENTATION_CLASS_UID = '2.25.278846530270358223537360068258566457550';
/** Implementation Version Name (0002,0013), at most 16 characters. */
export const IMPLEMENTATION_VERSION_NAME = 'ISEN';

const UNDEFINED_LENGTH = 0xffffffff;
const PREAMBLE = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]);
const META: Encoding = { littleEndian: true, explicit: true };
const NO_BYTES = new Uint8Array(0);
const TAG = /^[0-9a-f]{4},[0-9a-f]{4}$/;

/**
 * The bytes of a data set in the given encoding; elements are put in ascending order of their tags at every level
 * (PS3.5 §7.1). Not deflated: {@link writeFile} does that.
 * @throws {IsenError} ParameterOutOfRange for a value that its VR or the encoding cannot hold.
 */
export function writeDataSet(elements: readonly NewElement[], encoding: Encoding): Buffer {
  const chunks: Uint8Array[] = [];
  const length = encodeElements(elements, encoding, chunks);
  return Buffer.concat(chunks, length);
}

/**
 * The bytes of a DICOM file: preamble, prefix, File Meta Information with its group length (PS3.10 §7.1), data set
 * (deflated where the syntax says so, padded to an even length, PS3.5 §A.5). In `memory` where that is given and large enough.
 * @throws {IsenError} ParameterOutOfRange as {@link writeDataSet}.
 */
export function writeFile(file: NewFile, memory?: Uint8Array): Buffer {
  const made: NewElement[] = [
    { tag: '0002,0001', vr: 'OB', value: Uint8Array.of(0, 1) },
    { tag: '0002,0002', vr: 'UI', value: file.sopClassUid },
    { tag: '0002,0003', vr: 'UI', value: file.sopInstanceUid },
    { tag: '0002,0010', vr: 'UI', value: file.transferSyntax.uid },
    { tag: '0002,0012', vr: 'UI', value: IMPLEMENTATION_CLASS_UID },
    { tag: '0002,0013', vr: 'SH', value: IMPLEMENTATION_VERSION_NAME },
  ];
  const own = new Set(['0002,0000', ...made.map((element) => element.tag)]);
  const meta = writeDataSet([...made, ...(file.meta ?? []).filter((element) => !own.has(element.tag))], META);
  const groupLength = writeDataSet([{ tag: '0002,0000', vr: 'UL', value: [meta.length] }], META);
  const head = [PREAMBLE, groupLength, meta];
  const chunks: Uint8Array[] = head;
  let size = PREAMBLE.length + groupLength.length + meta.length;
  if (file.transferSyntax.deflated) {
    const deflated = deflateRawSync(writeDataSet(file.dataSet, file.transferSyntax));
    const padding = Buffer.alloc(deflated.length % 2);
    chunks.push(deflated, padding);
    size += deflated.length + padding.length;
  } else size += encodeElements(file.dataSet, file.transferSyntax, chunks);
  return joined(chunks, size, memory);
}

/** The chunks one after another, `size` bytes in all. */
function joined(chunks: readonly Uint8Array[], size: number, memory: Uint8Array | undefined): Buffer {
  if (memory === undefined || memory.length < size) return Buffer.concat(chunks, size);
  const bytes = Buffer.from(memory.buffer, memory.byteOffset, size);
  let at = 0;
  for (const chunk of chunks) {
    // By memcpy: `set` goes byte by byte from shared memory to shared memory that is aligned otherwise.
    if (chunk.length > 0) bytes.fill(chunk, at, at + chunk.length);
    at += chunk.length;
  }
  return bytes;
}

/**
 * The elements of a data set that was read whole, to be written again byte for byte, beside or without others.
 * @throws {IsenError} ParameterOutOfRange when `encoding` is another than that of the data set, or its pixels were not read.
 */
export function rawElements(dataSet: DataSet, encoding: Encoding): NewElement[] {
  if (dataSet.littleEndian !== encoding.littleEndian || dataSet.explicit !== encoding.explicit)
    throw new IsenError('ParameterOutOfRange', 'Cannot copy elements into another encoding');
  return Array.from(dataSet.elements.values(), ({ tag, start, end }) => {
    if (start === end) refuse(tag, 'its value was not read');
    return { tag, raw: dataSet.bytes.subarray(start, end) };
  });
}

function refuse(tag: string, why: string): never {
  throw new IsenError('ParameterOutOfRange', `Cannot write ${tag}: ${why}`);
}

/** Appends the encoded elements to `out` and answers how many bytes they are. */
function encodeElements(elements: readonly NewElement[], encoding: Encoding, out: Uint8Array[]): number {
  let length = 0;
  for (const element of elements.toSorted((a, b) => (a.tag < b.tag ? -1 : a.tag > b.tag ? 1 : 0))) {
    if ('raw' in element) {
      out.push(element.raw);
      length += element.raw.length;
    } else {
      length += encodeElement(element.tag, element.vr, element.value, encoding, out);
    }
  }
  return length;
}

function encodeElement(tag: string, vr: string, value: NewValue, encoding: Encoding, out: Uint8Array[]): number {
  if (!TAG.test(tag)) refuse(tag, 'not a tag');
  if (typeof value === 'object' && 'items' in value) return encodeSequence(tag, vr, value, encoding, out);
  if (typeof value === 'object' && 'fragments' in value) return encodeFragments(tag, vr, value, encoding, out);
  const bytes = valueBytes(tag, vr, value, encoding.littleEndian);
  const odd = bytes.length % 2;
  const header = elementHeader(tag, vr, bytes.length + odd, encoding);
  out.push(header, bytes);
  if (odd === 1) out.push(Uint8Array.of(vrRow(vr).padding));
  return header.length + bytes.length + odd;
}

function encodeSequence(tag: string, vr: string, value: Items, encoding: Encoding, out: Uint8Array[]): number {
  const open = value.undefinedLength === true;
  // A defined length is known only after the content: its place is kept and filled in.
  const place = out.push(NO_BYTES) - 1;
  let content = 0;
  for (const item of value.items) {
    const itemPlace = out.push(NO_BYTES) - 1;
    const length = encodeElements(item, encoding, out);
    out[itemPlace] = delimiter(0xe000, open ? UNDEFINED_LENGTH : length, encoding.littleEndian);
    content += 8 + length;
    if (open) {
      out.push(delimiter(0xe00d, 0, encoding.littleEndian));
      content += 8;
    }
  }
  const header = elementHeader(tag, vr, open ? UNDEFINED_LENGTH : content, encoding);
  out[place] = header;
  if (!open) return header.length + content;
  out.push(delimiter(0xe0dd, 0, encoding.littleEndian));
  return header.length + content + 8;
}

function encodeFragments(tag: string, vr: string, value: Fragments, encoding: Encoding, out: Uint8Array[]): number {
  const offsets = valueBytes(tag, 'OL', value.offsets ?? [], encoding.littleEndian);
  const header = elementHeader(tag, vr, UNDEFINED_LENGTH, encoding);
  out.push(header);
  let length = header.length;
  for (const fragment of [offsets, ...value.fragments]) {
    const odd = fragment.length % 2;
    out.push(delimiter(0xe000, fragment.length + odd, encoding.littleEndian), fragment);
    if (odd === 1) out.push(Uint8Array.of(0));
    length += 8 + fragment.length + odd;
  }
  out.push(delimiter(0xe0dd, 0, encoding.littleEndian));
  return length + 8;
}

/** Tag, VR where it is explicit, and length (PS3.5 §7.1.2, §7.1.3). */
function elementHeader(tag: string, vr: string, length: number, { littleEndian, explicit }: Encoding): Buffer {
  const long = explicit && vrRow(vr).lengthSize === 4;
  const header = Buffer.alloc(long ? 12 : 8);
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  view.setUint16(0, Number.parseInt(tag.slice(0, 4), 16), littleEndian);
  view.setUint16(2, Number.parseInt(tag.slice(5), 16), littleEndian);
  if (explicit) {
    if (!/^[A-Z]{2}$/.test(vr)) refuse(tag, 'no explicit VR');
    header.write(vr, 4, 'latin1');
  }
  if (explicit && !long) {
    if (length > 0xfffe) refuse(tag, `${length} bytes in VR ${vr}`);
    view.setUint16(6, length, littleEndian);
  } else {
    if (length > UNDEFINED_LENGTH) refuse(tag, `${length} bytes`);
    view.setUint32(long ? 8 : 4, length, littleEndian);
  }
  return header;
}

/** Item (FFFE,E000), Item Delimitation (E00D) or Sequence Delimitation (E0DD). */
function delimiter(element: number, length: number, littleEndian: boolean): Buffer {
  const bytes = Buffer.alloc(8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  view.setUint16(0, 0xfffe, littleEndian);
  view.setUint16(2, element, littleEndian);
  view.setUint32(4, length, littleEndian);
  return bytes;
}

function valueBytes(
  tag: string,
  vr: string,
  value: Uint8Array | string | readonly (number | bigint)[],
  littleEndian: boolean,
): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') {
    if (!/^[\x00-\x7f]*$/.test(value)) refuse(tag, 'text outside ASCII must come as bytes');
    return Buffer.from(value, 'latin1');
  }
  const { kind, unit, signed } = vrRow(vr);
  if (kind === 'text' || kind === 'sequence') refuse(tag, `numbers in VR ${vr}`);
  const size = kind === 'tag' ? 4 : unit;
  const bytes = Buffer.alloc(value.length * size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (const [index, number] of value.entries()) {
    const at = index * size;
    if (kind === 'float' || vr === 'OF' || vr === 'OD') {
      if (size === 4) view.setFloat32(at, Number(number), littleEndian);
      else view.setFloat64(at, Number(number), littleEndian);
      continue;
    }
    const integer = typeof number === 'bigint' || Number.isInteger(number) ? BigInt(number) : undefined;
    const held = (signed ? BigInt.asIntN : BigInt.asUintN)(size * 8, integer ?? -1n);
    if (integer === undefined || integer !== held) refuse(tag, `a number that VR ${vr} cannot hold`);
    if (kind === 'tag') {
      view.setUint16(at, Number(integer >> 16n), littleEndian);
      view.setUint16(at + 2, Number(integer & 0xffffn), littleEndian);
    } else if (size === 1) view.setUint8(at, Number(integer));
    else if (size === 2) view.setUint16(at, Number(integer), littleEndian);
    else if (size === 4) view.setUint32(at, Number(integer), littleEndian);
    else view.setBigUint64(at, integer, littleEndian);
  }
  return bytes;
}
