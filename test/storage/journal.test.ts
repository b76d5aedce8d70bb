/** Owns what is asked of the journal of small blobs: what it says is stored is there after a power cut, and nothing else is. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { Journal, type Reserved } from '../../src/storage/journal.ts';
import { type BatchEntry, blobsOf, writeContents, writeSegmentHead } from '../../src/storage/journal-batch.ts';
import { putTogether, type SmallBlob } from '../../src/storage/journal-thread.ts';
import { allocatePages, PAGE } from '../../src/storage/pages.ts';
import type { JournalPlace, Storage } from '../../src/storage/storage.ts';
import { wholeSync } from '../../src/storage/whole-sync.ts';
import { isOnDisk } from '../../src/storage/verified.ts';
import { temporaryFolder } from '../peer.ts';
import { mounted } from './mounted.ts';

const needsSync = wholeSync(temporaryFolder()) === undefined ? 'needs Linux and the package koffi' : false;

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
  // The journal of the last run is gone; what it held is there all the same.
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
  const rewritten: string[] = [];
  const sync = async (): Promise<void> => {
    syncs += 1;
    await outcomes.shift()?.();
  };
  const journal = new Journal({ folder, sync, rewrite: async (uuid) => void rewritten.push(uuid) });
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
  outcomes.push(() => new Promise((resolve) => (written = resolve)));
  const before = syncs;
  first?.release();
  await until(() => syncs === before + 1, 'what is full is synced');
  await isFull();
  written();
  let next: Reserved | undefined;
  await until(() => (next = reserve()) !== undefined, 'the segment is free');
  assert.equal(next?.space.path, first?.space.path);
  assert.equal(syncs, before + 1);
  assert.deepEqual(rewritten, []);
});

/** A journal in a folder of its own whose disk does as the test says, and which is written as threads do. */
function failing(): {
  readonly folder: string;
  readonly journal: Journal;
  readonly disk: { sync: () => Promise<void>; rewrite: (uuid: string) => Promise<void> };
  readonly segments: () => readonly string[];
  readonly fill: (batches: number) => Promise<readonly string[]>;
} {
  const folder = temporaryFolder();
  const nothing = (): Promise<void> => Promise.resolve();
  const disk: ReturnType<typeof failing>['disk'] = { sync: nothing, rewrite: nothing };
  const journal = new Journal({ folder, sync: () => disk.sync(), rewrite: (uuid) => disk.rewrite(uuid) });
  /** Batches of 8 MB, three of which fill a segment; answers their blobs. */
  const fill = async (batches: number): Promise<readonly string[]> => {
    const uuids: string[] = [];
    for (let batch = 0; batch < batches; batch++) {
      const bytes = Buffer.from(allocatePages(2 << 20)).fill(batch + 1);
      const blobs = [1, 2, 3, 4]
        .map(() => randomUUID())
        .map((uuid) => ({ uuid, path: join(folder, uuid), bytes, md5: '' }));
      let given: Reserved | undefined;
      await until(
        () => (given = journal.reserve(blobs.map(() => bytes.length))) !== undefined,
        'the journal has space',
      );
      assert.ok(given);
      assert.ok(putTogether(given.space, blobs).every((error) => error === undefined));
      given.release();
      uuids.push(...blobs.map(({ uuid }) => uuid));
    }
    return uuids;
  };
  const segments = (): readonly string[] => readdirSync(folder).filter((name) => name.startsWith('journal-'));
  return { folder, journal, disk, segments, fill };
}

