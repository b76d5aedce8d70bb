/** Owns CRC-32 (ISO 3309): Node's own, many times as fast as any in JavaScript, where this Node has it. */

import zlib from 'node:zlib';
import crc from 'crc-32';

/** The checksum of `bytes`, going on from that of what came before them: an unsigned number. */
export const crc32: (bytes: Uint8Array, previous?: number) => number =
  // Node 20 has it from 20.15 on.
  (zlib as { readonly crc32?: (bytes: Uint8Array, previous?: number) => number }).crc32 ??
  ((bytes, previous = 0) => crc.buf(bytes, previous) >>> 0);
