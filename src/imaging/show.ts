/** Owns the whole way from the stored bytes of a frame to what a client is shown: it is the work of one task of a worker. */

import { tagNumber } from '../dicom/dictionary.ts';
import { readStored } from '../dicom/header.ts';
import { type DataSet, type DicomFile, readFile } from '../dicom/read.ts';
import { IsenError } from '../errors.ts';
import { arrayOf, type FrameArray, matlabText } from './arrays.ts';
import { attributesOf } from './attributes.ts';
import { decodeFrame } from './decode.ts';
import { ELSCINT_TAGS, elscintFrame, isElscint } from './elscint.ts';
import { encodePicture, type ImageFormat } from './encode.ts';
import { inLittleEndian, locateFrame } from './frames.ts';
import { GRAYSCALE_TAGS, grayscaleOf } from './grayscale.ts';
import type { Frame, PixelAttributes } from './image.ts';
import { PALETTE_TAGS, paletteOf } from './palette.ts';
import { fitted, pictureOf, type Rendering, resized, type Shown } from './render.ts';

/** What to make of a frame. */
export type ShowQuestion =
  | {
      readonly kind: 'picture';
      readonly rendering: Rendering;
      readonly format: ImageFormat;
      /** 1 to 100. */
      readonly quality: number;
    }
  /** Its numbers; of grey in values of the modality, if `rescaled`. */
  | { readonly kind: 'array'; readonly rescaled: boolean }
  /** The same as text for MATLAB. */
  | { readonly kind: 'matlab' };

export interface ShowTask {
  /** The file, or its beginning up to Pixel Data. */
  readonly bytes: Uint8Array;
  /** The bytes end where Pixel Data begins; `pixels` has what is needed of it. */
  readonly truncated: boolean;
  /** MD5 that the bytes must have, in base64, where it is known and they have not been compared. */
  readonly md5?: string;
  /** The frame as `GET /frames/N/raw` answers it; sought in the bytes where it is not given. */
  readonly pixels?: Uint8Array;
  /** Counted from 0. */
  readonly frame: number;
  readonly question: ShowQuestion;
}

/** Bytes to answer; for an `array` what they are, and how many frames there are. */
export interface ShowAnswer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly array?: Omit<FrameArray, 'values'> & { readonly frames: number };
}

/** Pixel Data and its floating kinds. */
const PIXEL_TAGS = ['7fe0,0008', '7fe0,0009', '7fe0,0010'];

/** The Image Pixel module, Number of Frames and the Extended Offset Table. */
const IMAGE_PIXEL_TAGS =
  '0028,0002 0028,0004 0028,0006 0028,0008 0028,0010 0028,0011 0028,0100 0028,0101 0028,0102 0028,0103 7fe0,0001'.split(
    ' ',
  );

const TAGS: ReadonlySet<number> = new Set(
  [...IMAGE_PIXEL_TAGS, ...PIXEL_TAGS, ...GRAYSCALE_TAGS, ...PALETTE_TAGS, ...ELSCINT_TAGS].map(tagNumber),
);

/**
 * Answers one question.
 * @throws {IsenError} CorruptedFile for bytes of another MD5, BadFileFormat without Pixel Data or for damaged ones, ParameterOutOfRange for a frame that is not there or a
 * picture that would be too large, NotImplemented for what is no image or cannot be decoded, IncompatibleImageFormat for what
 * cannot be shown so.
 */
export async function show(task: ShowTask): Promise<ShowAnswer> {
  const options = { only: TAGS, ...(task.truncated && { truncated: true }) };
  const file = task.md5 === undefined ? readFile(task.bytes, options) : readStored(task.bytes, task.md5, options);
  const { elements } = file.dataSet;
  if (!PIXEL_TAGS.some((tag) => elements.has(tag)) && !isElscint(file.dataSet))
    throw new IsenError(elements.has('0028,0100') ? 'BadFileFormat' : 'NotImplemented');
  const attributes = attributesOf(file.dataSet, file.transferSyntax);
  if (task.frame >= attributes.frames) throw new IsenError('ParameterOutOfRange');
  const pixels = task.pixels ?? (await pixelsOf(file, attributes, task.frame));
  const frame = opaque(decodeFrame(pixels, attributes), attributes);
  const shown: Shown = {
    frame,
    attributes,
    grayscale: grayscaleOf(file.dataSet, attributes, task.frame),
    palette:
      frame.photometricInterpretation === 'PALETTE COLOR' ? paletteOf(file.dataSet, attributes.signed) : undefined,
  };
  const { question } = task;
  switch (question.kind) {
    case 'picture':
      return { bytes: owned(await encoded(shown, question)) };
    case 'array': {
      const { values, ...array } = arrayOf(shown, question.rescaled);
      return { bytes: owned(values), array: { ...array, frames: attributes.frames } };
    }
    case 'matlab':
      return { bytes: owned(Buffer.from(matlabText(shown))) };
  }
}

async function encoded(
  shown: Shown,
  { rendering, format, quality }: Extract<ShowQuestion, { kind: 'picture' }>,
): Promise<Uint8Array> {
  if (rendering.kind !== 'rendered') return encodePicture(pictureOf(shown, rendering), { format, quality });
  const size = fitted({ width: shown.frame.columns, height: shown.frame.rows }, rendering);
  const picture = pictureOf(shown, rendering);
  return rendering.smooth
    ? encodePicture(picture, { format, quality, size })
    : encodePicture(resized(picture, size), { format, quality });
}

/** Single bits as the reference shows them: what is set is 255. */
function opaque(frame: Frame, { bitsAllocated }: PixelAttributes): Frame {
  if (bitsAllocated !== 1) return frame;
  return { ...frame, samples: Uint8Array.from(frame.samples, (sample) => (sample === 0 ? 0 : 255)) };
}

/** The bytes of a frame out of the whole file. */
async function pixelsOf(file: DicomFile, attributes: PixelAttributes, frame: number): Promise<Uint8Array> {
  const { bytes, dataSet, transferSyntax } = file;
  if (attributes.float) return floatFrame(dataSet, attributes, frame);
  const element = dataSet.elements.get('7fe0,0010');
  if (element === undefined) return elscintFrame(dataSet, attributes);
  const location = await locateFrame(
    {
      dataSet,
      transferSyntax,
      pixelData: element.start,
      size: bytes.length,
      read: (start, end) => Promise.resolve(bytes.subarray(start, end)),
    },
    frame,
  );
  return inLittleEndian(Buffer.concat(location.ranges.map(({ start, end }) => bytes.subarray(start, end))), location);
}

/** A frame of Float Pixel Data (7FE0,0008) or Double Float Pixel Data (7FE0,0009), in little endian. */
function floatFrame(
  { bytes, elements, littleEndian }: DataSet,
  attributes: PixelAttributes,
  frame: number,
): Uint8Array {
  const element = elements.get('7fe0,0008') ?? elements.get('7fe0,0009');
  const size = (attributes.rows * attributes.columns * attributes.samplesPerPixel * attributes.bitsAllocated) / 8;
  if (element === undefined || size * attributes.frames > element.length) throw new IsenError('BadFileFormat');
  const start = element.offset + frame * size;
  const pixels = Buffer.from(bytes.subarray(start, start + size));
  if (littleEndian) return pixels;
  return attributes.bitsAllocated === 32 ? pixels.swap32() : pixels.swap64();
}

/** The bytes in memory of their own, which can be handed to another thread. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength && !Buffer.isBuffer(bytes)
    ? (bytes as Uint8Array<ArrayBuffer>)
    : new Uint8Array(bytes);
}