test('after a sync that failed every file that may be meant is written again, whatever a later sync says', async () => {
  const { journal, disk, fill } = failing();
  const rewritten: string[] = [];
  let refused = 0;
  let syncs = 0;
  let fail = (): void => undefined;
  disk.sync = () =>
    new Promise((resolve, reject) => {
      syncs += 1;
      if (syncs > 1) resolve();
      else fail = () => reject(new Error('broken on purpose'));
    });
  disk.rewrite = async (uuid) => {
    refused += 1;
    if (refused === 2) throw new Error('the disk is still broken');
    rewritten.push(uuid);
  };
  const full = await fill(3);
  // The fourth goes to the next segment, while the sync of the first goes on.
  const current = await fill(1);
  await until(() => syncs === 1, 'the full one is synced');
  assert.deepEqual(rewritten, []);
  fail();
  await until(() => rewritten.length >= 1 + full.length, 'written again, after a failure from the beginning');
  assert.deepEqual(rewritten.slice(1), full);
  rewritten.length = 0;
  const others = await fill(3);
  await until(() => rewritten.length >= 12, 'the one that was current then as well');
  assert.deepEqual(rewritten, [...current, ...others.slice(0, 8)]);
  // Trusted again from then on.
  const before = syncs;
  await fill(6);
  await until(() => syncs > before, 'synced');
  assert.equal(rewritten.length, 12);
  await journal.close();
});

test('closed, it is gone once its blobs are durable, and not before', async () => {
  const { folder, journal, disk, segments, fill } = failing();
  await fill(2);
  let written = (): void => undefined;
  let syncs = 0;
  disk.sync = () => new Promise((resolve) => ((syncs += 1), (written = resolve)));
  const closing = journal.close();
  await until(() => syncs === 1, 'the file system is synced');
  assert.equal(journal.reserve([10]), undefined);
  assert.ok(segments().length > 0);
  const left = segments().map((name) => blobsOf(readFileSync(join(folder, name))));
  assert.equal(left.flatMap((blobs) => [...blobs]).length, 8);
  written();
  await closing;
  assert.deepEqual(segments(), []);
});

test('closed while the disk fails, or while somebody writes, it stays', async () => {
  const { journal, disk, segments, fill } = failing();
  await fill(1);
  const broken = async (): Promise<never> => Promise.reject(new Error('broken on purpose'));
  Object.assign(disk, { sync: broken, rewrite: broken });
  await journal.close();
  assert.equal(segments().length, 1);

  const other = failing();
  await other.fill(1);
  assert.ok(other.journal.reserve([10]));
  await other.journal.close();
  assert.equal(other.segments().length, 1);
});

test('what was in it is cleared when it is not used for a while', async () => {
  const folder = temporaryFolder();
  const journal = new Journal({ folder, sync: async () => undefined, rewrite: async () => undefined, kept: 50 });
  const blob = {
    uuid: randomUUID(),
    path: join(folder, 'blob'),
    bytes: shared(Buffer.alloc(9000, 'PATIENT')),
    md5: '',
  };
  const put = async (): Promise<void> => {
    let given: Reserved | undefined;
    await until(() => (given = journal.reserve([9000])) !== undefined, 'space');
    assert.ok(given);
    rmSync(blob.path, { force: true });
    assert.deepEqual(putTogether(given.space, [blob]), [undefined]);
    given.release();
  };
  // The second time into what was cleared.
  for (let time = 0; time < 2; time++) {
    await put();
    const segment = join(folder, 'journal-0');
    assert.ok(readFileSync(segment).includes('PATIENT'));
    await until(() => !readFileSync(segment).includes('PATIENT'), 'it is cleared');
    assert.equal(statSync(segment).size, SEGMENT);
  }
  await journal.close();
});

test('after a clean stop nothing of what was deleted is in the storage, and what was kept is', async (context) => {
  const room = await opened(context);
  if (room === undefined) return;
  const { root, storage } = room;
  const [deleted, kept] = [Buffer.alloc(20_000, 'DELETED'), Buffer.alloc(20_000, 'KEPT')];
  const [gone = '', here = ''] = [...(await store(storage, [deleted, kept])).keys()];
  for (const uuid of [gone, here]) await storage.keep(uuid);
  await storage.remove(gone);
  const holding = (): boolean =>
    readdirSync(join(root, 'open')).some((name) => readFileSync(join(root, 'open', name)).includes('DELETED'));
  assert.ok(holding());
  await storage.close();
  await storage.close();
  assert.ok(!holding());
  const again = await openFilesystem({ root, sync: true });
  assert.deepEqual(Buffer.from(await again.read(here)), kept);
  assert.ok(!(await again.provisional()).includes(gone));
  await again.close();
});

