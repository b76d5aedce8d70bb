/** Owns the decoding of one frame in any transfer syntax to its stored values. Pure and synchronous: it runs in a worker. */

import { IsenError } from '../errors.ts';
import { capability } from './codecs.ts';
import { type Codestream, readJpeg, readJpeg2000 } from './codestream.ts';
import type { Frame, PixelAttributes, Samples } from './image.ts';
import { decodeNative, samplesOf, shown, type StoredFrame, storedOf } from './native.ts';
import { type CodecName, decodeWith } from './native-codecs.ts';
import { decodeWithOpenjpeg } from './openjpeg.ts';
import { decodeRle } from './rle.ts';

/** Frames of one that are lossless JPEG: their YBR is a choice of the file, not of the codec. */
const LOSSLESS_JPEG: ReadonlySet<string> = new Set(['1.2.840.10008.1.2.4.57', '1.2.840.10008.1.2.4.70']);

/**
 * Decodes one frame. `bytes` are what `GET /frames/N/raw` answers: for an encapsulated transfer syntax the codestream (fragments
 * concatenated), for a native one the frame in little endian words (see `FrameLocation.swapped`). The samples may be a view of them.
 * @throws {IsenError} BadFileFormat for bytes that are not such a frame, NotImplemented for a transfer syntax that cannot be
 * decoded, IncompatibleImageFormat for samples or colours that cannot be shown.
 */
export function decodeFrame(bytes: Uint8Array, attributes: PixelAttributes): Frame {
  return shown(decodeStored(bytes, attributes), attributes);
}

/** As {@link decodeFrame}, its colours left as they are stored where converting would round them: what is to be encoded again. */
export function decodeStored(bytes: Uint8Array, attributes: PixelAttributes): StoredFrame {
  const { codec } = capability(attributes.transferSyntax);
  switch (codec) {
    case 'native':
      return decodeNative(bytes, attributes);
    case 'rle': {
      const { rows, columns, samplesPerPixel, bitsAllocated } = attributes;
      if (bitsAllocated < 8 || attributes.float) throw new IsenError('NotImplemented', 'RLE of single bits');
      const decoded = decodeRle(bytes, rows * columns, samplesPerPixel, bitsAllocated / 8);
      return storedOf(samplesOf(decoded, attributes), attributes, 0);
    }
    case 'jpeg':
      return decodeCodestream('Jpeg', readJpeg(bytes), attributes);
    case 'jpeg-ls':
      return decodeCodestream('JpegLs', readJpeg(bytes), attributes);
    case 'jpeg-2000':
      return decodeCodestream('Jpeg2000', readJpeg2000(bytes), attributes);
    case 'htj2k':
      return decodeCodestream('HtJpeg2000', readJpeg2000(bytes), attributes);
  }
}

/** A codestream that agrees with what the data set says of it: whatever is decoded is then of a size that was bounded. */
function decodeCodestream(codec: CodecName, codestream: Codestream, attributes: PixelAttributes): StoredFrame {
  const { rows, columns, samplesPerPixel, bitsAllocated, signed, float } = attributes;
  const { bits } = codestream;
  if (codestream.rows !== rows || codestream.columns !== columns || codestream.samplesPerPixel !== samplesPerPixel)
    throw new IsenError('BadFileFormat', 'the codestream is of another size than the image');
  if (float || bits > 16 || bits > bitsAllocated || (samplesPerPixel !== 1 && samplesPerPixel !== 3))
    throw new IsenError('IncompatibleImageFormat', 'the codestream holds other samples than the image');
  const colour = colourOf(codec, codestream, attributes);
  const words = bits <= 8 ? 8 : 16;
  if (codec !== 'Jpeg' && codec !== 'JpegLs' && samplesPerPixel === 3 && bits > 8) {
    const decoded = samplesOf(decodeWithOpenjpeg(codestream.bytes), { ...attributes, bitsAllocated: 16 });
    return storedOf(
      widened(decoded, bitsAllocated, signed),
      { ...attributes, photometricInterpretation: colour.kept },
      0,
    );
  }
  const decoded = decodeWith(
    codec,
    codestream.bytes,
    { ...attributes, bitsAllocated: words, bitsStored: bits, planarConfiguration: 0 },
    colour.convert,
  );
  // The codec may have chosen other words.
  if (decoded.bitsAllocated !== 8 && decoded.bitsAllocated !== 16) throw new IsenError('IncompatibleImageFormat');
  const samples = samplesOf(decoded.bytes, { ...attributes, bitsAllocated: decoded.bitsAllocated });
  return storedOf(
    widened(samples, bitsAllocated, signed),
    { ...attributes, photometricInterpretation: colour.kept },
    // The decoder of JPEG-LS does not say that it made planes.
    codec === 'JpegLs' && codestream.componentScans ? 1 : decoded.planarConfiguration,
  );
}

/** Which colour space the codec is to leave, and whether it has to convert for that. */
function colourOf(
  codec: CodecName,
  codestream: Codestream,
  { transferSyntax, photometricInterpretation, samplesPerPixel }: PixelAttributes,
): { readonly kept: string; readonly convert: boolean } {
  if (samplesPerPixel === 1 || photometricInterpretation === 'RGB')
    return { kept: photometricInterpretation, convert: false };
  // Chrominance of half the width is JPEG's own business, which its decoder undoes together with the colours.
  if (codec === 'Jpeg' && !LOSSLESS_JPEG.has(transferSyntax)) return { kept: 'RGB', convert: true };
  // YBR_ICT and YBR_RCT are names of what the decoder undoes (PS3.3 §C.7.6.3.1.2); so is any name then.
  const undone = codestream.colourTransform || /^YBR_(ICT|RCT)$/.test(photometricInterpretation);
  return { kept: undone ? 'RGB' : photometricInterpretation, convert: false };
}

/** Samples of a codec's words in those of the image, which may be wider. */
function widened(samples: Samples, bitsAllocated: number, signed: boolean): Samples {
  if (samples.BYTES_PER_ELEMENT * 8 === bitsAllocated) return samples;
  if (bitsAllocated === 16) return signed ? Int16Array.from(samples) : Uint16Array.from(samples);
  if (bitsAllocated === 32) return signed ? Int32Array.from(samples) : Uint32Array.from(samples);
  throw new IsenError('IncompatibleImageFormat');
}
