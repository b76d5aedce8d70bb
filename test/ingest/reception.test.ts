/** Owns the proof that storing is all or nothing: whatever fails, and whenever the process ends, file and row agree. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer } from '../../src/answer.ts';
import { createEmbeddedChanges } from '../../src/changes/embedded.ts';
import type { Committed, Database, OverwriteMode } from '../../src/database/database.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import type { ParseTask } from '../../src/dicom/parsing.ts';
import { readFile } from '../../src/dicom/read.ts';
import { IsenError } from '../../src/errors.ts';
import type { Ingest, Reception, Stored } from '../../src/ingest/ingest.ts';
import { openIngest } from '../../src/ingest/reception.ts';
import { createTranscoder } from '../../src/ingest/transcoder.ts';
import { log } from '../../src/log.ts';
import { createPool } from '../../src/pool.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import type { Batch, ParsedFile } from '../../src/storage/parse-and-put.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { publicIdOf, storing } from '../contracts/instances.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder } from '../peer.ts';
import { alterBlob, blobsBelow, loseBlob, resizeBlob } from '../storage/blobs.ts';

const FROM: Reception = { origin: 'RestApi', remoteIp: '127.0.0.1', remoteAet: '', username: '' };
const refuses = (code: string) => (thrown: unknown) => thrown instanceof IsenError && thrown.code === code;

interface Room {
  readonly ingest: Ingest;
  readonly database: Database;
  readonly storage: Storage;
  close(): Promise<void>;
}

interface RoomOptions {
  readonly overwrite?: OverwriteMode;
  readonly budget?: number;
  readonly minimumFree?: number;
  readonly stableAge?: number;
  /** UID of the transfer syntax that everything is stored in. */
  readonly syntax?: string;
  /** Parsing threads. */
  readonly threads?: number;
  /** Hears of what is parsed. */
  readonly parsing?: (tasks: readonly ParseTask[], put: Batch['put']) => void;
  /** Replaces verbs of the index, to make it fail: then it takes nothing in, unless that is among them. */
  readonly database?: Partial<Database>;
  /** Whether the thread of the index takes files in. */
  readonly takesIn?: boolean;
}

const openSqliteOf = async (folder: string, stableAge = 60_000): Promise<Database> =>
  openSqlite({
    path: join(folder, 'index'),
    limits: { maximumStorageSize: 0, maximumPatientCount: 0, mode: 'Recycle', stableAge },
  });

async function openRoom(folder: string, options: RoomOptions = {}): Promise<Room> {
  mkdirSync(folder, { recursive: true });
  const storage = await openFilesystem({ root: join(folder, 'storage'), sync: true });
  const index = await openSqliteOf(folder, options.stableAge);
  const { takeIn, ...verbs } = index;
  const takesIn = options.takesIn ?? options.database === undefined;
  const database: Database = { ...verbs, ...(takesIn && takeIn && { takeIn }), ...options.database };
  const threads = options.threads ?? 1;
  const pool = createPool<Batch, readonly Answer<ParsedFile>[]>({ file: 'parse', threads });
  const parsers: typeof pool = {
    ...pool,
    run(batch) {
      options.parsing?.(batch.files, batch.put);
      return pool.run(batch);
    },
  };
  const transcoder = createTranscoder({ storage, quality: 90, cached: 0 });
  const rule = { ofUncompressed: true, ofCompressed: true, hash: true };
  const transcoding = options.syntax === undefined ? undefined : transcoder.ingest(options.syntax, rule);
  const ingest = await openIngest({
    database,
    storage,
    changes: createEmbeddedChanges(database),
    parsers,
    overwrite: options.overwrite ?? 'Never',
    hash: true,
    budget: options.budget ?? 16 << 20,
    largestBody: 128 << 20,
    minimumFree: options.minimumFree ?? 0,
    ...(transcoding && { transcoding }),
  });
  return {
    ingest,
    database,
    storage,
    async close() {
      await ingest.close();
      await transcoder.close();
      await parsers.close();
      await index.close();
    },
  };
}

