/**
 * Owns where the frames of Pixel Data (7FE0,0010) are: which bytes of a file are frame N, native (PS3.5 §8.2) or encapsulated
 * (PS3.5 §A.4), found without reading the pixels. Nothing is decoded. Bytes come through the caller's ranged reader, so that a
 * multi-frame file of any size costs a few small reads; every length is checked against the size of the file.
 */

import type { DataSet } from '../dicom/read.ts';
import { IsenError } from '../errors.ts';

/** Bytes `start` to `end` (not counted) of the file. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Reads the bytes of {@link Range}, which is within the file; fewer bytes than asked for are a fault of the file. */
export type ReadRange = (start: number, end: number) => Promise<Uint8Array>;

/** What locating frames needs of a file. */
export interface FrameSource {
  /** At least the elements before Pixel Data. */
  readonly dataSet: DataSet;
  /** UID. */
  readonly transferSyntax: string;
  /**
   * Offset of the tag of Pixel Data, undefined when there is none. Counted, like `size` and `read`, in the file, or in the
   * inflated data set of a deflated one.
   */
  readonly pixelData: number | undefined;
  /** Bytes in all. */
  readonly size: number;
  readonly read: ReadRange;
}

/** What reading of a file needs to know. */
type Bytes = Pick<FrameSource, 'size' | 'read'> & { readonly dataSet: Pick<DataSet, 'littleEndian' | 'explicit'> };

/** Where one frame is. */
export interface FrameLocation {
  /** Concatenated they are the frame; several when it is in several fragments. */
  readonly ranges: readonly Range[];
  /**
   * The bytes of each pair are to be swapped ({@link inLittleEndian}): 16-bit words of a big endian file, which clients are given in
   * little endian. The range is then of whole words.
   */
  readonly swapped: boolean;
  /** Which of the swapped bytes are the frame, which may begin and end within a word. */
  readonly part?: Range;
}

/** The frame out of the bytes that its ranges hold; swaps them in place. */
export function inLittleEndian<Memory extends ArrayBufferLike>(
  bytes: Uint8Array<Memory>,
  { swapped, part }: FrameLocation,
): Uint8Array<Memory> {
  if (swapped) Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length & ~1).swap16();
  return part === undefined ? bytes : bytes.subarray(part.start, part.end);
}

/** Frames that an instance may claim: the listing of its frames must stay bounded. */
export const MAXIMUM_FRAMES = 1 << 22;
/** Fragments that one frame may be in. */
export const MAXIMUM_FRAGMENTS = 1 << 20;
/** Bytes read at a time while item headers are walked. */
const WINDOW = 4096;

const ITEM = 0xfffee000;
const SEQUENCE_END = 0xfffee0dd;
const UNDEFINED_LENGTH = 0xffffffff;

const bad = (why?: string): IsenError => new IsenError('BadFileFormat', why);

/**
 * How many frames `GET /instances/{id}/frames` lists: Number of Frames (0028,0008), 1 where it is absent or empty, and always
 * 1 for a video, which is one stream (transfer syntaxes 1.2.840.10008.1.2.4.100 to .108).
 * @throws {IsenError} BadFileFormat for a Number of Frames that is not a number from 0 to {@link MAXIMUM_FRAMES}.
 */
export function countFrames(dataSet: DataSet, transferSyntaxUid: string): number {
  if (/^1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?$/.test(transferSyntaxUid)) return 1;
  const element = dataSet.elements.get('0028,0008');
  if (element === undefined) return 1;
  // An IS has at most 12 bytes (PS3.5 §6.2); whatever is longer is no number.
  const text = dataSet.bytes
    .toString('latin1', element.offset, element.offset + Math.min(element.length, 64))
    .replaceAll('\0', ' ')
    .trim();
  if (text === '') return 1;
  const count = /^\+?\d{1,11}$/.test(text) ? Number(text) : Number.NaN;
  if (!(count <= MAXIMUM_FRAMES)) throw bad();
  return count;
}

/**
 * Where frame `frame` (counted from 0) is.
 * @throws {IsenError} BadRequest without Pixel Data, ParameterOutOfRange for a frame that is not there, BadFileFormat for
 * Pixel Data that does not hold the frames that the header claims, and what {@link nativeFrame} throws.
 */
