/**
 * Owns blobs as local files: `ab/cd/<uuid>` below the root, as Orthanc lays its storage area out. A provisional blob is
 * `incoming/<uuid>`, so that a restart finds the few that a crash left without walking millions.
 */

import { constants, createReadStream, promises as fs, rename as renameCallback } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { asError, IsenError } from '../errors.ts';
import type { BlobWriter, ByteRange, Storage } from './storage.ts';

const INCOMING = 'incoming';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface FilesystemOptions {
  /** Folder of the blobs; made when missing. */
  readonly root: string;
  /** Whether `put` waits for the disk (`SyncStorageArea`). Without it a power cut loses acknowledged images. */
  readonly sync: boolean;
}

const codeOf = (thrown: unknown): string => (thrown as NodeJS.ErrnoException).code ?? '';

/** The IsenError for a failed write: a full disk has its own. */
function writeError(thrown: unknown): IsenError {
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(codeOf(thrown));
  return new IsenError(full ? 'FullStorage' : 'CannotWriteFile', undefined, { cause: thrown });
}

/** Opens (making it when missing) a folder of blobs. Throws CannotWriteFile when it cannot be written. */
export async function openFilesystem({ root, sync }: FilesystemOptions): Promise<Storage> {
  const incoming = join(root, INCOMING);
  try {
    await fs.mkdir(incoming, { recursive: true });
    // A new folder is durable only once its parent is.
    for (const folder of [incoming, root, dirname(root)]) await syncFolder(folder);
  } catch (thrown) {
    throw new IsenError('CannotWriteFile', `the storage folder ${root} cannot be written`, { cause: thrown });
  }
  // Synchronous writes save the round trip of a separate fdatasync. On ext4, XFS and btrfs the sync of a new file makes
  // its folder entry durable as well.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (sync ? constants.O_DSYNC : 0);

  const check = (uuid: string): string => {
    if (!UUID.test(uuid)) throw new IsenError('InexistentFile');
    return uuid;
  };
  const provisionalPath = (uuid: string): string => join(incoming, check(uuid));
  const keptPath = (uuid: string): string => join(root, check(uuid).slice(0, 2), uuid.slice(2, 4), uuid);

  const create = async (uuid: string): Promise<BlobWriter> => {
    const path = provisionalPath(uuid);
    let file: FileHandle;
    try {
      file = await fs.open(path, flags, 0o644);
    } catch (thrown) {
      throw writeError(thrown);
    }
    const abort = async (): Promise<void> => {
      await file.close().catch(() => {});
      await fs.rm(path, { force: true });
    };
    return {
      abort,
      async write(bytes) {
        try {
          for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
        } catch (thrown) {
          await abort();
          throw writeError(thrown);
        }
      },
      async finish() {
        try {
          await file.close();
        } catch (thrown) {
          await abort();
          throw writeError(thrown);
        }
      },
    };
  };

  /** A blob is at its kept place, or still provisional, or was kept between the two looks. */
  const open = async (uuid: string): Promise<FileHandle> => {
    for (const path of [keptPath(uuid), provisionalPath(uuid), keptPath(uuid)]) {
      try {
        return await fs.open(path, 'r');
      } catch (thrown) {
        if (codeOf(thrown) !== 'ENOENT') throw new IsenError('InexistentFile', undefined, { cause: thrown });
      }
    }
    throw new IsenError('InexistentFile', `the storage holds no file ${uuid}`);
  };

  return {
    create,
    async put(uuid, bytes) {
      const writer = await create(uuid);
      await writer.write(bytes);
      await writer.finish();
    },
    async keep(uuid) {
      const from = provisionalPath(uuid);
      const to = keptPath(uuid);
      try {
        await rename(from, to);
      } catch (thrown) {
        if (codeOf(thrown) !== 'ENOENT') throw writeError(thrown);
        await fs.mkdir(dirname(to), { recursive: true });
        await rename(from, to).catch((again: unknown) => {
          throw writeError(again);
        });
      }
    },
    async read(uuid, range) {
      const file = await open(uuid);
      try {
        const { size } = await file.stat();
        const { start, end } = within(uuid, size, range);
        const bytes = new Uint8Array(end - start);
        for (let at = 0; at < bytes.length; ) {
          const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at);
          if (bytesRead === 0) throw new IsenError('CorruptedFile', `the stored file ${uuid} ends early`);
          at += bytesRead;
        }
        return bytes;
      } finally {
        await file.close();
      }
    },
    async stream(uuid, range) {
      const file = await open(uuid);
      try {
        const { size } = await file.stat();
        const { start, end } = within(uuid, size, range);
        if (start === end) {
          await file.close();
          return new ReadableStream({ start: (controller) => controller.close() });
        }
        const source = createReadStream('', {
          fd: file,
          start,
          end: end - 1,
          highWaterMark: Math.min(end - start, 256 * 1024),
        });
        return Readable.toWeb(source) as ReadableStream<Uint8Array>;
      } catch (thrown) {
        await file.close();
        throw thrown;
      }
    },
    async remove(uuid) {
      for (const path of [keptPath(uuid), provisionalPath(uuid)]) {
        try {
          await fs.unlink(path);
          return;
        } catch (thrown) {
          if (codeOf(thrown) !== 'ENOENT') throw writeError(thrown);
        }
      }
    },
    async provisional() {
      return (await fs.readdir(incoming)).filter((name) => UUID.test(name));
    },
    async size(uuid) {
      const file = await open(uuid);
      try {
        return (await file.stat()).size;
      } finally {
        await file.close();
      }
    },
    async free() {
      const { bavail, bsize } = await fs.statfs(root);
      return bavail * bsize;
    },
  };
}

function within(uuid: string, size: number, range: ByteRange | undefined): ByteRange {
  const { start, end } = range ?? { start: 0, end: size };
  if (start < 0 || start > end) throw new IsenError('BadRange');
  if (end > size) throw new IsenError('CorruptedFile', `the stored file ${uuid} is shorter than indexed`);
  return { start, end };
}

/** fs.rename by callback: half the main-thread cost of the promise form, and every stored image pays it. */
function rename(from: string, to: string): Promise<void> {
  return new Promise((resolve, reject) => {
    renameCallback(from, to, (error) => (error ? reject(asError(error)) : resolve()));
  });
}

async function syncFolder(path: string): Promise<void> {
  const folder = await fs.open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