async function put({ ingest }: Room, bytes: Uint8Array): Promise<Stored> {
  const slab = await ingest.receive();
  for (let at = 0; at < bytes.length; at += 65_536) await slab.append(bytes.subarray(at, at + 65_536));
  return ingest.store(slab, FROM);
}

const blobs = (folder: string): readonly string[] => blobsBelow(join(folder, 'storage'));

/** Waits until `check` holds; work that no request waits for comes soon after. */
async function soon(check: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await check()) return;
    await sleep(20);
  }
  assert.fail('it did not come to pass');
}

test('an image stored is indexed with its MD5, and its bytes are the bytes sent', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder);
  const bytes = make({ sopUid: '1.2.3' });
  const { status, ids } = await put(room, bytes);
  assert.equal(status, 'Success');
  const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
  const attachment = found?.attachments[0];
  assert.ok(attachment);
  assert.equal(attachment.uncompressedMD5, createHash('md5').update(bytes).digest('hex'));
  assert.deepEqual(Buffer.from(await room.storage.read(attachment.uuid)), bytes);
  assert.equal(found?.metadata['Origin']?.value, 'RestApi');
  assert.equal(found?.metadata['RemoteIP']?.value, '127.0.0.1');
  await room.close();
});

test('large bodies that wait for a thread go there together, and those that need not wait alone', async () => {
  const bodies = Array.from({ length: 9 }, (_, index) =>
    make({ sopUid: `1.2.${index}`, bits: 16, rows: 100, columns: 2000, pixels: randomBytes(400_000) }),
  );
  const largestTask = async (threads: number, count: number): Promise<number> => {
    const sizes: number[] = [];
    const room = await openRoom(temporaryFolder(), {
      threads,
      takesIn: false,
      parsing: (tasks) => sizes.push(tasks.length),
    });
    await Promise.all(
      bodies.slice(0, count).map(async (bytes) => {
        const { ids } = await put(room, bytes);
        const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
        assert.equal(found?.attachments[0]?.uncompressedMD5, createHash('md5').update(bytes).digest('hex'));
      }),
    );
    await room.close();
    return Math.max(...sizes);
  };
  assert.equal(await largestTask(1, 9), 4);
  assert.equal(await largestTask(2, 2), 1);
});

test('the same image twice is stored once, also when both come at the same time', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder);
  const bytes = make({ sopUid: '1.2.3' });
  const statuses = (await Promise.all([put(room, bytes), put(room, bytes), put(room, bytes)])).map(
    ({ status }) => status,
  );
  assert.deepEqual(statuses.toSorted(), ['AlreadyStored', 'AlreadyStored', 'Success']);
  await soon(() => blobs(folder).length === 1);
  await room.close();
});

test('overwriting replaces the file and removes the old one', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder, { overwrite: 'Always' });
  await put(room, make({ sopUid: '1.2.3', patientName: 'FIRST' }));
  const second = make({ sopUid: '1.2.3', patientName: 'SECOND' });
  const { status, ids } = await put(room, second);
  assert.equal(status, 'Success');
  await soon(() => blobs(folder).length === 1);
  const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
  assert.deepEqual(Buffer.from(await room.storage.read(found?.attachments[0]?.uuid ?? '')), second);
  await room.close();
});

test('what is not DICOM leaves nothing', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder);
  await assert.rejects(put(room, randomBytes(100_000)), refuses('BadFileFormat'));
  await assert.rejects(put(room, new Uint8Array()), refuses('BadFileFormat'));
  await assert.rejects(put(room, make({ without: ['0008,0018'] })), refuses('BadFileFormat'));
  await soon(() => blobs(folder).length === 0);
  assert.equal((await room.database.statistics())?.instances, 0);
  await room.close();
});

test('bad files among good ones that are parsed together fail alone', async () => {
  const room = await openRoom(temporaryFolder());
  const outcomes = await Promise.allSettled(
    Array.from({ length: 40 }, (_, index) =>
      put(room, index % 4 === 0 ? randomBytes(500) : make({ sopUid: `1.2.${index}` })),
    ),
  );
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    outcomes.map((_, index) => (index % 4 === 0 ? 'rejected' : 'fulfilled')),
  );
  await room.close();
});

