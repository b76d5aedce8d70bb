/** Owns the frames that the suites of imaging make in code: every depth, sign and number of samples, smooth or noise. */

import type { PixelAttributes, Samples } from '../../src/imaging/image.ts';
import type { StoredFrame } from '../../src/imaging/native.ts';

export interface MadeImage {
  readonly attributes: PixelAttributes;
  readonly frame: StoredFrame;
}

/** What {@link madeImage} varies. */
export interface MadeImageOptions {
  readonly bits: number;
  readonly allocated: 1 | 8 | 16 | 32;
  readonly signed?: boolean;
  readonly samples?: 1 | 3;
  readonly photometric?: string;
  /** Every value of the range in no order, instead of a ramp through all of it. */
  readonly noise?: boolean;
  readonly rows?: number;
  readonly columns?: number;
}

/** Rows and columns are odd and prime, so that no codec's blocks divide them. */
export function madeImage(options: MadeImageOptions): MadeImage {
  const { bits, allocated, signed = false, samples = 1, noise = false, rows = 37, columns = 53 } = options;
  const photometric = options.photometric ?? (samples === 3 ? 'RGB' : 'MONOCHROME2');
  const values = arrayOf(allocated, signed, rows * columns * samples);
  const least = signed ? -(2 ** (bits - 1)) : 0;
  let state = 12345;
  for (let at = 0; at < values.length; at += 1) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    const step = noise ? Math.floor((state / 0x80000000) * 2 ** bits) : Math.floor((at * 2 ** bits) / values.length);
    values[at] = least + (step % 2 ** bits);
  }
  return {
    attributes: {
      transferSyntax: '1.2.840.10008.1.2.1',
      rows,
      columns,
      samplesPerPixel: samples,
      photometricInterpretation: photometric,
      planarConfiguration: 0,
      bitsAllocated: allocated,
      bitsStored: bits,
      highBit: bits - 1,
      signed,
      float: false,
      frames: 1,
    },
    frame: { rows, columns, samplesPerPixel: samples, photometricInterpretation: photometric, samples: values },
  };
}

function arrayOf(allocated: number, signed: boolean, length: number): Samples {
  if (allocated <= 8) return signed ? new Int8Array(length) : new Uint8Array(length);
  if (allocated === 16) return signed ? new Int16Array(length) : new Uint16Array(length);
  return signed ? new Int32Array(length) : new Uint32Array(length);
}

/** Every image of a codec's tests: all depths in all words. */
export function everyImage(): MadeImage[] {
  const images: MadeImage[] = [];
  for (const [bits, allocated] of DEPTHS)
    for (const samples of [1, 3] as const)
      for (const signed of [false, true])
        for (const noise of [false, true])
          if (allocated > 1 || (samples === 1 && !signed))
            images.push(madeImage({ bits, allocated, samples, signed, noise }));
  return images;
}

const DEPTHS: readonly (readonly [number, 1 | 8 | 16 | 32])[] = [
  [1, 1],
  [1, 8],
  [2, 8],
  [6, 8],
  [8, 8],
  [8, 16],
  [10, 16],
  [12, 16],
  [15, 16],
  [16, 16],
  [16, 32],
  [32, 32],
];
