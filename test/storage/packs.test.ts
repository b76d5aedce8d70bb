/** Owns what is asked of packs of small blobs: what is said to be stored is there after a power cut, and nothing else ever is. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { libc } from '../../src/libc.ts';
import { log } from '../../src/log.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { isIntact } from '../../src/storage/intact.ts';
import {
  LARGEST_PACKED,
  nameAt,
  PACK,
  placeOf,
  readHead,
  spanOf,
  TRAILER,
  writeEnd,
} from '../../src/storage/pack-format.ts';
import { beginTogether, nameIn, type PackSpace, type SmallBlob } from '../../src/storage/pack-thread.ts';
import { allocatePages, PAGE } from '../../src/storage/pages.ts';
import type { PackedBatch, Storage } from '../../src/storage/storage.ts';
import { temporaryFolder } from '../peer.ts';
import { alterBlob, blobsBelow, loseBlob, resizeBlob } from './blobs.ts';
import { mounted } from './mounted.ts';

const skip =
  libc('int fallocate(int, int, int64_t, int64_t)', 'packs') === undefined && 'needs Linux and the package koffi';
const missing = { code: 'InexistentFile' };

/** Sizes around the pages that a trailer needs. */
const SIZES = [
  1,
  100,
  PAGE - TRAILER - 1,
  PAGE - TRAILER,
  PAGE - TRAILER + 1,
  PAGE - 1,
  PAGE,
  PAGE + 1,
  34_567,
  524_288,
];

/** Bytes at the beginning of memory that a thread may share, with something behind them. */
function shared(bytes: Uint8Array): Uint8Array {
  const memory = new Uint8Array(allocatePages(Math.ceil(bytes.length / PAGE) * PAGE + PAGE)).fill(0xee);
  memory.set(bytes);
  return memory.subarray(0, bytes.length);
}

async function put(storage: Storage, bytes: Uint8Array): Promise<string> {
  const uuid = storage.name(bytes.length);
  await storage.put(uuid, bytes);
  return uuid;
}

function place(storage: Storage, sizes: readonly number[]): PackedBatch {
  return storage.packing?.reserve(sizes) ?? assert.fail('there is no space in a pack');
}

function blobsOf(batch: PackedBatch, contents: readonly Uint8Array[]): SmallBlob[] {
  return batch.blobs.map((blob, index) => ({ ...blob, bytes: shared(contents[index] ?? assert.fail()) }));
}

const packOf = (root: string, uuid: string): string => join(root, 'packs', uuid.slice(0, 2), uuid.slice(0, 8));
const packsIn = (root: string): string[] =>
  readdirSync(join(root, 'packs'), { recursive: true })
    .map(String)
    .filter((name) => name.includes('/'));
const markersIn = (root: string): string[] =>
  readdirSync(join(root, 'open')).filter((name) => name.startsWith('pack-'));

const putTogether = (space: PackSpace, blobs: readonly SmallBlob[]): ReturnType<ReturnType<typeof beginTogether>> =>
  beginTogether(space, blobs)();

const open = (root: string): Promise<Storage> => openFilesystem({ root, sync: true });

