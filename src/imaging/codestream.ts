/**
 * Owns what a codestream says of itself before anything is decoded: its size and samples, to be compared with those of the data
 * set, and whether it is whole, since decoders fill up in silence what was cut off. JPEG: ITU-T T.81 Annex B; JPEG-LS: T.87 Annex
 * C; JPEG 2000: T.800 Annex A.
 */

import { IsenError } from '../errors.ts';

/** The picture of a codestream. */
export interface Codestream {
  /** From its first to its last marker, without what is around it. */
  readonly bytes: Uint8Array;
  readonly rows: number;
  readonly columns: number;
  readonly samplesPerPixel: number;
  /** Of the widest component. */
  readonly bits: number;
  /** JPEG: which process, the number behind SOF in the marker of its frame (T.81 table B.1). */
  readonly process?: number;
  /** JPEG 2000: the decoder undoes a transform of RGB into luminance and chrominance. */
  readonly colourTransform: boolean;
  /** Each component has a scan of its own: of JPEG-LS the decoder makes planes (T.87 §C.2.3, interleave mode 0). */
  readonly componentScans: boolean;
}

const bad = (why: string): IsenError => new IsenError('BadFileFormat', `the codestream ${why}`);

const START_OF_SCAN = 0xda;
const END_OF_IMAGE = 0xd9;
const START_OF_JPEG_LS_FRAME = 0xf7;

/** Markers of JPEG frames (T.81 table B.1): SOF0 to SOF15 without DHT, JPG and DAC. */
const isFrame = (marker: number): boolean =>
  marker === START_OF_JPEG_LS_FRAME ||
  (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc);

/**
 * Reads a JPEG or JPEG-LS codestream.
 * @throws {IsenError} BadFileFormat when it is not one or is cut.
 */
export function readJpeg(bytes: Uint8Array): Codestream {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 4 || view.getUint16(0) !== 0xffd8) throw bad('is not JPEG');
  let frame: Omit<Codestream, 'bytes' | 'componentScans'> | undefined;
  for (let at = 2; ; ) {
    if (at + 4 > bytes.length) throw bad('ends before its picture');
    if (bytes[at] !== 0xff) throw bad('has something else than a marker');
    const marker = bytes[at + 1] ?? 0;
    // Any number of FF may stand before a marker (T.81 §B.1.1.2).
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const length = view.getUint16(at + 2);
    if (length < 2 || at + 2 + length > bytes.length) throw bad('has a segment that passes its end');
    if (isFrame(marker)) {
      if (frame !== undefined || length < 8) throw bad('has a bad frame header');
      frame = {
        process: marker - 0xc0,
        bits: view.getUint8(at + 4),
        rows: view.getUint16(at + 5),
        columns: view.getUint16(at + 7),
        samplesPerPixel: view.getUint8(at + 9),
        colourTransform: false,
      };
    }
    if (marker === START_OF_SCAN) {
      if (frame === undefined) throw bad('has no frame header');
      const componentScans = frame.samplesPerPixel > 1 && bytes[at + 4] === 1;
      return { ...frame, componentScans, bytes: bytes.subarray(0, endOfImage(bytes, at + 2 + length)) };
    }
    at += 2 + length;
  }
}

/** After the marker EOI, which cannot occur within coded data: there every FF is followed by a smaller byte. */
function endOfImage(bytes: Uint8Array, from: number): number {
  for (let at = bytes.length - 2; at >= from; at -= 1)
    if (bytes[at] === 0xff && bytes[at + 1] === END_OF_IMAGE) return at + 2;
  throw bad('is cut');
}

const SIZE = 0xff51;
const CODING_STYLE = 0xff52;
const START_OF_TILE_PART = 0xff90;
const END_OF_CODESTREAM = 0xffd9;
/** Some writers leave out the last packets of a tile. */
const MOST_PACKETS_A_BYTE = 8;

/**
 * Reads a JPEG 2000 or HTJ2K codestream, also one in the boxes of a JP2 file, which the Standard forbids (PS3.5 §A.4.4) and files have.
 * @throws {IsenError} BadFileFormat when it is not one or is cut; NotImplemented with components of unequal size.
 */
