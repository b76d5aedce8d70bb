/** Owns the frames of Pixel Data that is in memory whole, in order, as {@link decodeStored} takes them. */

import type { DataSet, Element } from '../dicom/read.ts';
import { swapped } from '../dicom/reencode.ts';
import { IsenError } from '../errors.ts';
import { beginsCodestream } from './frames.ts';
import type { PixelAttributes } from './image.ts';
import { nativeFrameSize } from './native.ts';

const bad = (why: string): IsenError => new IsenError('BadFileFormat', why);

/**
 * The bytes of every frame of `pixels`: little endian words, or the fragments of a frame joined.
 * @throws {IsenError} BadFileFormat where there are not as many frames as the attributes say.
 */
export function* framesOf(dataSet: DataSet, pixels: Element, attributes: PixelAttributes): Generator<Uint8Array> {
  const { bytes } = dataSet;
  const { frames } = attributes;
  if (pixels.fragments !== undefined) {
    for (const [start, end] of fragmentRuns(bytes, pixels, frames)) {
      const parts = pixels.fragments.slice(start, end);
      const [only] = parts;
      yield parts.length === 1 && only !== undefined
        ? bytes.subarray(only.offset, only.offset + only.length)
        : Buffer.concat(parts.map(({ offset, length }) => bytes.subarray(offset, offset + length)));
    }
    return;
  }
  const size = nativeFrameSize(attributes);
  // Frames of single bits may begin within a byte (PS3.5 §8.1.1).
  if (attributes.bitsAllocated === 1 && frames > 1 && (attributes.rows * attributes.columns) % 8 !== 0)
    throw new IsenError('IncompatibleImageFormat', 'frames that do not begin at a byte');
  if (size * frames > pixels.length) throw bad('Pixel Data is shorter than its frames');
  const value = nativeValue(dataSet, pixels);
  for (let frame = 0; frame < frames; frame += 1) yield value.subarray(frame * size, (frame + 1) * size);
}

/** The value of native Pixel Data in little endian words. Turned as a whole: a frame may begin within a word. */
export function nativeValue({ bytes, littleEndian }: DataSet, { vr, offset, length }: Element): Uint8Array {
  const value = bytes.subarray(offset, offset + length);
  return littleEndian || vr !== 'OW' ? value : swapped(value, 2);
}

/**
 * The fragments of each frame, from one number to another: one each, all of the only frame, by the Basic Offset Table, or, without
 * one, from one that begins a codestream to the next.
 */
function fragmentRuns(
  bytes: Uint8Array,
  { fragments = [], basicOffsetTable = [] }: Element,
  frames: number,
): [number, number][] {
  const [first] = fragments;
  if (first === undefined) throw bad('encapsulated Pixel Data without fragments');
  if (frames === 1) return [[0, fragments.length]];
  if (fragments.length === frames) return fragments.map((_, index) => [index, index + 1]);
  // Offsets count from the item header of the first fragment (PS3.5 §A.4).
  const at = new Map(fragments.map(({ offset }, index) => [offset - first.offset, index]));
  const told = basicOffsetTable.map((offset) => at.get(offset));
  const isTold =
    told.length === frames && told.every((start, frame) => start !== undefined && start > (told[frame - 1] ?? -1));
  const begun = (): number[] =>
    fragments.flatMap(({ offset, length }, index) =>
      beginsCodestream(bytes.subarray(offset, offset + Math.min(length, 4))) ? [index] : [],
    );
  const starts = isTold ? told : begun();
  if (starts.length !== frames || starts[0] !== 0) throw bad('fragments that belong to no frame');
  return starts.map((start = 0, frame) => [start, starts[frame + 1] ?? fragments.length]);
}
