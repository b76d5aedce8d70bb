/**
 * Owns the writing of PNG files (ISO/IEC 15948). Not left to sharp, which takes two to three times as long for 16 bits and 1.6 times for
 * noise of 8 bits; only smooth 8 bits it does somewhat faster. Of 512 × 512 pixels like those of CT, here and there (its level 3):
 * noisy ones took 2,825 and 4,573 µs in 8 bits, 123 and 121 KB, and 4,596 and 8,275 µs in 16 bits, 250 and 227 KB; smooth ones 3,153
 * and 2,791 µs, 67 and 70 KB, and 4,134 and 12,101 µs, 261 and 374 KB.
 */

import { constants, deflateSync } from 'node:zlib';
import crc32 from 'crc-32';
import type { Picture } from './render.ts';

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');

/** Colour type by channels (§11.2.2). */
const COLOUR_TYPES = { 1: 0, 3: 2, 4: 6 } as const;

/** Filter type "Sub" (§9.2): what differs from the sample to the left. */
const SUB = 1;

/** A picture as a PNG file, its samples as they are. */
export function encodePng(picture: Picture): Buffer {
  const { width, height, channels, samples } = picture;
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.writeUInt8(8 * samples.BYTES_PER_ELEMENT, 8);
  head.writeUInt8(COLOUR_TYPES[channels], 9);
  const rows = samples instanceof Uint8Array ? filtered(samples, width * channels, channels) : filteredWords(picture);
  // Differences of noisy pixels have no repetitions worth looking for, but many equal neighbours.
  const data = deflateSync(rows, { level: 3, strategy: constants.Z_RLE });
  return Buffer.concat([SIGNATURE, chunk('IHDR', head), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
}

function filtered(samples: Uint8Array, length: number, channels: number): Uint8Array {
  const rows = new Uint8Array((samples.length / length) * (length + 1));
  for (let from = 0, to = 0; from < samples.length; ) {
    rows[to++] = SUB;
    const first = from + channels;
    const end = from + length;
    for (; from < first; from += 1) rows[to++] = samples[from] as number;
    for (; from < end; from += 1) rows[to++] = (samples[from] as number) - (samples[from - channels] as number);
  }
  return rows;
}

/** The same for 16 bits, the upper byte first; differences are of bytes. */
function filteredWords({ width, height, channels, samples }: Picture): Uint8Array {
  const length = width * channels;
  const rows = new Uint8Array(height * (2 * length + 1));
  for (let from = 0, to = 0; from < samples.length; ) {
    rows[to++] = SUB;
    for (let column = 0; column < length; column += 1, from += 1) {
      const sample = samples[from] as number;
      const left = column < channels ? 0 : (samples[from - channels] as number);
      rows[to++] = (sample >> 8) - (left >> 8);
      rows[to++] = (sample & 0xff) - (left & 0xff);
    }
  }
  return rows;
}

function chunk(type: string, data: Uint8Array): Buffer {
  const result = Buffer.allocUnsafe(data.length + 12);
  result.writeUInt32BE(data.length, 0);
  result.write(type, 4, 'latin1');
  result.set(data, 8);
  result.writeInt32BE(crc32.buf(result.subarray(4, data.length + 8)), data.length + 8);
  return result;
}