/** What File Meta Information follows (PS3.10 §7.1). */
const PREFIX = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]);

test('small images that come together are stored together, and those that fail leave nothing', async (context) => {
  const folder = temporaryFolder();
  /** UUIDs of blobs that a thread stored. */
  const together = new Set<string>();
  const room = await openRoom(folder, {
    threads: 2,
    parsing: (_, put) => {
      for (const blob of put?.blobs ?? []) if (blob !== undefined) together.add(blob.uuid);
    },
  });
  if (room.storage.packing?.reserve([1]) === undefined) return context.skip('needs Linux and the package koffi');
  const sent = new Map<string, Buffer>();
  let stored = 0;
  for (let round = 0; together.size < 40; round++) {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, async (_, index) => {
        // What looks like DICOM is on its way to the disk before it turns out to be none.
        const none = index % 10 === 0 ? randomBytes(5000) : Buffer.concat([PREFIX, randomBytes(5000)]);
        const bytes = index % 5 === 0 ? none : make({ sopUid: `1.2.${round}.${index}`, rows: 20 + index });
        const { ids } = await put(room, bytes);
        sent.set(ids.Instance, bytes);
      }),
    );
    stored += 16;
    assert.equal(outcomes.filter(({ status }) => status === 'rejected').length, 4);
    assert.ok(round < 200, 'none are stored together');
  }
  for (const [id, bytes] of sent) {
    const [found] = await room.database.find({ level: 'Instance', id });
    const { uuid = '', uncompressedMD5 } = found?.attachments[0] ?? {};
    assert.deepEqual(Buffer.from(await room.storage.read(uuid)), bytes);
    assert.equal(uncompressedMD5, createHash('md5').update(bytes).digest('hex'));
  }
  await soon(() => blobs(folder).length === stored);
  const [id = ''] = sent.keys();
  const [found] = await room.database.find({ level: 'Instance', id });
  await room.ingest.apply({ kind: 'delete', level: 'Instance', id });
  await soon(() => blobs(folder).length === stored - 1);
  await room.close();
  // What the index has is there still, and what was deleted or never committed stays away.
  const third = await openRoom(folder);
  assert.equal(blobs(folder).length, stored - 1);
  await assert.rejects(third.storage.read(found?.attachments[0]?.uuid ?? ''), refuses('InexistentFile'));
  for (const [instance, bytes] of sent) {
    const [kept] = await third.database.find({ level: 'Instance', id: instance });
    if (kept !== undefined)
      assert.deepEqual(Buffer.from(await third.storage.read(kept.attachments[0]?.uuid ?? '')), bytes);
  }
  await third.close();
});

test('when the commit fails the client hears of it, and the next start settles the file by the index', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder, {
    database: { commit: () => Promise.reject(new IsenError('Database', 'broken on purpose')) },
  });
  await assert.rejects(put(room, make()), refuses('Database'));
  // The engine may have written it before it failed: only the next start can tell.
  assert.equal(blobs(folder).length, 1);
  await room.close();
  const next = await openRoom(folder);
  assert.equal(blobs(folder).length, 0);
  await next.close();
});

test('as long as few files come the thread of the index takes them in, and no other is woken', async () => {
  const folder = temporaryFolder();
  const sizes: number[] = [];
  const parsed: number[] = [];
  const real = await openSqliteOf(folder);
  const takeIn: Database['takeIn'] = async (batch, arrivals) => {
    assert.ok(real.takeIn);
    sizes.push(batch.files.length);
    return real.takeIn(batch, arrivals);
  };
  const room = await openRoom(folder, {
    database: { ...real, takeIn },
    parsing: (tasks) => parsed.push(tasks.length),
  });
  for (let round = 0; round < 5; round++) {
    const bodies = Array.from({ length: 3 }, (_, at) => make({ sopUid: `1.2.${round}.${at}` }));
    const stored = await Promise.all(bodies.map(async (bytes) => put(room, bytes)));
    for (const [at, { status, ids }] of stored.entries()) {
      assert.equal(status, 'Success');
      const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
      assert.deepEqual(Buffer.from(await room.storage.read(found?.attachments[0]?.uuid ?? '')), bodies[at]);
      assert.equal(found?.metadata['Origin']?.value, 'RestApi');
    }
  }
  assert.deepEqual([sizes.reduce((sum, size) => sum + size, 0), Math.max(...sizes) <= 4, parsed], [15, true, []]);
  // What it leaves out goes the usual way, which says what is wrong.
  await assert.rejects(put(room, Buffer.concat([make().subarray(0, 200), randomBytes(900)])), refuses('BadFileFormat'));
  const deflated = make({ sopUid: '1.3', transferSyntax: '1.2.840.10008.1.2.1.99' });
  assert.equal((await put(room, deflated)).status, 'Success');
  assert.equal(parsed.length, 2);
  assert.equal((await put(room, make({ sopUid: '1.2.0.0' }))).status, 'AlreadyStored');
  await soon(() => blobs(folder).length === 16);
  await room.close();
});

