/**
 * Owns what an import reads: the files under some folders, the entries of ZIP archives and what lies in the packs of a storage folder (so
 * that one whose index is lost can be taken in again), one at a time and never whole in memory. Names found inside an archive are only
 * shown, never used as paths.
 */

import { createReadStream } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import yauzl from 'yauzl';
import { asError, IsenError } from './errors.ts';
import { blobsInPack, isPack } from './storage/pack-scan.ts';

/** One candidate for an upload. */
export interface Source {
  /** Path of the file; for an entry of an archive or a pack, `archive.zip: entry`. */
  readonly name: string;
  /** Bytes that {@link Source.open} gives, unless the file changes or the archive lies. */
  readonly size: number;
  readonly gzipped: boolean;
  /** The bytes from the start; again at each call. */
  open(): Promise<Readable>;
  /** To be called once when the source is no longer needed. */
  release(): void;
}

/** Something that could not be read. */
export interface Unreadable {
  readonly name: string;
  readonly reason: string;
}

/** Larger entries are not sent: the size that an archive claims costs it nothing. In bytes. */
const LARGEST_ENTRY = 8 * 2 ** 30;
/** An archive may expand to this many bytes, and beyond them to so many times its own size. */
const EXPANDED_BYTES = 2 ** 30;
const EXPANDED_RATIO = 100;
const CHUNK = 256 * 1024;

async function* archive(path: string, fileSize: number): AsyncGenerator<Source | Unreadable> {
  let zip: yauzl.ZipFile;
  try {
    zip = await yauzl.openPromise(path, { autoClose: false, decodeStrings: false });
  } catch (error) {
    yield { name: path, reason: asError(error).message };
    return;
  }
  // Uploads read the archive after the listing has moved on: the last user closes it.
  let users = 1;
  const release = () => {
    users--;
    if (users === 0) zip.close();
  };
  let expanded = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      const entryName = entry.fileNameRaw.toString();
      if (entryName.endsWith('/')) continue;
      const name = `${path}: ${entryName}`;
      expanded += entry.uncompressedSize;
      if (entry.uncompressedSize > LARGEST_ENTRY || expanded > EXPANDED_BYTES + EXPANDED_RATIO * fileSize) {
        yield { name, reason: 'the archive expands to more than is plausible; unpack it yourself if you trust it' };
        return;
      }
      users++;
      yield {
        name,
        size: entry.uncompressedSize,
        gzipped: entryName.toLowerCase().endsWith('.gz'),
        open: () => zip.openReadStreamPromise(entry),
        release,
      };
    }
  } catch (error) {
    yield { name: path, reason: asError(error).message };
  } finally {
    release();
  }
}

async function* pack(path: string): AsyncGenerator<Source | Unreadable> {
  for await (const { uuid, place } of blobsInPack(path, basename(path))) {
    const { at, size } = place;
    const open = async () => createReadStream(path, { start: at, end: at + size - 1, highWaterMark: CHUNK });
    yield { name: `${path}: ${uuid}`, size, gzipped: false, open, release: () => undefined };
  }
}

async function* visit(path: string, folders: Set<string>): AsyncGenerator<Source | Unreadable> {
  try {
    const status = await stat(path);
    if (status.isFile()) {
      if (path.toLowerCase().endsWith('.zip')) {
        yield* archive(path, status.size);
      } else if (await isPack(path)) {
        yield* pack(path);
      } else {
        const open = async () => createReadStream(path, { highWaterMark: CHUNK });
        const gzipped = path.toLowerCase().endsWith('.gz');
        yield { name: path, size: status.size, gzipped, open, release: () => undefined };
      }
      return;
    }
    // Symbolic links are followed, so a folder may come up again, also inside itself.
    const identity = `${status.dev}:${status.ino}`;
    if (!status.isDirectory() || folders.has(identity)) return;
    folders.add(identity);
    for await (const entry of await opendir(path)) yield* visit(join(path, entry.name), folders);
  } catch (error) {
    yield { name: path, reason: asError(error).message };
  }
}

/** Everything under `paths`: files, folders (recursively) and ZIP archives. Never throws for what cannot be read. */
export async function* sourcesOf(paths: readonly string[]): AsyncGenerator<Source | Unreadable> {
  const folders = new Set<string>();
  for (const path of paths) yield* visit(path, folders);
}

/**
 * The bytes of a source, which are exactly as many as it said. Throws BadFileFormat for what cannot be read, and where
 * there are fewer or more.
 */
export async function* bytesOf(source: Source): AsyncGenerator<Buffer> {
  let length = 0;
  try {
    for await (const chunk of (await source.open()) as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > source.size) break;
      yield chunk;
    }
  } catch (error) {
    throw new IsenError('BadFileFormat', `cannot be read: ${asError(error).message}`, { cause: error });
  }
  if (length !== source.size) throw new IsenError('BadFileFormat', 'its size is not the one it had');
}
