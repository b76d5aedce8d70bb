/** Owns the work of a packing thread on a file, or a piece of one, that goes into an archive: checking, deflating, describing. */

import { createHash } from 'node:crypto';
import { constants, deflateRawSync } from 'node:zlib';
import { crc32 } from '../crc32.ts';
import { IsenError } from '../errors.ts';
import { type DirectoryEntry, readDirectoryEntry } from './dicomdir.ts';

export interface PackTask {
  readonly bytes: Uint8Array;
  /** MD5 that the bytes must have, in lower-case hex, where it is known. */
  readonly md5?: string;
  /**
   * `whole`: the bytes are deflated where that makes them smaller. `piece` and `last`: they are deflated in any case, so that they go
   * on from the piece before, or end the entry. `no`: they stay as they are.
   */
  readonly deflate: 'whole' | 'piece' | 'last' | 'no';
  /** What a DICOMDIR says of the file of so many bytes that begins with these; `extended` as there. */
  readonly describe?: { readonly size: number; readonly extended: boolean };
}

export interface Packed {
  /** Deflated bytes; undefined where they stay as they are. */
  readonly deflated?: Uint8Array<ArrayBuffer>;
  /** The bytes as they came, where they stay so. */
  readonly stored?: Uint8Array;
  readonly crc: number;
  readonly entry?: DirectoryEntry;
}

/** The level that costs a third of the default's time on CT and MR pixels, and makes 2 % more of them. */
const LEVEL = 1;
/** What deflating must leave of whole files at most to be worth the reader's time. */
const WORTH = 0.95;
/** Bytes from the middle that show whether the rest is worth deflating: what is not takes five times as long. */
const SAMPLE = 16 << 10;

/** Throws CorruptedFile for bytes of another MD5, or that are not DICOM any more where they are to be described. */
export function pack({ bytes, md5, deflate, describe }: PackTask): Packed {
  if (md5 !== undefined && createHash('md5').update(bytes).digest('hex') !== md5)
    throw new IsenError('CorruptedFile', 'a stored file is not the one that was stored');
  const packed = { crc: crc32(bytes), ...(describe && { entry: entryOf(bytes, describe) }) };
  if (deflate === 'no' || (deflate === 'whole' && !isWorth(bytes))) return { ...packed, stored: bytes };
  // A flushed piece ends at a byte, so that pieces that were deflated apart are one stream together.
  const finishFlush = deflate === 'piece' ? constants.Z_SYNC_FLUSH : constants.Z_FINISH;
  const deflated = deflateRawSync(bytes, { level: LEVEL, finishFlush });
  if (deflate === 'whole' && deflated.length > bytes.length * WORTH) return { ...packed, stored: bytes };
  return { ...packed, deflated };
}

function isWorth(bytes: Uint8Array): boolean {
  if (bytes.length < 4 * SAMPLE) return true;
  const middle = (bytes.length - SAMPLE) >> 1;
  const sample = bytes.subarray(middle, middle + SAMPLE);
  return deflateRawSync(sample, { level: LEVEL }).length <= SAMPLE * WORTH;
}

function entryOf(bytes: Uint8Array, { size, extended }: NonNullable<PackTask['describe']>): DirectoryEntry {
  try {
    return readDirectoryEntry(bytes, size, extended);
  } catch (thrown) {
    throw new IsenError('CorruptedFile', 'the header of a stored file cannot be read', { cause: thrown });
  }
}
