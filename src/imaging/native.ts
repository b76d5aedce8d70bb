/**
 * Owns samples as they lie in native Pixel Data (PS3.5 §8.1.1, §8.2) and what is done to them on the way to a {@link Frame}: bits in
 * their words, planes, colour spaces. The same steps serve what a codec has decoded.
 */

import { endianness } from 'node:os';
import { swapped } from '../dicom/reencode.ts';
import { IsenError } from '../errors.ts';
import type { Frame, PixelAttributes, Samples } from './image.ts';

const LITTLE_ENDIAN_HOST = endianness() === 'LE';

/** What says how bits lie in a sample. */
type Bits = Pick<PixelAttributes, 'bitsAllocated' | 'bitsStored' | 'highBit' | 'signed' | 'float'>;

/** Bytes of one frame of native Pixel Data; the last byte of single bits may be shared with the next frame. */
export function nativeFrameSize(attributes: PixelAttributes): number {
  const { rows, columns, samplesPerPixel, bitsAllocated } = attributes;
  const perPixel = isSubsampled(attributes) ? 2 : samplesPerPixel;
  return Math.ceil((rows * columns * perPixel * bitsAllocated) / 8);
}

/** Whether chrominance is stored once for two pixels (PS3.3 §C.7.6.3.1.2). */
export function isSubsampled({ photometricInterpretation, samplesPerPixel }: PixelAttributes): boolean {
  return samplesPerPixel === 3 && photometricInterpretation === 'YBR_FULL_422';
}

/**
 * One native frame. Its samples may be a view of `bytes`.
 * @throws {IsenError} BadFileFormat for fewer bytes than the frame has, NotImplemented for subsampling of other than 8 bits.
 */
export function decodeNative(bytes: Uint8Array, attributes: PixelAttributes): StoredFrame {
  const size = nativeFrameSize(attributes);
  if (bytes.length < size) throw new IsenError('BadFileFormat', 'Pixel Data is shorter than its frame');
  const stored = bytes.subarray(0, size);
  if (isSubsampled(attributes)) {
    if (attributes.bitsAllocated !== 8 || attributes.columns % 2 !== 0) throw new IsenError('NotImplemented');
    return storedOf(expand422(stored), { ...attributes, photometricInterpretation: 'YBR_FULL' }, 0);
  }
  return storedOf(samplesOf(stored, attributes), attributes, attributes.planarConfiguration);
}

/** Little endian bytes as the samples that they are; a view of them where alignment allows. */
export function samplesOf(bytes: Uint8Array, attributes: Bits): Samples {
  const { bitsAllocated, signed, float } = attributes;
  switch (bitsAllocated) {
    case 1:
      return unpackBits(bytes);
    case 8:
      // Never a Buffer, whose slice is no copy.
      return signed
        ? new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length)
        : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    case 16: {
      const { buffer, byteOffset, length } = aligned(bytes, 2);
      return signed
        ? new Int16Array(buffer, byteOffset, length >> 1)
        : new Uint16Array(buffer, byteOffset, length >> 1);
    }
    case 32: {
      const { buffer, byteOffset, length } = aligned(bytes, 4);
      if (float) return new Float32Array(buffer, byteOffset, length >> 2);
      return signed
        ? new Int32Array(buffer, byteOffset, length >> 2)
        : new Uint32Array(buffer, byteOffset, length >> 2);
    }
    case 64: {
      const { buffer, byteOffset, length } = aligned(bytes, 8);
      if (float) return new Float64Array(buffer, byteOffset, length >> 3);
      throw new IsenError('IncompatibleImageFormat');
    }
    default:
      throw new IsenError('IncompatibleImageFormat');
  }
}

/** `bytes` where a typed array of words of `size` bytes can begin and in the order of this machine: the same or a copy. */
function aligned(bytes: Uint8Array, size: 2 | 4 | 8): Uint8Array {
  if (LITTLE_ENDIAN_HOST && bytes.byteOffset % size === 0) return bytes;
  return LITTLE_ENDIAN_HOST ? Uint8Array.from(bytes) : swapped(bytes, size);
}

/** One sample a byte; the first pixel is in the least significant bit (PS3.5 §8.1.1). */
function unpackBits(bytes: Uint8Array): Uint8Array {
  const samples = new Uint8Array(bytes.length * 8);
  for (let at = 0, sample = 0; at < bytes.length; at += 1) {
    for (let byte = bytes[at] ?? 0, end = sample + 8; sample < end; byte >>= 1, sample += 1) samples[sample] = byte & 1;
  }
  return samples;
}

/** One frame as its codec left it: like {@link Frame}, but its colours may still be YBR_FULL. */
export interface StoredFrame {
  readonly rows: number;
  readonly columns: number;
  readonly samplesPerPixel: number;
  readonly photometricInterpretation: string;
  readonly samples: Samples;
}

/**
 * The stored values of decoded samples in their words: bits resolved, planes interleaved. `planar` says how they lie, whatever the
 * attributes do.
 * @throws {IsenError} BadFileFormat for fewer samples than the frame has.
 */
