/** Owns pictures as files: PNG, JPEG, PAM (netpbm), WebP and AVIF, and their smooth resizing. */

import sharp, { type Sharp } from 'sharp';
import { IsenError } from '../errors.ts';
import { encodePng } from './png.ts';
import type { Picture } from './render.ts';

/** The media type of each format, in the order in which they are preferred where a client does not mind. */
export const MEDIA_TYPES = {
  png: 'image/png',
  jpeg: 'image/jpeg',
  pam: 'image/x-portable-arbitrarymap',
  webp: 'image/webp',
  avif: 'image/avif',
} as const;

export type ImageFormat = keyof typeof MEDIA_TYPES;

export interface EncodeOptions {
  readonly format: ImageFormat;
  /** 1 to 100, of JPEG, WebP and AVIF. */
  readonly quality: number;
  /** Another size, reached by averaging. */
  readonly size?: { readonly width: number; readonly height: number } | undefined;
}

// Each worker encodes one picture at a time: what it read before is of no use to it.
sharp.cache(false);
sharp.concurrency(1);

/**
 * A picture as a file.
 * @throws {IsenError} IncompatibleImageFormat for 16 bits in a format that has 8, or in another size.
 */
export async function encodePicture(picture: Picture, { format, quality, size }: EncodeOptions): Promise<Uint8Array> {
  const { width, height, channels, samples } = picture;
  const wide = samples instanceof Uint16Array;
  if (size === undefined && format === 'png') return encodePng(picture);
  if (size === undefined && format === 'pam') return pamOf(picture);
  if (wide) throw new IsenError('IncompatibleImageFormat');
  let image = sharp(samples, { raw: { width, height, channels }, limitInputPixels: false });
  if (size !== undefined) image = image.resize(size.width, size.height, { fit: 'fill' });
  // Without a word sharp makes three channels of one.
  if (channels === 1) image = image.toColourspace('b-w');
  switch (format) {
    case 'png':
      return encodePng(await resampled(image, picture));
    case 'jpeg':
      return image.jpeg({ quality }).toBuffer();
    case 'webp':
      return image.webp({ quality }).toBuffer();
    case 'avif':
      return image.avif({ quality, effort: 2 }).toBuffer();
    case 'pam':
      return pamOf(await resampled(image, picture));
  }
}

/** The pixels that sharp makes of a picture of 8 bits. */
async function resampled(image: Sharp, { channels }: Picture): Promise<Picture> {
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels, samples: new Uint8Array(data) };
}

/** The format of netpbm's pam(5): a few lines of text, then the samples, of 16 bits the upper byte first. */
function pamOf({ width, height, channels, samples }: Picture): Uint8Array {
  const wide = samples instanceof Uint16Array;
  const type = channels === 1 ? 'GRAYSCALE' : channels === 3 ? 'RGB' : 'RGB_ALPHA';
  const head = `P7\nWIDTH ${width}\nHEIGHT ${height}\nDEPTH ${channels}\nMAXVAL ${wide ? 65535 : 255}\nTUPLTYPE ${type}\nENDHDR\n`;
  const result = Buffer.allocUnsafe(head.length + samples.byteLength);
  result.write(head, 'latin1');
  result.set(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength), head.length);
  if (wide) result.subarray(head.length).swap16();
  return result;
}
