/**
 * Owns the encoding of one frame in any transfer syntax that a codec can write. What is lossless is so to the bit: colours are
 * converted only where a codec has its own lossless transform for them, or loses anyway.
 */

import { IsenError } from '../errors.ts';
import { type Codec, capability, within } from './codecs.ts';
import type { PixelAttributes } from './image.ts';
import { bytesOf, shown, type StoredFrame } from './native.ts';
import { encodeWith } from './native-codecs.ts';
import { encodeRle } from './rle.ts';

/** `lossy-quality` when nobody says one. */
export const DEFAULT_QUALITY = 90;

/** The attributes of an image that change with its encoding. */
export type EncodedAttributes = Pick<
  PixelAttributes,
  'transferSyntax' | 'photometricInterpretation' | 'planarConfiguration' | 'bitsAllocated' | 'highBit'
>;

const MULTIPLE_COMPONENT_TRANSFORM: ReadonlySet<Codec> = new Set(['jpeg-2000', 'htj2k']);
const RPCL = '1.2.840.10008.1.2.4.202';

/**
 * What the image's attributes become in another transfer syntax, of an image whose frames {@link decodeStored} decoded to
 * `photometric`.
 * @throws {IsenError} NotImplemented for a transfer syntax that cannot be encoded, IncompatibleImageFormat for an image that it
 * cannot hold.
 */
export function encodedAttributes(
  attributes: PixelAttributes,
  photometric: string,
  transferSyntax: string,
): EncodedAttributes {
  const { codec, encode, lossy } = capability(transferSyntax);
  if (encode === undefined)
    throw new IsenError('NotImplemented', `Cannot encode images in transfer syntax ${transferSyntax}`);
  const highBit = attributes.bitsStored - 1;
  const isNative = codec === 'native';
  if (
    !within(encode, { ...attributes, highBit }) ||
    (!isNative && (attributes.float || attributes.bitsAllocated === 1)) ||
    (lossy && photometric === 'PALETTE COLOR') ||
    // Its encoder transforms any three samples as if they were RGB, which nobody could undo by the name of YBR_FULL.
    (codec === 'htj2k' && attributes.samplesPerPixel === 3 && photometric !== 'RGB')
  ) {
    throw new IsenError('IncompatibleImageFormat', `The image cannot be encoded in transfer syntax ${transferSyntax}`);
  }
  return {
    transferSyntax,
    photometricInterpretation: photometricOf(codec, lossy, photometric),
    planarConfiguration: 0,
    // A codestream of up to 8 bits has words of 8 (PS3.5 §8.2).
    bitsAllocated: isNative || codec === 'rle' ? attributes.bitsAllocated : attributes.bitsStored <= 8 ? 8 : 16,
    highBit: attributes.float ? attributes.highBit : highBit,
  };
}

/** Photometric Interpretation once encoded (PS3.5 §8.2). */
function photometricOf(codec: Codec, lossy: boolean, photometric: string): string {
  const isColour = photometric === 'RGB' || photometric.startsWith('YBR_');
  if (codec === 'jpeg' && lossy && isColour) return 'YBR_FULL';
  if (MULTIPLE_COMPONENT_TRANSFORM.has(codec) && isColour && (lossy || photometric === 'RGB'))
    return lossy ? 'YBR_ICT' : 'YBR_RCT';
  return photometric;
}

/**
 * Encodes one frame; `encoded` are its attributes in the transfer syntax to write, of {@link encodedAttributes}, and `attributes`
 * those that it has been decoded from. Native frames are little endian. Of `quality`, 1 to 100, JPEG makes its tables, JPEG-LS how
 * much a sample may differ (0 for 100, 2 for 90, 20 for 1) and JPEG 2000 how small it gets (1:11 for 90).
 * @throws {IsenError} IncompatibleImageFormat for what the codec refuses.
 */
export function encodeFrame(
  frame: StoredFrame,
  attributes: PixelAttributes,
  encoded: EncodedAttributes,
  quality = DEFAULT_QUALITY,
): Uint8Array {
  const { codec, lossy } = capability(encoded.transferSyntax);
  const { rows, columns, samplesPerPixel } = frame;
  const { bitsStored, signed } = attributes;
  if (codec === 'native') return bytesOf(frame.samples, encoded.bitsAllocated);
  if (codec === 'rle') {
    const bytes = bytesOf(frame.samples, encoded.bitsAllocated);
    return encodeRle(bytes, columns, samplesPerPixel, encoded.bitsAllocated / 8);
  }
  const isTransformed = encoded.photometricInterpretation !== frame.photometricInterpretation;
  const source = isTransformed ? shown(frame, attributes) : frame;
  const image = {
    rows,
    columns,
    samplesPerPixel,
    bitsAllocated: encoded.bitsAllocated,
    bitsStored,
    signed,
    planarConfiguration: 0 as const,
    photometricInterpretation: source.photometricInterpretation,
  };
  const samples = words(source, attributes, encoded, allowedError(attributes, encoded, quality));
  const transform = isTransformed || source.photometricInterpretation === 'RGB';
  switch (codec) {
    case 'jpeg':
      return encodeWith('Jpeg', samples, image, { lossy, quality });
    case 'jpeg-ls':
      return encodeWith('JpegLs', samples, image, {
        lossy,
        allowedLossyError: allowedError(attributes, encoded, quality),
      });
    case 'jpeg-2000':
      return encodeWith('Jpeg2000', samples, image, { lossy, rate: 101 - quality, colourTransform: transform });
    case 'htj2k':
      return encodeWith('HtJpeg2000', samples, image, {
        lossy,
        rpcl: encoded.transferSyntax === RPCL,
        colourTransform: transform,
      });
  }
}

/** By how much JPEG-LS may change a sample, which is never more than a quarter of its range; 0 for every other codec. */
function allowedError({ bitsStored }: PixelAttributes, { transferSyntax }: EncodedAttributes, quality: number): number {
  const { codec, lossy } = capability(transferSyntax);
  return codec === 'jpeg-ls' && lossy ? Math.min(Math.round((100 - quality) / 5), (2 ** bitsStored) >> 2) : 0;
}

/**
 * The samples in the codec's words; JPEG and JPEG-LS know no sign and take just the bits that are stored. Where a sample may become
 * larger by `error`, it is kept that far from the ends of its range, behind which it would be read as the other end.
 */
function words(frame: StoredFrame, attributes: PixelAttributes, encoded: EncodedAttributes, error: number): Uint8Array {
  const { bitsStored, signed } = attributes;
  const { samples } = frame;
  const { codec } = capability(encoded.transferSyntax);
  const plain = codec === 'jpeg' || codec === 'jpeg-ls';
  const isFull = samples.BYTES_PER_ELEMENT * 8 === encoded.bitsAllocated;
  if (isFull && error === 0 && !(plain && signed && bitsStored < encoded.bitsAllocated))
    return bytesOf(samples, encoded.bitsAllocated);
  const mask = plain ? 2 ** bitsStored - 1 : 2 ** encoded.bitsAllocated - 1;
  const most = 2 ** (signed ? bitsStored - 1 : bitsStored) - 1 - error;
  const least = error > 0 && signed ? error - 2 ** (bitsStored - 1) : Number.NEGATIVE_INFINITY;
  const narrow = encoded.bitsAllocated === 8 ? new Uint8Array(samples.length) : new Uint16Array(samples.length);
  for (let at = 0; at < narrow.length; at += 1) narrow[at] = Math.min(most, Math.max(least, samples[at] ?? 0)) & mask;
  return bytesOf(narrow, encoded.bitsAllocated);
}
