/** Owns the reading of picture files: PNG, JPEG and PAM (netpbm), as plain samples. */

import sharp from 'sharp';
import { IsenError } from '../errors.ts';
import type { Picture } from './render.ts';

/** Pixels of the largest picture that is read. */
const MOST_PIXELS = 1 << 26;

/** Of a PAM file. */
const LONGEST_HEADER = 4096;

/** Formats of {@link readPicture}. */
export type PictureFile = 'png' | 'jpeg' | 'pam';

/**
 * The picture in a file. Opacity is left out.
 * @throws {IsenError} BadFileFormat for what is no such file; NotImplemented for colours of 16 bits.
 */
export async function readPicture(bytes: Uint8Array, format: PictureFile): Promise<Picture> {
  return format === 'pam' ? readPam(bytes) : readWithSharp(bytes, format);
}

async function readWithSharp(bytes: Uint8Array, format: 'png' | 'jpeg'): Promise<Picture> {
  try {
    const image = sharp(bytes, { limitInputPixels: MOST_PIXELS, failOn: 'error' });
    const metadata = await image.metadata();
    if (metadata.format !== format) throw new Error(`this is not ${format}`);
    const isGrey = metadata.channels < 3;
    const isWide = metadata.depth === 'ushort';
    if (isWide && !isGrey) throw new IsenError('NotImplemented', 'colours of 16 bits');
    const { data, info } = await image
      .removeAlpha()
      // Without a word sharp makes three channels of one.
      .toColourspace(isGrey ? (isWide ? 'grey16' : 'b-w') : 'srgb')
      .raw({ depth: isWide ? 'ushort' : 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const own = Uint8Array.from(data);
    const samples = isWide ? new Uint16Array(own.buffer) : own;
    return { width: info.width, height: info.height, channels: isGrey ? 1 : 3, samples };
  } catch (thrown) {
    if (thrown instanceof IsenError) throw thrown;
    throw new IsenError('BadFileFormat', `The ${format.toUpperCase()} file cannot be read`, { cause: thrown });
  }
}

/** The format of pam(5). */
function readPam(bytes: Uint8Array): Picture {
  const bad = (): IsenError => new IsenError('BadFileFormat', 'The PAM file cannot be read');
  const head = Buffer.from(bytes.subarray(0, LONGEST_HEADER)).toString('latin1');
  const end = /^P7\n[^]*?\nENDHDR\n/.exec(head)?.[0].length ?? 0;
  const number = (name: string): number =>
    Number(new RegExp(`\\n${name}[ \\t]+(\\d{1,9})[ \\t]*\\n`).exec(head.slice(0, end))?.[1] ?? 0);
  const [width, height, depth, maximum] = ['WIDTH', 'HEIGHT', 'DEPTH', 'MAXVAL'].map(number);
  if (!width || !height || !depth || !maximum || depth > 4 || maximum > 65_535 || width * height > MOST_PIXELS)
    throw bad();
  const size = maximum > 255 ? 2 : 1;
  const channels = depth < 3 ? 1 : 3;
  if (size === 2 && channels === 3) throw new IsenError('NotImplemented', 'colours of 16 bits');
  if (bytes.length < end + width * height * depth * size) throw bad();
  const count = width * height * channels;
  const samples = size === 2 ? new Uint16Array(count) : new Uint8Array(count);
  const view = new DataView(bytes.buffer, bytes.byteOffset + end);
  for (let pixel = 0, to = 0; pixel < width * height; pixel += 1) {
    for (let channel = 0; channel < channels; channel += 1, to += 1) {
      const at = pixel * depth + channel;
      samples[to] = size === 2 ? view.getUint16(at * 2) : view.getUint8(at);
    }
  }
  return { width, height, channels, samples };
}