export async function locateFrame(source: FrameSource, frame: number): Promise<FrameLocation> {
  if (source.pixelData === undefined)
    throw new IsenError('BadRequest', 'Cannot extract a frame from a DICOM file that does not have pixel data.');
  const frames = countFrames(source.dataSet, source.transferSyntax);
  if (!Number.isInteger(frame) || frame < 0 || frame >= frames) throw new IsenError('ParameterOutOfRange');
  const { vr, value, length } = await pixelDataHead(source, source.pixelData);
  if (length === UNDEFINED_LENGTH)
    return { ranges: await encapsulatedFrame(source, value, frames, frame), swapped: false };
  if (value + length > source.size) throw bad();
  const range = nativeFrame(source.dataSet, { start: value, end: value + length }, frames, frame);
  if (source.dataSet.littleEndian || vr !== 'OW') return { ranges: [range], swapped: false };
  const before = (range.start - value) % 2;
  const end = Math.min(value + length, range.end + ((range.end - value) % 2));
  const part = { start: before, end: before + range.end - range.start };
  return { ranges: [{ start: range.start - before, end }], swapped: true, part };
}

/**
 * The bytes of one of `frames` frames of native Pixel Data whose value is `value` (PS3.5 §8.2).
 * @throws {IsenError} NotImplemented when the header lacks the size, IncompatibleImageFormat for no Bits Allocated, BadFileFormat
 * when the value is too short, or frames do not begin at a byte.
 */
export function nativeFrame(dataSet: DataSet, value: Range, frames: number, frame: number): Range {
  const bitsAllocated = unsignedShort(dataSet, '0028,0100');
  const rows = unsignedShort(dataSet, '0028,0010');
  const columns = unsignedShort(dataSet, '0028,0011');
  if (rows === undefined || columns === undefined || bitsAllocated === undefined)
    throw new IsenError('NotImplemented', undefined, { http: 500 });
  if (bitsAllocated === 0) throw new IsenError('IncompatibleImageFormat', 'Image not supported: 0 bits allocated');
  const bits = rows * columns * (unsignedShort(dataSet, '0028,0002') ?? 1) * bitsAllocated;
  // Frames of single bits follow one another without padding, so that the next may begin within a byte (PS3.5 §8.1.1).
  if (bits % 8 !== 0 && frames > 1) throw bad('Bad number of columns for a black-and-white image');
  const size = Math.ceil(bits / 8);
  if (size * frames > value.end - value.start) throw bad();
  return { start: value.start + frame * size, end: value.start + (frame + 1) * size };
}

/**
 * Walks the items of encapsulated Pixel Data whose tag is at `at`, unless it is native: a few reads a megabyte.
 * @throws {IsenError} BadFileFormat where they do not end with their delimiter within the file.
 */
export async function checkFragments({ size, read }: Pick<FrameSource, 'size' | 'read'>, at: number): Promise<void> {
  const source = { size, read, dataSet: { littleEndian: true, explicit: true } };
  const { value, length } = await pixelDataHead(source, at);
  if (length !== UNDEFINED_LENGTH) return;
  const items = new Items(source);
  for (let [position, count] = [value, 0]; ; count += 1) {
    if (!items.holds(position) || count > MAXIMUM_FRAGMENTS) throw bad('an encapsulated value does not end');
    const item = await items.at(position);
    if (item.tag === SEQUENCE_END) return;
    if (item.tag !== ITEM || !items.within(item))
      throw bad('an encapsulated value holds something else than fragments');
    position = item.end;
  }
}

/** Media type of a raw frame: that of its codec where the reference says one. */
export function rawFrameType(transferSyntaxUid: string): string {
  switch (transferSyntaxUid) {
    case '1.2.840.10008.1.2.4.50':
      return 'image/jpeg';
    case '1.2.840.10008.1.2.4.90':
    case '1.2.840.10008.1.2.4.91':
      return 'image/jp2';
    default:
      return 'application/octet-stream';
  }
}

/** Value of a US of the header, undefined where it is absent or has another length. */
function unsignedShort({ elements, bytes, littleEndian }: DataSet, tag: string): number | undefined {
  const element = elements.get(tag);
  if (element === undefined || element.length < 2) return undefined;
  return littleEndian ? bytes.readUInt16LE(element.offset) : bytes.readUInt16BE(element.offset);
}

