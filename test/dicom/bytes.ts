/** Owns the building of DICOM bytes for the suites, independent of the product's writer: elements, items, files. */

import { VR, type Vr } from '../../src/dicom/vr.ts';

/** How a data set is encoded. */
export interface Encoding {
  readonly littleEndian: boolean;
  readonly explicit: boolean;
}

export const EXPLICIT: Encoding = { littleEndian: true, explicit: true };
export const IMPLICIT: Encoding = { littleEndian: true, explicit: false };
export const BIG: Encoding = { littleEndian: false, explicit: true };

const u16 = (value: number, { littleEndian }: Encoding): Buffer => {
  const bytes = Buffer.alloc(2);
  if (littleEndian) bytes.writeUInt16LE(value);
  else bytes.writeUInt16BE(value);
  return bytes;
};
const u32 = (value: number, { littleEndian }: Encoding): Buffer => {
  const bytes = Buffer.alloc(4);
  if (littleEndian) bytes.writeUInt32LE(value);
  else bytes.writeUInt32BE(value);
  return bytes;
};

/** The 4 bytes of a tag `gggg,eeee`. */
export const tagBytes = (tag: string, encoding: Encoding): Buffer =>
  Buffer.concat([
    u16(Number.parseInt(tag.slice(0, 4), 16), encoding),
    u16(Number.parseInt(tag.slice(5), 16), encoding),
  ]);

/** An element; `length` lies about the value's when given. Text gets its padding. */
export function element(
  tag: string,
  vr: Vr,
  value: Buffer | string,
  encoding: Encoding = EXPLICIT,
  length?: number,
): Buffer {
  const row = VR[vr];
  let bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  if (bytes.length % 2 === 1) bytes = Buffer.concat([bytes, Buffer.of(row.padding)]);
  const claimed = length ?? bytes.length;
  const head = encoding.explicit
    ? row.lengthSize === 2
      ? [Buffer.from(vr, 'latin1'), u16(claimed, encoding)]
      : [Buffer.from(vr, 'latin1'), Buffer.alloc(2), u32(claimed, encoding)]
    : [u32(claimed, encoding)];
  return Buffer.concat([tagBytes(tag, encoding), ...head, bytes]);
}

/** An item, of defined or undefined length. */
export function item(content: Buffer, undefinedLength = false, encoding: Encoding = EXPLICIT): Buffer {
  const head = tagBytes('fffe,e000', encoding);
  return undefinedLength
    ? Buffer.concat([head, u32(0xffffffff, encoding), content, tagBytes('fffe,e00d', encoding), u32(0, encoding)])
    : Buffer.concat([head, u32(content.length, encoding), content]);
}

/** A sequence of items, of defined or undefined length. */
export function sequence(
  tag: string,
  items: readonly Buffer[],
  undefinedLength = false,
  encoding: Encoding = EXPLICIT,
): Buffer {
  const content = Buffer.concat(items);
  if (!undefinedLength) return element(tag, 'SQ', content, encoding);
  const end = Buffer.concat([tagBytes('fffe,e0dd', encoding), u32(0, encoding)]);
  return Buffer.concat([element(tag, 'SQ', Buffer.alloc(0), encoding, 0xffffffff), content, end]);
}

/** Encapsulated Pixel Data: `fragments[0]` is the Basic Offset Table. */
export function encapsulated(fragments: readonly Buffer[]): Buffer {
  return Buffer.concat([
    element('7fe0,0010', 'OB', Buffer.alloc(0), EXPLICIT, 0xffffffff),
    ...fragments.map((fragment) => item(fragment)),
    tagBytes('fffe,e0dd', EXPLICIT),
    Buffer.alloc(4),
  ]);
}

/** A file: preamble, File Meta Information that names `transferSyntax`, then `body` as it is. */
export function file(transferSyntax: string, body: Buffer): Buffer {
  const rest = Buffer.concat([
    element('0002,0001', 'OB', Buffer.of(0, 1)),
    element('0002,0010', 'UI', transferSyntax),
    element('0002,0012', 'UI', '1.2.3.4'),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(rest.length);
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), element('0002,0000', 'UL', length), rest, body]);
}

/** The elements that an index needs, ascending, with `extra` of higher tags at the end. */
export function instance(encoding: Encoding, ...extra: readonly Buffer[]): Buffer {
  return Buffer.concat([
    element('0008,0016', 'UI', '1.2.840.10008.5.1.4.1.1.2', encoding),
    element('0008,0018', 'UI', '1.2.3.1', encoding),
    element('0010,0020', 'LO', 'PATIENT', encoding),
    element('0020,000d', 'UI', '1.2.3', encoding),
    element('0020,000e', 'UI', '1.2.3.0', encoding),
    element('0020,0013', 'IS', '7', encoding),
    ...extra,
  ]);
}
