/**
 * Owns reading a DICOM file (PS3.10 §7): File Meta Information, the data set in the transfer syntax that it names, and where Pixel
 * Data begins. Values stay in the bytes. Every fault is BadFileFormat.
 */

import { IsenError } from '../errors.ts';
import {
  asciiText,
  type DataSet,
  type Element,
  type Head,
  Malformed,
  MAXIMUM_ELEMENTS,
  need,
  readElements,
  readHead,
  type Source,
  wholeScope,
} from './elements.ts';
import { guessTransferSyntax, inflate, startOf } from './part10.ts';
import { EXPLICIT_LITTLE_ENDIAN, transferSyntax } from './transfer-syntaxes.ts';

export type { DataSet, Element, Fragment } from './elements.ts';

/** What {@link readFile} read. */
export interface DicomFile {
  /** Of `dataSet`: the file, or the inflated data set for a deflated transfer syntax. */
  readonly bytes: Buffer;
  /** File Meta Information; without elements when the file has none. */
  readonly meta: DataSet;
  readonly dataSet: DataSet;
  /** UID, of File Meta Information, else guessed. */
  readonly transferSyntax: string;
  readonly pixelData: PixelData | undefined;
}

/** Where Pixel Data begins. */
export interface PixelData {
  /** Of the element's tag in the original file; undefined when that was deflated. */
  readonly offset: number | undefined;
  readonly vr: string;
}

export interface ReadOptions {
  /** Stop at Pixel Data (7FE0,0010), after checking that its length fits; it is the last element of the data set. */
  readonly untilPixelData?: boolean;
  /**
   * Bytes of the whole file, of which these are the beginning: Pixel Data may then go on past them, and is not entered. It
   * must begin within them.
   */
  readonly size?: number;
  /** Another element that goes on past the bytes, but not past `size`, may stand in the place of Pixel Data. */
  readonly cut?: boolean;
  /** Bytes that a deflated data set may expand to. */
  readonly maximumInflated?: number;
  /** Elements and items that it may have, those in sequences included. */
  readonly maximumElements?: number;
  /** The bytes end on purpose where Pixel Data begins; it is added as an empty element. */
  readonly truncated?: boolean;
  /**
   * Keep only these tags (group × 65536 + element) of the data set; the others are still checked. Costs no memory for what is
   * not kept.
   */
  readonly only?: ReadonlySet<number>;
}

/** Default of `maximumInflated`. */
export const MAXIMUM_INFLATED = 512 * 1024 * 1024;
/** File Meta Information from `start`, and where the data set begins (PS3.10 §7.1). */
function readMeta(bytes: Buffer, start: number): { readonly meta: DataSet; readonly end: number } {
  const source: Source = { bytes, littleEndian: true, explicit: true, budget: MAXIMUM_ELEMENTS };
  let end = start;
  let declared = Number.POSITIVE_INFINITY;
  const head: Head = { tag: 0, vr: '', offset: 0, length: 0 };
  while (end + 8 <= bytes.length && end < declared && bytes.readUInt16LE(end) === 2) {
    readHead(source, end, bytes.length, head);
    need(head.offset, head.length, bytes.length);
    end = head.offset + head.length;
    // The group length ends it even where more of group 0002 follows, which then belongs to the data set.
    if (head.tag === 0x00020000 && head.length === 4) declared = end + bytes.readUInt32LE(head.offset);
  }
  if (declared !== Number.POSITIVE_INFINITY && end < declared && end + 8 > bytes.length) {
    throw new Malformed('File Meta Information is cut');
  }
  const scope = wholeScope(end, { keep: 'all', only: undefined, untilPixelData: false, pixelEnd: end, cut: false });
  const { dataSet } = readElements(source, start, scope);
  if (dataSet === undefined) throw new Malformed('no File Meta Information');
  return { meta: dataSet, end };
}

