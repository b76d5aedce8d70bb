/** The proof that a blob is what was stored: what was altered is found, and nothing is read that need not be. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IsenError } from '../../src/errors.ts';
import type { StoredContent } from '../../src/storage/content.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { checkIntact, isIntact, proven } from '../../src/storage/intact.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { temporaryFolder } from '../peer.ts';

const md5Of = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** A stored blob of random bytes, and how often blobs were read since. */
async function stored(context: TestContext, sum = true) {
  const root = temporaryFolder();
  const storage: Storage = await openFilesystem({ root, sync: true });
  const bytes = randomBytes(50_000);
  const uuid = storage.name();
  await storage.put(uuid, bytes);
  const md5 = sum ? md5Of(bytes) : '';
  const size = bytes.length;
  const content: StoredContent = {
    uuid,
    compression: 'none',
    uncompressedSize: size,
    compressedSize: size,
    uncompressedMD5: md5,
    compressedMD5: md5,
  };
  const blob = readdirSync(root, { recursive: true }).find((name) => String(name).endsWith(uuid));
  const { mock } = context.mock.method(storage, 'stream');
  return { storage, content, bytes, path: join(root, String(blob)), reads: () => mock.callCount() };
}

/** Longer than anybody takes to write a small blob. */
const LATER = 600;

test('what nobody touched since it was received is not read; what is altered in the same second is found, with one read', async (context) => {
  const { storage, content, bytes, path, reads } = await stored(context);
  // As it is kept: in seconds.
  const received = Math.floor(Date.now() / 1000) * 1000;
  assert.ok(await isIntact(storage, content, received));
  assert.equal(reads(), 0);
  await sleep(LATER);
  assert.ok(await isIntact(storage, content, received));
  assert.equal(reads(), 0);
  const altered = Buffer.from(bytes);
  altered[49_999] = (altered[49_999] ?? 0) ^ 1;
  writeFileSync(path, altered);
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => isIntact(storage, content, received))), [false, false, false]);
  await assert.rejects(
    checkIntact(storage, content, received),
    (thrown) => (thrown as IsenError).code === 'CorruptedFile',
  );
  assert.equal(reads(), 1);
  await sleep(20);
  writeFileSync(path, bytes);
  for (let again = 0; again < 3; again += 1) assert.ok(await isIntact(storage, content, received));
  assert.equal(reads(), 2);
});

test('a touched blob is read once, and so is one of which nobody knows when it came', async (context) => {
  const { storage, content, path, reads } = await stored(context);
  for (let again = 0; again < 3; again += 1) assert.ok(await isIntact(storage, content, Number.NaN));
  assert.equal(reads(), 1);
  await sleep(LATER);
  // Whatever time it is given, the time of the change is this one's.
  utimesSync(path, 0, 0);
  for (let again = 0; again < 3; again += 1) assert.ok(await isIntact(storage, content, Date.now() - LATER));
  assert.equal(reads(), 2);
});

test('a blob put in the place of another is read', async (context) => {
  const { storage, content, bytes, path, reads } = await stored(context);
  const received = Date.now() - 60_000;
  rmSync(path);
  writeFileSync(path, bytes);
  assert.ok(await isIntact(storage, content, received));
  assert.equal(reads(), 1);
  rmSync(path);
  writeFileSync(path, randomBytes(bytes.length));
  assert.ok(!(await isIntact(storage, content, received)));
  assert.equal(readFileSync(path).length, bytes.length);
});

test('the size tells without reading, the MD5 is not missed, and a lost blob is InexistentFile', async (context) => {
  const { storage, content, path, reads } = await stored(context, false);
  assert.ok(await isIntact(storage, content, Number.NaN));
  truncateSync(path, 100);
  assert.ok(!(await isIntact(storage, content, Number.NaN)));
  assert.equal(reads(), 0);
  rmSync(path);
  await assert.rejects(isIntact(storage, content, 0), (thrown) => (thrown as IsenError).code === 'InexistentFile');
});

test("memory that is read into is nobody else's before both have ended, whatever fails", async () => {
  for (const failing of ['the proof', 'the reading']) {
    let read = false;
    const reading = sleep(100).then(() => {
      read = true;
      if (failing === 'the reading') throw new IsenError('InexistentFile');
      return new Uint8Array(1);
    });
    const proof = failing === 'the proof' ? Promise.reject(new IsenError('CorruptedFile')) : Promise.resolve();
    const code = failing === 'the proof' ? 'CorruptedFile' : 'InexistentFile';
    await assert.rejects(proven(reading, proof), { code });
    assert.ok(read, `${failing} failed, and the memory was given back too soon`);
  }
});
