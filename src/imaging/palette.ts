/**
 * Owns palettes: Red, Green and Blue Palette Color Lookup Tables (PS3.3 §C.7.6.3.1.5, §C.7.6.3.1.6), segmented ones too (PS3.3
 * §C.7.9.2), and the colours that they give to the samples of a frame.
 */

import type { DataSet, Element } from '../dicom/read.ts';
import { IsenError } from '../errors.ts';
import type { Samples } from './image.ts';

/** One colour of a palette. */
interface Channel {
  /** The stored value that the first entry is for; lower ones get it too, higher ones than the last get the last. */
  readonly first: number;
  /** Of 8 bits each, not empty. */
  readonly entries: Uint8Array;
}

/** Red, green and blue. */
export type Palette = readonly [Channel, Channel, Channel];

/** Descriptor, data and segmented data of red, green and blue. */
const CHANNELS = [
  ['0028,1101', '0028,1201', '0028,1221'],
  ['0028,1102', '0028,1202', '0028,1222'],
  ['0028,1103', '0028,1203', '0028,1223'],
] as const;

/** Tags of the header that {@link paletteOf} looks at. */
export const PALETTE_TAGS: readonly string[] = CHANNELS.flat();

/** Entries of the largest palette. */
const MOST = 0x10000;

const bad = (why: string): IsenError => new IsenError('BadFileFormat', why);

/**
 * The palette of a header.
 * @param signed whether the samples are, and so the first value of the descriptors.
 * @throws {IsenError} NotImplemented without a whole palette, BadFileFormat for segments that are none. One that is shorter than it says ends with what it has.
 */
export function paletteOf(dataSet: DataSet, signed: boolean): Palette {
  const [red, green, blue] = CHANNELS.map(([descriptor, data, segmented]) =>
    channelOf(dataSet, descriptor, data, segmented, signed),
  );
  if (red === undefined || green === undefined || blue === undefined)
    throw new IsenError('NotImplemented', 'a palette without its three colours');
  return [red, green, blue];
}

/** The colours of samples, by pixel. */
export function colours(samples: Samples, palette: Palette): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(samples.length * 3);
  for (const [offset, { first, entries }] of palette.entries()) {
    const last = entries.length - 1;
    for (let at = 0, to = offset; at < samples.length; at += 1, to += 3) {
      const index = (samples[at] as number) - first;
      result[to] = entries[index < 0 ? 0 : index > last ? last : index] as number;
    }
  }
  return result;
}

function channelOf(
  dataSet: DataSet,
  descriptorTag: string,
  dataTag: string,
  segmentedTag: string,
  signed: boolean,
): Channel | undefined {
  const { elements } = dataSet;
  const descriptor = elements.get(descriptorTag);
  if (descriptor === undefined || descriptor.length < 6) return undefined;
  const [count = 0, start = 0, bits = 0] = words(dataSet, { ...descriptor, length: 6 });
  const size = count === 0 ? MOST : count;
  if (bits !== 8 && bits !== 16) throw new IsenError('NotImplemented', 'a palette of neither 8 nor 16 bits');
  const first = signed && start >= 0x8000 ? start - 0x10000 : start;
  const segmented = elements.get(segmentedTag);
  const data = elements.get(dataTag);
  if (data !== undefined && data.length > 0) return { first, entries: plain(dataSet, data, size, bits) };
  if (segmented === undefined) return undefined;
  const values = bits === 8 ? bytesOf(dataSet, segmented) : words(dataSet, segmented);
  return { first, entries: eightBits(expand(values, size, bits), bits) };
}

/** Lookup table data: words, or bytes where it has no more than these. */
function plain(dataSet: DataSet, data: Element, size: number, bits: 8 | 16): Uint8Array {
  if (bits === 8 && data.length < 2 * size) return bytesOf(dataSet, { ...data, length: Math.min(data.length, size) });
  const entries = words(dataSet, { ...data, length: Math.min(data.length, 2 * size) });
  if (entries.length === 0) throw bad('a palette without entries');
  return eightBits(entries, bits);
}

/** Entries of 16 bits lose the lower 8; some writers say 16 and fill 8, which are kept as they are. */
function eightBits(entries: Uint16Array, bits: 8 | 16): Uint8Array {
  const shift = bits === 16 && entries.some((entry) => entry > 255) ? 8 : 0;
  return Uint8Array.from(entries, (entry) => entry >> shift);
}

/**
 * Expands segments: discrete (0), linear (1) and indirect (2), which repeats earlier ones (PS3.3 §C.7.9.2.1 to .3).
 * @throws {IsenError} BadFileFormat for segments that are cut, are no segments, or repeat what repeats.
 */
function expand(values: Uint16Array | Uint8Array, size: number, bits: 8 | 16): Uint16Array {
  const entries = new Uint16Array(size);
  let filled = 0;
  const put = (value: number): void => {
    // What is more than the descriptor says is not looked at: the result stays bounded.
    if (filled < size) entries[filled] = value;
    filled += 1;
  };
  /** Expands up to `most` segments from `at`; answers where the next begins. */
  const run = (at: number, most: number, nested: boolean): void => {
    let position = at;
    for (let segment = 0; segment < most && filled < size; segment += 1) {
      // An odd number of bytes is padded by one.
      if (position + 1 >= values.length) {
        if (most !== Number.POSITIVE_INFINITY) throw bad('a segmented palette is cut');
        return;
      }
      const [code = 0, length = 0] = [values[position], values[position + 1]];
      position += 2;
      if (code === 0) {
        if (position + length > values.length) throw bad('a segmented palette is cut');
        for (let index = 0; index < length; index += 1) put(values[position + index] ?? 0);
        position += length;
      } else if (code === 1) {
        const end = values[position];
        if (end === undefined || filled === 0) throw bad('a segmented palette is cut');
        const start = entries[Math.min(filled, size) - 1] ?? 0;
        for (let index = 1; index <= length; index += 1) put(Math.round(start + ((end - start) * index) / length));
        position += 1;
      } else if (code === 2 && !nested) {
        const parts = bits === 8 ? 4 : 2;
        if (position + parts > values.length) throw bad('a segmented palette is cut');
        // The offset counts bytes, its least significant part first.
        let offset = 0;
        for (let part = parts - 1; part >= 0; part -= 1) offset = offset * 2 ** bits + (values[position + part] ?? 0);
        run(bits === 8 ? offset : offset >> 1, length, true);
        position += parts;
      } else {
        throw bad('a segmented palette holds something else than segments');
      }
    }
  };
  run(0, Number.POSITIVE_INFINITY, false);
  if (filled === 0) throw bad('a palette without entries');
  return entries.subarray(0, Math.min(filled, size));
}

function words({ bytes, littleEndian }: DataSet, { offset, length }: Pick<Element, 'offset' | 'length'>): Uint16Array {
  const result = new Uint16Array(length >> 1);
  for (let index = 0; index < result.length; index += 1) {
    const at = offset + 2 * index;
    result[index] = littleEndian ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
  }
  return result;
}

/** Bytes of a value, which big endian keeps in words (PS3.5 §7.3). */
function bytesOf({ bytes, littleEndian }: DataSet, { offset, length, vr }: Element): Uint8Array {
  if (littleEndian || vr !== 'OW') return Uint8Array.from(bytes.subarray(offset, offset + length));
  return Uint8Array.from({ length: length & ~1 }, (_, at) => bytes[offset + (at ^ 1)] ?? 0);
}