test('a name says where its blob is, whatever that is', () => {
  for (const [pack, at, size] of [
    ['00000000', PAGE, 1],
    ['deadbeef', PACK - PAGE, LARGEST_PACKED],
    ['0123abcd', 0x1234 * PAGE, 0x54321],
  ] as const) {
    const name = nameAt({ pack, at, size }, randomUUID());
    assert.match(name, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.deepEqual(placeOf(name), { pack, at, size });
  }
  for (const none of [randomUUID(), '', '../..///-0001-8000-8000-000000000000', 'DEADBEEF-0001-8000-8000-000000000000'])
    assert.equal(placeOf(none), undefined);
  const names = Array.from({ length: 100 }, () => nameAt({ pack: '00000000', at: PAGE, size: 1 }, randomUUID()));
  assert.equal(new Set(names).size, 100);
});

test('small blobs lie in packs, large ones in files of their own, and both are read alike', { skip }, async () => {
  const root = temporaryFolder();
  const storage = await open(root);
  for (const size of [...SIZES, LARGEST_PACKED, LARGEST_PACKED + 1]) {
    for (const memory of [randomBytes(size), shared(randomBytes(size))]) {
      const bytes = Buffer.from(memory);
      const uuid = await put(storage, memory);
      assert.equal(placeOf(uuid) !== undefined, size <= LARGEST_PACKED, String(size));
      assert.equal(await storage.size(uuid), size);
      assert.equal((await storage.state(uuid)).size, size);
      assert.deepEqual(Buffer.from(await storage.read(uuid)), bytes);
      const [start, end] = [Math.floor(size / 3), Math.ceil(size / 2)];
      assert.deepEqual(Buffer.from(await storage.read(uuid, { start, end })), bytes.subarray(start, end));
      assert.deepEqual(Buffer.from(await storage.read(uuid, { start, end: size })), bytes.subarray(start));
      for (const room of [size, size + TRAILER, size + 2 * PAGE]) {
        const given = new Uint8Array(room);
        const read = await storage.read(uuid, { start: 0, end: size }, given);
        assert.equal(read.buffer, given.buffer);
        assert.deepEqual(Buffer.from(read), bytes);
      }
      const parts: Uint8Array[] = [];
      for await (const part of await storage.stream(uuid, { start, end: size })) parts.push(part);
      assert.deepEqual(Buffer.concat(parts), bytes.subarray(start));
      await assert.rejects(storage.read(uuid, { start: 0, end: size + 1 }), { code: 'CorruptedFile' });
      await assert.rejects(storage.read(uuid, { start: 2, end: 1 }), { code: 'BadRange' });
    }
  }
  await storage.close();
});

test('what threads store together is read back, provisional until it is kept, and kept by the next run', {
  skip,
}, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const contents = [...SIZES, ...Array.from({ length: 60 }, (_, index) => index * 300 + 1)].map((size) =>
    randomBytes(size),
  );
  const batch = place(
    first,
    contents.map(({ length }) => length),
  );
  const blobs = blobsOf(batch, contents);
  // One of them is no image: its place stays empty.
  const [odd] = blobs.splice(5, 1);
  contents.splice(5, 1);
  assert.deepEqual(
    putTogether(batch.space, blobs),
    blobs.map(() => undefined),
  );
  batch.release();
  for (const [index, { uuid }] of blobs.entries())
    assert.deepEqual(Buffer.from(await first.read(uuid)), contents[index]);
  await assert.rejects(first.read(odd?.uuid ?? ''), missing);
  await first.remove(odd?.uuid ?? '');
  const [kept, removed, ...left] = blobs.map(({ uuid }) => uuid);
  await first.keep(kept ?? '');
  await first.remove(removed ?? '');
  const second = await open(root);
  assert.deepEqual((await second.provisional()).toSorted(), [kept ?? '', ...left].toSorted());
  for (const uuid of [kept ?? '', ...left]) await second.keep(uuid);
  assert.deepEqual(Buffer.from(await second.read(left[0] ?? '')), contents[2]);
  await second.close();
  const third = await open(root);
  assert.deepEqual(await third.provisional(), []);
  assert.equal(blobsBelow(root).length, left.length + 1);
  await third.close();
});

test('blobs that cannot be written fail, and a place is written once', { skip }, async () => {
  const root = temporaryFolder();
  const storage = await open(root);
  const batch = place(storage, [100, 200]);
  const blobs = blobsOf(batch, [randomBytes(100), randomBytes(200)]);
  const errors = putTogether({ ...batch.space, path: join(root, 'nowhere') }, blobs);
  assert.deepEqual(
    errors.map((error) => error?.code),
    ['CannotWriteFile', 'CannotWriteFile'],
  );
  batch.release();
  for (const { uuid } of blobs) await assert.rejects(storage.read(uuid), missing);
  const uuid = storage.name(10);
  await assert.rejects(storage.put(uuid, randomBytes(11)), { code: 'CannotWriteFile' });
  await assert.rejects(storage.read(uuid), missing);
  const twice = await put(storage, Buffer.from('once'));
  await assert.rejects(storage.put(twice, Buffer.from('more')), { code: 'CannotWriteFile' });
  assert.equal(Buffer.from(await storage.read(twice)).toString(), 'once');
  await storage.close();
});

