/** Owns the picture that stands for one that cannot be shown (`returnUnsupportedImage`). */

import { deflateSync } from 'node:zlib';
import crc32 from 'crc-32';

const WIDTH = 150;
const HEIGHT = 84;

/** A grey frame with its diagonals, the rest transparent. */
function opaque(x: number, y: number): boolean {
  const edge = Math.min(x, y, WIDTH - 1 - x, HEIGHT - 1 - y) < 2;
  const across = (x * (HEIGHT - 1)) / (WIDTH - 1);
  return edge || Math.abs(y - across) < 1 || Math.abs(HEIGHT - 1 - y - across) < 1;
}

function chunk(type: string, data: Uint8Array): Buffer {
  const result = Buffer.alloc(data.length + 12);
  result.writeUInt32BE(data.length, 0);
  result.write(type, 4, 'latin1');
  result.set(data, 8);
  result.writeInt32BE(crc32.buf(result.subarray(4, data.length + 8)), data.length + 8);
  return result;
}

function drawn(): Uint8Array<ArrayBuffer> {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(WIDTH, 0);
  head.writeUInt32BE(HEIGHT, 4);
  // 8 bits a sample, red-green-blue and opacity.
  head.set([8, 6], 8);
  const rows = Buffer.alloc(HEIGHT * (1 + 4 * WIDTH), 0x80);
  for (let y = 0; y < HEIGHT; y += 1) {
    const row = y * (1 + 4 * WIDTH);
    rows[row] = 0;
    for (let x = 0; x < WIDTH; x += 1) rows[row + 1 + 4 * x + 3] = opaque(x, y) ? 255 : 0;
  }
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  return new Uint8Array(
    Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]),
  );
}

/** A PNG file. */
export const UNSUPPORTED: Uint8Array<ArrayBuffer> = drawn();
