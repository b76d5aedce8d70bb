/** Owns the picture that stands for one that cannot be shown (`returnUnsupportedImage`). */

import { encodePng } from '../imaging/png.ts';

/** The size of the reference's. */
const WIDTH = 150;
const HEIGHT = 83;

/** A grey frame with its diagonals, the rest transparent. */
function isDrawn(x: number, y: number): boolean {
  const edge = Math.min(x, y, WIDTH - 1 - x, HEIGHT - 1 - y) < 2;
  const across = (x * (HEIGHT - 1)) / (WIDTH - 1);
  return edge || Math.abs(y - across) < 1 || Math.abs(HEIGHT - 1 - y - across) < 1;
}

function drawn(): Uint8Array<ArrayBuffer> {
  const samples = new Uint8Array(4 * WIDTH * HEIGHT).fill(0x80);
  for (let y = 0; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDTH; x += 1) samples[4 * (y * WIDTH + x) + 3] = isDrawn(x, y) ? 255 : 0;
  }
  return new Uint8Array(encodePng({ width: WIDTH, height: HEIGHT, channels: 4, samples }));
}

/** A PNG file. */
export const UNSUPPORTED: Uint8Array<ArrayBuffer> = drawn();
