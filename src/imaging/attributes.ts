/**
 * Owns the reading of the Image Pixel module (PS3.3 §C.7.6.3): what it says of a frame, checked, so that nobody behind it has to
 * doubt a size. What is absent gets the only value that it can mean; what cannot be is refused as the reference does.
 */

import type { DataSet } from '../dicom/read.ts';
import { textOf } from '../dicom/value.ts';
import { IsenError } from '../errors.ts';
import { countFrames } from './frames.ts';
import type { PixelAttributes } from './image.ts';

/** Bytes of one decoded frame: more is refused, since it would not fit the memory of a codec. */
export const MAXIMUM_FRAME_BYTES = 512 * 1024 * 1024;

const ALLOCATED: ReadonlySet<number> = new Set([1, 8, 16, 32, 64]);

/**
 * The attributes that decoding needs, of a header at least up to Pixel Data.
 * @throws {IsenError} NotImplemented without Bits Allocated, Rows or Columns (there is no image), and for samples that no image has;
 * IncompatibleImageFormat for such Bits Allocated; BadFileFormat for a size of 0, a frame above {@link MAXIMUM_FRAME_BYTES} or a
 * Number of Frames that is none.
 */
export function attributesOf(dataSet: DataSet, transferSyntax: string): PixelAttributes {
  const float = dataSet.elements.has('7fe0,0008');
  const double = !float && dataSet.elements.has('7fe0,0009');
  const bitsAllocated = unsignedShort(dataSet, '0028,0100') ?? (float ? 32 : double ? 64 : undefined);
  if (bitsAllocated === undefined) throw new IsenError('NotImplemented');
  if (bitsAllocated === 24) throw new IsenError('NotImplemented');
  if (!ALLOCATED.has(bitsAllocated))
    throw new IsenError('IncompatibleImageFormat', `Image not supported: ${bitsAllocated} bits allocated`);
  if (float ? bitsAllocated !== 32 : double !== (bitsAllocated === 64)) throw new IsenError('IncompatibleImageFormat');
  const rows = unsignedShort(dataSet, '0028,0010');
  const columns = unsignedShort(dataSet, '0028,0011');
  if (rows === undefined || columns === undefined) throw new IsenError('NotImplemented');
  if (rows === 0 || columns === 0) throw new IsenError('BadFileFormat', 'an image without Rows or Columns');
  const samplesPerPixel = unsignedShort(dataSet, '0028,0002') ?? 1;
  if (samplesPerPixel === 0)
    throw new IsenError('IncompatibleImageFormat', 'Image not supported: samples per pixel is 0');
  if (samplesPerPixel !== 1 && samplesPerPixel !== 3 && samplesPerPixel !== 4)
    throw new IsenError('NotImplemented', 'Samples per Pixel is neither 1, 3 nor 4');
  if (rows * columns * samplesPerPixel * Math.max(1, bitsAllocated / 8) > MAXIMUM_FRAME_BYTES)
    throw new IsenError('BadFileFormat', 'a frame is larger than can be decoded');
  const bitsStored = unsignedShort(dataSet, '0028,0101') || bitsAllocated;
  // Float samples have no bits to place, whatever such elements say (PS3.3 §C.7.6.24).
  if (!float && !double && bitsStored > bitsAllocated)
    throw new IsenError('NotImplemented', 'Bits Stored do not fit Bits Allocated');
  const said = unsignedShort(dataSet, '0028,0102') ?? bitsStored - 1;
  // One that cannot be has to be the only one that the Standard allows (PS3.5 §8.1.1).
  const highBit = said >= bitsAllocated || said + 1 < bitsStored ? bitsStored - 1 : said;
  return {
    transferSyntax,
    rows,
    columns,
    samplesPerPixel,
    photometricInterpretation: photometric(dataSet) ?? (samplesPerPixel === 1 ? 'MONOCHROME2' : 'RGB'),
    planarConfiguration: samplesPerPixel > 1 && unsignedShort(dataSet, '0028,0006') === 1 ? 1 : 0,
    bitsAllocated,
    bitsStored: float || double ? bitsAllocated : bitsStored,
    highBit: float || double ? bitsAllocated - 1 : highBit,
    signed: float || double || unsignedShort(dataSet, '0028,0103') === 1,
    float: float || double,
    frames: countFrames(dataSet, transferSyntax),
  };
}

/** Photometric Interpretation (0028,0004), undefined where it is absent or empty. */
function photometric(dataSet: DataSet): string | undefined {
  const element = dataSet.elements.get('0028,0004');
  // A CS has at most 16 bytes (PS3.5 §6.2).
  const text = element && textOf(dataSet, { ...element, length: Math.min(element.length, 64) }).trim();
  return text === '' ? undefined : text;
}

/** Value of a US of the header, undefined where it is absent or has another length. */
function unsignedShort({ elements, bytes, littleEndian }: DataSet, tag: string): number | undefined {
  const element = elements.get(tag);
  if (element === undefined || element.length < 2) return undefined;
  return littleEndian ? bytes.readUInt16LE(element.offset) : bytes.readUInt16BE(element.offset);
}
