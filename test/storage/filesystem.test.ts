/** Owns the filesystem backend's run of the storage contract, and what only files can show. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readlinkSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { allocatePages } from '../../src/storage/pages.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { storageContract } from '../contracts/storage.ts';
import { temporaryFolder } from '../peer.ts';
import { mounted } from './mounted.ts';

const root = temporaryFolder();
storageContract('filesystem', () => openFilesystem({ root, sync: true }));

test('kept blobs lie where Orthanc would put them', async () => {
  const storage = await openFilesystem({ root, sync: false });
  const uuid = storage.name();
  await storage.put(uuid, new Uint8Array([1]));
  await storage.keep(uuid);
  assert.ok(existsSync(join(root, uuid.slice(0, 2), uuid.slice(2, 4), uuid)));
});

test('a folder that cannot be one is refused at the start', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, 'x');
  await assert.rejects(
    openFilesystem({ root: file, sync: true }),
    (thrown: unknown) => thrown instanceof IsenError && thrown.code === 'CannotWriteFile',
  );
});

test('a blob is never written through a link in its place', async () => {
  const folder = temporaryFolder();
  const storage = await openFilesystem({ root: folder, sync: true });
  await storage.put(storage.name(), new Uint8Array([1]));
  const uuid = storage.name();
  // O_EXCL refuses the link itself: a blob can never be written through something that lies in its place.
  symlinkSync('/dev/full', join(folder, uuid.slice(0, 2), uuid.slice(2, 4), uuid));
  await assert.rejects(
    storage.put(uuid, new Uint8Array([1])),
    (thrown: unknown) => thrown instanceof IsenError && thrown.code === 'CannotWriteFile',
  );
  assert.equal(readlinkSync(join(folder, uuid.slice(0, 2), uuid.slice(2, 4), uuid)), '/dev/full');
});

const MB = 1 << 20;

/** A file of 4 MB with an empty ext4 in it, which takes direct writes. */
function ext4(): string {
  const image = join(temporaryFolder(), 'image');
  writeFileSync(image, '');
  truncateSync(image, 4 * MB);
  spawnSync('mkfs.ext4', ['-q', '-O', '^has_journal', image]);
  return image;
}

const pages = (size: number): Uint8Array => new Uint8Array(allocatePages(size)).fill(7);
const FILE_SYSTEMS: readonly (readonly [string, () => string | undefined])[] = [
  ['tmpfs', () => mounted('-t', 'tmpfs', '-o', 'size=4m', 'none')],
  ['ext4', () => mounted('-o', 'loop', ext4())],
];
/** A whole one at a time, through the page cache and past it, and piece by piece. */
const WRITES: Readonly<Record<string, (storage: Storage, uuid: string) => Promise<void>>> = {
  'of ordinary memory': (storage, uuid) => storage.put(uuid, randomBytes(300_000)),
  'of whole pages, past the page cache': (storage, uuid) => storage.put(uuid, pages(300_000)),
  'piece by piece': async (storage, uuid) => {
    const writer = await storage.create(uuid);
    for (let piece = 0; piece < 10; piece++) await writer.write(randomBytes(30_000));
    await writer.finish();
  },
};

for (const [kind, mount] of FILE_SYSTEMS) {
  test(`a full disk is FullStorage and keeps nothing of the blob (${kind})`, async (context) => {
    const folder = mount();
    if (folder === undefined) return context.skip('needs the right to mount a file system');
    for (const [way, write] of Object.entries(WRITES)) {
      const storage = await openFilesystem({ root: join(folder, 'storage'), sync: true });
      const stored: string[] = [];
      for (let full = false; !full; ) {
        const uuid = storage.name();
        try {
          await write(storage, uuid);
          stored.push(uuid);
        } catch (thrown) {
          assert.ok(thrown instanceof IsenError && thrown.code === 'FullStorage', `${way}: ${String(thrown)}`);
          await assert.rejects(storage.size(uuid));
          full = true;
        }
        assert.ok(stored.length < 20);
      }
      assert.ok(stored.length > 3, way);
      assert.deepEqual((await storage.provisional()).toSorted(), stored.toSorted(), way);
      for (const uuid of stored) {
        assert.equal(await storage.size(uuid), 300_000);
        await storage.remove(uuid);
      }
      const again = storage.name();
      await write(storage, again);
      await storage.remove(again);
      await storage.close();
    }
  });
}

test('a disk that was full when a folder was begun takes blobs when it has room again', async (context) => {
  const folder = mounted('-t', 'tmpfs', '-o', 'size=1m,nr_inodes=8', 'none');
  if (folder === undefined) return context.skip('needs the right to mount a file system');
  const root = join(folder, 'storage');
  mkdirSync(join(root, 'open'), { recursive: true });
  // No inode is left for a marker.
  const fill = Array.from({ length: 8 }, (_, index) => join(folder, `fill${index}`)).filter((path) => {
    try {
      writeFileSync(path, '');
      return true;
    } catch {
      return false;
    }
  });
  const storage = await openFilesystem({ root, sync: true });
  await assert.rejects(
    storage.put(storage.name(), new Uint8Array([1])),
    (thrown: unknown) => thrown instanceof IsenError && thrown.code === 'FullStorage',
  );
  for (const path of fill) rmSync(path);
  const uuid = storage.name();
  await storage.put(uuid, new Uint8Array([1]));
  assert.equal(await storage.size(uuid), 1);
  await storage.close();
});

test('a file system that takes no direct writes gets ordinary ones', async (context) => {
  const folder = mounted('-t', 'ramfs', 'none');
  if (folder === undefined) return context.skip('needs the right to mount a file system');
  const storage = await openFilesystem({ root: folder, sync: true });
  for (let round = 0; round < 3; round++) {
    const uuid = storage.name();
    await storage.put(uuid, pages(300_001));
    assert.deepEqual(await storage.read(uuid), new Uint8Array(300_001).fill(7));
  }
});