test('when taking in fails the file goes the usual way, or the client hears of it and the next start settles it', async () => {
  for (const [code, usual, ...when] of [
    ['FullStorage', true, false],
    ['Database', true, false, true],
    ['DatabaseUnavailable', false, false, true],
  ] as const) {
    for (const late of when) {
      const folder = temporaryFolder();
      const real = await openSqliteOf(folder);
      let failing = true;
      const takeIn: Database['takeIn'] = async (batch, arrivals) => {
        assert.ok(real.takeIn);
        const error = new IsenError(code, 'broken on purpose');
        if (!failing) return real.takeIn(batch, arrivals);
        failing = false;
        if (!late) throw error;
        // It is in the index, and nobody knows whether it is durable.
        return { ...(await real.takeIn(batch, arrivals)), durable: Promise.reject(error) };
      };
      const room = await openRoom(folder, { database: { ...real, takeIn } });
      const bytes = make({ sopUid: '1.2.3' });
      if (usual) assert.equal((await put(room, bytes)).status, late ? 'AlreadyStored' : 'Success');
      else await assert.rejects(put(room, bytes), refuses(code));
      assert.equal((await put(room, make({ sopUid: '1.2.4' }))).status, 'Success');
      await room.close();
      const next = await openRoom(folder);
      const isThere = usual || late;
      assert.equal((await next.database.statistics())?.instances, isThere ? 2 : 1);
      await soon(() => blobs(folder).length === (isThere ? 2 : 1));
      const again = await put(next, bytes);
      assert.equal(again.status, isThere ? 'AlreadyStored' : 'Success', `${code} ${late}`);
      await soon(() => blobs(folder).length === 2);
      const [found] = await next.database.find({ level: 'Instance', id: again.ids.Instance });
      assert.deepEqual(Buffer.from(await next.storage.read(found?.attachments[0]?.uuid ?? '')), bytes);
      await next.close();
    }
  }
});

test('one operation that the engine cannot take does not fail those committed with it', async () => {
  const folder = temporaryFolder();
  const real = await openRoom(folder);
  const commit: Database['commit'] = async (operations) => {
    const poisoned = operations.some((each) => each.kind === 'store' && each.summary.includes('"0008,0018":"1.2.13"'));
    if (poisoned) throw new IsenError('Database', 'broken on purpose');
    return real.database.commit(operations);
  };
  const other = await openRoom(join(folder, 'other'), { database: { ...real.database, commit } });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) => put(other, make({ sopUid: `1.2.${index}` }))),
  );
  assert.equal(outcomes.filter(({ status }) => status === 'rejected').length, 1);
  assert.equal(outcomes[13]?.status, 'rejected');
  assert.equal((await real.database.statistics())?.instances, 19);
  await other.close();
  await real.close();
});

