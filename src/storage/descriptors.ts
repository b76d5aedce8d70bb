/**
 * Owns calls on file descriptors by callback (the promise forms cost the main thread twice as much, and every image pays them), and what
 * it means when they fail.
 */

import { constants, open, promises as fs, read, write, writev } from 'node:fs';
import { IsenError } from '../errors.ts';

/** The code of a failed system call, or ''. */
export const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException).code ?? '';

/** The IsenError for a failed write: a full disk has its own. */
export function writeError(thrown: unknown): IsenError {
  if (thrown instanceof IsenError) return thrown;
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(codeOf(thrown));
  return new IsenError(full ? 'FullStorage' : 'CannotWriteFile', undefined, { cause: thrown });
}

/** Opens a file; what is made is everybody's to read. */
export function openFd(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, 0o644, (error, fd) => (error ? reject(error) : resolve(fd)));
  });
}

/** Writes of `bytes` from `at` up to `end`, to the same place in the file; answers how many. */
export function writeSome(fd: number, bytes: Uint8Array, at: number, end: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, at, end - at, at, (error, written) => (error ? reject(error) : resolve(written)));
  });
}

/** Reads into `bytes` from `at` on, from a place in the file; answers how many, 0 at its end. */
export function readSome(fd: number, bytes: Uint8Array, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, bytes, at, bytes.length - at, position, (error, count) => (error ? reject(error) : resolve(count)));
  });
}

/** Makes the entries of a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await fs.open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Fills `bytes` from a place in a file; whether it has so many. */
export async function readAll(fd: number, bytes: Uint8Array, position: number): Promise<boolean> {
  for (let at = 0; at < bytes.length; ) {
    const count = await readSome(fd, bytes, at, position + at);
    if (count === 0) return false;
    at += count;
  }
  return true;
}

/** Writes some bytes one behind the other to a place in a file, in one call. Throws where the disk took not all of them. */
export function writeAll(fd: number, pages: readonly Uint8Array[], position: number): Promise<void> {
  const size = pages.reduce((sum, page) => sum + page.length, 0);
  return new Promise((resolve, reject) => {
    writev(fd, pages, position, (error, count) => {
      if (error) reject(error);
      else if (count < size) reject(new IsenError('CannotWriteFile', `the disk took ${count} of ${size} bytes`));
      else resolve();
    });
  });
}
