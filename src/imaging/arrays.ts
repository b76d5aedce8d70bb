/** Owns frames as arrays of numbers: NumPy's file format (NEP 1, version 1.0) and MATLAB's text. */

import { IsenError } from '../errors.ts';
import { type Grayscale, modalityValue } from './grayscale.ts';
import type { Samples } from './image.ts';
import { colours } from './palette.ts';
import type { Shown } from './render.ts';

/** The numbers of one frame. */
export interface FrameArray {
  readonly rows: number;
  readonly columns: number;
  /** Values a pixel: 1 or 3. */
  readonly channels: number;
  /** NumPy's name of the type, little endian: `<f4`, `<u1`, `<i2` … */
  readonly type: string;
  /** Rows × columns × channels values. */
  readonly values: Uint8Array<ArrayBuffer>;
}

/** Bytes of the head of a NumPy file. */
export const NUMPY_HEAD = 128;

/**
 * The numbers of a frame: grey in values of the modality as 32-bit floats, or as stored when not `rescaled`; colours as 8-bit red,
 * green and blue, or as stored where they have more bits.
 * @throws {IsenError} BadFileFormat for a palette that is missing.
 */
export function arrayOf(shown: Shown, rescaled: boolean): FrameArray {
  const { frame, grayscale, palette } = shown;
  const size = { rows: frame.rows, columns: frame.columns };
  if (frame.photometricInterpretation === 'RGB') return { ...size, channels: 3, ...stored(frame.samples) };
  if (frame.photometricInterpretation === 'PALETTE COLOR') {
    if (palette === undefined) throw new IsenError('BadFileFormat', 'a palette is missing');
    return { ...size, channels: 3, type: '<u1', values: colours(frame.samples, palette) };
  }
  return {
    ...size,
    channels: 1,
    ...(rescaled ? { type: '<f4', values: bytesOf(modality(frame.samples, grayscale)) } : stored(frame.samples)),
  };
}

/** The head of a NumPy file that holds one frame, or several (`frames`). */
export function numpyHead({ rows, columns, channels, type }: Omit<FrameArray, 'values'>, frames?: number): Buffer {
  const shape = `${frames === undefined ? '' : `${frames}, `}${rows},${columns},${channels}`;
  const head = Buffer.alloc(NUMPY_HEAD, ' ');
  head.write('\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(NUMPY_HEAD - 10, 8);
  head.write(`{'descr': '${type}', 'fortran_order': False, 'shape': (${shape}), }`, 10);
  head.write('\n', NUMPY_HEAD - 1);
  return head;
}

/** An expression that gives MATLAB and Octave the stored values of grey, or the colours, of a frame. */
export function matlabText(shown: Shown): string {
  const { frame, palette } = shown;
  const { rows, columns } = frame;
  if (frame.photometricInterpretation === 'PALETTE COLOR' || frame.photometricInterpretation === 'RGB') {
    const samples =
      frame.photometricInterpretation === 'RGB' || palette === undefined
        ? frame.samples
        : colours(frame.samples, palette);
    return `double(permute(reshape([ ${samples.join(' ')} ], [ 3 ${columns} ${rows} ]), [ 3 2 1 ]))`;
  }
  const lines = Array.from({ length: rows }, (_, row) =>
    frame.samples.subarray(row * columns, (row + 1) * columns).join(' '),
  );
  return `double([ ${lines.join(' ; ')} ])`;
}

function modality(samples: Samples, grayscale: Grayscale): Float32Array {
  const result = new Float32Array(samples.length);
  const { slope, intercept, modality: table } = grayscale;
  const value = modalityValue(grayscale);
  for (let at = 0; at < samples.length; at += 1) {
    const sample = samples[at] as number;
    // In single precision, as the reference computes.
    result[at] =
      table === undefined ? Math.fround(Math.fround(sample) * Math.fround(slope)) + intercept : value(sample);
  }
  return result;
}

function stored(samples: Samples): Pick<FrameArray, 'type' | 'values'> {
  const kind =
    samples instanceof Float32Array || samples instanceof Float64Array
      ? 'f'
      : samples instanceof Int8Array || samples instanceof Int16Array || samples instanceof Int32Array
        ? 'i'
        : 'u';
  return { type: `<${kind}${samples.BYTES_PER_ELEMENT}`, values: bytesOf(samples) };
}

const bytesOf = (samples: Samples): Uint8Array<ArrayBuffer> =>
  new Uint8Array(samples.buffer as ArrayBuffer, samples.byteOffset, samples.byteLength);
