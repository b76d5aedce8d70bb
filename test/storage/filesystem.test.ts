/** Owns the filesystem backend's run of the storage contract, and what only files can show. */

import assert from 'node:assert/strict';
import { existsSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { storageContract } from '../contracts/storage.ts';
import { temporaryFolder } from '../peer.ts';

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
