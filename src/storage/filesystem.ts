/**
 * Owns blobs below a local folder: small ones in packs (storage/packs), where the file system can have them, and every other as a file of
 * its own, `ab/cd/<uuid>`, as Orthanc lays its storage area out.
 *
 * Names are given out folder by folder (the first four digits of a UUID are its folder), so that a thousand new files
 * share one folder to make and sync instead of making one each, and nothing is ever renamed. A folder that may hold
 * provisional blobs has a marker in `open/`: a restart looks for what a crash left in those few folders alone.
 */

import { createHash, randomInt, randomUUID } from 'node:crypto';
import { closeSync, constants, createReadStream, fstatSync, promises as fs, openSync, type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { asError, IsenError } from '../errors.ts';
import { makeFolder } from '../folder.ts';
import { log } from '../log.ts';
import { codeOf, openFd, readSome, syncFolder, writeError, writeSome } from './descriptors.ts';
import { LARGEST_PACKED } from './pack-format.ts';
import { Packs } from './packs.ts';
import { isPageAligned, PAGE } from './pages.ts';
import type { BlobWriter, ByteRange, Packing, Storage } from './storage.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Folders of blobs: all values of four hexadecimal digits. */
const FOLDERS = 0x10000;

/** Bytes from which a blob is written past the page cache: below, the second synchronous step costs more than it saves. */
const LEAST_DIRECT = 192 << 10;

/** Bytes of a blob in a pack that are read at once for a stream. */
const STREAMED = 256 << 10;

/** Names given out in one folder before the next is begun. */
const FOLDER_NAMES = 1024;

export interface FilesystemOptions {
  /** Folder of the blobs; made when missing. */
  readonly root: string;
  /** Whether `put` waits for the disk (`SyncStorageArea`). Without it a power cut loses acknowledged images. */
  readonly sync: boolean;
  /** This node's own name among those that share the folder, the same after a restart: what is provisional belongs to a node. */
  readonly node?: string;
}

/** A folder that may hold provisional blobs. */
interface OpenFolder {
  /** Four hexadecimal digits. */
  readonly digits: string;
  /** Its marker is durable; undefined when that failed, as on a full disk, and is to be tried again. */
  ready: Promise<void> | undefined;
  readonly provisional: Set<string>;
  /** Names that it may still give out. */
  names: number;
}

/** What a node has for itself in the folder of blobs, made when missing. Throws CannotWriteFile. */
export function ownFolder({ root, node }: Pick<FilesystemOptions, 'root' | 'node'>): string {
  const own = join(root, 'open', ...(node === undefined ? [] : [`node-${encodeURIComponent(node)}`]));
  try {
    makeFolder(own);
  } catch (thrown) {
    throw unwritable(root, thrown);
  }
  return own;
}

const unwritable = (root: string, cause: unknown): IsenError =>
  new IsenError('CannotWriteFile', `the storage folder ${root} cannot be written: ${asError(cause).message}`, {
    cause,
  });

/** Opens (making it when missing) a folder of blobs. Throws CannotWriteFile when it cannot be written. */
export async function openFilesystem({ root, sync, node }: FilesystemOptions): Promise<Storage> {
  const markers = ownFolder({ root, ...(node !== undefined && { node }) });
  /** Digits that the names of this node have after those of their folder, where other nodes may use the same folder. */
  const own = node === undefined ? '' : createHash('md5').update(node).digest('hex').slice(0, 4);
  try {
    // A new folder is durable only once its parent is.
    for (const folder of [markers, dirname(markers), root, dirname(root)]) await syncFolder(folder);
  } catch (thrown) {
    throw unwritable(root, thrown);
  }
  // Synchronous writes save the round trip of a separate fdatasync. On ext4, XFS and btrfs the sync of a new file makes
  // its folder entry durable as well.
  const syncFlags = constants.O_WRONLY | (sync ? constants.O_DSYNC : 0);
  const flags = syncFlags | constants.O_CREAT | constants.O_EXCL;
  /** Whether large blobs bypass the page cache, as long as the file system lets them. */
  let direct = constants.O_DIRECT !== undefined;

  const folderOf = (digits: string): string => join(root, digits.slice(0, 2), digits.slice(2, 4));
  const pathOf = (uuid: string): string => {
    if (!UUID.test(uuid)) throw new IsenError('InexistentFile');
    return join(root, uuid.slice(0, 2), uuid.slice(2, 4), uuid);
  };

  /** Step by step: the recursive way of Node says ENOENT of a full disk. */
  const makeFolders = async (digits: string): Promise<void> => {
    const folder = folderOf(digits);
    for (const each of [dirname(folder), folder])
      await fs.mkdir(each).catch((thrown: unknown) => {
        if (codeOf(thrown) !== 'EEXIST') throw thrown;
      });
  };

  /** Folders with provisional blobs, by their digits. */
  const open = new Map<string, OpenFolder>();

  const prepare = async (digits: string): Promise<void> => {
    const marker = await fs.open(join(markers, digits), 'w');
    await marker.close();
    await syncFolder(markers);
    await makeFolders(digits);
    const folder = folderOf(digits);
    if (sync) for (const made of [folder, dirname(folder), root]) await syncFolder(made);
  };
  const prepared = (folder: OpenFolder): Promise<void> => {
    folder.ready ??= prepare(folder.digits).catch((thrown: unknown) => {
      folder.ready = undefined;
      throw thrown;
    });
    return folder.ready;
  };

  const begin = (number: number): OpenFolder => {
    const digits = (number % FOLDERS).toString(16).padStart(4, '0');
    // An earlier run may have left this very folder open: what is provisional in it stays so.
    const provisional = open.get(digits)?.provisional ?? new Set<string>();
    const folder: OpenFolder = { digits, ready: undefined, provisional, names: FOLDER_NAMES };
    // Whoever puts a blob there meets the failure.
    prepared(folder).catch(() => {});
    open.set(digits, folder);
    return folder;
  };

  let number = randomInt(FOLDERS);
  let current = begin(number);
  let next = begin(number + 1);

  /** The folder of a blob about to be written, its marker durable. */
  const ready = async (uuid: string): Promise<void> => {
    const folder = open.get(uuid.slice(0, 4));
    if (!folder?.provisional.has(uuid))
      throw new IsenError('CannotWriteFile', 'this name was not given for a new file');
    await prepared(folder);
  };

  /** A blob is provisional no more: when it was the last of a folder with no names left, so is the folder. */
  const settle = (uuid: string): void => {
    const folder = open.get(uuid.slice(0, 4));
    if (!folder?.provisional.delete(uuid) || folder.provisional.size > 0 || folder.names > 0) return;
    open.delete(folder.digits);
    // A marker that stays costs the next start a look at one folder more.
    fs.rm(join(markers, folder.digits), { force: true }).catch(() => {});
  };

  const removeFile = async (uuid: string): Promise<void> => {
    await fs.unlink(pathOf(uuid)).catch((thrown: unknown) => {
      if (codeOf(thrown) !== 'ENOENT') throw writeError(thrown);
    });
    settle(uuid);
  };

  const openBlob = async (uuid: string): Promise<FileHandle> => {
    try {
      return await fs.open(pathOf(uuid), 'r');
    } catch (thrown) {
      throw await unreadable(uuid, thrown);
    }
  };

  const statBlob = async (uuid: string): Promise<Stats> => {
    try {
      return await fs.stat(pathOf(uuid));
    } catch (thrown) {
      throw await unreadable(uuid, thrown);
    }
  };

  const put = async (uuid: string, bytes: Uint8Array): Promise<void> => {
    const path = pathOf(uuid);
    try {
      await ready(uuid);
      let at = 0;
      let fd: number;
      if (direct && bytes.length >= LEAST_DIRECT && isPageAligned(bytes)) {
        at = await putDirect(path, bytes);
        if (at === 0) direct = false;
        fd = openSync(path, syncFlags | constants.O_CREAT, 0o644);
      } else {
        fd = await openFd(path, flags);
      }
      try {
        while (at < bytes.length) at += await writeSome(fd, bytes, at, bytes.length);
      } finally {
        // What was written is on the disk already: closing waits for nothing, and costs less than a thread's turn.
        closeSync(fd);
      }
    } catch (thrown) {
      if (codeOf(thrown) === 'EEXIST') settle(uuid);
      else await removeFile(uuid);
      throw writeError(thrown);
    }
  };

  const name = (): string => {
    if (current.names === 0) {
      current = next;
      number += 1;
      next = begin(number + 1);
    }
    current.names -= 1;
    const uuid = current.digits + own + randomUUID().slice(4 + own.length);
    current.provisional.add(uuid);
    return uuid;
  };

  // Images that only the journal of a version before has would not be read.
  if ((await fs.readdir(markers)).some((name) => /^journal-\d$/.test(name)))
    throw new IsenError(
      'CorruptedFile',
      `${markers} holds a journal of an earlier version that did not end in order: start that version once more, and stop it with SIGTERM`,
    );
  const packs = new Packs({ root, markers, sync });
  await packs.open();
  const packing: Packing = {
    largest: LARGEST_PACKED,
    reserve: (sizes) => packs.reserve(sizes),
    lend: (most) => packs.lend(most),
  };
  let closed: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    await packs.close();
    await syncFolder(markers).catch((thrown: unknown) => {
      log.generic.warn({ err: thrown }, 'what was removed from the storage folder may be back after a power cut');
    });
  };

  return {
    name: (size) => (size === undefined ? undefined : packs.name(size)) ?? name(),
    get packing() {
      return packs.isReady ? packing : undefined;
    },
    async adopt(uuid) {
      await packs.remove(uuid);
      await removeFile(uuid);
      const digits = uuid.slice(0, 4);
      const folder = open.get(digits) ?? { digits, ready: undefined, provisional: new Set<string>(), names: 0 };
      folder.provisional.add(uuid);
      open.set(digits, folder);
      folder.ready ??= makeFolders(digits);
    },
    async create(uuid): Promise<BlobWriter> {
      const path = pathOf(uuid);
      let file: FileHandle;
      try {
        await ready(uuid);
        file = await fs.open(path, 'wx', 0o644);
      } catch (thrown) {
        settle(uuid);
        throw writeError(thrown);
      }
      const abort = async (): Promise<void> => {
        await file.close().catch(() => {});
        await removeFile(uuid);
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
            // Once, at the end: the pieces are small.
            if (sync) await file.datasync();
            await file.close();
          } catch (thrown) {
            await abort();
            throw writeError(thrown);
          }
        },
      };
    },
    async put(uuid, bytes) {
      if (!packs.isReserved(uuid)) return put(uuid, bytes);
      await packs.put(uuid, bytes).catch(async (thrown: unknown) => {
        await packs.remove(uuid);
        throw writeError(thrown);
      });
    },
    async keep(uuid) {
      packs.keep(uuid);
      settle(uuid);
    },
    async read(uuid, range, memory) {
      const packed = await packs.read(uuid, range, memory);
      if (packed !== undefined) return packed;
      const fd = await openFd(pathOf(uuid), constants.O_RDONLY).catch(async (thrown: unknown) => {
        throw await unreadable(uuid, thrown);
      });
      try {
        const { start, end } = range ?? { start: 0, end: fstatSync(fd).size };
        if (start < 0 || start > end) throw new IsenError('BadRange');
        const size = end - start;
        const bytes = memory !== undefined && memory.length >= size ? memory.subarray(0, size) : new Uint8Array(size);
        for (let at = 0; at < bytes.length; ) {
          const count = await readSome(fd, bytes, at, start + at);
          if (count === 0) throw new IsenError('CorruptedFile', `the stored file ${uuid} is shorter than indexed`);
          at += count;
        }
        return bytes;
      } finally {
        closeSync(fd);
      }
    },
    async stream(uuid, range) {
      const packed = await packs.size(uuid);
      if (packed !== undefined) return streamPacked(uuid, within(uuid, packed, range));
      const file = await openBlob(uuid);
      try {
        const { start, end } = within(uuid, (await file.stat()).size, range);
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
      if (!(await packs.remove(uuid))) await removeFile(uuid);
    },
    async provisional() {
      const found: string[] = [...(await packs.provisional())];
      for (const digits of await fs.readdir(markers)) {
        if (!/^[0-9a-f]{4}$/.test(digits)) continue;
        const held = open.get(digits) ?? reopen(digits);
        const names = await fs.readdir(folderOf(digits)).catch(() => []);
        for (const name of names) {
          if (!UUID.test(name) || !name.startsWith(digits + own)) continue;
          held.provisional.add(name);
          found.push(name);
        }
        if (held.provisional.size === 0 && held.names === 0) {
          open.delete(digits);
          await fs.rm(join(markers, digits), { force: true });
        }
      }
      return found;
    },
    async size(uuid) {
      return (await packs.size(uuid)) ?? (await statBlob(uuid)).size;
    },
    async state(uuid) {
      const packed = await packs.state(uuid);
      if (packed !== undefined) return packed;
      // Not the time of modification, which anybody can set.
      const { size, ctimeMs, birthtimeMs } = await statBlob(uuid);
      // Where the file system does not keep it, the time of birth is 0 or that of the last change.
      return { size, changed: ctimeMs, ...(birthtimeMs > 0 && { born: birthtimeMs }) };
    },
    async free() {
      const { bavail, bsize } = await fs.statfs(root);
      return bavail * bsize;
    },
    close() {
      closed ??= closeAll();
      return closed;
    },
  };

  /** Why a blob that has no file of its own cannot be read. */
  async function unreadable(uuid: string, cause: unknown): Promise<IsenError> {
    if (!(await packs.isCut(uuid))) return missing(uuid, cause);
    return new IsenError('CorruptedFile', `the stored file ${uuid} is shorter than indexed`, { cause });
  }

  /** Piece by piece, as the reader takes them: one that is removed meanwhile breaks off. */
  function streamPacked(uuid: string, { start, end }: ByteRange): ReadableStream<Uint8Array> {
    let at = start;
    return new ReadableStream(
      {
        async pull(controller) {
          const next = Math.min(end, at + STREAMED);
          if (next > at) {
            const bytes = await packs.read(uuid, { start: at, end: next });
            if (bytes === undefined) throw missing(uuid, undefined);
            controller.enqueue(bytes);
          }
          at = next;
          if (at === end) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** A folder that an earlier run left open: no new names in it. */
  function reopen(digits: string): OpenFolder {
    const folder = { digits, ready: Promise.resolve(), provisional: new Set<string>(), names: 0 };
    open.set(digits, folder);
    return folder;
  }
}

function within(uuid: string, size: number, range: ByteRange | undefined): ByteRange {
  const { start, end } = range ?? { start: 0, end: size };
  if (start < 0 || start > end) throw new IsenError('BadRange');
  if (end > size) throw new IsenError('CorruptedFile', `the stored file ${uuid} is shorter than indexed`);
  return { start, end };
}

function missing(uuid: string, cause: unknown): IsenError {
  return new IsenError('InexistentFile', `the storage holds no file ${uuid}`, { cause });
}

/**
 * Begins a new file with the whole pages of `bytes` past the page cache: filling fresh pages of it is most of what a large
 * write costs. Answers how many bytes were written, 0 where the file system takes no direct writes (the file may be there
 * or not then). They are not durable until a synchronous write to the same file follows.
 */
async function putDirect(path: string, bytes: Uint8Array): Promise<number> {
  let fd: number | undefined;
  try {
    fd = await openFd(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_DIRECT);
    // At least one byte is left for the synchronous write.
    return await writeSome(fd, bytes, 0, Math.floor((bytes.length - 1) / PAGE) * PAGE);
  } catch (thrown) {
    if (codeOf(thrown) === 'EINVAL') return 0;
    throw thrown;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