test('what was put right is asked for again after a crash before the index was asked', async (context) => {
  const room = await opened(context);
  if (room === undefined) return;
  const { root, storage } = room;
  const [uuid = ''] = [...(await store(storage, [randomBytes(5000)])).keys()];
  await storage.keep(uuid);
  rmSync(pathOf(root, uuid));
  // No marker leads to its folder any more, as when a thousand others had been stored since.
  rmSync(join(root, 'open', uuid.slice(0, 4)));
  await openFilesystem({ root, sync: true });
  assert.ok(!readdirSync(join(root, 'open')).some((name) => name.startsWith('journal-')));
  const third = await openFilesystem({ root, sync: true });
  assert.ok((await third.provisional()).includes(uuid));
});

test('what the disk refused is written again, and its journal kept until then', async (context) => {
  const below = mounted('-t', 'tmpfs', '-o', 'size=60m', 'none');
  if (below === undefined || needsSync) return context.skip(needsSync || 'needs the right to mount a file system');
  // A disk that has less room than it says: what is written to the rest of it fails, like to a broken one.
  const image = join(below, 'image');
  writeFileSync(image, '');
  truncateSync(image, 1 << 30);
  assert.equal(spawnSync('mkfs.ext4', ['-q', '-O', '^has_journal', image]).status, 0);
  const folder = mounted('-o', 'loop', image);
  assert.ok(folder);
  const root = join(folder, 'storage');
  const storage = await openFilesystem({ root, sync: true });
  const stored = await store(storage, [randomBytes(100_000)]);
  // As long as a batch of the same size has a place in the first segment.
  for (let batch = 1; batch < 36; batch++) {
    const contents = Array.from({ length: 9 }, () => randomBytes(100_000));
    for (const [uuid, bytes] of await store(storage, contents)) stored.set(uuid, bytes);
  }
  assert.ok(storage.journal);
  const reserve = async (): Promise<JournalPlace | undefined> =>
    storage.journal?.reserve(Array.from({ length: 32 }, () => 100_000));
  // This one has none any more: the segment is full.
  for (let tries = 0; tries < 20; tries++) {
    assert.equal(await reserve(), undefined);
    await sleep(50);
  }
  const onDisk = async (): Promise<number> => {
    let count = 0;
    for (const [uuid, bytes] of stored) if (await isOnDisk(pathOf(root, uuid), bytes, false)) count += 1;
    return count;
  };
  assert.ok((await onDisk()) < stored.size, 'the disk refuses');
  assert.equal(spawnSync('mount', ['-o', 'remount,size=300m', below]).status, 0);
  let given: JournalPlace | undefined;
  for (const deadline = Date.now() + 60_000; given === undefined; await sleep(50)) {
    assert.ok(Date.now() < deadline, 'the segment is free again');
    given = await reserve();
  }
  assert.equal(await onDisk(), stored.size);
  given.release();
  await storage.close();
});

test('a disk with little room has no journal', async (context) => {
  const folder = mounted('-t', 'tmpfs', '-o', 'size=64m', 'none');
  if (folder === undefined || needsSync) return context.skip(needsSync || 'needs the right to mount a file system');
  const storage = await openFilesystem({ root: join(folder, 'storage'), sync: true });
  assert.equal(await storage.journal?.reserve([10]), undefined);
  await storage.close();
  assert.ok(!readdirSync(join(folder, 'storage', 'open')).some((name) => name.startsWith('journal-')));
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
  // What is left of an older batch, where none was written this time, does not hide the newer ones behind it.
  const older = Buffer.from(segment);
  const long = { uuid: randomUUID(), size: 9 * PAGE, md5: createHash('md5').update(randomBytes(9)).digest('hex') };
  writeContents(older.subarray(5 * PAGE, 6 * PAGE), secret, [long]);
  assert.deepEqual(found(older), uuids);
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
  const journal = new Journal({
    folder: join(temporaryFolder(), 'not-there'),
    sync: async () => undefined,
    rewrite: async () => undefined,
  });
  for (let tries = 0; tries < 5; tries++) {
    assert.equal(journal.reserve([10]), undefined);
    await sleep(10);
  }
});
