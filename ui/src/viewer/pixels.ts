/** Owns the way from the server's decoded frame, a NumPy file, to what is drawn: values of the modality, or colours, with their window. */

import type { FrameInfo } from './info.ts';
import { type Level, levelOf, type Voi } from './level.ts';

/** Numbers of a picture. */
type Samples = Uint8Array | Int16Array | Uint16Array | Float32Array;

/** A frame as the server sends it: rows × columns × channels numbers. */
interface NumpyFrame {
  readonly rows: number;
  readonly columns: number;
  readonly channels: number;
  readonly samples:
    | Uint8Array
    | Int8Array
    | Uint16Array
    | Int16Array
    | Int32Array
    | Uint32Array
    | Float32Array
    | Float64Array;
}

const ARRAYS = {
  '<u1': Uint8Array,
  '|u1': Uint8Array,
  '<i1': Int8Array,
  '|i1': Int8Array,
  '<u2': Uint16Array,
  '<i2': Int16Array,
  '<u4': Uint32Array,
  '<i4': Int32Array,
  '<f4': Float32Array,
  '<f8': Float64Array,
} as const;

/** Reads a NumPy file (NEP 1, version 1.0) of one frame. Throws RangeError for anything else. */
export function readNumpy(file: ArrayBuffer): NumpyFrame {
  const start = 10 + new DataView(file).getUint16(8, true);
  const head = new TextDecoder('latin1').decode(file.slice(0, start));
  const type = /'descr': '([^']+)'/.exec(head)?.[1];
  const shape = /'shape': \((\d+), ?(\d+), ?(\d+)\)/.exec(head)?.slice(1).map(Number);
  const [rows = 0, columns = 0, channels = 0] = shape ?? [];
  const Array = ARRAYS[type as keyof typeof ARRAYS];
  const length = rows * columns * channels;
  if (Array === undefined || length === 0 || file.byteLength - start !== length * Array.BYTES_PER_ELEMENT)
    throw new RangeError('the server sent no frame');
  return { rows, columns, channels, samples: new Array(file, start, length) };
}

interface Extremes {
  readonly least: number;
  readonly most: number;
  readonly whole: boolean;
}

function extremesOf(samples: ArrayLike<number>): Extremes {
  let [least, most, whole] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, true];
  for (let at = 0; at < samples.length; at += 1) {
    const sample = samples[at] as number;
    if (sample < least) least = sample;
    if (sample > most) most = sample;
    if (whole && !Number.isInteger(sample)) whole = false;
  }
  return least > most ? { least: 0, most: 0, whole: true } : { least, most, whole };
}

/** The smallest array that holds whole numbers from `least` to `most`; floats for any other. */
function arrayFor(
  { least, most, whole }: Extremes,
  length: number,
): Uint8Array | Int16Array | Uint16Array | Float32Array {
  if (!whole) return new Float32Array(length);
  if (least >= -0x8000 && most <= 0x7fff) return new Int16Array(length);
  return least >= 0 && most <= 0xffff ? new Uint16Array(length) : new Float32Array(length);
}

/** Values of the modality (PS3.3 §C.11.1), one array for all slices of a series as far as they go. */
function modalityValues(samples: NumpyFrame['samples'], { slope, intercept, tabled }: FrameInfo): [Samples, Extremes] {
  const [m, b] = tabled ? [1, 0] : [slope, intercept];
  const stored = extremesOf(samples);
  const ends = [stored.least * m + b, stored.most * m + b];
  const extremes = {
    least: Math.min(...ends),
    most: Math.max(...ends),
    whole: stored.whole && Number.isInteger(m) && Number.isInteger(b),
  };
  if (m === 1 && b === 0 && (samples instanceof Uint8Array || samples instanceof Int16Array))
    return [samples, extremes];
  const values = arrayFor(extremes, samples.length);
  for (let at = 0; at < samples.length; at += 1) values[at] = (samples[at] as number) * m + b;
  return [values, extremes];
}

/** Red, green and blue of 8 bits; with a fourth channel, opaque, where the renderer wants one. */
function colours({ samples, channels }: NumpyFrame, bitsStored: number, opacity: boolean): Uint8Array {
  const divisor = samples instanceof Uint8Array ? 1 : 2 ** Math.max(0, bitsStored - 8);
  if (divisor === 1 && !opacity && samples instanceof Uint8Array) return samples;
  const into = opacity ? 4 : channels;
  const result = new Uint8Array((samples.length / channels) * into).fill(255);
  for (let at = 0, to = 0; at < samples.length; at += channels, to += into) {
    for (let channel = 0; channel < channels; channel += 1)
      result[to + channel] = Math.min(255, (samples[at + channel] as number) / divisor);
  }
  return result;
}

/** The header's window, else the one that shows all values; with the function that it is meant for. */
function windowOf({ windows, voi }: FrameInfo, { least, most }: Extremes): Level & { readonly voi: Voi } {
  const [own] = windows;
  // The other function has no windows narrower than one.
  if (own !== undefined) return { ...own, voi: own.width < 1 && voi === 'LINEAR' ? 'LINEAR_EXACT' : voi };
  const range = { lower: least, upper: most > least ? most : least + 1 };
  return { ...levelOf(range, 'LINEAR_EXACT'), voi: 'LINEAR_EXACT' };
}

/** A frame as it is drawn. */
export interface Picture {
  readonly rows: number;
  readonly columns: number;
  /** 1: values of the modality. 3: red, green and blue of 8 bits; 4: opaque. */
  readonly channels: number;
  readonly samples: Samples;
  readonly least: number;
  readonly most: number;
  readonly window: Level & { readonly voi: Voi };
}

/** The picture of a frame. `opacity`: colours get a fourth channel. Throws RangeError for what is no frame. */
export function pictureOf(file: ArrayBuffer, info: FrameInfo, opacity = false): Picture {
  const frame = readNumpy(file);
  const { rows, columns } = frame;
  if (frame.channels > 1) {
    const samples = colours(frame, info.bitsStored, opacity);
    const channels = samples.length / (rows * columns);
    return {
      rows,
      columns,
      channels,
      samples,
      least: 0,
      most: 255,
      window: { center: 128, width: 256, voi: 'LINEAR' },
    };
  }
  const [samples, extremes] = modalityValues(frame.samples, info);
  const { least, most } = extremes;
  return { rows, columns, channels: 1, samples, least, most, window: windowOf(info, extremes) };
}
