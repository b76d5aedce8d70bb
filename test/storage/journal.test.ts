/** Owns what is asked of the journal of small blobs: what it says is stored is there after a power cut, and nothing else is. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { Journal, type Reserved, wholeSync } from '../../src/storage/journal.ts';
import { type BatchEntry, blobsOf, writeContents, writeSegmentHead } from '../../src/storage/journal-batch.ts';
import { putTogether, type SmallBlob } from '../../src/storage/journal-thread.ts';
import { allocatePages, PAGE } from '../../src/storage/pages.ts';
import type { JournalPlace, Storage } from '../../src/storage/storage.ts';
import { temporaryFolder } from '../peer.ts';

const needsSync = wholeSync('/') === undefined ? 'needs Linux and the package koffi' : false;

/** Bytes of a segment. */
const SEGMENT = 32 << 20;

/** Waits until something is so; a machine that does much else takes its time. */
async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; !isSo(); await sleep(20)) assert.ok(Date.now() < deadline, what);
}

/** Bytes at the beginning of memory that a thread may share. */
function shared(bytes: Uint8Array): Uint8Array {
  const memory = new Uint8Array(allocatePages(Math.ceil(bytes.length / PAGE) * PAGE + PAGE)).fill(0xee);
  memory.set(bytes);
  return memory.subarray(0, bytes.length);
}

async function place(storage: Storage, sizes: readonly number[]): Promise<JournalPlace> {
  assert.ok(storage.journal);
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(20)) {
    const given = await storage.journal.reserve(sizes);
    if (given !== undefined) return given;
  }
  return assert.fail('the journal has no space');
}

/** Stores blobs as a thread does; answers them by UUID. */
async function store(storage: Storage, contents: readonly Uint8Array[]): Promise<Map<string, Uint8Array>> {
  const given = await place(
    storage,
    contents.map(({ length }) => length),
  );
  const blobs = given.blobs.map<SmallBlob>((blob, index) => ({
    ...blob,
    bytes: shared(contents[index] ?? assert.fail()),
    md5: '',
  }));
  assert.deepEqual(
    putTogether(given.space, blobs),
    blobs.map(() => undefined),
  );
  given.release();
  return new Map(blobs.map(({ uuid, bytes }) => [uuid, Uint8Array.from(bytes)]));
}

const pathOf = (root: string, uuid: string): string => join(root, uuid.slice(0, 2), uuid.slice(2, 4), uuid);

async function opened(context: TestContext): Promise<{ readonly root: string; readonly storage: Storage } | undefined> {
  if (needsSync) {
    context.skip(needsSync);
    return undefined;
  }
  const root = temporaryFolder();
  return { root, storage: await openFilesystem({ root, sync: true }) };
}

test('blobs stored together are read back, provisional until they are kept, and kept by the next run', async (context) => {
  const room = await opened(context);
  if (room === undefined) return;
  const stored = await store(room.storage, [randomBytes(1), randomBytes(PAGE), randomBytes(70_001)]);
  for (const [uuid, bytes] of stored) {
    assert.deepEqual(await room.storage.read(uuid), bytes);
    assert.ok((await room.storage.provisional()).includes(uuid));
  }
  const again = await openFilesystem({ root: room.root, sync: true });
  assert.deepEqual((await again.provisional()).toSorted(), [...stored.keys()].toSorted());
});

