/** Owns the contract of the `storage` port: every backend passes this same suite. */

import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { suite, test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import type { Storage } from '../../src/storage/storage.ts';

const refuses = (code: string) => (thrown: unknown) => thrown instanceof IsenError && thrown.code === code;

async function collect(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** Runs the suite; `open` gives the same blobs at each call, as a restart would. */
export function storageContract(name: string, open: () => Promise<Storage>): void {
  suite(`storage contract: ${name}`, () => {
    test('a blob put is read back whole, by range and as a stream, before and after it is kept', async () => {
      const storage = await open();
      const bytes = randomBytes(300_000);
      for (const uuid of [storage.name(), storage.name(bytes.length)]) {
        await storage.put(uuid, bytes);
        for (const state of ['provisional', 'kept']) {
          if (state === 'provisional') assert.ok((await storage.provisional()).includes(uuid));
          assert.deepEqual(Buffer.from(await storage.read(uuid)), bytes, state);
          assert.deepEqual(
            Buffer.from(await storage.read(uuid, { start: 10, end: 70_000 })),
            bytes.subarray(10, 70_000),
          );
          assert.deepEqual(await collect(await storage.stream(uuid)), bytes);
          assert.deepEqual(
            await collect(await storage.stream(uuid, { start: 299_990, end: 300_000 })),
            bytes.subarray(299_990),
          );
          assert.equal((await collect(await storage.stream(uuid, { start: 5, end: 5 }))).length, 0);
          assert.equal(await storage.size(uuid), bytes.length);
          if (state === 'provisional') await storage.keep(uuid);
        }
      }
    });

    test('bytes in shared memory are stored as they are', async () => {
      const storage = await open();
      const uuid = storage.name();
      const shared = new Uint8Array(new SharedArrayBuffer(1000), 100, 500).fill(7);
      await storage.put(uuid, shared);
      assert.deepEqual(await storage.read(uuid), new Uint8Array(500).fill(7));
    });

    test('a name of another storage is taken over, and so is what stands there', async () => {
      const storage = await open();
      for (const uuid of [randomUUID(), storage.name()]) {
        await assert.rejects(storage.adopt(`${uuid}x`), { code: 'InexistentFile' });
        for (const bytes of [randomBytes(500), randomBytes(200)]) {
          await storage.adopt(uuid);
          await assert.rejects(storage.read(uuid), { code: 'InexistentFile' });
          await storage.put(uuid, bytes);
          assert.deepEqual(Buffer.from(await storage.read(uuid)), bytes);
          await storage.keep(uuid);
        }
        await storage.adopt(uuid);
        const writer = await storage.create(uuid);
        await writer.write(randomBytes(9));
        await writer.finish();
        assert.equal(await storage.size(uuid), 9);
      }
    });

    test('an empty blob is a blob', async () => {
      const storage = await open();
      const uuid = storage.name();
      await storage.put(uuid, new Uint8Array());
      await storage.keep(uuid);
      assert.equal((await storage.read(uuid)).length, 0);
      assert.equal((await collect(await storage.stream(uuid))).length, 0);
    });

    test('a blob written piece by piece is the pieces joined', async () => {
      const storage = await open();
      const uuid = storage.name();
      const pieces = [randomBytes(1000), randomBytes(1), randomBytes(70_000)];
      const writer = await storage.create(uuid);
      for (const piece of pieces) await writer.write(piece);
      await writer.finish();
      assert.deepEqual(Buffer.from(await storage.read(uuid)), Buffer.concat(pieces));
    });

    test('a blob given up leaves nothing', async () => {
      const storage = await open();
      const uuid = storage.name();
      const writer = await storage.create(uuid);
      await writer.write(randomBytes(10));
      await writer.abort();
      assert.ok(!(await storage.provisional()).includes(uuid));
      await assert.rejects(storage.read(uuid), refuses('InexistentFile'));
    });

    test('a name is never written twice', async () => {
      const storage = await open();
      const uuid = storage.name();
      await storage.put(uuid, new Uint8Array([1]));
      await assert.rejects(storage.put(uuid, new Uint8Array([2])), refuses('CannotWriteFile'));
      assert.deepEqual([...(await storage.read(uuid))], [1]);
    });

    test('what an earlier run left provisional is listed, and can be kept or removed', async () => {
      const first = await open();
      const [kept, dropped] = [first.name(), first.name()];
      await first.put(kept, new Uint8Array([1]));
      await first.put(dropped, new Uint8Array([2]));
      const second = await open();
      const left = await second.provisional();
      assert.ok(left.includes(kept) && left.includes(dropped));
      await second.keep(kept);
      await second.remove(dropped);
      const third = await open();
      assert.ok(!(await third.provisional()).includes(dropped));
      assert.deepEqual([...(await third.read(kept))], [1]);
      await assert.rejects(third.read(dropped), refuses('InexistentFile'));
    });

    test('the state of a blob is its size, and the time at which it was written', async () => {
      const storage = await open();
      const uuid = storage.name();
      const before = Date.now();
      const bytes = randomBytes(10);
      await storage.put(uuid, bytes);
      await storage.keep(uuid);
      const { size, changed, born, md5 } = await storage.state(uuid);
      assert.equal(size, 10);
      // Clocks of disks are coarse.
      assert.ok(changed > before - 1000 && changed < Date.now() + 1000);
      assert.ok(born === undefined || (born <= changed && born > before - 1000));
      assert.ok(md5 === undefined || md5 === createHash('md5').update(bytes).digest('hex'));
      await storage.remove(uuid);
      await assert.rejects(storage.state(uuid), refuses('InexistentFile'));
    });

    test('removing is final, and repeating it is no error', async () => {
      const storage = await open();
      const uuid = storage.name();
      await storage.put(uuid, randomBytes(10));
      await storage.keep(uuid);
      await storage.remove(uuid);
      await storage.remove(uuid);
      await assert.rejects(storage.read(uuid), refuses('InexistentFile'));
      await assert.rejects(storage.stream(uuid), refuses('InexistentFile'));
      await assert.rejects(storage.size(uuid), refuses('InexistentFile'));
    });

    test('a range past the end says that the blob is altered; a range backwards is refused', async () => {
      const storage = await open();
      const uuid = storage.name();
      await storage.put(uuid, randomBytes(10));
      await assert.rejects(storage.read(uuid, { start: 0, end: 11 }), refuses('CorruptedFile'));
      await assert.rejects(storage.stream(uuid, { start: 0, end: 11 }), refuses('CorruptedFile'));
      await assert.rejects(storage.read(uuid, { start: 5, end: 4 }), refuses('BadRange'));
    });

    test('a reader misses nothing while blobs are being kept', async () => {
      const storage = await open();
      const uuids = Array.from({ length: 100 }, () => storage.name());
      await Promise.all(uuids.map((uuid) => storage.put(uuid, Buffer.from(uuid))));
      await Promise.all(
        uuids.flatMap((uuid) => [
          storage.keep(uuid),
          ...Array.from({ length: 5 }, async () => {
            assert.equal(Buffer.from(await storage.read(uuid)).toString(), uuid);
          }),
        ]),
      );
    });

    test('many more blobs than one folder takes are all there after a restart, kept or listed', async () => {
      const storage = await open();
      const uuids = Array.from({ length: 2500 }, () => storage.name());
      assert.equal(new Set(uuids).size, uuids.length);
      for (let at = 0; at < uuids.length; at += 100) {
        await Promise.all(uuids.slice(at, at + 100).map((uuid) => storage.put(uuid, Buffer.from(uuid))));
      }
      await Promise.all(uuids.slice(0, 2400).map((uuid) => storage.keep(uuid)));
      const again = await open();
      const left = new Set(await again.provisional());
      for (const uuid of uuids.slice(2400)) assert.ok(left.has(uuid));
      for (const uuid of left) await again.keep(uuid);
      for (const uuid of uuids) assert.equal(Buffer.from(await again.read(uuid)).toString(), uuid);
    });

    test('no name leads out of the storage', async () => {
      const storage = await open();
      for (const name of ['../outside', '..', '', 'incoming', `${randomUUID()}/..`, `${randomUUID()}\0`]) {
        await assert.rejects(storage.read(name), refuses('InexistentFile'), name);
        await assert.rejects(storage.put(name, new Uint8Array()), refuses('InexistentFile'), name);
        await assert.rejects(storage.remove(name), refuses('InexistentFile'), name);
      }
    });

    test('closing loses nothing, kept or provisional, and may be repeated', async () => {
      const storage = await open();
      const [kept, provisional] = [storage.name(), storage.name()];
      for (const uuid of [kept, provisional]) await storage.put(uuid, Buffer.from(uuid));
      await storage.keep(kept);
      await storage.close();
      await storage.close();
      const again = await open();
      for (const uuid of [kept, provisional]) assert.equal(Buffer.from(await again.read(uuid)).toString(), uuid);
      assert.ok((await again.provisional()).includes(provisional));
      await again.close();
    });

    test('free space is known', async () => {
      assert.ok((await (await open()).free()) > 0);
    });
  });
}
