/** Owns the making of a pack: its marker, its space and its first page, durable before anything is added to it. */

import { randomBytes } from 'node:crypto';
import { closeSync, constants, promises as fs, openSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { codeOf, syncFolder, writeAll } from './descriptors.ts';
import { giveSpaceBack, takeSpace } from './file-space.ts';
import { PACK, PACKABLE, writeHead } from './pack-format.ts';
import { allocatePages, PAGE } from './pages.ts';

/** Bytes of the file system that a new pack leaves free. */
const LEAST_FREE = 256 << 20;

/** Where a pack and its marker go. */
export interface PackPaths {
  /** The folder of blobs. */
  readonly root: string;
  /** The folder of markers. */
  readonly markers: string;
  readonly pack: string;
  readonly marker: string;
}

/** A pack that nothing is in. */
export interface NewPack {
  readonly secret: Buffer;
  /** Opened to be added to, with these flags of open(2). */
  readonly fd: number;
  readonly flags: number;
}

/**
 * Makes a pack; undefined where the file system cannot have any. `sync`: whether that, and writing to it, waits for the disk. Throws
 * FullStorage, and what the file system throws, leaving nothing behind.
 */
export async function makePack(paths: PackPaths, sync: boolean): Promise<NewPack | undefined> {
  const { root, markers, pack, marker } = paths;
  const { bavail, bsize } = await fs.statfs(root);
  if (bavail * bsize < LEAST_FREE + PACK) throw new IsenError('FullStorage');
  let file: FileHandle | undefined;
  let begun: NewPack | undefined;
  const undo = async (): Promise<void> => {
    if (begun !== undefined) closeSync(begun.fd);
    await fs.rm(pack, { force: true });
    await fs.rm(marker, { force: true });
  };
  try {
    await (await fs.open(marker, 'w')).close();
    const made = await fs.mkdir(dirname(pack), { recursive: true });
    file = await fs.open(pack, 'wx', 0o644);
    if (!(await takeSpace(file.fd, PACK)) || !(await giveSpaceBack(file.fd, PACKABLE, PAGE))) {
      log.generic.debug('the file system has no packs of small files: it does not give space before, or take it back');
      await undo();
      return undefined;
    }
    begun = await begin(pack, sync);
    if (sync) {
      await file.sync();
      const above = made === undefined ? [] : [dirname(dirname(pack)), root];
      for (const folder of [dirname(pack), ...above, markers]) await syncFolder(folder);
    }
    return begun;
  } catch (thrown) {
    // One of that name that was there before is another's.
    if (codeOf(thrown) === 'EEXIST') await fs.rm(marker, { force: true });
    else await undo();
    throw thrown;
  } finally {
    await file?.close();
  }
}

/** Opens a new pack, past the page cache where that can be, and writes its first page. */
async function begin(path: string, sync: boolean): Promise<NewPack> {
  const secret = randomBytes(16);
  const page = Buffer.from(allocatePages(PAGE));
  writeHead(page, secret);
  const plain = constants.O_WRONLY | (sync ? constants.O_DSYNC : 0);
  const tryWith = async (flags: number): Promise<NewPack> => {
    const fd = openSync(path, flags);
    try {
      await writeAll(fd, [page], 0);
      return { secret, fd, flags };
    } catch (thrown) {
      closeSync(fd);
      throw thrown;
    }
  };
  try {
    return await tryWith(plain | (constants.O_DIRECT ?? 0));
  } catch (thrown) {
    if (codeOf(thrown) !== 'EINVAL') throw thrown;
    return tryWith(plain);
  }
}