async function pixelDataHead(
  source: Bytes,
  at: number,
): Promise<{ readonly vr: string; readonly value: number; readonly length: number }> {
  const { littleEndian, explicit } = source.dataSet;
  const head = await readExactly(source, at, explicit ? 12 : 8);
  const tag = head.getUint16(0, littleEndian) * 0x10000 + head.getUint16(2, littleEndian);
  if (tag !== 0x7fe00010) throw bad();
  if (!explicit) return { vr: 'OW', value: at + 8, length: head.getUint32(4, littleEndian) };
  const vr = String.fromCharCode(head.getUint8(4), head.getUint8(5));
  return { vr, value: at + 12, length: head.getUint32(8, littleEndian) };
}

/** The `size` bytes at `at`. */
async function readExactly(source: Bytes, at: number, size: number): Promise<DataView> {
  if (at + size > source.size) throw bad();
  const bytes = await source.read(at, at + size);
  if (bytes.length !== size) throw bad();
  return new DataView(bytes.buffer, bytes.byteOffset, size);
}

/**
 * The fragments of one frame of encapsulated Pixel Data whose value begins at `value`. Offset tables are believed where they lead
 * to items; otherwise all items are walked: one fragment a frame, all of them the only frame, or from one that begins a codestream
 * to the next.
 */
async function encapsulatedFrame(source: FrameSource, value: number, frames: number, frame: number): Promise<Range[]> {
  const items = new Items(source);
  const table = await items.at(value);
  if (table.tag !== ITEM) throw bad();
  const first = table.end;
  const extended = extendedOffset(source.dataSet, frames, frame);
  if (extended !== undefined && items.holds(first + extended)) {
    const item = await items.at(first + extended);
    if (item.tag === ITEM && items.within(item)) return [{ start: item.start, end: item.end }];
  }
  const basic = await basicOffsets(source, table, frames, frame);
  const fragments = basic && (await fragmentsBetween(items, first + basic.start, first + basic.end));
  return fragments ?? (await walk(items, first, frames, frame, table.end > table.start));
}

/** Extended Offset Table (7FE0,0001): 64-bit offsets, one a frame, each of one fragment (PS3.3 §C.7.6.3.1.8). */
function extendedOffset({ elements, bytes }: DataSet, frames: number, frame: number): number | undefined {
  const element = elements.get('7fe0,0001');
  if (element === undefined || element.length !== frames * 8) return undefined;
  return Number(bytes.readBigUInt64LE(element.offset + frame * 8));
}

/** What the Basic Offset Table says of a frame; undefined when it is not one entry a frame, or disordered around it. */
async function basicOffsets(
  source: FrameSource,
  table: Range,
  frames: number,
  frame: number,
): Promise<Range | undefined> {
  if (table.end - table.start !== frames * 4) return undefined;
  const entry = async (index: number): Promise<number> =>
    (await readExactly(source, table.start + index * 4, 4)).getUint32(0, source.dataSet.littleEndian);
  const start = await entry(frame);
  const end = frame + 1 < frames ? await entry(frame + 1) : Number.POSITIVE_INFINITY;
  if ((frame === 0 ? start !== 0 : (await entry(0)) !== 0 || (await entry(frame - 1)) >= start) || end <= start)
    return undefined;
  return { start, end };
}

/** The fragments from `start` to exactly `end`, or to the sequence's delimiter when `end` is infinite. */
async function fragmentsBetween(items: Items, start: number, end: number): Promise<Range[] | undefined> {
  const fragments: Range[] = [];
  for (let at = start; at !== end; ) {
    if (at > end || !items.holds(at)) return undefined;
    const item = await items.at(at);
    if (item.tag === SEQUENCE_END) return end === Number.POSITIVE_INFINITY ? fragments : undefined;
    if (item.tag !== ITEM || !items.within(item) || fragments.length === MAXIMUM_FRAGMENTS) return undefined;
    fragments.push({ start: item.start, end: item.end });
    at = item.end;
  }
  return fragments;
}

