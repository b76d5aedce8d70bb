/**
 * Owns the transcoding of a whole DICOM file: every element that does not change is copied or turned around, the frames are decoded
 * and encoded one by one, and the attributes that describe them follow (PS3.3 §C.7.6.3, of lossy compression §C.7.6.1.1.5).
 */

import { generateUid } from '../dicom/ids.ts';
import { elementsIn, swapped } from '../dicom/reencode.ts';
import { type DataSet, type DicomFile, type Element, readFile } from '../dicom/read.ts';
import { EXPLICIT_LITTLE_ENDIAN, type TransferSyntax, transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { textOf } from '../dicom/value.ts';
import { type NewElement, rawElements, writeFile } from '../dicom/write.ts';
import { IsenError } from '../errors.ts';
import { attributesOf } from './attributes.ts';
import { capability } from './codecs.ts';
import { decodeStored } from './decode.ts';
import { encodedAttributes, encodeFrame } from './encode-frame.ts';
import { nativeFrameSize } from './native.ts';
import { framesOf, nativeValue } from './pixel-data.ts';

export interface TranscodeOptions {
  /** Of lossy compression, 1 to 100; 90 by default. */
  readonly quality?: number;
}

export interface Transcoded {
  /** The very bytes that were given where they are in the transfer syntax already. */
  readonly bytes: Uint8Array;
  /** Information was lost: the instance is another one, with a new SOP Instance UID. */
  readonly lossy: boolean;
  readonly sopInstanceUid: string;
}

/** Bytes of all decoded frames of one file. */
const MAXIMUM_DECODED = 1 << 30;

const EXPLICIT = { littleEndian: true, explicit: true };
/** Value of Lossy Image Compression Method (0028,2114) by codec (PS3.3 §C.7.6.1.1.5.1). */
const METHOD: Readonly<Record<string, string>> = {
  jpeg: 'ISO_10918_1',
  'jpeg-ls': 'ISO_14495_1',
  'jpeg-2000': 'ISO_15444_1',
};
/** Elements that are written anew with Pixel Data, or have no meaning with another: offset tables, an encapsulated icon. */
const EXTENDED_OFFSETS: ReadonlySet<string> = new Set(['7fe0,0001', '7fe0,0002']);
const ICON = '0088,0200';
const PIXEL_DATA = '7fe0,0010';

/**
 * Transcodes a DICOM file.
 * @throws {IsenError} ParameterOutOfRange for a transfer syntax that does not exist; NotImplemented for one that cannot be decoded
 * or encoded; IncompatibleImageFormat for an image that it cannot hold; BadFileFormat for a file or frames that are none;
 * NotEnoughMemory above {@link MAXIMUM_DECODED}.
 */
export function transcode(file: Uint8Array, syntax: string, options: TranscodeOptions = {}): Transcoded {
  const target = transferSyntax(syntax);
  if (target === undefined) throw new IsenError('ParameterOutOfRange', `Unknown transfer syntax: ${syntax}`);
  const read = readFile(file);
  const sopInstanceUid = uidOf(read, '0008,0018', '0002,0003');
  if (read.transferSyntax === syntax) return { bytes: file, lossy: false, sopInstanceUid };
  const source = transferSyntax(read.transferSyntax);
  if (source === undefined)
    throw new IsenError('NotImplemented', `Cannot decode images of transfer syntax ${read.transferSyntax}`);
  const pixels = read.dataSet.elements.get(PIXEL_DATA);
  const recoded =
    pixels !== undefined && (pixels.fragments !== undefined || target.encapsulated)
      ? recode(read, source, pixels, target, options)
      : undefined;
  const elements = elementsIn(recoded === undefined ? read.dataSet : withoutPixels(read.dataSet), target);
  const own = recoded?.elements ?? bytewisePixels(read.dataSet, pixels);
  const changed = new Map(own.map((element) => [element.tag, element]));
  const bytes = writeFile({
    transferSyntax: target,
    sopClassUid: uidOf(read, '0008,0016', '0002,0002'),
    sopInstanceUid: recoded?.sopInstanceUid ?? sopInstanceUid,
    dataSet: [...elements.filter(({ tag }) => !changed.has(tag)), ...changed.values()],
    meta: rawElements(read.meta, EXPLICIT),
  });
  return {
    bytes,
    lossy: recoded?.sopInstanceUid !== undefined,
    sopInstanceUid: recoded?.sopInstanceUid ?? sopInstanceUid,
  };
}

/**
 * Native Pixel Data of bytes, which implicit VR calls words: as the bytes that they are (OB), since words of big endian would mix those
 * of neighbouring frames.
 */
function bytewisePixels(dataSet: DataSet, pixels: Element | undefined): NewElement[] {
  const allocated = dataSet.elements.get('0028,0100');
  if (pixels?.vr !== 'OW' || allocated === undefined || allocated.length < 2) return [];
  const at = allocated.offset + (dataSet.littleEndian ? 0 : 1);
  if ((dataSet.bytes[at] ?? 0) > 8) return [];
  return [{ tag: PIXEL_DATA, vr: 'OB', value: nativeValue(dataSet, pixels) }];
}

function uidOf({ dataSet, meta }: DicomFile, tag: string, metaTag: string): string {
  const element = dataSet.elements.get(tag);
  const text = element === undefined ? '' : textOf(dataSet, element).trim();
  if (text !== '') return text;
  const declared = meta.elements.get(metaTag);
  return declared === undefined ? '' : textOf(meta, declared).trim();
}

/** The data set without what {@link recode} writes anew. */
function withoutPixels(dataSet: DataSet): DataSet {
  const elements = [...dataSet.elements].filter(
    ([tag, { items }]) =>
      tag !== PIXEL_DATA &&
      !EXTENDED_OFFSETS.has(tag) &&
      !(tag === ICON && items?.some((item) => item.elements.get(PIXEL_DATA)?.fragments !== undefined)),
  );
  return { ...dataSet, elements: new Map(elements) };
}

/** Pixel Data and the attributes that follow it in another transfer syntax, and a new SOP Instance UID where that loses something. */
function recode(
  { dataSet }: DicomFile,
  source: TransferSyntax,
  pixels: Element,
  target: TransferSyntax,
  { quality }: TranscodeOptions,
): { readonly elements: readonly NewElement[]; readonly sopInstanceUid: string | undefined } {
  // Native Pixel Data in a file of an encapsulated transfer syntax is native all the same (PS3.5 §A.4).
  const syntax = pixels.fragments === undefined && source.encapsulated ? EXPLICIT_LITTLE_ENDIAN : source.uid;
  const attributes = attributesOf(dataSet, syntax);
  const decodedSize = nativeFrameSize(attributes) * attributes.frames;
  if (decodedSize > MAXIMUM_DECODED)
    throw new IsenError('NotEnoughMemory', 'the image is larger than can be transcoded');
  const encoded: Uint8Array[] = [];
  let become: ReturnType<typeof encodedAttributes> | undefined;
  for (const frame of framesOf(dataSet, pixels, attributes)) {
    const stored = decodeStored(frame, attributes);
    become ??= encodedAttributes(attributes, stored.photometricInterpretation, target.uid);
    encoded.push(encodeFrame(stored, attributes, become, quality));
  }
  if (become === undefined) throw new IsenError('BadFileFormat', 'an image without frames');
  const elements: NewElement[] = [
    { tag: '0028,0004', vr: 'CS', value: become.photometricInterpretation },
    { tag: '0028,0100', vr: 'US', value: [become.bitsAllocated] },
    { tag: '0028,0101', vr: 'US', value: [attributes.bitsStored] },
    { tag: '0028,0102', vr: 'US', value: [become.highBit] },
    pixelData(encoded, become.bitsAllocated, target),
  ];
  if (attributes.samplesPerPixel > 1)
    elements.push({ tag: '0028,0006', vr: 'US', value: [become.planarConfiguration] });
  const { codec, lossy } = capability(target.uid);
  if (!lossy) return { elements, sopInstanceUid: undefined };
  const sopInstanceUid = generateUid();
  const size = encoded.reduce((sum, { length }) => sum + length, 0);
  const ratio = Math.max(1, decodedSize / size).toFixed(2);
  elements.push(
    { tag: '0008,0018', vr: 'UI', value: sopInstanceUid },
    ...lossyElements(dataSet, target.name, METHOD[codec] ?? '', ratio),
  );
  return { elements, sopInstanceUid };
}

/** Encoded frames as Pixel Data: one fragment each behind a Basic Offset Table, or one value in the byte order of the target. */
function pixelData(frames: readonly Uint8Array[], bitsAllocated: number, target: TransferSyntax): NewElement {
  if (!target.encapsulated) {
    const vr = bitsAllocated > 8 ? 'OW' : 'OB';
    const value = Buffer.concat(frames);
    // Words of 16 bits, also where samples have 32 (PS3.5 §8.1.1).
    return { tag: PIXEL_DATA, vr, value: target.littleEndian || vr === 'OB' ? value : swapped(value, 2) };
  }
  const offsets: number[] = [];
  let offset = 0;
  for (const { length } of frames) {
    offsets.push(offset);
    offset += 8 + length + (length % 2);
  }
  return { tag: PIXEL_DATA, vr: 'OB', value: { fragments: frames, offsets: offset > 0xffffffff ? [] : offsets } };
}

/** The attributes of an image that has lost information, added to those of earlier losses (PS3.3 §C.7.6.1.1.5). */
function lossyElements(dataSet: DataSet, name: string, method: string, ratio: string): NewElement[] {
  const value = (tag: string): Buffer => {
    const element = dataSet.elements.get(tag);
    if (element === undefined) return Buffer.alloc(0);
    return dataSet.bytes.subarray(element.offset, element.offset + element.length);
  };
  const text = (tag: string): string => value(tag).toString('latin1').replaceAll('\0', ' ').trim();
  const appended = (tag: string, added: string): string => [text(tag), added].filter((part) => part !== '').join('\\');
  const [, ...rest] = text('0008,0008').split('\\');
  const added = `Lossy compression with ${name}, ratio ${ratio}:1`;
  const description = value('0008,2111');
  return [
    { tag: '0008,0008', vr: 'CS', value: ['DERIVED', ...(rest.length === 0 ? ['PRIMARY'] : rest)].join('\\') },
    {
      tag: '0008,2111',
      vr: 'ST',
      // It may be in any character set, so that its bytes are kept; an ST has at most 1024 characters (PS3.5 §6.2).
      value:
        description.length === 0 || description.length > 900
          ? added
          : Buffer.concat([description, Buffer.from(`; ${added}`)]),
    },
    { tag: '0028,2110', vr: 'CS', value: '01' },
    { tag: '0028,2112', vr: 'DS', value: appended('0028,2112', ratio) },
    { tag: '0028,2114', vr: 'CS', value: appended('0028,2114', method) },
  ];
}