export function storedOf(samples: Samples, attributes: PixelAttributes, planar: 0 | 1): StoredFrame {
  const { rows, columns, samplesPerPixel, photometricInterpretation } = attributes;
  const count = rows * columns * samplesPerPixel;
  if (samples.length < count) throw new IsenError('BadFileFormat', 'Pixel Data is shorter than its frame');
  // The last byte of single bits, and the padding of an odd value, hold more samples than there are.
  const resolved = resolveBits(samples.length === count ? samples : samples.subarray(0, count), attributes);
  return {
    rows,
    columns,
    samplesPerPixel,
    photometricInterpretation,
    samples: planar === 1 && samplesPerPixel > 1 ? interleave(resolved, samplesPerPixel) : resolved,
  };
}

/**
 * A frame to be shown: what is YBR becomes RGB.
 * @throws {IsenError} NotImplemented for a colour space that is unknown.
 */
export function shown(stored: StoredFrame, attributes: Bits): Frame {
  const { photometricInterpretation: photometric } = stored;
  if (stored.samplesPerPixel === 1) {
    const isNamed = photometric === 'MONOCHROME1' || photometric === 'PALETTE COLOR';
    return { ...stored, photometricInterpretation: isNamed ? photometric : 'MONOCHROME2' };
  }
  if (stored.samplesPerPixel !== 3) throw new IsenError('NotImplemented', 'an image of four samples per pixel');
  if (photometric === 'RGB') return { ...stored, photometricInterpretation: 'RGB' };
  if (photometric !== 'YBR_FULL' && photometric !== 'YBR_FULL_422')
    throw new IsenError('NotImplemented', 'a colour space that is not known');
  return { ...stored, photometricInterpretation: 'RGB', samples: rgbOfYbr(stored.samples, attributes) };
}

/** Samples as little endian bytes, colour by pixel; single bits packed, the first pixel in the least significant (PS3.5 §8.1.1). */
export function bytesOf(samples: Samples, bitsAllocated: number): Uint8Array {
  if (bitsAllocated === 1) {
    const packed = new Uint8Array(Math.ceil(samples.length / 8));
    for (let at = 0; at < samples.length; at += 1)
      if (samples[at] === 1) packed[at >> 3] = (packed[at >> 3] ?? 0) | (1 << (at & 7));
    return packed;
  }
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  return LITTLE_ENDIAN_HOST
    ? bytes
    : swapped(bytes, bitsAllocated === 8 ? 1 : bitsAllocated === 16 ? 2 : bitsAllocated === 32 ? 4 : 8);
}

/** The stored values: Bits Stored bits below High Bit, with their sign; the same array when nothing else is in it. */
export function resolveBits(samples: Samples, { bitsAllocated, bitsStored, highBit, signed, float }: Bits): Samples {
  if (float || bitsStored === bitsAllocated || bitsAllocated === 1) return samples;
  const resolved = samples.slice();
  const right = 32 - bitsStored;
  const left = 31 - highBit;
  if (signed) for (let at = 0; at < resolved.length; at += 1) resolved[at] = ((samples[at] ?? 0) << left) >> right;
  else for (let at = 0; at < resolved.length; at += 1) resolved[at] = ((samples[at] ?? 0) << left) >>> right;
  return resolved;
}

/** Samples colour by pixel, of `count` planes. */
function interleave(planes: Samples, count: number): Samples {
  const samples = planes.slice();
  for (let plane = 0, from = 0; plane < count; plane += 1)
    for (let at = plane; at < samples.length; at += count, from += 1) samples[at] = planes[from] ?? 0;
  return samples;
}

/** Y1 Y2 Cb Cr, two pixels, as Y1 Cb Cr Y2 Cb Cr (PS3.3 §C.7.6.3.1.2). */
function expand422(bytes: Uint8Array): Uint8Array {
  const samples = new Uint8Array((bytes.length / 4) * 6);
  for (let from = 0, at = 0; from + 3 < bytes.length; from += 4, at += 6) {
    samples[at] = bytes[from] ?? 0;
    samples[at + 3] = bytes[from + 1] ?? 0;
    samples[at + 1] = samples[at + 4] = bytes[from + 2] ?? 0;
    samples[at + 2] = samples[at + 5] = bytes[from + 3] ?? 0;
  }
  return samples;
}

/** RGB of YBR_FULL: the inverse of the equations of PS3.3 §C.7.6.3.1.2, chrominance centred on half the range. */
function rgbOfYbr(ybr: Samples, { bitsStored, signed, float }: Bits): Samples {
  if (signed || float || bitsStored > 16)
    throw new IsenError('IncompatibleImageFormat', 'a YBR image that is not of 8 or 16 bits');
  const rgb = ybr.slice();
  const middle = 2 ** (bitsStored - 1);
  const maximum = 2 ** bitsStored - 1;
  const clamp = (value: number): number => (value < 0 ? 0 : value > maximum ? maximum : Math.round(value));
  for (let at = 0; at + 2 < ybr.length; at += 3) {
    const y = ybr[at] ?? 0;
    const blue = (ybr[at + 1] ?? 0) - middle;
    const red = (ybr[at + 2] ?? 0) - middle;
    rgb[at] = clamp(y + 1.402 * red);
    rgb[at + 1] = clamp(y - 0.344136 * blue - 0.714136 * red);
    rgb[at + 2] = clamp(y + 1.772 * blue);
  }
  return rgb;
}
