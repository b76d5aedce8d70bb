/** Owns bringing one blob from one storage to another under its name, and knowing that it arrived. */

import { createHash } from 'node:crypto';
import { IsenError } from '../errors.ts';
import type { Storage } from './storage.ts';

/** Bytes up to which a blob is held whole. */
const LARGEST_HELD = 8 << 20;

/** A blob as the index describes it. */
export interface StoredFile {
  readonly uuid: string;
  /** Bytes, as stored. */
  readonly size: number;
  /** Of what is stored; empty where the index has none. */
  readonly md5: string;
}

/** What became of it: `altered` was copied although it is not as the index says, of `missing` the source has nothing. */
export interface CopiedFile {
  readonly state: 'copied' | 'altered' | 'missing';
  /** Bytes. */
  readonly size: number;
}

/** Read whole, it is either not there or cut off: nothing of it can be had. */
const isMissing = (thrown: unknown): boolean =>
  thrown instanceof IsenError && (thrown.code === 'InexistentFile' || thrown.code === 'CorruptedFile');

/** Whether a storage has a blob of this name and size. */
export async function hasFile(storage: Storage, { uuid, size }: StoredFile): Promise<boolean> {
  try {
    return (await storage.size(uuid)) === size;
  } catch (thrown) {
    if (isMissing(thrown)) return false;
    throw thrown;
  }
}

/**
 * Copies a blob, whatever stood in its place, and reads it back: it is durable then, with the MD5 of what was read. Throws `CorruptedFile`
 * where the target gives something else back.
 */
export async function copyFile(from: Storage, to: Storage, file: StoredFile): Promise<CopiedFile> {
  const { uuid } = file;
  let size = 0;
  const hash = createHash('md5');
  const take = (part: Uint8Array): void => {
    size += part.length;
    hash.update(part);
  };
  try {
    if (file.size <= LARGEST_HELD) {
      const bytes = await from.read(uuid);
      take(bytes);
      await to.adopt(uuid);
      await to.put(uuid, bytes);
    } else {
      const parts = await from.stream(uuid);
      await to.adopt(uuid);
      const writer = await to.create(uuid);
      try {
        for await (const part of parts) {
          take(part);
          await writer.write(part);
        }
      } catch (thrown) {
        await writer.abort().catch(() => {});
        throw thrown;
      }
      await writer.finish();
    }
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
    return { state: 'missing', size: 0 };
  }
  const md5 = hash.digest('hex');
  const back = createHash('md5');
  if (size <= LARGEST_HELD) back.update(await to.read(uuid));
  else for await (const part of await to.stream(uuid)) back.update(part);
  if (back.digest('hex') !== md5) {
    await to.remove(uuid);
    throw new IsenError('CorruptedFile', `the target does not give the file ${uuid} back as it was written`);
  }
  await to.keep(uuid);
  const isRight = size === file.size && (file.md5 === '' || md5 === file.md5);
  return { state: isRight ? 'copied' : 'altered', size };
}
