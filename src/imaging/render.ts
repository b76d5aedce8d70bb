/** Owns what a client is shown of a decoded frame: the picture of `preview`, `rendered`, `image-uint8`, `image-uint16` and `image-int16`. */

import { IsenError } from '../errors.ts';
import {
  defaultWindow,
  displayLevel,
  extremes,
  type Grayscale,
  levels,
  type LookupTable,
  type Window,
} from './grayscale.ts';
import type { Frame, PixelAttributes, Samples } from './image.ts';
import { colours, type Palette } from './palette.ts';

/** Samples to encode, by pixel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Grey, red-green-blue, or that with opacity. */
  readonly channels: 1 | 3 | 4;
  /** 8 or 16 bits a sample. */
  readonly samples: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
}

/** Which picture, and how. */
export type Rendering =
  /** Grey from the smallest to the largest value; colours as they are. */
  | { readonly kind: 'preview' }
  /** Stored values of grey, limited to the type; signed ones go out as their two's complement. */
  | { readonly kind: 'uint8' | 'uint16' | 'int16' }
  /** Grey through the window; no larger than a width and a height, if given. */
  | ({ readonly kind: 'rendered' } & Rendered);

export interface Rendered {
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  /** Average pixels where they become fewer or more, instead of picking the nearest. */
  readonly smooth: boolean;
  /** In the place of the header's window. */
  readonly window?: { readonly [Half in keyof Window]: number | undefined } | undefined;
}

/** A decoded frame with what its header says of it. */
export interface Shown {
  readonly frame: Frame;
  readonly attributes: PixelAttributes;
  readonly grayscale: Grayscale;
  /** Of PALETTE COLOR. */
  readonly palette: Palette | undefined;
}

/** Pixels of the largest picture that `rendered` makes by width and height. */
export const MAXIMUM_PIXELS = 64 * 1024 * 1024;

/** The picture of a frame in its own size. Throws IncompatibleImageFormat for stored values of a colour image. */
export function pictureOf(shown: Shown, rendering: Rendering): Picture {
  const { frame, grayscale } = shown;
  const { samples } = frame;
  if (frame.photometricInterpretation === 'RGB' || frame.photometricInterpretation === 'PALETTE COLOR') {
    if (rendering.kind !== 'preview' && rendering.kind !== 'rendered') throw new IsenError('IncompatibleImageFormat');
    return { width: frame.columns, height: frame.rows, channels: 3, samples: coloured(shown) };
  }
  const inverted = frame.photometricInterpretation === 'MONOCHROME1';
  const size = { width: frame.columns, height: frame.rows, channels: 1 } as const;
  switch (rendering.kind) {
    case 'preview':
      return { ...size, samples: levels(samples, stretch(samples, inverted)) };
    case 'rendered':
      return {
        ...size,
        samples: levels(samples, displayLevel(grayscale, voiOf(rendering, shown), inverted)),
      };
    case 'uint8':
      return { ...size, samples: limited(samples, new Uint8Array(samples.length), 0, 0xff) };
    case 'uint16':
      return { ...size, samples: limited(samples, new Uint16Array(samples.length), 0, 0xffff) };
    case 'int16':
      return { ...size, samples: limited(samples, new Uint16Array(samples.length), -0x8000, 0x7fff) };
  }
}

/** The window of a request, of which one half may be the image's; what the header has instead where none is asked for. */
function voiOf({ window }: Rendered, { grayscale, attributes, frame }: Shown): Window | LookupTable {
  const center = window?.center;
  const width = window?.width;
  const own = grayscale.window ?? defaultWindow(grayscale, attributes, frame.samples);
  if (center === undefined && width === undefined && grayscale.window === undefined) return grayscale.voi ?? own;
  return { center: center ?? own.center, width: width ?? own.width };
}

/**
 * The smallest value to 0, the largest to 255, in single precision as the reference computes: what lies half-way between two
 * levels must go the same way.
 */
function stretch(samples: Samples, inverted: boolean): (stored: number) => number {
  const { minimum, maximum } = extremes(samples);
  const flip = inverted ? 255 : 0;
  if (minimum === maximum) return () => flip;
  const scale = Math.fround(255 / Math.fround(maximum - minimum));
  const offset = Math.fround(-minimum * scale);
  return (stored) => Math.round(Math.fround(Math.fround(scale * stored) + offset)) ^ flip;
}

/** Red, green and blue of 8 bits. */
function coloured({ frame, attributes, palette }: Shown): Uint8Array<ArrayBuffer> {
  const { samples } = frame;
  if (frame.photometricInterpretation === 'PALETTE COLOR') {
    if (palette === undefined) throw new IsenError('BadFileFormat', 'a palette is missing');
    return colours(samples, palette);
  }
  if (samples instanceof Uint8Array) return samples as Uint8Array<ArrayBuffer>;
  const result = new Uint8Array(samples.length);
  const divisor = 2 ** Math.max(0, attributes.bitsStored - 8);
  for (let at = 0; at < samples.length; at += 1)
    result[at] = Math.min(255, Math.max(0, (samples[at] as number) / divisor));
  return result;
}

function limited<Result extends Uint8Array | Uint16Array>(
  samples: Samples,
  result: Result,
  least: number,
  most: number,
): Result {
  for (let at = 0; at < samples.length; at += 1) {
    const sample = samples[at] as number;
    result[at] = sample < least ? least : sample > most ? most : sample;
  }
  return result;
}

/**
 * Width and height of a picture that fits what `rendered` was asked for and keeps its proportions; nothing asked (or 0) is its own size.
 * @throws {IsenError} ParameterOutOfRange above {@link MAXIMUM_PIXELS}.
 */
export function fitted(
  { width, height }: Pick<Picture, 'width' | 'height'>,
  rendered: Pick<Rendered, 'width' | 'height'>,
): { readonly width: number; readonly height: number } {
  const ratios = [(rendered.width ?? 0) / width, (rendered.height ?? 0) / height].filter((ratio) => ratio > 0);
  if (ratios.length === 0) return { width, height };
  const ratio = Math.min(...ratios);
  const size = { width: Math.max(1, Math.round(width * ratio)), height: Math.max(1, Math.round(height * ratio)) };
  if (size.width * size.height > MAXIMUM_PIXELS)
    throw new IsenError('ParameterOutOfRange', `a picture has at most ${MAXIMUM_PIXELS} pixels`);
  return size;
}

/** A picture in another size, each pixel the one whose centre is nearest. */
export function resized(picture: Picture, size: { readonly width: number; readonly height: number }): Picture {
  const { width, height } = size;
  if (width === picture.width && height === picture.height) return picture;
  const { channels, samples } = picture;
  const result = new (samples.constructor as new (length: number) => typeof samples)(width * height * channels);
  const column = Int32Array.from(
    { length: width },
    (_, x) => Math.floor(((x + 0.5) * picture.width) / width) * channels,
  );
  for (let y = 0, to = 0; y < height; y += 1) {
    const row = Math.floor(((y + 0.5) * picture.height) / height) * picture.width * channels;
    for (let x = 0; x < width; x += 1) {
      const from = row + (column[x] as number);
      for (let channel = 0; channel < channels; channel += 1, to += 1) result[to] = samples[from + channel] as number;
    }
  }
  return { width, height, channels, samples: result };
}