test('room that is lent holds what a thread names in it, and what is left of it is free again', { skip }, async () => {
  const root = temporaryFolder();
  const storage = await open(root);
  const contents = new Map<string, Buffer>();
  /** Stores blobs of these sizes in a room of so many bytes, as far as they fit; their names. */
  const fill = async (
    most: number,
    sizes: readonly number[],
    meanwhile = (): void => {},
  ): Promise<readonly string[]> => {
    let room = storage.packing?.lend(most);
    // A pack that is full is followed by another soon.
    for (let tries = 0; room === undefined; tries += 1, room = storage.packing?.lend(most)) {
      assert.ok(tries < 100, 'there is no space in a pack');
      await sleep(20);
    }
    assert.ok(room.end - room.at >= spanOf(LARGEST_PACKED) || room.end - room.at === most);
    const blobs: SmallBlob[] = [];
    let at = room.at;
    for (const size of sizes) {
      const named = nameIn(room, at, size);
      if (named === undefined) continue;
      assert.deepEqual(placeOf(named.uuid), { pack: room.pack, at, size });
      blobs.push({ uuid: named.uuid, at, bytes: shared(randomBytes(size)) });
      at = named.next;
    }
    assert.ok(at <= room.end);
    meanwhile();
    assert.deepEqual(
      putTogether(room.space, blobs),
      blobs.map(() => undefined),
    );
    for (const { uuid, bytes } of blobs) contents.set(uuid, Buffer.from(bytes));
    room.release(blobs.map(({ uuid }) => uuid));
    return blobs.map(({ uuid }) => uuid);
  };
  const first = await fill(2 << 20, SIZES);
  assert.equal(first.length, SIZES.length);
  assert.equal((await fill(2 << 20, [LARGEST_PACKED + 1])).length, 0, 'one that is too large for a name');
  const second = await fill(2 << 20, [5000]);
  const [end, next] = [placeOf(first.at(-1) ?? ''), placeOf(second[0] ?? '')];
  assert.equal(next?.at, (end?.at ?? 0) + spanOf(end?.size ?? 0), 'what was not used is used by the next');
  // Something else comes to lie behind the room: what the room did not use is a hole then.
  const behind: string[] = [];
  const [inRoom = ''] = await fill(2 << 20, [5000], () => {
    for (let count = 0; count < 8; count += 1) behind.push(...place(storage, [3000]).blobs.map(({ uuid }) => uuid));
  });
  assert.ok(
    behind.some((uuid) => placeOf(uuid)?.pack === placeOf(inRoom)?.pack),
    'nothing came to lie behind',
  );
  for (let tries = 0; statSync(packOf(root, inRoom)).blocks * 512 > PACK - (2 << 20) + spanOf(5000); tries += 1) {
    assert.ok(tries < 100, 'what was not used takes space');
    await sleep(20);
  }
  const full = await fill(
    64 << 20,
    Array.from({ length: 40 }, () => LARGEST_PACKED),
  );
  assert.ok(full.length > 20 && full.length < 32, `${full.length} in a pack`);
  await fill(2 << 20, [100]);
  for (const [uuid, bytes] of contents) assert.ok(bytes.equals(await storage.read(uuid)), uuid);
  const lost = storage.packing?.lend(1 << 20);
  lost?.abandon();
  await storage.close();
  // All of them are provisional, those whose names nobody has told as well.
  const again = await open(root);
  assert.deepEqual([...(await again.provisional())].sort(), [...contents.keys()].sort());
  for (const [uuid, bytes] of contents) assert.ok(bytes.equals(await again.read(uuid)), uuid);
  const onDisk = packsIn(root).reduce((sum, name) => sum + statSync(join(root, 'packs', name)).blocks * 512, 0);
  const used = [...contents.values()].reduce((sum, { length }) => sum + spanOf(length), 0);
  // A page at the beginning of each pack, what was reserved behind the room, and the pack that is open now.
  const more = packsIn(root).length * 8 * PAGE + behind.length * spanOf(3000) + PACK;
  assert.ok(onDisk <= used + more, `${onDisk} bytes for ${used}`);
  await again.close();
});