export function readJpeg2000(file: Uint8Array): Codestream {
  const bytes = file.subarray(startOfCodestream(file));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 48 || view.getUint16(2) !== SIZE) throw bad('is not JPEG 2000');
  const samplesPerPixel = view.getUint16(40);
  let bits = 0;
  if (42 + samplesPerPixel * 3 > bytes.length) throw bad('has a bad size');
  for (let component = 0; component < samplesPerPixel; component += 1) {
    const at = 42 + component * 3;
    bits = Math.max(bits, (view.getUint8(at) & 0x7f) + 1);
    if (view.getUint8(at + 1) !== 1 || view.getUint8(at + 2) !== 1)
      throw new IsenError('NotImplemented', 'JPEG 2000 with components of unequal size');
  }
  const rows = view.getUint32(12) - view.getUint32(20);
  const columns = view.getUint32(8) - view.getUint32(16);
  let colourTransform = false;
  let packets = 0;
  let at = 2;
  for (; at + 12 <= bytes.length && view.getUint16(at) !== START_OF_TILE_PART; at += 2 + view.getUint16(at + 2)) {
    if (view.getUint16(at) !== CODING_STYLE) continue;
    colourTransform = view.getUint8(at + 8) === 1;
    packets = samplesPerPixel * packetsOf(view, at, rows, columns);
  }
  const tiles = endOfTiles(view, at);
  // Every tile has a part of its own and every packet a byte (T.800 §A.4.2, §B.9): what claims more would keep a decoder busy for hours.
  if (tilesOf(view) > tiles.parts || packets > MOST_PACKETS_A_BYTE * bytes.length)
    throw bad('claims more than it holds');
  return {
    bytes: bytes.subarray(0, tiles.end),
    rows,
    columns,
    samplesPerPixel,
    bits,
    colourTransform,
    componentScans: false,
  };
}

/** Where SOC and SIZ, which follow one another, are: at the beginning, or in one of the first boxes. */
function startOfCodestream(bytes: Uint8Array): number {
  const last = Math.min(bytes.length - 4, bytes[0] === 0xff ? 0 : 64 * 1024);
  for (let at = 0; at <= last; at += 1)
    if (bytes[at] === 0xff && bytes[at + 1] === 0x4f && bytes[at + 2] === 0xff && bytes[at + 3] === 0x51) return at;
  throw bad('is not JPEG 2000');
}

/** Tiles of the reference grid (T.800 §B.3). Throws BadFileFormat when the first does not lie over the picture's beginning. */
function tilesOf(view: DataView): number {
  const along = (size: number, offset: number, tile: number, tileOffset: number): number => {
    const [end, start] = [view.getUint32(size), view.getUint32(offset)];
    const [length, from] = [view.getUint32(tile), view.getUint32(tileOffset)];
    if (from > start || from + length <= start || end <= start) throw bad('has a bad size');
    return Math.ceil((end - from) / length);
  };
  return along(8, 16, 24, 32) * along(12, 20, 28, 36);
}

/** Packets of one component as COD at `at` has them cut, were the picture one tile (T.800 §A.6.1, §B.6); those of more tiles are more. */
function packetsOf(view: DataView, at: number, rows: number, columns: number): number {
  const levels = view.getUint8(at + 9);
  const hasPrecincts = (view.getUint8(at + 4) & 1) === 1;
  if (levels > 32 || at + 14 + (hasPrecincts ? levels : 0) >= view.byteLength) throw bad('has a bad coding style');
  let precincts = 0;
  for (let level = 0; level <= levels; level += 1) {
    const exponents = hasPrecincts ? view.getUint8(at + 14 + level) : 0xff;
    const across = Math.ceil(columns / 2 ** (levels - level + (exponents & 15)));
    precincts += across * Math.ceil(rows / 2 ** (levels - level + (exponents >> 4)));
  }
  return precincts * view.getUint16(at + 6);
}

/** Walks the tile-parts from the first by their lengths (T.800 §A.4.2); answers how many there are, and where the codestream ends. */
function endOfTiles(view: DataView, first: number): { readonly parts: number; readonly end: number } {
  let parts = 0;
  for (let at = first; ; parts += 1) {
    // Some writers leave the last marker out; the tile-parts are whole nevertheless.
    if (at > first && (at + 2 > view.byteLength || view.getUint16(at) === END_OF_CODESTREAM))
      return { parts, end: Math.min(at + 2, view.byteLength) };
    if (at + 12 > view.byteLength || view.getUint16(at) !== START_OF_TILE_PART) throw bad('is cut');
    const length = view.getUint32(at + 6);
    // 0: up to the end, whatever it is.
    if (length === 0) return { parts: parts + 1, end: view.byteLength };
    if (length < 12 || at + length > view.byteLength) throw bad('is cut');
    at += length;
  }
}
