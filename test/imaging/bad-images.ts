/** Owns the images that lie: sizes, frames, offset tables, codestreams and palettes that are not what the header says of them. */

import { encodedAttributes, encodeFrame } from '../../src/imaging/encode-frame.ts';
import type { Fragments, NewElement } from '../../src/dicom/write.ts';
import { bytesOf } from '../../src/imaging/native.ts';
import { type Made, make } from '../dicom/made.ts';
import { madeImage } from './made-image.ts';

const EXPLICIT = '1.2.840.10008.1.2.1';
export const RLE = '1.2.840.10008.1.2.5';
/** Names of the transfer syntaxes with a codec, by UID. */
export const CODECS: Readonly<Record<string, string>> = {
  [RLE]: 'RLE',
  '1.2.840.10008.1.2.4.50': 'JPEG baseline',
  '1.2.840.10008.1.2.4.70': 'JPEG lossless',
  '1.2.840.10008.1.2.4.80': 'JPEG-LS',
  '1.2.840.10008.1.2.4.90': 'JPEG 2000',
  '1.2.840.10008.1.2.4.201': 'HTJ2K',
};

export interface BadImage {
  readonly name: string;
  readonly bytes: Buffer;
}

const us = (tag: string, ...value: readonly number[]): NewElement => ({ tag, vr: 'US', value });
const frames = (value: string): NewElement => ({ tag: '0028,0008', vr: 'IS', value });
const offsets = (value: readonly bigint[]): NewElement => ({ tag: '7fe0,0001', vr: 'OV', value });
const lengths = (value: readonly bigint[]): NewElement => ({ tag: '7fe0,0002', vr: 'OV', value });

/** A right image of 32 × 32 pixels of 8 bits in each encapsulated transfer syntax; its frames are all the same. */
export function codestream(uid: string, size = 32): Uint8Array {
  const { attributes, frame } = madeImage({ bits: 8, allocated: 8, rows: size, columns: size });
  return encodeFrame(frame, attributes, encodedAttributes(attributes, 'MONOCHROME2', uid));
}

/** A file of 32 × 32 pixels of 8 bits, but for what `more` says. */
export function small(more: Made = {}): Buffer {
  return make({ rows: 32, columns: 32, bits: 8, ...more });
}

function lyingSizes(): Record<string, Made> {
  const pixels = new Uint8Array(32 * 32 * 2).fill(7);
  const of = (rows: number, columns: number, more: Made = {}): Made => ({
    pixels,
    extra: [us('0028,0010', rows), us('0028,0011', columns)],
    ...more,
  });
  return {
    'more rows than pixels': of(65, 32),
    'more columns than pixels': of(32, 65),
    '65535 × 65535': of(65535, 65535),
    '65535 × 65535 of 16 bits in colour': of(65535, 65535, { bits: 16, samples: 3 }),
    '65535 × 1': of(65535, 1),
    'no rows (0)': of(0, 32),
    'no columns (0)': of(32, 0),
    'no rows, no columns (0)': of(0, 0),
    'more pixels than rows': of(8, 8),
    'an empty value': of(32, 32, { pixels: new Uint8Array(0) }),
    'Rows is absent': { pixels, without: ['0028,0010'] },
    'Columns is absent': { pixels, without: ['0028,0011'] },
    'Rows is empty': { pixels, extra: [us('0028,0010')] },
  };
}

function lyingAttributes(): Record<string, Made> {
  const pixels = new Uint8Array(32 * 32 * 4).fill(9);
  const of = (...extra: readonly NewElement[]): Made => ({ pixels, extra });
  const allocated = (bits: number): Made =>
    of(us('0028,0100', bits), us('0028,0101', bits), us('0028,0102', Math.max(0, bits - 1)));
  return {
    'Bits Allocated 0': allocated(0),
    'Bits Allocated 2': allocated(2),
    'Bits Allocated 7': allocated(7),
    'Bits Allocated 12': allocated(12),
    'Bits Allocated 24': allocated(24),
    'Bits Allocated 64': allocated(64),
    'Bits Allocated 65535': allocated(65535),
    'Bits Allocated is absent': { pixels, without: ['0028,0100'] },
    'Bits Stored above Bits Allocated': of(us('0028,0101', 12)),
    'Bits Stored 0': of(us('0028,0101', 0)),
    'Bits Stored is absent': { pixels, without: ['0028,0101'] },
    'High Bit above Bits Allocated': of(us('0028,0102', 15)),
    'High Bit below Bits Stored': of(us('0028,0102', 3)),
    'High Bit is absent': { pixels, without: ['0028,0102'] },
    'Pixel Representation 2': of(us('0028,0103', 2)),
    'Pixel Representation is absent': { pixels, without: ['0028,0103'] },
    '0 samples': of(us('0028,0002', 0)),
    '2 samples': of(us('0028,0002', 2)),
    '3 samples of MONOCHROME2': of(us('0028,0002', 3)),
    '4 samples': of(us('0028,0002', 4)),
    '255 samples': of(us('0028,0002', 255)),
    '65535 samples': of(us('0028,0002', 65535)),
    'Samples per Pixel is absent': { pixels, without: ['0028,0002'] },
    'Photometric Interpretation is absent': { pixels, without: ['0028,0004'] },
    'Photometric Interpretation is unknown': of({ tag: '0028,0004', vr: 'CS', value: 'NONSENSE' }),
    'YBR_FULL_422 of odd columns': {
      ...of({ tag: '0028,0004', vr: 'CS', value: 'YBR_FULL_422' }),
      samples: 3,
      columns: 31,
    },
    'RGB, Planar Configuration is absent': { samples: 3, without: ['0028,0006'] },
    'RGB, Planar Configuration 2': { samples: 3, extra: [us('0028,0006', 2)] },
    'RGB of one sample': of({ tag: '0028,0004', vr: 'CS', value: 'RGB' }),
    'Pixel Data is absent': { pixels: false },
    'nothing of the Image Pixel module': {
      pixels: false,
      without: ['0028,0002', '0028,0004', '0028,0010', '0028,0011', '0028,0100', '0028,0101', '0028,0102', '0028,0103'],
    },
    'Number of Frames 0': of(frames('0')),
    'Number of Frames 2 of 1': { pixels: new Uint8Array(32 * 32), extra: [frames('2')] },
    'Number of Frames -1': of(frames('-1')),
    'Number of Frames 2147483647': of(frames('2147483647')),
    'Number of Frames is a word': of(frames('many')),
  };
}