test('the space of what is removed goes back to the file system, and an empty pack goes', { skip }, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const uuids: string[] = [];
  for (let count = 0; count < 8; count += 1) uuids.push(await put(first, randomBytes(500_000)));
  for (const uuid of uuids) await first.keep(uuid);
  await first.close();
  assert.deepEqual(markersIn(root), []);
  const [pack = ''] = uuids.map((uuid) => packOf(root, uuid));
  const taken = (): number => statSync(pack).blocks * 512;
  assert.ok(taken() >= 4_000_000 && statSync(pack).size < 4_200_000, 'what was not used was given back');
  const second = await open(root);
  for (const uuid of uuids.slice(1)) await second.remove(uuid);
  assert.ok(taken() < 600_000);
  for (const uuid of uuids.slice(1)) {
    await assert.rejects(second.read(uuid), missing);
    await assert.rejects(second.read(uuid, { start: 5, end: 10 }), missing);
    await assert.rejects(second.stream(uuid), missing);
    await assert.rejects(second.size(uuid), missing);
    await assert.rejects(second.state(uuid), missing);
    await second.remove(uuid);
  }
  assert.equal((await second.read(uuids[0] ?? '')).length, 500_000);
  await second.remove(uuids[0] ?? '');
  assert.ok(!packsIn(root).some((name) => pack.endsWith(name)), 'the empty pack is gone');
  await second.close();
  assert.deepEqual(packsIn(root), [], 'what was never used is gone as well');
});

test('whoever reads what is removed meanwhile gets all of it or nothing', { skip, timeout: 60_000 }, async () => {
  const storage = await open(temporaryFolder());
  let whole = 0;
  for (let round = 0; round < 60; round += 1) {
    const bytes = Buffer.alloc(400_000, (round % 255) + 1);
    const uuid = await put(storage, bytes);
    const reading = Promise.allSettled(
      Array.from({ length: 6 }, async (_, index) => {
        await sleep(index % 3);
        return index % 2 === 0 ? storage.read(uuid) : storage.read(uuid, { start: 1000, end: 390_000 });
      }),
    );
    await sleep(round % 3);
    await storage.remove(uuid);
    for (const read of await reading) {
      if (read.status === 'rejected') assert.equal((read.reason as { code: string }).code, 'InexistentFile');
      else {
        assert.ok(read.value.every((byte) => byte === (round % 255) + 1));
        whole += 1;
      }
    }
  }
  assert.ok(whole > 0);
  await storage.close();
});

test('a full pack is followed by the next, and each is given back what it did not use', {
  skip,
  timeout: 60_000,
}, async () => {
  const root = temporaryFolder();
  const storage = await open(root);
  const stored = new Map<string, string>();
  const memory = new Uint8Array(allocatePages(1 << 20));
  const packed = new Set<string>();
  for (let count = 0; count < 160; count += 1) {
    const bytes = memory.subarray(0, 1_000_000 - count);
    bytes.fill(count);
    const uuid = await put(storage, bytes);
    const place = placeOf(uuid);
    if (place !== undefined) packed.add(place.pack);
    stored.set(uuid, createHash('md5').update(bytes).digest('hex'));
    await storage.keep(uuid);
  }
  assert.ok(packed.size >= 3);
  for (const [uuid, md5] of stored)
    assert.equal(
      createHash('md5')
        .update(await storage.read(uuid))
        .digest('hex'),
      md5,
    );
  await storage.close();
  assert.deepEqual(markersIn(root), []);
  for (const name of packed) assert.ok(statSync(packOf(root, name)).size <= PACK);
});

