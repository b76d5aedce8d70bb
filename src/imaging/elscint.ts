/**
 * Owns the pixels that scanners of Elscint keep compressed in private elements (07A1,100A) in the place of Pixel Data: "PMSCT_RLE1", runs
 * of bytes, which are differences of neighbouring samples. One frame of 16 bits.
 */

import type { DataSet } from '../dicom/read.ts';
import { textOf } from '../dicom/value.ts';
import { IsenError } from '../errors.ts';
import type { PixelAttributes } from './image.ts';

const PIXELS = '07a1,100a';
const COMPRESSION = '07a1,1011';
const CREATOR = '07a1,0010';

/** Tags of the header that {@link isElscint} and {@link elscintFrame} look at. */
export const ELSCINT_TAGS: readonly string[] = [CREATOR, PIXELS, COMPRESSION];

/** A run: this, how often it is repeated, the byte. */
const RUN = 0xa5;
/** A sample as it is, instead of its difference: this, and its lower and upper byte. */
const SAMPLE = 0x5a;

const bad = (why: string): IsenError => new IsenError('BadFileFormat', `PMSCT_RLE1: ${why}`);

/** Whether an image without Pixel Data has such pixels. */
export function isElscint(dataSet: DataSet): boolean {
  const says = (tag: string, value: string): boolean => {
    const element = dataSet.elements.get(tag);
    return element !== undefined && element.length <= 16 && textOf(dataSet, element).trim() === value;
  };
  return says(CREATOR, 'ELSCINT1') && says(COMPRESSION, 'PMSCT_RLE1') && dataSet.elements.has(PIXELS);
}

/**
 * Little endian words of the frame of {@link isElscint}.
 * @throws {IsenError} BadFileFormat for pixels that do not fill it, IncompatibleImageFormat for one of other than 16 bits and one sample.
 */
export function elscintFrame({ bytes, elements }: DataSet, attributes: PixelAttributes): Uint8Array {
  const { rows, columns, samplesPerPixel, bitsAllocated, frames } = attributes;
  if (bitsAllocated !== 16 || samplesPerPixel !== 1 || frames !== 1) throw new IsenError('IncompatibleImageFormat');
  const pixels = elements.get(PIXELS);
  if (pixels === undefined) throw bad('no pixels');
  const count = rows * columns;
  const differences = withoutRuns(bytes.subarray(pixels.offset, pixels.offset + pixels.length), 3 * count);
  const frame = Buffer.alloc(2 * count);
  let last = 0;
  let at = 0;
  for (let sample = 0; sample < count; sample += 1) {
    const whole = differences[at] === SAMPLE;
    if (at + (whole ? 3 : 1) > differences.length) throw bad('fewer samples than pixels');
    last = whole ? differences.readUInt16LE(at + 1) : (last + differences.readInt8(at)) & 0xffff;
    at += whole ? 3 : 1;
    frame.writeUInt16LE(last, 2 * sample);
  }
  return frame;
}

/** Repeats what runs repeat; no more than `most` bytes, which no frame needs. */
function withoutRuns(packed: Uint8Array, most: number): Buffer {
  const result = Buffer.alloc(most);
  let to = 0;
  for (let at = 0; at < packed.length; ) {
    const isRun = packed[at] === RUN;
    const count = isRun ? (packed[at + 1] ?? 0) + 1 : 1;
    const value = packed[isRun ? at + 2 : at];
    if (value === undefined) throw bad('a run is cut');
    if (to + count > most) throw bad('more samples than pixels');
    result.fill(value, to, to + count);
    to += count;
    at += isRun ? 3 : 1;
  }
  return result.subarray(0, to);
}
