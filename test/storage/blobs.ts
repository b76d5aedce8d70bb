/** Owns the hand of a stranger in a folder of blobs: what is in it, whatever that lies in, and the ways in which it can be damaged. */

import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { blobEndingIn, placeOf, readHead, spanOf } from '../../src/storage/pack-format.ts';
import { allocatePages, PAGE } from '../../src/storage/pages.ts';

/** The names of the blobs in files of their own, and in packs, below the root of a storage. */
export function blobsBelow(root: string): readonly string[] {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.flatMap(({ name, parentPath }) => {
    if (/^[0-9a-f]{8}$/.test(name)) return blobsInPack(join(parentPath, name), name);
    return /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name) ? [name] : [];
  });
}

function openDirect(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECT);
  } catch {
    return openSync(path, 'r');
  }
}

/** Past the page cache where that can be: most of a pack that is not full are holes. */
function blobsInPack(path: string, name: string): string[] {
  const fd = openDirect(path);
  const found: string[] = [];
  try {
    const step = Buffer.from(allocatePages(1 << 20));
    let secret: Buffer | undefined;
    for (let at = 0, count = -1; count !== 0; at += count) {
      count = readSync(fd, step, 0, step.length, at);
      if (at === 0) secret = readHead(step.subarray(0, count))?.secret;
      for (let page = 0; secret !== undefined && page + PAGE <= count; page += PAGE) {
        const blob = blobEndingIn(step.subarray(page, page + PAGE), at + page, name, secret);
        if (blob !== undefined) found.push(blob.uuid);
      }
    }
  } finally {
    closeSync(fd);
  }
  return found;
}

/** Where a blob lies: the file, and its first byte there. */
function whereIs(root: string, uuid: string): { readonly path: string; readonly at: number; readonly packed: boolean } {
  const place = placeOf(uuid);
  const path = join(root, 'packs', uuid.slice(0, 2), uuid.slice(0, 8));
  if (place !== undefined && existsSync(path)) return { path, at: place.at, packed: true };
  return { path: join(root, uuid.slice(0, 2), uuid.slice(2, 4), uuid), at: 0, packed: false };
}

function writeAt(path: string, bytes: Uint8Array, at: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

/** Takes a blob away. */
export function loseBlob(root: string, uuid: string): void {
  const { path, at, packed } = whereIs(root, uuid);
  if (packed) writeAt(path, new Uint8Array(PAGE), at + spanOf(placeOf(uuid)?.size ?? 0) - PAGE);
  else rmSync(path);
}

/** Leaves another size of a blob; of one in a pack, and of the pack, what is before that. */
export function resizeBlob(root: string, uuid: string, size: number): void {
  const { path, at, packed } = whereIs(root, uuid);
  truncateSync(path, packed ? at + Math.min(size, (placeOf(uuid)?.size ?? 1) - 1) : size);
}

/** Bytes of a blob as it lies there; writes others in their place from `at` on. */
export function readBlob(root: string, uuid: string): Buffer {
  const { path, at, packed } = whereIs(root, uuid);
  const bytes = Buffer.alloc(packed ? (placeOf(uuid)?.size ?? 0) : statSync(path).size);
  const fd = openSync(path, 'r');
  readSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
  return bytes;
}

/** Writes over a blob, from its byte at `index` on. */
export function overwriteBlob(root: string, uuid: string, bytes: Uint8Array, index = 0): void {
  const { path, at } = whereIs(root, uuid);
  writeAt(path, bytes, at + index);
}

/** Changes one bit of a blob, of its byte at `index`. */
export function alterBlob(root: string, uuid: string, index: number): void {
  overwriteBlob(
    root,
    uuid,
    readBlob(root, uuid)
      .subarray(index, index + 1)
      .map((value) => value ^ 1),
    index,
  );
}
