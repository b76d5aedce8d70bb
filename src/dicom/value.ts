/** Owns the decoding of one value to the string that the REST API shows for it (PS3.5 §6.2, §6.4). */

import { isPrivate } from './dictionary.ts';
import type { DataSet, Element } from './read.ts';
import { vrRow } from './vr.ts';

/**
 * The text of a string value: several values stay joined by backslashes. It ends at the first NUL and loses its trailing
 * spaces, which are padding (PS3.5 §6.2); leading ones stay. Those of UN may mean something and stay too.
 */
export function textOf(dataSet: DataSet, element: Element): string {
  const { bytes } = dataSet;
  const start = element.offset;
  const last = start + element.length;
  let end = start;
  while (end < last && bytes[end] !== 0) end += 1;
  if (element.vr !== 'UN') while (end > start && bytes[end - 1] === 0x20) end -= 1;
  return start === end ? '' : dataSet.characterSet.decode(bytes, start, end, element.vr === 'PN');
}

/** Whether the bytes of an element of unknown VR are ASCII text, padding at the end aside. */
function isPrintable(dataSet: DataSet, element: Element): boolean {
  let end = element.offset + element.length;
  if (end > element.offset && dataSet.bytes[end - 1] === 0) end -= 1;
  for (let at = element.offset; at < end; at += 1) {
    const byte = dataSet.bytes[at] ?? 0;
    if (byte < 0x20 || byte > 0x7e) return false;
  }
  return end > element.offset;
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

/** A float with the 17 significant digits that a double needs, trailing zeros dropped, as C's `%.17g`. */
function floatText(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return Object.is(value, -0) ? '-0' : String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  const [mantissa = '', exponent = '0'] = roundedTo17(value).split('e');
  const power = Number(exponent);
  if (power < -4 || power >= 17) {
    const sign = power < 0 ? '-' : '+';
    return `${trimZeros(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, '0')}`;
  }
  const sign = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  return power < 0
    ? trimZeros(`${sign}0.${'0'.repeat(-power - 1)}${digits}`)
    : trimZeros(`${sign}${digits.slice(0, power + 1)}.${digits.slice(power + 1)}`);
}

/** `d.dddde±x` with 17 digits; a tie goes to the even digit, as in C, where toExponential goes up. */
function roundedTo17(value: number): string {
  // 40 digits tell every tie: one of a double ends within 18.
  const [exact = '', exponent = '0'] = value.toExponential(40).split('e');
  const cut = exact.indexOf('.') + 17;
  const tie = /^50*$/.test(exact.slice(cut)) && Number(exact[cut - 1]) % 2 === 0;
  return tie ? `${exact.slice(0, cut)}e${exponent}` : value.toExponential(16);
}

const trimZeros = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);

/** The string of a value that has one: text, numbers and tags joined by backslashes; null for bytes and sequences. */
export function valueOf(dataSet: DataSet, element: Element): string | null {
  const row = vrRow(element.vr);
  switch (row.kind) {
    case 'text':
      return textOf(dataSet, element);
    case 'float':
      return (numbersOf(dataSet, element) ?? []).map((number) => floatText(Number(number))).join('\\');
    case 'integer':
      return (numbersOf(dataSet, element) ?? []).join('\\');
    case 'tag':
      return tagsOf(dataSet, element).join('\\');
    case 'bytes':
      return element.vr === 'UN' && !isPrivate(element.tag) && isPrintable(dataSet, element)
        ? textOf(dataSet, element)
        : null;
    case 'sequence':
      return null;
  }
}