/** Reads every item: fragment number `frame` where there are as many as frames, or all fragments of the only frame. */
async function walk(items: Items, first: number, frames: number, frame: number, hasTable: boolean): Promise<Range[]> {
  const kept: Range[] = [];
  let count = 0;
  for (let at = first; ; count += 1) {
    const item = await items.next(at);
    if (item === undefined) break;
    if (count === frames && frames > 1) return fromCodestream(items, first, frames, frame);
    if (count === MAXIMUM_FRAGMENTS && frames === 1) throw bad();
    if (frames === 1 || count === frame) kept.push({ start: item.start, end: item.end });
    at = item.end;
  }
  if (count === 0 || (count !== frames && (frames !== 1 || hasTable))) throw bad();
  return kept;
}

/** Reads every item: the fragments of codestream number `frame`, where there are as many of these as frames. */
async function fromCodestream(items: Items, first: number, frames: number, frame: number): Promise<Range[]> {
  const kept: Range[] = [];
  let begun = 0;
  for (let at = first, count = 0; ; count += 1) {
    const item = await items.next(at);
    if (item === undefined) break;
    if (await items.begins(item)) begun += 1;
    if (begun === 0 || begun > frames || count - begun === MAXIMUM_FRAGMENTS) throw bad();
    if (begun === frame + 1) kept.push({ start: item.start, end: item.end });
    at = item.end;
  }
  if (begun !== frames) throw bad();
  return kept;
}

/** Bytes that {@link beginsCodestream} looks at. */
const BEGINNING = 4;

/**
 * Whether bytes are the first of a codestream of JPEG or JPEG-LS (T.81 §B.1.1.3: SOI and a marker) or of JPEG 2000 (T.800 §A.4.1,
 * §A.5.1: SOC and SIZ), neither of which can be within one. RLE has no such mark: there every fragment is a frame (PS3.5 §A.4.2).
 */
export function beginsCodestream(bytes: Uint8Array): boolean {
  if (bytes.length < BEGINNING || bytes[0] !== 0xff || bytes[2] !== 0xff) return false;
  return bytes[1] === 0xd8 || (bytes[1] === 0x4f && bytes[3] === 0x51);
}

/** The item headers of encapsulated Pixel Data, read through a window so that small fragments share a read. */
class Items {
  readonly #source: Bytes;
  #start = 0;
  #window: DataView = new DataView(new ArrayBuffer(0));

  constructor(source: Bytes) {
    this.#source = source;
  }

  /** Whether an item header fits at `at`. */
  holds(at: number): boolean {
    return at + 8 <= this.#source.size;
  }

  /** Whether the value of an item is within the file. */
  within(item: Range): boolean {
    return item.end <= this.#source.size;
  }

  /** The fragment whose header is at `at`; undefined at the end of the sequence. Throws BadFileFormat for anything else. */
  async next(at: number): Promise<Range | undefined> {
    if (!this.holds(at)) throw bad();
    const item = await this.at(at);
    if (item.tag === SEQUENCE_END) return undefined;
    if (item.tag !== ITEM || !this.within(item)) throw bad();
    return item;
  }

  /** Whether a fragment begins a codestream. */
  async begins({ start, end }: Range): Promise<boolean> {
    if (end - start < BEGINNING) return false;
    await this.#read(start, BEGINNING);
    return beginsCodestream(
      new Uint8Array(this.#window.buffer, this.#window.byteOffset + start - this.#start, BEGINNING),
    );
  }

  /** Tag and value of the item whose header is at `at`; the value may pass the end of the file. */
  async at(at: number): Promise<Range & { readonly tag: number }> {
    await this.#read(at, 8);
    const { littleEndian } = this.#source.dataSet;
    const offset = at - this.#start;
    const tag =
      this.#window.getUint16(offset, littleEndian) * 0x10000 + this.#window.getUint16(offset + 2, littleEndian);
    const start = at + 8;
    return { tag, start, end: start + this.#window.getUint32(offset + 4, littleEndian) };
  }

  /** Has the window hold `size` bytes from `at`. */
  async #read(at: number, size: number): Promise<void> {
    if (at >= this.#start && at + size <= this.#start + this.#window.byteLength) return;
    this.#window = await readExactly(this.#source, at, Math.max(size, Math.min(WINDOW, this.#source.size - at)));
    this.#start = at;
  }
}
