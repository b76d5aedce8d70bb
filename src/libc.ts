/** Owns the functions of the C library that Node lacks, through an optional package: without it, and where they are not, nothing is called. */

import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { log } from './log.ts';

/** A function of C, called in place or in a thread of libuv's; numbers and bytes only. */
export interface Native {
  (...args: readonly (number | Uint8Array)[]): number;
  /** The last argument hears of the answer. */
  async(...args: readonly (number | ((error: unknown, answer: number) => void))[]): void;
}

let koffi: typeof Koffi | undefined;

/** The number of the error of the last function of {@link libc} that this thread has called. */
export const errno = (): number => koffi?.errno() ?? 0;

/**
 * A function of the C library by its prototype, or undefined where it cannot be had (Linux with the GNU library only).
 * What it is for is said once in the log at debug level when it is missing.
 */
export function libc(prototype: string, purpose: string): Native | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    koffi ??= createRequire(import.meta.url)('koffi') as typeof Koffi;
    return koffi.load('libc.so.6').func(prototype) as Native;
  } catch (thrown) {
    // Optional: an installation without it, or a C library of another name, is only slower.
    log.generic.debug({ err: thrown }, `without ${purpose}`);
    return undefined;
  }
}

/** Tells where bytes lie in memory, as the C library sees it and Node does not say; undefined as {@link libc} is. */
export function addresses(purpose: string): ((bytes: Uint8Array) => number) | undefined {
  // Of nothing copied memcpy(3) answers where it would have been copied to.
  const memcpy = libc('uint64_t memcpy(void *, void *, uint64_t)', purpose);
  return memcpy && ((bytes) => memcpy(bytes, bytes, 0));
}