test('after a crash what was whole is asked about, and what was not goes', { skip }, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const whole = [await put(first, randomBytes(50_000)), await put(first, randomBytes(3000))];
  const batch = place(first, [200_000, 40_000]);
  const [torn, next] = blobsOf(batch, [randomBytes(200_000), randomBytes(40_000)]);
  // The first of two was not written to its end.
  assert.deepEqual(putTogether(batch.space, [torn ?? assert.fail()]), [undefined]);
  loseBlob(root, torn?.uuid ?? '');
  assert.deepEqual(putTogether(batch.space, [next ?? assert.fail()]), [undefined]);
  const second = await open(root);
  assert.deepEqual((await second.provisional()).toSorted(), [...whole, next?.uuid ?? ''].toSorted());
  await assert.rejects(second.read(torn?.uuid ?? ''), missing);
  const pack = statSync(packOf(root, whole[0] ?? ''));
  assert.ok(pack.size < 400_000, 'it is cut behind its last blob');
  assert.ok(pack.blocks * 512 < 150_000, 'what was not written to its end takes no space');
  // It is not asked for what may be in there again: once all is settled the marker is gone.
  for (const uuid of whole) await second.keep(uuid);
  await second.remove(next?.uuid ?? '');
  await second.close();
  const third = await open(root);
  assert.deepEqual(await third.provisional(), []);
  assert.deepEqual(blobsBelow(root).toSorted(), whole.toSorted());
  await third.close();
});

test('markers without packs, and packs without a beginning, are taken away', { skip }, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const uuid = await put(first, randomBytes(10));
  await first.keep(uuid);
  await first.close();
  writeFileSync(join(root, 'open', 'pack-0badcafe'), '');
  writeFileSync(join(root, 'open', `pack-${uuid.slice(0, 8)}`), '');
  writeFileSync(join(root, 'open', 'pack-00112233'), '');
  writeFileSync(packOf(root, uuid).replace(/[0-9a-f]{8}$/, `${uuid.slice(0, 2)}112233`), Buffer.alloc(3 * PAGE));
  writeFileSync(join(root, 'open', `pack-${uuid.slice(0, 2)}112233`), '');
  const second = await open(root);
  assert.deepEqual(await second.provisional(), [uuid]);
  await second.keep(uuid);
  await second.close();
  assert.deepEqual([packsIn(root).length, markersIn(root).length], [1, 0]);
});

test('a pack whose beginning is damaged is left alone, and read', { skip }, async (context) => {
  const said = context.mock.method(log.generic, 'error', () => {});
  for (const [index, [damage, at]] of (
    [
      [randomBytes(PAGE), 0],
      [Buffer.alloc(PAGE), 0],
      [Buffer.from('x'), 20],
    ] as const
  ).entries()) {
    const root = temporaryFolder();
    const first = await open(root);
    const bytes = randomBytes(5000);
    const uuid = await put(first, bytes);
    const file = openSync(packOf(root, uuid), 'r+');
    writeSync(file, damage, 0, damage.length, at);
    closeSync(file);
    const second = await open(root);
    assert.deepEqual(await second.provisional(), []);
    assert.match(String(said.mock.calls[index]?.arguments[0]), /damaged/);
    assert.deepEqual(Buffer.from(await second.read(uuid)), bytes);
    await second.close();
  }
});

test('a pack that cannot be looked through keeps no server from starting', { skip }, async (context) => {
  const said = context.mock.method(log.generic, 'error', () => {});
  const root = temporaryFolder();
  await (await open(root)).close();
  mkdirSync(join(root, 'packs', 'ab', 'ab000000'), { recursive: true });
  writeFileSync(join(root, 'open', 'pack-ab000000'), '');
  const storage = await open(root);
  assert.deepEqual(await storage.provisional(), []);
  assert.equal(said.mock.callCount(), 1);
  await storage.close();
});