test('a body larger than the memory of uploads is stored whole', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder, { budget: 2 << 20 });
  const pixels = randomBytes(9_000_000);
  const bytes = make({ rows: 1, columns: 60_000, frames: 75, bits: 16, pixels });
  const { ids } = await put(room, bytes);
  const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
  const attachment = found?.attachments[0];
  assert.equal(attachment?.uncompressedMD5, createHash('md5').update(bytes).digest('hex'));
  assert.deepEqual(Buffer.from(await room.storage.read(attachment?.uuid ?? '')), bytes);
  await assert.rejects(put(room, randomBytes(5_000_000)), refuses('BadFileFormat'));
  assert.equal((await put(room, bytes)).status, 'AlreadyStored');
  await soon(() => blobs(folder).length === 1);
  await room.close();
});

test('a restart keeps the committed files and removes those that were not', async () => {
  const folder = temporaryFolder();
  const first = await openRoom(folder);
  const { ids } = await put(first, make({ sopUid: '1.2.3' }));
  // What a process leaves that dies between the write and the commit.
  const orphan = first.storage.name();
  await first.storage.put(orphan, randomBytes(100));
  assert.equal(blobs(folder).length, 2);
  await first.close();
  const second = await openRoom(folder);
  assert.equal(blobs(folder).length, 1);
  const [found] = await second.database.find({ level: 'Instance', id: ids.Instance });
  assert.ok((await second.storage.read(found?.attachments[0]?.uuid ?? '')).length > 0);
  await second.close();
});

test('a deleted image loses its file, also when the process ended in between', async () => {
  const folder = temporaryFolder();
  const first = await openRoom(folder);
  const { ids } = await put(first, make());
  // The row goes; the file stays on the durable list, as if the process had died here.
  await first.database.commit([{ kind: 'delete', level: 'Patient', id: ids.Patient }]);
  assert.equal(blobs(folder).length, 1);
  await first.close();
  const second = await openRoom(folder);
  await soon(() => blobs(folder).length === 0);
  await soon(async () => (await second.database.removals(10)).length === 0);
  await second.close();
});

test('files that cannot be removed keep no others from it', async (context) => {
  const folder = temporaryFolder();
  const first = await openRoom(folder);
  for (let number = 0; number < 80; number += 1) await put(first, make({ sopUid: `1.2.${number}` }));
  const [patient = ''] = (await first.database.find({ level: 'Patient' })).map(({ id }) => id);
  const stuck = new Set(
    (await first.database.find({ level: 'Instance' })).map(({ attachments }) => attachments[0]?.uuid),
  );
  const remove = first.storage.remove.bind(first.storage);
  context.mock.method(first.storage, 'remove', async (uuid: string) => {
    if (stuck.has(uuid)) throw new IsenError('CannotWriteFile');
    return remove(uuid);
  });
  await first.database.commit([{ kind: 'delete', level: 'Patient', id: patient }]);
  // More than are looked at together are before it in the list.
  const last = make({ sopUid: '1.3' });
  const { ids } = await put(first, last);
  await first.ingest.apply({ kind: 'delete', level: 'Instance', id: ids.Instance });
  await soon(() => blobs(folder).length === 80);
  context.mock.restoreAll();
  await first.close();
  const second = await openRoom(folder);
  await soon(() => blobs(folder).length === 0);
  await second.close();
});

test('what else is to be committed has its turn while many instances are deleted', async (context) => {
  const room = await openRoom(temporaryFolder());
  const chain = { patient: 'many', study: '8.1', series: '8.1.1' };
  const many = Array.from({ length: 1200 }, (_, n) => storing({ ...chain, instance: `8.1.1.${n}` }));
  await room.database.commit(many);
  const commits = context.mock.method(room.database, 'commit');
  const order: string[] = [];
  const deleted = room.ingest
    .apply({ kind: 'delete', level: 'Patient', id: publicIdOf('many') })
    .then(() => order.push('deleted'));
  // Once it has begun, and before it may have ended.
  for (const end = performance.now() + 10_000; commits.mock.callCount() === 0 && performance.now() < end; )
    await new Promise(setImmediate);
  await room.ingest.apply(storing({ ...chain, patient: 'one', instance: '8.2' })).then(() => order.push('stored'));
  await deleted;
  assert.deepEqual(order, ['stored', 'deleted']);
  for (const { result } of commits.mock.calls) {
    const { changes } = await (result as unknown as Promise<Committed>);
    const gone = changes.filter(({ type }) => type === 'Deleted').length;
    assert.ok(gone <= 503, `${gone} at once`);
  }
  assert.equal((await room.database.statistics())?.instances, 1);
  await assert.rejects(room.ingest.apply({ kind: 'delete', level: 'Patient', id: publicIdOf('many') }), {
    code: 'UnknownResource',
  });
  await room.close();
});

