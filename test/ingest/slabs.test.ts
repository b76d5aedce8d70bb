/** Owns the proof that uploads stay within their memory, wait their turn, and leave nothing when they are given up. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { type PooledSlab, SlabPool } from '../../src/ingest/slabs.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { temporaryFolder } from '../peer.ts';

const MB = 1 << 20;
const storage = await openFilesystem({ root: temporaryFolder(), sync: false });
const pool = (budget: number, patience = 50): SlabPool =>
  new SlabPool(storage, { budget, largestBody: 200 * MB, patience, waiting: 2 });
const refuses = (code: string) => (thrown: unknown) => thrown instanceof IsenError && thrown.code === code;

async function fill(slab: PooledSlab, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += 65_536) await slab.append(bytes.subarray(at, at + 65_536));
}

test('a small body stays in one slab, and the slab is used again', async () => {
  const slabs = pool(4 * MB);
  const bytes = randomBytes(500_000);
  const first = await slabs.take();
  await fill(first, bytes);
  assert.deepEqual(Buffer.from(first.head), bytes);
  assert.equal(first.blob, undefined);
  const memory = first.head.buffer;
  first.release();
  first.release();
  assert.equal(slabs.held, 0);
  const second = await slabs.take();
  assert.equal(second.head.buffer, memory);
  assert.equal(second.size, 0);
  second.release();
});

test('a chunk is copied before append returns', async () => {
  const slab = await pool(4 * MB).take();
  const chunk = Buffer.from('abc');
  await slab.append(chunk);
  chunk.fill(0);
  assert.equal(Buffer.from(slab.head).toString(), 'abc');
  slab.release();
});

test('what is filled in place counts as appended, grows where it is full, and ends where the rest goes to storage', async () => {
  const slabs = pool(32 * MB);
  const bytes = randomBytes(17 * MB);
  const slab = await slabs.take();
  await slab.append(bytes.subarray(0, 1000));
  let at = 1000;
  for (let room = slab.room(); room.length > 0; room = slab.room()) {
    const part = bytes.subarray(at, at + Math.min(room.length, 3 * MB));
    room.set(part);
    slab.filled(part.length);
    at += part.length;
    assert.equal(slab.size, at);
  }
  assert.equal(at, 16 * MB);
  assert.deepEqual(Buffer.from(slab.head), bytes.subarray(0, at));
  for (; at < bytes.length; at += 65_536) await slab.append(bytes.subarray(at, at + 65_536));
  assert.equal(slab.size, bytes.length);
  assert.equal((await slab.finish())?.md5, createHash('md5').update(bytes).digest('hex'));
  slab.release();
  while (slabs.held > 0) await sleep(1);
});

test('a body larger than a slab grows within the budget, into memory that is used again', async () => {
  const slabs = pool(32 * MB);
  const bytes = randomBytes(5 * MB + 17);
  const first = await slabs.take();
  await fill(first, bytes);
  assert.equal(first.blob, undefined);
  assert.deepEqual(Buffer.from(first.head), bytes);
  assert.ok(slabs.held <= 32 * MB);
  const second = await slabs.take();
  await fill(second, bytes);
  assert.notEqual(second.blob, undefined, 'half of the budget is for slabs');
  second.release();
  const memory = first.head.buffer;
  first.release();
  const third = await slabs.take();
  await fill(third, bytes);
  assert.equal(third.head.buffer, memory);
  third.release();
  for (let tries = 0; slabs.held > 0 && tries < 100; tries++) await sleep(10);
  assert.equal(slabs.held, 0);
});

test('a body past the budget goes to storage whole, with its MD5, and its beginning stays in memory', async () => {
  const slabs = pool(2 * MB);
  const bytes = randomBytes(9 * MB + 5);
  const slab = await slabs.take();
  await fill(slab, bytes);
  assert.ok(slabs.held <= 2 * MB);
  const blob = await slab.finish();
  assert.ok(blob);
  assert.equal(slab.size, bytes.length);
  assert.equal(blob.md5, createHash('md5').update(bytes).digest('hex'));
  assert.deepEqual(Buffer.from(await storage.read(blob.uuid)), bytes);
  assert.deepEqual(Buffer.from(slab.head), bytes.subarray(0, slab.head.length));
  assert.ok(slab.head.length > MB - 65_536);
  slab.adopt();
  slab.release();
  await sleep(50);
  assert.equal(await storage.size(blob.uuid), bytes.length);
});

test('a body on its way to storage that is given up leaves nothing, finished or not', async () => {
  for (const finished of [true, false]) {
    const slabs = pool(MB);
    const slab = await slabs.take();
    await fill(slab, randomBytes(3 * MB));
    const { blob } = slab;
    assert.ok(blob);
    if (finished) await slab.finish();
    slab.release();
    for (let tries = 0; slabs.held > 0 && tries < 100; tries++) await sleep(10);
    assert.equal(slabs.held, 0);
    await assert.rejects(storage.size(blob), refuses('InexistentFile'));
  }
});

test('without memory an upload waits its turn, in order, and is refused when patience or room ends', async () => {
  const slabs = pool(MB, 60);
  const first = await slabs.take();
  const turns: number[] = [];
  const second = slabs.take().then((slab) => {
    turns.push(2);
    return slab;
  });
  const third = slabs.take().then((slab) => {
    turns.push(3);
    return slab;
  });
  await assert.rejects(slabs.take(), refuses('Busy'));
  first.release();
  (await second).release();
  (await third).release();
  assert.deepEqual(turns, [2, 3]);
  const holder = await slabs.take();
  await assert.rejects(slabs.take(), refuses('Busy'));
  assert.equal(slabs.waiting, 0);
  holder.release();
  assert.equal(slabs.held, 0);
});

test('a slab is had at once while one is free and nobody waits for it', async () => {
  const slabs = pool(MB);
  const first = slabs.takeNow();
  assert.ok(first);
  assert.equal(slabs.takeNow(), undefined);
  const second = slabs.take();
  first.release();
  assert.equal(slabs.takeNow(), undefined, 'whoever waited has it');
  (await second).release();
  const third = slabs.takeNow();
  assert.ok(third);
  await fill(third, randomBytes(1000));
  third.release();
  assert.equal(slabs.held, 0);
});

test('a body larger than any may be is refused', async () => {
  const slabs = new SlabPool(storage, { budget: 4 * MB, largestBody: 2 * MB, patience: 50, waiting: 2 });
  const slab = await slabs.take();
  await assert.rejects(fill(slab, randomBytes(2 * MB + 1)), (thrown: unknown) => {
    return thrown instanceof IsenError && thrown.http === 413;
  });
  slab.release();
  for (let tries = 0; slabs.held > 0 && tries < 100; tries++) await sleep(10);
  assert.equal(slabs.held, 0);
});