function read(bytes: Buffer, options: ReadOptions): DicomFile {
  const size = Math.max(options.size ?? 0, bytes.length);
  const start = startOf(bytes);
  const { meta, end: metaEnd } = readMeta(bytes, start);
  const declared = meta.elements.get('0002,0010');
  const uid =
    declared === undefined
      ? (guessTransferSyntax(bytes, metaEnd) ?? (start > 0 ? EXPLICIT_LITTLE_ENDIAN : undefined))
      : asciiText(bytes, declared.offset, declared.offset + declared.length);
  if (uid === undefined) throw new Malformed('neither a prefix nor a data set');
  // A private transfer syntax is explicit VR little endian but for its pixels (PS3.5 §A.4).
  const syntax = transferSyntax(uid) ?? transferSyntax(EXPLICIT_LITTLE_ENDIAN);
  if (syntax === undefined) throw new Malformed('no transfer syntax');
  const goesOn = size > bytes.length;
  const maximum = options.maximumInflated ?? MAXIMUM_INFLATED;
  const body = syntax.deflated ? inflate(bytes.subarray(metaEnd), maximum, goesOn) : bytes;
  const source: Source = {
    bytes: body,
    littleEndian: syntax.littleEndian,
    explicit: syntax.explicit,
    budget: options.maximumElements ?? MAXIMUM_ELEMENTS,
  };
  const scope = wholeScope(body.length, {
    keep: options.only === undefined ? 'all' : 'only',
    only: options.only,
    untilPixelData: (options.untilPixelData ?? false) || goesOn,
    pixelEnd: !syntax.deflated ? size : goesOn ? maximum : body.length,
    cut: goesOn && (options.cut ?? false),
  });
  const { dataSet, end } = readElements(source, syntax.deflated ? 0 : metaEnd, scope);
  if (dataSet === undefined) throw new Malformed('no data set');
  if (goesOn && end >= body.length) throw new Malformed('the header goes on past what was given');
  if (meta.elements.size === 0 && dataSet.elements.size === 0) throw new Malformed('no elements');
  if (options.truncated === true && !dataSet.elements.has('7fe0,0010')) {
    const at = body.length;
    dataSet.elements.set('7fe0,0010', { tag: '7fe0,0010', vr: 'OW', start: at, offset: at, length: 0, end: at });
  }
  const pixels: Element | undefined = dataSet.elements.get('7fe0,0010');
  return {
    bytes: body,
    meta,
    dataSet,
    transferSyntax: uid,
    pixelData: pixels && { offset: syntax.deflated ? undefined : pixels.start, vr: pixels.vr },
  };
}

/** `bytes` as a Buffer over the same memory. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads a data set that came without File Meta Information, as DIMSE carries it (PS3.7 §6.3.1), in the transfer syntax `uid`. The result
 * refers to `bytes`, or to what they inflate to. Throws BadFileFormat for bytes that are no whole data set, NotImplemented for a transfer
 * syntax that does not exist.
 */
export function readDataSet(bytes: Uint8Array, uid: string, maximumInflated = MAXIMUM_INFLATED): DataSet {
  const syntax = transferSyntax(uid);
  if (syntax === undefined) throw new IsenError('NotImplemented', `Unknown transfer syntax: ${uid}`);
  try {
    const body = syntax.deflated ? inflate(asBuffer(bytes), maximumInflated, false) : asBuffer(bytes);
    const { littleEndian, explicit } = syntax;
    const source: Source = { bytes: body, littleEndian, explicit, budget: MAXIMUM_ELEMENTS };
    const scope = wholeScope(body.length, {
      keep: 'all',
      only: undefined,
      untilPixelData: false,
      pixelEnd: body.length,
      cut: false,
    });
    const { dataSet } = readElements(source, 0, scope);
    if (dataSet === undefined) throw new Malformed('no data set');
    return dataSet;
  } catch (thrown) {
    throw new IsenError('BadFileFormat', `Cannot parse a data set of ${bytes.length} bytes`, { cause: thrown });
  }
}

/**
 * Reads a DICOM file, with or without preamble, in any transfer syntax (PS3.10 §7). The result refers to `bytes`: it is valid while
 * they do not change. Throws BadFileFormat for bytes that are not a whole DICOM file.
 */
export function readFile(bytes: Uint8Array, options: ReadOptions = {}): DicomFile {
  if (bytes.length === 0) throw new IsenError('BadFileFormat', 'Received an empty DICOM file');
  try {
    return read(asBuffer(bytes), options);
  } catch (thrown) {
    throw new IsenError(
      'BadFileFormat',
      `Cannot parse an invalid DICOM file (size: ${options.size ?? bytes.length} bytes)`,
      {
        cause: thrown,
      },
    );
  }
}

/**
 * File Meta Information of a file, and where its data set begins (PS3.10 §7.1); `bytes` hold at least that much. Throws CorruptedFile
 * where they do not.
 */
export function readFileMeta(bytes: Uint8Array): { readonly meta: DataSet; readonly end: number } {
  const file = asBuffer(bytes);
  try {
    return readMeta(file, startOf(file));
  } catch (thrown) {
    throw new IsenError('CorruptedFile', 'File Meta Information that does not end', { cause: thrown });
  }
}