function lyingPalettes(): Record<string, Made> {
  const tags = ['0028,1101', '0028,1102', '0028,1103'];
  const palette = (descriptor: readonly number[], data: Uint8Array, without = 3): Made => ({
    pixels: Uint8Array.from({ length: 32 * 32 }, (_, at) => at & 0xff),
    extra: [
      { tag: '0028,0004', vr: 'CS', value: 'PALETTE COLOR' },
      ...tags
        .slice(0, without)
        .flatMap((tag): NewElement[] => [
          us(tag, ...descriptor),
          { tag: tag.replace('28,11', '28,12'), vr: 'OW', value: data },
        ]),
    ],
  });
  const data = new Uint8Array(512).fill(0x40);
  return {
    'PALETTE COLOR without a palette': { extra: [{ tag: '0028,0004', vr: 'CS', value: 'PALETTE COLOR' }] },
    'a palette without blue': palette([256, 0, 16], data, 2),
    'a palette shorter than it says': palette([256, 0, 16], data.subarray(0, 100)),
    'a palette longer than it says': palette([16, 0, 16], data),
    'a palette without entries': palette([256, 0, 16], new Uint8Array(0)),
    'a palette of 0 bits': palette([256, 0, 0], data),
    'a palette of 12 bits': palette([256, 0, 12], data),
    'a palette whose descriptor has one value': palette([256], data),
    'a palette that says 65536 entries': palette([0, 0, 16], data),
    'a palette of which the first value is 60000': palette([256, 60000, 16], data),
  };
}

function lyingOffsets(): Record<string, Made> {
  const one = codestream(RLE);
  const size = one.length + (one.length % 2);
  const step = size + 8;
  const basic = (table: readonly number[], count = 3): Made => ({
    transferSyntax: RLE,
    pixels: { fragments: Array<Uint8Array>(count).fill(one), offsets: table },
    extra: [frames('3')],
  });
  const extended = (table: readonly bigint[], sizes: readonly bigint[] = [size, size, size].map(BigInt)): Made => ({
    ...basic([]),
    extra: [frames('3'), offsets(table), lengths(sizes)],
  });
  return {
    'a basic offset table outside': basic([0, step, 0xfffffff0]),
    'a descending basic offset table': basic([2 * step, step, 0]),
    'an overlapping basic offset table': basic([0, 4, 8]),
    'a basic offset table of zeros': basic([0, 0, 0]),
    'a basic offset table that is too short': basic([0, step]),
    'a basic offset table that is too long': basic([0, step, 2 * step, 3 * step]),
    'fewer fragments than frames': basic([], 2),
    'more fragments than frames': basic([], 4),
    'no fragments': basic([], 0),
    'an extended offset table outside': extended([0n, BigInt(step), 2n ** 63n]),
    'a descending extended offset table': extended([2n * BigInt(step), BigInt(step), 0n]),
    'an overlapping extended offset table': extended([0n, 4n, 8n]),
    'an extended offset table that is too short': extended([0n]),
    'extended lengths that lie': extended([0n, BigInt(step), 2n * BigInt(step)], [2n ** 62n, 0n, 1n]),
  };
}

function lyingCodestreams(): Record<string, Made> {
  const cases: Record<string, Made> = {};
  for (const [uid, name] of Object.entries(CODECS)) {
    const whole = codestream(uid);
    const of = (...fragments: readonly Uint8Array[]): Made => ({
      transferSyntax: uid,
      pixels: { fragments } satisfies Fragments,
    });
    cases[`${name}, cut in half`] = of(whole.subarray(0, whole.length >> 1));
    cases[`${name}, cut in its head`] = of(whole.subarray(0, 20));
    cases[`${name}, an empty fragment`] = of(new Uint8Array(0));
    cases[`${name}, zeros`] = of(new Uint8Array(1000));
    cases[`${name}, of another size`] = of(codestream(uid, 16));
    cases[`${name}, of 65535 × 65535`] = { ...of(whole), extra: [us('0028,0010', 65535), us('0028,0011', 65535)] };
  }
  const native = madeImage({ bits: 8, allocated: 8, rows: 32, columns: 32 });
  cases['native in an encapsulated syntax'] = {
    transferSyntax: '1.2.840.10008.1.2.4.70',
    pixels: bytesOf(native.frame.samples, 8),
  };
  cases['fragments in a native syntax'] = { transferSyntax: EXPLICIT, pixels: { fragments: [codestream(RLE)] } };
  return cases;
}

/** Every image that lies, each an instance of its own. */
export function badImages(): BadImage[] {
  const all = {
    ...lyingSizes(),
    ...lyingAttributes(),
    ...lyingPalettes(),
    ...lyingOffsets(),
    ...lyingCodestreams(),
  };
  return Object.entries(all).map(([name, made], index) => ({
    name,
    bytes: small({ seriesUid: `2.25.77.${index}`, ...made, sopUid: `2.25.77.${index}.1` }),
  }));
}