test('a resource becomes stable after its age, also when the server was restarted in the middle of the wait', async () => {
  const folder = temporaryFolder();
  const first = await openRoom(folder, { stableAge: 400 });
  const { ids } = await put(first, make());
  const isStable = async (room: Room): Promise<boolean> =>
    (await room.database.find({ level: 'Study', id: ids.Study }))[0]?.isStable ?? false;
  assert.equal(await isStable(first), false);
  await first.close();
  const second = await openRoom(folder, { stableAge: 400 });
  await soon(() => isStable(second));
  const { changes } = await second.database.changes({ limit: 100 });
  const stable = changes.filter(({ type }) => type.startsWith('Stable')).map(({ type }) => type);
  assert.deepEqual(stable.toSorted(), ['StablePatient', 'StableSeries', 'StableStudy']);
  await second.close();
});

test('below the watermark of the disk nothing is taken in, and the answer says to come again', async () => {
  const room = await openRoom(temporaryFolder(), { minimumFree: Number.MAX_SAFE_INTEGER });
  await assert.rejects(room.ingest.receive(), (thrown: unknown) => {
    return thrown instanceof IsenError && thrown.code === 'FullStorage' && thrown.http === 503;
  });
  await room.close();
});

test('an instance whose stored file is lost or cut short is healed by the next upload of it', async () => {
  for (const overwrite of ['Never', 'IfChanged'] as const) {
    const folder = temporaryFolder();
    const room = await openRoom(folder, { overwrite });
    const bytes = make({ sopUid: '1.2.66' });
    const { ids } = await put(room, bytes);
    const root = join(folder, 'storage');
    for (const damage of [
      (blob: string) => loseBlob(root, blob),
      (blob: string) => resizeBlob(root, blob, 100),
      (blob: string) => resizeBlob(root, blob, 1e5),
    ]) {
      assert.equal((await put(room, bytes)).status, 'AlreadyStored');
      // The file of the repeated upload goes in the background.
      await soon(() => blobs(folder).length === 1);
      for (const blob of blobs(folder)) damage(blob);
      assert.deepEqual(await put(room, bytes), { status: 'Success', ids });
      const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
      const uuid = found?.attachments[0]?.uuid ?? '';
      assert.deepEqual(Buffer.from(await room.storage.read(uuid)), bytes);
      await soon(() => blobs(folder).length === 1);
    }
    assert.equal((await room.database.statistics())?.instances, 1);
    await room.close();
  }
});

test('healing a lost or altered file leaves the labels and metadata of its instance', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder);
  const bytes = make({ sopUid: '1.2.67' });
  const { ids } = await put(room, bytes);
  const of = { level: 'Instance', id: ids.Instance } as const;
  await room.ingest.apply({ kind: 'label', ...of, label: 'kept', present: true });
  await room.ingest.apply({ kind: 'metadata', ...of, name: '1024', value: 'kept' });
  const root = join(folder, 'storage');
  let [blob = ''] = blobs(folder);
  for (const damage of [loseBlob, alterBlob]) {
    [blob = blob] = blobs(folder);
    // Later than anybody takes to write it: what is touched before counts as written with it.
    await sleep(600);
    damage(root, blob, bytes.length - 1);
    assert.equal((await put(room, bytes)).status, 'Success');
    const [found] = await room.database.find(of);
    assert.deepEqual([found?.labels, found?.metadata['1024']?.value], [['kept'], 'kept']);
    assert.deepEqual(Buffer.from(await room.storage.read(found?.attachments[0]?.uuid ?? '')), bytes);
    await soon(() => blobs(folder).length === 1);
  }
  assert.equal((await put(room, bytes)).status, 'AlreadyStored');
  await room.close();
});

