/** Owns the look through a whole pack: which blobs are in it, for whoever has nothing that says so. */

import { constants, promises as fs } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { codeOf } from './descriptors.ts';
import { blobEndingIn, type Place, readHead } from './pack-format.ts';
import { allocatePages, PAGE } from './pages.ts';

/** Whether the file at `path` is a pack, by its name and its beginning. Throws as reading it does. */
export async function isPack(path: string): Promise<boolean> {
  if (!/^[0-9a-f]{8}$/.test(basename(path))) return false;
  const file = await fs.open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PAGE), 0, PAGE, 0);
    return readHead(buffer.subarray(0, bytesRead)) !== undefined;
  } finally {
    await file.close();
  }
}

/**
 * The blobs in the pack at `path`, whose name is `name`, in order; where `anySecret`, with what looks like one although it has not the
 * secret of the pack: past the page cache where that can be, as most of a pack may
 * be holes.
 */
export async function* blobsInPack(
  path: string,
  name: string,
  anySecret = false,
): AsyncGenerator<{ readonly uuid: string; readonly place: Place }, void> {
  const file = await openDirect(path);
  try {
    const step = Buffer.from(allocatePages(1 << 20));
    let secret: Buffer | undefined;
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(step, 0, step.length, at);
      if (bytesRead === 0) return;
      if (at === 0) secret = readHead(step.subarray(0, bytesRead))?.secret;
      if (secret === undefined && !anySecret) return;
      for (let page = 0; page + PAGE <= bytesRead; page += PAGE) {
        const bytes = step.subarray(page, page + PAGE);
        const blob = blobEndingIn(bytes, at + page, name, anySecret ? undefined : secret);
        if (blob !== undefined) yield blob;
      }
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

async function openDirect(path: string): Promise<FileHandle> {
  try {
    return await fs.open(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
  } catch (thrown) {
    if (codeOf(thrown) !== 'EINVAL') throw thrown;
    return fs.open(path, 'r');
  }
}
