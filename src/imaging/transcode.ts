/**
 * Owns the transcoding of a whole DICOM file: every element that does not change is copied or turned around, the frames are decoded
 * and encoded one by one, and the attributes that describe them follow (PS3.3 §C.7.6.3, of lossy compression §C.7.6.1.1.5).
 */

import { elementsIn, swapped } from '../dicom/reencode.ts';
import { type DataSet, type DicomFile, type Element, readFile } from '../dicom/read.ts';
import { EXPLICIT_LITTLE_ENDIAN, type TransferSyntax, transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { textOf } from '../dicom/value.ts';
import { type NewElement, rawElements, writeFile } from '../dicom/write.ts';
import { IsenError } from '../errors.ts';
import { attributesOf } from './attributes.ts';
import { capability } from './codecs.ts';
import { decodeStored } from './decode.ts';
import { DEFAULT_QUALITY, encodedAttributes, encodeFrame } from './encode-frame.ts';
import { lossyElements, lossyUid, type Predecessor } from './lossy.ts';
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
/** Elements that are written anew with Pixel Data, or have no meaning with another: offset tables, an encapsulated icon. */
const EXTENDED_OFFSETS: ReadonlySet<string> = new Set(['7fe0,0001', '7fe0,0002']);
const ICON = '0088,0200';
const PIXEL_DATA = '7fe0,0010';
const LOSSY = '0028,2110';

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
  const sopClassUid = uidOf(read, '0008,0016', '0002,0002');
  const sopInstanceUid = uidOf(read, '0008,0018', '0002,0003');
  if (read.transferSyntax === syntax) return { bytes: file, lossy: false, sopInstanceUid };
  const source = transferSyntax(read.transferSyntax);
  if (source === undefined)
    throw new IsenError('NotImplemented', `Cannot decode images of transfer syntax ${read.transferSyntax}`);
  const { dataSet } = read;
  const pixels = dataSet.elements.get(PIXEL_DATA);
  const isRecoded = pixels !== undefined && (pixels.fragments !== undefined || target.encapsulated);
  const kept = isRecoded ? withoutPixels(dataSet) : dataSet;
  if (isEncapsulatedWithin(kept))
    throw new IsenError('IncompatibleImageFormat', 'a picture in a sequence is compressed');
  const recoded: Recoded = isRecoded
    ? recode({ dataSet, sopClassUid, sopInstanceUid, pixels, transferSyntax: source }, target, options)
    : { elements: bytewisePixels(dataSet, pixels) };
  const changed = new Map(recoded.elements.map((element) => [element.tag, element]));
  const bytes = writeFile({
    transferSyntax: target,
    sopClassUid,
    sopInstanceUid: recoded.lossyUid ?? sopInstanceUid,
    dataSet: [...elementsIn(kept, target).filter(({ tag }) => !changed.has(tag)), ...changed.values()],
    meta: rawElements(read.meta, EXPLICIT),
  });
  return { bytes, lossy: recoded.lossyUid !== undefined, sopInstanceUid: recoded.lossyUid ?? sopInstanceUid };
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

/** Whether something below the top of a data set has fragments, which are in a codec of the transfer syntax that it was in. */
function isEncapsulatedWithin({ elements }: DataSet): boolean {
  for (const { items = [] } of elements.values())
    for (const item of items)
      if (item.elements.get(PIXEL_DATA)?.fragments !== undefined || isEncapsulatedWithin(item)) return true;
  return false;
}

/** Overlays in bits of the samples that are not theirs (retired, PS3.3 2004 §C.9.2), which no codec keeps. */
function hasOverlayInPixels({ elements }: DataSet): boolean {
  for (let group = 0x6000; group <= 0x601e; group += 2) {
    const prefix = group.toString(16);
    if (elements.has(`${prefix},0010`) && !elements.has(`${prefix},3000`)) return true;
  }
  return false;
}

interface Recoded {
  readonly elements: readonly NewElement[];
  /** The new SOP Instance UID where information was lost. */
  readonly lossyUid?: string;
}

/** Pixel Data and the attributes that follow it in another transfer syntax. */
function recode(predecessor: Predecessor, target: TransferSyntax, options: TranscodeOptions): Recoded {
  const { dataSet, pixels, transferSyntax: source } = predecessor;
  const { quality = DEFAULT_QUALITY } = options;
  // Native Pixel Data in a file of an encapsulated transfer syntax is native all the same (PS3.5 §A.4).
  const syntax = pixels.fragments === undefined && source.encapsulated ? EXPLICIT_LITTLE_ENDIAN : source.uid;
  const attributes = attributesOf(dataSet, syntax);
  const decodedSize = nativeFrameSize(attributes) * attributes.frames;
  if (decodedSize > MAXIMUM_DECODED)
    throw new IsenError('NotEnoughMemory', 'the image is larger than can be transcoded');
  if (hasOverlayInPixels(dataSet))
    throw new IsenError('IncompatibleImageFormat', 'an overlay is in the bits above the samples');
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
  // Only the transfer syntax said so until now; whoever looks at the pixels afterwards could not know (PS3.3 §C.7.6.1.1.5).
  const wasLossy = pixels.fragments !== undefined && source.lossy && capability(source.uid).codec === 'jpeg';
  if (!lossy && wasLossy && !dataSet.elements.get(LOSSY)?.length) elements.push({ tag: LOSSY, vr: 'CS', value: '01' });
  if (!lossy) return { elements };
  const size = encoded.reduce((sum, { length }) => sum + length, 0);
  const uid = lossyUid(predecessor, target, quality);
  const loss = { sopInstanceUid: uid, target, codec, ratio: Math.max(1, decodedSize / size) };
  return { elements: [...elements, ...lossyElements(predecessor, loss)], lossyUid: uid };
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