test('what a power cut has taken from the files is put right, and nothing else is touched', async (context) => {
  const room = await opened(context);
  if (room === undefined) return;
  const { root, storage } = room;
  const stored = await store(
    storage,
    Array.from({ length: 6 }, (_, index) => randomBytes(10_000 + index)),
  );
  for (const uuid of stored.keys()) await storage.keep(uuid);
  const [empty = '', gone = '', short = '', other = '', whole = '', removed = ''] = [...stored.keys()];
  const before = statSync(pathOf(root, whole)).ctimeMs;
  await storage.remove(removed);
  truncateSync(pathOf(root, empty), 0);
  rmSync(pathOf(root, gone));
  truncateSync(pathOf(root, short), 5000);
  writeFileSync(pathOf(root, other), Buffer.alloc(10_003));
  const again = await openFilesystem({ root, sync: true });
  for (const uuid of [empty, gone, short, other, whole]) assert.deepEqual(await again.read(uuid), stored.get(uuid));
  assert.equal(statSync(pathOf(root, whole)).ctimeMs, before);
  // Of what was removed the index knows nothing: it is asked, like of everything that was put right.
  const provisional = await again.provisional();
  for (const uuid of [empty, gone, short, other, removed])
    assert.equal(provisional.filter((each) => each === uuid).length, 1);
  await again.remove(removed);
  for (const uuid of [empty, gone, short, other]) await again.keep(uuid);
  assert.ok(!existsSync(pathOf(root, removed)));
  // The journal of the last run goes only when a new one is begun; what it held is there all the same.
  await store(again, [randomBytes(10)]);
  const third = await openFilesystem({ root, sync: true });
  for (const uuid of [empty, gone, short, other]) assert.deepEqual(await third.read(uuid), stored.get(uuid));
});

test('a blob that cannot be written fails alone, and none is stored where the journal cannot be', async (context) => {
  const room = await opened(context);
  if (room === undefined) return;
  const { storage } = room;
  const given = await place(storage, [10, 10, 10]);
  const blobs = given.blobs.map<SmallBlob>((blob) => ({ ...blob, bytes: shared(randomBytes(10)), md5: '' }));
  writeFileSync(blobs[1]?.path ?? '', 'something else');
  const errors = putTogether(given.space, blobs);
  given.release();
  assert.deepEqual(
    errors.map((error) => error?.code),
    [undefined, 'CannotWriteFile', undefined],
  );
  const others = await place(storage, [10]);
  const [error] = putTogether(
    { ...others.space, path: join(room.root, 'nowhere', 'journal-0') },
    others.blobs.map((blob) => ({ ...blob, bytes: shared(randomBytes(10)), md5: '' })),
  );
  others.release();
  assert.equal(error?.code, 'CannotWriteFile');
});

test('the journal is as large as it may be, whatever goes through it', async (context) => {
  const room = await opened(context);
  if (room === undefined) return;
  const { root, storage } = room;
  const stored = new Map<string, Uint8Array>();
  const sizes = (): readonly number[] =>
    readdirSync(join(root, 'open'))
      .filter((name) => name.startsWith('journal-'))
      .map((name) => statSync(join(root, 'open', name)).size);
  // 300 MB, in batches that do not end where a segment does.
  for (let batch = 0; batch < 350; batch++) {
    const contents = Array.from({ length: 9 }, (_, index) => Buffer.alloc(95_000, (batch * 9 + index) % 251));
    // All of them would be much to hold.
    for (const [uuid, bytes] of await store(storage, contents)) if (batch % 10 === 0) stored.set(uuid, bytes);
    assert.ok(sizes().length <= 4);
    for (const size of sizes()) assert.ok(size <= SEGMENT);
  }
  // One may still be being prepared.
  await until(() => sizes().every((size) => size === SEGMENT), 'each segment has its whole space');
  assert.ok(sizes().length > 0 && sizes().length <= 4);
  for (const [uuid, bytes] of stored) assert.deepEqual(await storage.read(uuid), bytes);
});