test('a pack that can only be read is read', {
  skip: skip || (spawnSync('chattr', ['-V']).error !== undefined && 'needs chattr'),
}, async (context) => {
  const root = temporaryFolder();
  const first = await open(root);
  const bytes = randomBytes(5000);
  const uuid = await put(first, bytes);
  await first.keep(uuid);
  await first.close();
  if (spawnSync('chattr', ['+i', packOf(root, uuid)]).status !== 0)
    return context.skip('the file system has no such attribute');
  try {
    const second = await open(root);
    assert.deepEqual(Buffer.from(await second.read(uuid)), bytes);
    await second.close();
  } finally {
    spawnSync('chattr', ['-i', packOf(root, uuid)]);
  }
});

test('what one node removes from a pack that another adds to says nothing of that pack', { skip }, async () => {
  const root = temporaryFolder();
  const [a, b] = await Promise.all(['a', 'b'].map((node) => openFilesystem({ root, sync: true, node })));
  assert.ok(a && b);
  const [one, two] = [await put(a, randomBytes(100)), await put(a, randomBytes(100))];
  await b.remove(one);
  await b.close();
  const page = Buffer.alloc(PAGE);
  const file = openSync(packOf(root, two), 'r');
  readSync(file, page, 0, PAGE, 0);
  closeSync(file);
  assert.equal(readHead(page)?.settled, 0);
  await a.remove(two);
  const three = await put(a, randomBytes(100));
  assert.equal(await a.size(three), 100);
  await a.close();
});

test('a pack that ends before a blob has lost it, and a copy of its name is not hidden', { skip }, async () => {
  const root = temporaryFolder();
  const storage = await open(root);
  const bytes = randomBytes(9000);
  const uuid = await put(storage, bytes);
  resizeBlob(root, uuid, 100);
  await assert.rejects(storage.read(uuid), { code: 'CorruptedFile' });
  await assert.rejects(storage.stream(uuid), { code: 'CorruptedFile' });
  await assert.rejects(storage.state(uuid), { code: 'CorruptedFile' });
  await storage.adopt(uuid);
  await storage.put(uuid, bytes);
  assert.deepEqual(Buffer.from(await storage.read(uuid)), bytes);
  await storage.close();
});

test('an image that holds a trailer is an image and nothing more', { skip }, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const victim = await put(first, randomBytes(5000));
  const at = (placeOf(victim)?.at ?? 0) + spanOf(5000);
  // Whoever knows a name knows the pack: the image claims to be a blob that spans the one before it.
  const forged = nameAt({ pack: victim.slice(0, 8), at: placeOf(victim)?.at ?? 0, size: 10_000 }, randomUUID());
  const image = Buffer.alloc(20_000);
  writeEnd(image.subarray(at % PAGE), randomBytes(16), forged, randomBytes(10_000)).copy(image, 0);
  for (let page = 1; page * PAGE <= image.length; page += 1)
    image.copy(image, page * PAGE - TRAILER, PAGE - TRAILER, PAGE);
  const uuid = await put(first, image);
  const second = await open(root);
  assert.deepEqual((await second.provisional()).toSorted(), [victim, uuid].toSorted());
  assert.equal((await second.read(victim)).length, 5000);
  await second.close();
});

