/** Owns what is asked of the disk itself, whatever the page cache says: whether a file is there, and that it be written. */

import { constants, promises as fs } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { IsenError } from '../errors.ts';
import { libc, type Native } from '../libc.ts';
import { codeOf } from './descriptors.ts';
import { allocatePages, PAGE } from './pages.ts';

/** POSIX_FADV_DONTNEED. */
const DONTNEED = 4;

let advise: Native | undefined;

/** Past the page cache where the file system lets: there a page can be that the disk refused. */
async function openDirect(path: string): Promise<FileHandle> {
  try {
    return await fs.open(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
  } catch (thrown) {
    if (codeOf(thrown) !== 'EINVAL') throw thrown;
    return fs.open(path, 'r');
  }
}

/** Whether the disk has these bytes, and no others, in the file; `sync` makes it durable where it is only on its way. */
export async function isOnDisk(path: string, bytes: Uint8Array, sync: boolean): Promise<boolean> {
  let file: FileHandle | undefined;
  try {
    file = await openDirect(path);
    if ((await file.stat()).size !== bytes.length) return false;
    if (sync) await file.sync();
    const there = new Uint8Array(allocatePages(Math.ceil(bytes.length / PAGE) * PAGE));
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await file.read(there, at, there.length - at, at);
      if (bytesRead === 0) return false;
      at += bytesRead;
    }
    return Buffer.compare(there.subarray(0, bytes.length), bytes) === 0;
  } catch {
    // Not to be read, or refused by the disk when it was written: no better than missing.
    return false;
  } finally {
    await file?.close();
  }
}

/** Writes a whole new file and waits for the disk. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await fs.open(path, 'w', 0o644);
  try {
    await writeAll(file, bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Writes the same bytes to a file that is there, of which the disk may have refused some. Throws where it has not all of them then. */
export async function rewriteDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await fs.open(path, 'r+');
  try {
    // A failure of before is told here, so that the sync below speaks of what is written now.
    await file.sync().catch(() => {});
    // A page that ext4 could not write it takes for one whose place on the disk holds something: written again it would be read as zeros.
    advise ??= libc('int posix_fadvise(int, int64_t, int64_t, int)', 'a journal of small files');
    advise?.(file.fd, 0, 0, DONTNEED);
    await writeAll(file, bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  if (!(await isOnDisk(path, bytes, false)))
    throw new IsenError('CannotWriteFile', `the disk has not what was written to ${path}`);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten;
}
