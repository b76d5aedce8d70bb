/** Owns the decoding of one value to the string that the REST API shows for it (PS3.5 §6.2, §6.4). */

import type { DataSet, Element } from './read.ts';
import { vrRow } from './vr.ts';

/** Characters that the edges of a text lose: spaces, controls that count as space, and NUL padding. */
const isPadding = (byte: number): boolean => byte === 0x20 || byte === 0 || (byte >= 0x09 && byte <= 0x0d);

/**
 * The text of a string value: several values stay joined by backslashes. The text ends at the first NUL, and loses the spaces at
 * its edges.
 */
export function textOf(dataSet: DataSet, element: Element): string {
  const { bytes } = dataSet;
  let start = element.offset;
  const last = start + element.length;
  let end = bytes.indexOf(0, start);
  if (end === -1 || end > last) end = last;
  while (start < end && isPadding(bytes[start] ?? 0)) start += 1;
  while (end > start && isPadding(bytes[end - 1] ?? 0)) end -= 1;
  if (start === end) return '';
  const row = vrRow(element.vr);
  return row.charset
    ? dataSet.characterSet.decode(bytes, start, end, element.vr === 'PN')
    : dataSet.characterSet.decode(bytes, start, end, false);
}

/** The numbers of an integer or float value, or undefined for another kind. Floats are those of IEEE 754 as stored. */
export function numbersOf(dataSet: DataSet, element: Element): readonly (number | bigint)[] | undefined {
  const row = vrRow(element.vr);
  if (row.kind !== 'integer' && row.kind !== 'float') return undefined;
  const view = new DataView(dataSet.bytes.buffer, dataSet.bytes.byteOffset + element.offset, element.length);
  const little = dataSet.littleEndian;
  const numbers: (number | bigint)[] = [];
  for (let at = 0; at + row.unit <= element.length; at += row.unit) {
    if (row.kind === 'float') numbers.push(row.unit === 4 ? view.getFloat32(at, little) : view.getFloat64(at, little));
    else if (row.unit === 2) numbers.push(row.signed ? view.getInt16(at, little) : view.getUint16(at, little));
    else if (row.unit === 4) numbers.push(row.signed ? view.getInt32(at, little) : view.getUint32(at, little));
    else numbers.push(row.signed ? view.getBigInt64(at, little) : view.getBigUint64(at, little));
  }
  return numbers;
}

/** The tags of an AT value, each `gggg,eeee`. */
export function tagsOf(dataSet: DataSet, element: Element): readonly string[] {
  const read = (at: number): string =>
    (dataSet.littleEndian ? dataSet.bytes.readUInt16LE(at) : dataSet.bytes.readUInt16BE(at))
      .toString(16)
      .padStart(4, '0');
  const tags: string[] = [];
  for (let at = element.offset; at + 4 <= element.offset + element.length; at += 4)
    tags.push(`${read(at)},${read(at + 2)}`);
  return tags;
}

/** The string of a value that has one: text, numbers and tags joined by backslashes; null for bytes and sequences. */
export function valueOf(dataSet: DataSet, element: Element): string | null {
  const row = vrRow(element.vr);
  switch (row.kind) {
    case 'text':
      return textOf(dataSet, element);
    case 'integer':
    case 'float':
      return (numbersOf(dataSet, element) ?? []).join('\\');
    case 'tag':
      return tagsOf(dataSet, element).join('\\');
    case 'bytes':
    case 'sequence':
      return null;
  }
}