test('a name of a pack that another storage gave has a file of its own here', { skip }, async () => {
  const [from, to] = [await open(temporaryFolder()), await open(temporaryFolder())];
  const bytes = randomBytes(9000);
  const uuid = await put(from, bytes);
  await to.adopt(uuid);
  await to.put(uuid, bytes);
  await to.keep(uuid);
  for (const storage of [from, to]) {
    assert.deepEqual(Buffer.from(await storage.read(uuid)), bytes);
    assert.equal(await storage.size(uuid), 9000);
    // In the place where it is, another one takes its name.
    await storage.adopt(uuid);
    await assert.rejects(storage.read(uuid), missing);
    await storage.put(uuid, bytes.subarray(1));
    await storage.keep(uuid);
    assert.deepEqual(Buffer.from(await storage.read(uuid)), bytes.subarray(1));
    await storage.remove(uuid);
    await assert.rejects(storage.read(uuid), missing);
    await storage.close();
  }
});

test('a blob that a stranger has altered or taken away is found, whenever that was', { skip }, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const bytes = randomBytes(30_000);
  const md5 = createHash('md5').update(bytes).digest('hex');
  const contentOf = (uuid: string) => ({
    uuid,
    uncompressedSize: bytes.length,
    uncompressedMD5: md5,
    compressedSize: bytes.length,
    compressedMD5: md5,
  });
  const uuids: string[] = [];
  for (let count = 0; count < 4; count += 1) uuids.push(await put(first, bytes));
  const [altered = '', lost = '', sound = '', later = ''] = uuids;
  assert.equal((await first.state(sound)).untouched, true);
  await sleep(100);
  alterBlob(root, altered, 29_999);
  loseBlob(root, lost);
  // That something is written next to it must not hide it.
  await put(first, randomBytes(10));
  assert.equal((await first.state(sound)).untouched, false);
  assert.equal(await isIntact(first, contentOf(altered), Date.now()), false);
  assert.equal(await isIntact(first, contentOf(sound), Date.now()), true);
  await assert.rejects(isIntact(first, contentOf(lost), Date.now()), missing);
  for (const uuid of uuids) await first.keep(uuid);
  await first.close();
  const second = await open(root);
  assert.equal(await isIntact(second, contentOf(altered), Date.now()), false, 'nor does a restart');
  await second.close();
  const clean = await open(temporaryFolder());
  await clean.close();
  const third = await open(root);
  assert.equal(await isIntact(third, contentOf(later), Date.now()), true);
  await third.close();
});

test('a pack of an earlier run that nobody touched is taken at its word', { skip }, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const [one, two] = [await put(first, randomBytes(1000)), await put(first, randomBytes(1000))];
  await first.keep(one);
  await first.keep(two);
  await first.close();
  const second = await open(root);
  assert.equal((await second.state(one)).untouched, true);
  await second.remove(two);
  assert.equal((await second.state(one)).untouched, true, 'this server may remove what it wants');
  await sleep(100);
  await second.close();
  const third = await open(root);
  assert.equal((await third.state(one)).untouched, true, 'which the next run knows of');
  await sleep(100);
  alterBlob(root, one, 5);
  const { changed, untouched } = await third.state(one);
  assert.equal(untouched, false);
  await third.remove(await put(third, randomBytes(10)));
  assert.deepEqual(await third.state(one), { size: 1000, changed, untouched });
  await sleep(100);
  alterBlob(root, one, 6);
  assert.ok((await third.state(one)).changed > changed);
  await third.close();
  const fourth = await open(root);
  assert.equal((await fourth.state(one)).untouched, false);
  await fourth.close();
});

test('nobody vouches for what was in reach of others after a crash, or beside a removal', { skip }, async () => {
  const root = temporaryFolder();
  const first = await open(root);
  const [one, two, three] = [
    await put(first, randomBytes(1000)),
    await put(first, randomBytes(1000)),
    await put(first, randomBytes(1000)),
  ];
  for (const uuid of [one, two, three]) await first.keep(uuid);
  // It ends without saying so.
  const second = await open(root);
  for (const uuid of await second.provisional()) await second.keep(uuid);
  assert.equal((await second.state(one)).untouched, false);
  await second.close();
  const other = temporaryFolder();
  const third = await open(other);
  const [left, gone] = [await put(third, randomBytes(1000)), await put(third, randomBytes(1000))];
  await third.keep(left);
  await third.keep(gone);
  await third.close();
  const fourth = await open(other);
  await fourth.remove(gone);
  await sleep(100);
  alterBlob(other, left, 5);
  await fourth.close();
  const fifth = await open(other);
  assert.equal((await fifth.state(left)).untouched, false);
  await fifth.close();
});

