/** Owns the space that a file takes on the disk: asked for before it is written to, and given back from the middle (fallocate(2)). */

import { asError } from '../errors.ts';
import { libc, type Native } from '../libc.ts';

/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE. */
const PUNCH = 3;

let fallocate: Native | undefined;

/** Whether the system has the call at all; a file system may still refuse. */
export function hasFileSpace(): boolean {
  fallocate ??= libc('int fallocate(int, int, int64_t, int64_t)', 'packs of small files');
  return fallocate !== undefined;
}

function call(fd: number, mode: number, at: number, size: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    if (!hasFileSpace() || fallocate === undefined) resolve(false);
    else
      fallocate.async(fd, mode, at, size, (error, answer) => (error ? reject(asError(error)) : resolve(answer === 0)));
  });
}

/** Makes a file `size` bytes long, with space for all of them; whether the file system did. */
export const takeSpace = (fd: number, size: number): Promise<boolean> => call(fd, 0, 0, size);

/** Has a part of a file take no space any more, and be zeros; whether the file system did. */
export const giveSpaceBack = (fd: number, at: number, size: number): Promise<boolean> => call(fd, PUNCH, at, size);