test('a file that nobody touched since it was received is not read back when it is sent again', async (context) => {
  const room = await openRoom(temporaryFolder());
  const bytes = make({ sopUid: '1.2.68' });
  await put(room, bytes);
  const read = context.mock.method(room.storage, 'stream');
  assert.equal((await put(room, bytes)).status, 'AlreadyStored');
  assert.equal(read.mock.callCount(), 0);
  await room.close();
});

test('what is doubtful and no image is not written', async (context) => {
  const room = await openRoom(temporaryFolder());
  const write = context.mock.method(room.storage, 'put');
  const half = make({ sopUid: '1.2.69', rows: 64, columns: 64 }).subarray(0, 3000);
  for (const bytes of [Buffer.from('x'), Buffer.alloc(5000), randomBytes(300_000).fill(0, 0, 8), half]) {
    const slab = await room.ingest.receive();
    await slab.append(bytes);
    await assert.rejects(room.ingest.store(slab, FROM, { doubtful: true }), refuses('BadFileFormat'));
  }
  assert.equal(write.mock.callCount(), 0);
  const slab = await room.ingest.receive();
  await slab.append(make({ sopUid: '1.2.69' }));
  assert.equal((await room.ingest.store(slab, FROM, { doubtful: true })).status, 'Success');
  await room.close();
});

test('bodies too large for memory are stored whole in any form, and refused when they are damaged', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder, { budget: 1 << 20 });
  const pixels = randomBytes(66 << 20);
  const deflated = '1.2.840.10008.1.2.1.99';
  const bodies = {
    native: make({ sopUid: '1.2.70', pixels }),
    deflated: make({ sopUid: '1.2.71', pixels, transferSyntax: deflated }),
    document: make({
      sopUid: '1.2.72',
      pixels: false,
      extra: [{ tag: '0042,0011', vr: 'OB', value: pixels }],
    }),
  };
  for (const [form, body] of Object.entries(bodies)) {
    const { status, ids } = await put(room, body);
    assert.equal(status, 'Success', form);
    const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
    const attachment = found?.attachments[0];
    assert.equal(attachment?.uncompressedMD5, createHash('md5').update(body).digest('hex'), form);
    assert.equal(found?.metadata['PixelDataOffset'] !== undefined, form === 'native', form);
  }
  const cut = bodies.native.subarray(0, bodies.native.length - 1);
  await assert.rejects(put(room, cut), refuses('BadFileFormat'), 'native and cut');
  await assert.rejects(put(room, bodies.document.subarray(0, -1)), refuses('BadFileFormat'), 'a document and cut');
  await soon(() => blobs(folder).length === 3);
  await room.close();
});

test('the fragments of a body too large for memory are walked', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder, { budget: 1 << 20 });
  const fragments = Array.from({ length: 40 }, (_, index) => randomBytes(index % 2 === 0 ? 10 : 200_000));
  const whole = make({ sopUid: '1.2.80', transferSyntax: '1.2.840.10008.1.2.4.50', pixels: { fragments } });
  assert.ok(whole.length > 3 << 20);
  for (const length of [whole.length - 1, whole.length - 8, whole.length - 100_000, 2 << 20]) {
    await assert.rejects(put(room, whole.subarray(0, length)), refuses('BadFileFormat'), String(length));
  }
  const altered = Buffer.from(whole);
  const at = altered.indexOf(fragments[31] ?? '') - 8;
  altered[at] = 0;
  await assert.rejects(put(room, altered), refuses('BadFileFormat'));
  await soon(() => blobs(folder).length === 0);
  assert.equal((await put(room, whole)).status, 'Success');
  await room.close();
});

test('closing finishes what was accepted and takes nothing new', async () => {
  const room = await openRoom(temporaryFolder());
  const slabs = await Promise.all(Array.from({ length: 10 }, () => room.ingest.receive()));
  for (const [index, slab] of slabs.entries()) await slab.append(make({ sopUid: `1.2.${index}` }));
  const accepted = slabs.map((slab) => room.ingest.store(slab, FROM));
  const closing = room.ingest.close();
  await assert.rejects(room.ingest.receive(), refuses('Busy'));
  await closing;
  for (const { status } of await Promise.all(accepted)) assert.equal(status, 'Success');
  assert.equal((await room.database.statistics())?.instances, 10);
  await room.close();
});