/** A file with an empty ext4 of `size` bytes in it. */
function ext4(size: number): string {
  const image = join(temporaryFolder(), 'image');
  writeFileSync(image, '');
  truncateSync(image, size);
  spawnSync('mkfs.ext4', ['-q', '-O', '^has_journal', image]);
  return image;
}

test('what is said to be stored is on the disk when the power goes', { skip, timeout: 120_000 }, async (context) => {
  const image = ext4(600 << 20);
  const folder = mounted('-o', 'loop', image);
  if (folder === undefined) return context.skip('needs the right to mount a file system');
  const storage = await openFilesystem({ root: join(folder, 'storage'), sync: true });
  const stored = new Map<string, Buffer>();
  for (const size of [...SIZES, 900_000]) {
    for (const memory of [randomBytes(size), shared(randomBytes(size))])
      stored.set(await put(storage, memory), Buffer.from(memory));
  }
  for (const size of [2_000_000, 1 << 20]) {
    const bytes = randomBytes(size);
    stored.set(await put(storage, bytes), bytes);
  }
  const contents = SIZES.map((size) => randomBytes(size));
  const batch = place(storage, SIZES);
  const blobs = blobsOf(batch, contents);
  assert.deepEqual(
    putTogether(batch.space, blobs),
    blobs.map(() => undefined),
  );
  for (const [index, { uuid }] of blobs.entries()) stored.set(uuid, contents[index] ?? assert.fail());
  // What the page cache of the file system has and its disk has not is not in the image.
  const after = join(temporaryFolder(), 'after');
  copyFileSync(image, after);
  // As any machine does that starts again, where the file system has no journal.
  spawnSync('e2fsck', ['-fy', after]);
  const again = mounted('-o', 'loop', after);
  assert.ok(again !== undefined);
  const next = await openFilesystem({ root: join(again, 'storage'), sync: true });
  assert.deepEqual((await next.provisional()).toSorted(), [...stored.keys()].toSorted());
  for (const [uuid, bytes] of stored) assert.deepEqual(Buffer.from(await next.read(uuid)), bytes);
  await next.close();
  batch.release();
  await storage.close();
});

async function isPacked(context: TestContext, ...mount: string[]): Promise<boolean | undefined> {
  const folder = mounted(...mount);
  if (folder === undefined) {
    context.skip('needs the right to mount a file system');
    return undefined;
  }
  const root = join(folder, 'storage');
  const storage = await openFilesystem({ root, sync: true });
  const bytes = randomBytes(5000);
  const uuid = await put(storage, bytes);
  assert.deepEqual(Buffer.from(await storage.read(uuid)), bytes);
  await storage.close();
  assert.deepEqual(markersIn(root), placeOf(uuid) === undefined ? [] : [`pack-${uuid.slice(0, 8)}`]);
  return placeOf(uuid) !== undefined;
}

test('a disk with little room, or one that gives no space before, has no packs', { skip }, async (context) => {
  const small = await isPacked(context, '-t', 'tmpfs', '-o', 'size=64m', 'none');
  if (small === undefined) return;
  assert.equal(small, false);
  assert.equal(await isPacked(context, '-t', 'tmpfs', '-o', 'size=1g', 'none'), true);
  assert.equal(await isPacked(context, '-t', 'ramfs', 'none'), false);
});

test('the journal of a version before that did not end in order is not passed over', async () => {
  const root = temporaryFolder();
  const first = await open(root);
  await first.close();
  writeFileSync(join(root, 'open', 'journal-0'), '');
  await assert.rejects(open(root), { code: 'CorruptedFile' });
  rmSync(join(root, 'open', 'journal-0'));
  await (await open(root)).close();
});
