/**
 * Owns the outside of a DICOM file (PS3.10 §7): preamble, where the data set begins, which transfer syntax it is in when no File
 * Meta Information says so, and inflating a deflated data set within a bound.
 */

import { constants, inflateRawSync } from 'node:zlib';
import { EXPLICIT_BIG_ENDIAN, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN } from './transfer-syntaxes.ts';
import { vrOfCode } from './vr.ts';

/** Bytes before the prefix `DICM` (PS3.10 §7.1). */
const PREAMBLE = 128;

/** Where File Meta Information, or in its absence the data set, begins: after the prefix, or 0 when there is none. */
export function startOf(bytes: Buffer): number {
  return bytes.length >= PREAMBLE + 4 && bytes.toString('latin1', PREAMBLE, PREAMBLE + 4) === 'DICM' ? PREAMBLE + 4 : 0;
}

/** Whether reading these bytes (the first ones of a file do) as DICOM is worth the trying. */
export function mayBeDicom(bytes: Buffer): boolean {
  if (startOf(bytes) > 0) return true;
  // Without a prefix File Meta Information (group 0002) or a data set follows at once.
  return bytes.length >= 8 && (bytes.readUInt16LE(0) === 2 || guessTransferSyntax(bytes, 0) !== undefined);
}

/** The transfer syntax that the first element of a bare data set looks like, or undefined when it looks like nothing. */
export function guessTransferSyntax(bytes: Buffer, start: number): string | undefined {
  if (bytes.length < start + 8) return undefined;
  const little = bytes.readUInt16LE(start);
  const big = bytes.readUInt16BE(start);
  // Nothing but a command begins with group 0000 (PS3.7 §6.3), and zeros are what damaged files are full of.
  if (little === 0) return undefined;
  const isExplicit = vrOfCode(bytes.readUInt16BE(start + 4)) !== undefined;
  // Data sets begin in a low group (0008 most often): the order that reads the smaller number is the right one.
  if (isExplicit) return little <= big ? EXPLICIT_LITTLE_ENDIAN : EXPLICIT_BIG_ENDIAN;
  return little <= big && bytes.readUInt32LE(start + 4) <= bytes.length - start - 8
    ? IMPLICIT_LITTLE_ENDIAN
    : undefined;
}

/** Bytes of the beginning of a deflated data set that are inflated for its header: no bomb makes them more than 264 MB. */
export const BEGINNING = 256 << 10;

/** How much larger than the deflated bytes the memory is that takes the inflated ones: it is used as far as it is filled. */
const ROOM = 8;

/**
 * The inflated data set (PS3.5 §A.5), or its beginning where `bytes` are only a part of the deflated one. Throws zlib's error
 * on damage, or when it exceeds `maximum` bytes.
 */
export function inflate(bytes: Buffer, maximum: number, part: boolean): Buffer {
  return part
    ? inflateRawSync(bytes.subarray(0, BEGINNING), { maxOutputLength: maximum, finishFlush: constants.Z_SYNC_FLUSH })
    : inflateRawSync(bytes, {
        maxOutputLength: maximum,
        // What fits into one piece need not be joined, which would take twice the memory.
        chunkSize: Math.max(16 << 10, Math.min(maximum, ROOM * bytes.length)),
      });
}