test('a segment is written over only when what it holds is durable, and nobody writes to it', async () => {
  const folder = temporaryFolder();
  /** What each sync comes to, in order; what is not named is well. */
  const outcomes: (() => Promise<void>)[] = [];
  let syncs = 0;
  const journal = new Journal(folder, async () => {
    syncs += 1;
    await outcomes.shift()?.();
  });
  /** Space for a batch of 4 MB, seven of which fill a segment. */
  const reserve = (): Reserved | undefined => journal.reserve(Array.from({ length: 32 }, () => 128 << 10));
  const all: Reserved[] = [];
  await until(() => {
    const given = reserve();
    if (given !== undefined) all.push(given);
    return all.length === 28;
  }, 'four segments, of seven batches each');
  const isFull = async (): Promise<void> => {
    for (let tries = 0; tries < 10; tries++) {
      assert.equal(reserve(), undefined);
      await sleep(20);
    }
  };
  await isFull();
  const places = new Set(all.map(({ space }) => `${space.path} ${space.at}`));
  assert.equal(places.size, 28);
  const [first] = all;
  const ofFirst = all.filter(({ space }) => space.path === first?.space.path);
  for (const { release } of ofFirst.slice(1)) release();
  // One still writes there.
  await isFull();
  let written = (): void => undefined;
  outcomes.push(
    () => Promise.reject(new Error('broken on purpose')),
    () => new Promise((resolve) => (written = resolve)),
  );
  const before = syncs;
  first?.release();
  await until(() => syncs === before + 2, 'what failed is tried again');
  await isFull();
  written();
  let next: Reserved | undefined;
  await until(() => (next = reserve()) !== undefined, 'the segment is free');
  assert.equal(next?.space.path, first?.space.path);
  assert.equal(syncs, before + 2);
});

test('only what is whole, and of this journal, is believed', () => {
  const secret = '00112233445566778899aabbccddeeff';
  const uuids = [1, 2, 3].map((digit) => `0000000${digit}-0000-4000-8000-000000000000`);
  const bytes = [randomBytes(5000), randomBytes(100), randomBytes(PAGE)];
  const segment = Buffer.alloc(20 * PAGE);
  writeSegmentHead(segment.subarray(0, PAGE), secret);
  const [a, b, c] = bytes;
  assert.ok(a && b && c);
  const entry = (index: number): BatchEntry => {
    const each = bytes[index] ?? assert.fail();
    return { uuid: uuids[index] ?? '', size: each.length, md5: createHash('md5').update(each).digest('hex') };
  };
  writeContents(segment.subarray(PAGE, 2 * PAGE), secret, [entry(0), entry(1)]);
  a.copy(segment, 2 * PAGE);
  b.copy(segment, 4 * PAGE);
  // A page that nobody wrote, and then a batch.
  writeContents(segment.subarray(6 * PAGE, 7 * PAGE), secret, [entry(2)]);
  c.copy(segment, 7 * PAGE);
  const found = (of: Buffer): string[] => [...blobsOf(of)].map(({ uuid }) => uuid);
  assert.deepEqual(found(segment), uuids);
  assert.deepEqual(
    [...blobsOf(segment)].map(({ bytes: each }) => Buffer.from(each)),
    bytes,
  );
  // Each bit of the contents counts; one of a blob costs that blob alone.
  for (let at = 0; at < PAGE; at += 7) {
    const torn = Buffer.from(segment);
    torn.writeUInt8(torn.readUInt8(PAGE + at) ^ 1, PAGE + at);
    assert.deepEqual(found(torn), uuids.slice(2), `at ${at}`);
  }
  const altered = Buffer.from(segment);
  altered.writeUInt8(altered.readUInt8(4 * PAGE) ^ 1, 4 * PAGE);
  assert.deepEqual(found(altered), [uuids[0], uuids[2]]);
  for (let length = 0; length < segment.length; length += 1000) {
    const cut = found(segment.subarray(0, length));
    assert.deepEqual(cut, uuids.slice(0, cut.length));
  }
  // A batch that somebody sends as an image has not the secret of the segment.
  const forged = Buffer.from(segment);
  writeContents(forged.subarray(9 * PAGE, 10 * PAGE), 'ff'.repeat(16), [entry(0)]);
  a.copy(forged, 10 * PAGE);
  assert.deepEqual(found(forged), uuids);
  assert.deepEqual(found(Buffer.alloc(3 * PAGE)), []);
});

test('where a journal cannot be made there is none', async () => {
  const journal = new Journal(join(temporaryFolder(), 'not-there'), async () => undefined);
  for (let tries = 0; tries < 5; tries++) {
    assert.equal(journal.reserve([10]), undefined);
    await sleep(10);
  }
});