const RLE = '1.2.840.10008.1.2.5';

test('what is transcoded is stored once, under the ids it was sent by, with its own size and MD5', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder, { syntax: RLE });
  const plain = await openRoom(join(folder, 'plain'));
  const bytes = make({ sopUid: '1.2.3', rows: 64, columns: 64 });
  const outcomes = await Promise.all([put(room, bytes), put(room, bytes), put(room, bytes)]);
  assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ['AlreadyStored', 'AlreadyStored', 'Success']);
  const { ids } = await put(plain, bytes);
  for (const outcome of outcomes) assert.deepEqual(outcome.ids, ids);
  const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
  const attachment = found?.attachments[0] ?? assert.fail();
  const stored = Buffer.from(await room.storage.read(attachment.uuid));
  assert.equal(readFile(stored).transferSyntax, RLE);
  assert.equal(found?.metadata['TransferSyntax']?.value, RLE);
  assert.equal(found?.metadata['Origin']?.value, 'RestApi');
  assert.deepEqual(
    [attachment.uncompressedSize, attachment.compressedSize, attachment.uncompressedMD5, attachment.compressedMD5],
    [stored.length, stored.length, ...Array.from({ length: 2 }, () => createHash('md5').update(stored).digest('hex'))],
  );
  const files = (): readonly string[] => blobs(folder).filter((name) => !name.startsWith('plain'));
  await soon(() => files().length === 1);
  await assert.rejects(put(room, randomBytes(5000)), refuses('BadFileFormat'));
  await soon(() => files().length === 1);
  await plain.close();
  await room.close();
});

test('what cannot be transcoded is stored as it came, with a warning', async (context) => {
  const warned = context.mock.method(log.generic, 'warn', () => {});
  const room = await openRoom(temporaryFolder(), { syntax: '1.2.840.10008.1.2.4.50' });
  const bytes = make({ sopUid: '1.2.3' });
  const { ids } = await put(room, bytes);
  const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
  assert.deepEqual(Buffer.from(await room.storage.read(found?.attachments[0]?.uuid ?? '')), bytes);
  assert.equal(warned.mock.callCount(), 1);
  const text = String(warned.mock.calls[0]?.arguments[0]);
  assert.match(text, new RegExp(`^instance ${ids.Instance} is stored as received.*1\\.2\\.4\\.50$`));
  await room.close();
});

test('a body larger than the memory of uploads is transcoded, and what it came as leaves no trace', async () => {
  const folder = temporaryFolder();
  const room = await openRoom(folder, { budget: 2 << 20, syntax: RLE });
  const bytes = make({ rows: 100, columns: 1000, frames: 45, pixels: randomBytes(9_000_000) });
  const { ids, status } = await put(room, bytes);
  assert.equal(status, 'Success');
  assert.equal((await put(room, bytes)).status, 'AlreadyStored');
  const [found] = await room.database.find({ level: 'Instance', id: ids.Instance });
  const stored = await room.storage.read(found?.attachments[0]?.uuid ?? '');
  const { dataSet } = readFile(stored);
  assert.equal(dataSet.elements.get('7fe0,0010')?.fragments?.length, 45);
  await soon(() => blobs(folder).length === 1);
  await room.close();
  const next = await openRoom(folder);
  assert.equal(blobs(folder).length, 1);
  await next.close();
});

test('a commit of a transcoded file that fails leaves what the next start settles', async () => {
  const folder = temporaryFolder();
  for (const [code, left] of [
    ['Database', 1],
    ['FullStorage', 0],
  ] as const) {
    const commit = () => Promise.reject(new IsenError(code, 'broken on purpose'));
    const room = await openRoom(folder, { syntax: RLE, database: { commit } });
    await assert.rejects(put(room, make()), refuses(code));
    await soon(() => blobs(folder).length === left);
    await room.close();
    const next = await openRoom(folder);
    assert.equal(blobs(folder).length, 0);
    await next.close();
  }
});
