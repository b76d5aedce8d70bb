/** Owns the proof that what the thread of the index takes in is whole: file and row, or neither; and that what a sync left in doubt is mended. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { Arrival, Database, Taking } from '../../src/database/database.ts';
import { areDurable, distrust, newCommits, readableOf, tellDurable } from '../../src/database/sqlite/commits.ts';
import { LogSync } from '../../src/database/sqlite/log-sync.ts';
import { Writer } from '../../src/database/sqlite/writer.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { allocatePages } from '../../src/storage/pages.ts';
import type { Batch } from '../../src/storage/parse-and-put.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { storing, summaryOf } from '../contracts/instances.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder } from '../peer.ts';

const arrival: Arrival = { metadata: { Origin: 'RestApi', RemoteAET: 'CT1' }, overwrite: 'Never' };

interface Room {
  readonly database: Database;
  readonly storage: Storage;
  readonly index: string;
  takeIn(files: readonly Buffer[], change?: (put: NonNullable<Batch['put']>) => Batch['put']): Promise<Taking>;
  close(): Promise<void>;
}

async function openRoom(): Promise<Room> {
  const folder = temporaryFolder();
  const index = join(folder, 'index');
  const storage = await openFilesystem({ root: join(folder, 'storage'), sync: true });
  const database = await openSqlite({ path: index, limits: UNLIMITED, kept: { Instance: ['0008,0008'] } });
  return {
    database,
    storage,
    index,
    async takeIn(files, change = (put) => put) {
      const inPages = files.map((file) => {
        const bytes = new Uint8Array(allocatePages(1 << 20), 0, file.length);
        bytes.set(file);
        return bytes;
      });
      const place = storage.packing?.reserve(files.map(({ length }) => length));
      assert.ok(place && database.takeIn);
      const put = change({ space: place.space, blobs: place.blobs });
      const tasks = inPages.map((bytes) => ({ bytes, size: bytes.length, hash: true }));
      const taken = await database.takeIn(
        { files: tasks, ...(put && { put }) },
        files.map(() => arrival),
      );
      place.release();
      await taken.durable;
      return taken;
    },
    async close() {
      await database.close();
      await storage.close();
    },
  };
}

const image = (sopUid: string): Buffer =>
  make({ sopUid, bits: 16, rows: 100, columns: 700, pixels: randomBytes(140_000) });

test('what is taken in is stored as it came, and indexed with its main tags, MD5 and how it arrived', async () => {
  const room = await openRoom();
  const files = ['1.2.1', '1.2.2', '1.2.3'].map(image);
  const taken = await room.takeIn(files);
  assert.deepEqual(
    taken.changes.map(({ seq, type }) => [seq, type]),
    [
      [1, 'NewInstance'],
      [2, 'NewSeries'],
      [3, 'NewStudy'],
      [4, 'NewPatient'],
      [5, 'NewInstance'],
      [6, 'NewInstance'],
    ],
  );
  for (const [at, bytes] of files.entries()) {
    const file = taken.files[at];
    assert.deepEqual(file?.outcome, { kind: 'stored', status: 'Success' });
    const [found] = await room.database.find({ level: 'Instance', id: file.ids.Instance });
    const [attachment] = found?.attachments ?? [];
    assert.equal(attachment?.uuid, file.blob);
    assert.equal(attachment.uncompressedMD5, createHash('md5').update(bytes).digest('hex'));
    assert.equal(attachment.uncompressedSize, bytes.length);
    assert.equal(found?.metadata['RemoteAET']?.value, 'CT1');
    assert.match(found.metadata['MainDicomTagsSignature']?.value ?? '', /0008,0008/, 'tags kept besides the usual');
    assert.deepEqual(Buffer.from(await room.storage.read(file.blob)), bytes);
  }
  const again = await room.takeIn(files.slice(1, 2));
  assert.deepEqual(again.files[0]?.outcome, { kind: 'stored', status: 'AlreadyStored' });
  assert.match(again.files[0].summary, /1\.2\.2/, 'who heals a lost file needs it');
  assert.deepEqual(again.changes, []);
  await room.close();
});

test('what cannot be parsed here is left out, and the others stand', async () => {
  const room = await openRoom();
  const deflated = make({ sopUid: '1.2.9', transferSyntax: '1.2.840.10008.1.2.1.99' });
  const files = [image('1.2.1'), randomBytes(140_000), deflated, make({ without: ['0008,0018'] }), image('1.2.2')];
  const { files: taken } = await room.takeIn(files);
  assert.deepEqual(
    taken.map((file) => file !== undefined),
    [true, false, false, false, true],
  );
  assert.equal((await room.database.statistics())?.instances, 2);
  const { files: none, changes } = await room.takeIn([randomBytes(5000)]);
  assert.deepEqual([none, changes], [[undefined], []]);
  await room.close();
});

/** A file with so many empty elements, in an item of Request Attributes Sequence, which is a main tag. */
const crowded = (elements: number): Buffer =>
  make({
    sopUid: '1.2.8',
    extra: [
      {
        tag: '0040,0275',
        vr: 'SQ',
        value: {
          items: [
            Array.from({ length: elements }, (_, at) => {
              const tag = `0041,${(0x1000 + at).toString(16)}`;
              return { tag, vr: 'LO', value: '' };
            }),
          ],
        },
      },
    ],
  });

test('what takes long to be parsed is left to others', async () => {
  const room = await openRoom();
  const { files: few } = await room.takeIn([crowded(3000)]);
  assert.equal(few[0]?.outcome.kind, 'stored');
  const { files: many } = await room.takeIn([crowded(5000)]);
  assert.deepEqual(many, [undefined]);
  await room.close();
});

test('what did not get to the disk is not in the index, and the others are', async () => {
  const room = await openRoom();
  // Behind the largest file that there can be.
  const far = (put: NonNullable<Batch['put']>, index: number): Batch['put'] => ({
    ...put,
    blobs: put.blobs.map((blob, at) => blob && { ...blob, at: at === index ? 2 ** 46 : blob.at }),
  });
  const { files: taken } = await room.takeIn(['1.2.1', '1.2.2', '1.2.3'].map(image), (put) => far(put, 1));
  assert.deepEqual(
    taken.map((file) => file?.outcome.kind),
    ['stored', undefined, 'stored'],
  );
  assert.equal((await room.database.statistics())?.instances, 2);
  assert.equal(await room.database.lastSeq(), 5, 'what was undone has left no gap');
  const { files: lost } = await room.takeIn([image('1.2.4')], (put) => far(put, 0));
  assert.deepEqual(lost, [undefined]);
  assert.equal((await room.database.statistics())?.instances, 2);
  await room.close();
});

test('what is durable is in the files, whatever becomes of the process', async () => {
  const room = await openRoom();
  const { files } = await room.takeIn(['1.2.1', '1.2.2'].map(image));
  const copy = join(temporaryFolder(), 'copy');
  for (const ending of ['', '-wal']) copyFileSync(room.index + ending, copy + ending);
  await room.close();
  const reopened = await openSqlite({ path: copy, limits: UNLIMITED });
  for (const file of files) {
    assert.equal((await reopened.find({ level: 'Instance', id: file?.ids.Instance ?? '' })).length, 1);
  }
  await reopened.close();
});

test('nobody reads a number of the log that is not durable', async () => {
  const room = await openRoom();
  const commits = newCommits();
  const writer = new Writer({
    path: join(temporaryFolder(), 'index'),
    limits: UNLIMITED,
    commits,
    kept: {},
    bell: undefined,
  });
  const operation = storing({ patient: 'P', study: '1', series: '2', instance: '3' });
  const store = (during = (): void => {}): void =>
    void writer.commitUnsynced([{ ...operation, summary: summaryOf(operation) }], during);
  assert.ok(areDurable(commits));
  store();
  assert.ok(!areDurable(commits));
  const one = readableOf(commits);
  // A sync that begins while the next one is being made says nothing of it.
  let two = 0;
  store(() => (two = readableOf(commits)));
  assert.equal(two, one);
  tellDurable(commits, two);
  assert.ok(!areDurable(commits));
  writer.commit([]);
  assert.ok(areDurable(commits), 'this one has synced the log');
  tellDurable(commits, one);
  assert.ok(areDurable(commits));
  writer.close();
  // Asked while files are being taken in, the log answers all the same.
  const taking = room.takeIn(['1.2.1', '1.2.2'].map(image));
  for (let last = 0; last < 5; last = await room.database.lastSeq()) {
    const { changes } = await room.database.changes({ since: last, limit: 10 });
    assert.ok(changes.every(({ seq }) => seq > last));
  }
  await taking;
  await room.close();
});

test('what became stable waits anew when more comes within the same moment', () => {
  const commits = newCommits();
  const limits = { ...UNLIMITED, stableAge: 0 };
  const path = join(temporaryFolder(), 'index');
  const writer = new Writer({ path, limits, commits, kept: {}, bell: undefined });
  const reader = new Sqlite(path, { readonly: true });
  const waiting = (): unknown => reader.prepare('SELECT count(stable_at) FROM series').pluck().get();
  for (let instance = 0; instance < 50; instance++) {
    const operation = storing({ patient: 'P', study: '1', series: '2', instance: `${instance}` });
    writer.commit([{ ...operation, summary: summaryOf(operation) }]);
    assert.equal(waiting(), 1);
    writer.commit([{ kind: 'stabilize', now: Date.now() + 1, limit: 10 }]);
    assert.equal(waiting(), 0);
  }
  reader.close();
  writer.close();
});

test('syncs are shared by the commits that end meanwhile, and one that fails is told to all', async () => {
  const folder = temporaryFolder();
  execFileSync('touch', [join(folder, 'index-wal')]);
  const log = new LogSync(join(folder, 'index'), () => assert.fail('none failed'));
  const first = log.synced();
  const second = log.synced();
  assert.notEqual(second, first, 'the first may have begun too early for it');
  assert.equal(log.synced(), second);
  await Promise.all([first, second]);
  assert.equal(log.failures, 0);
  await log.close();
  // Of a pipe nothing can be synced.
  execFileSync('mkfifo', [join(folder, 'pipe-wal')]);
  let told = 0;
  const broken = new LogSync(join(folder, 'pipe'), () => (told += 1));
  const both = [broken.synced(), broken.synced()];
  for (const each of both) await assert.rejects(each, { code: 'DatabaseUnavailable' });
  assert.equal(broken.failures, told);
  assert.equal(told, 2);
  await broken.close();
});

test('nothing is committed behind a log in doubt: what is in it goes into the index first', () => {
  const path = join(temporaryFolder(), 'index');
  const commits = newCommits();
  const writer = new Writer({ path, limits: UNLIMITED, commits, kept: {}, bell: undefined });
  const store = (instance: string): void => {
    const operation = storing({ patient: 'P', study: '1', series: '2', instance });
    writer.commit([{ ...operation, summary: summaryOf(operation) }]);
  };
  store('1');
  const reader = new Sqlite(path, { readonly: true });
  const instances = (): unknown => reader.prepare('SELECT count(*) FROM instances').pluck().get();
  reader.exec('BEGIN');
  assert.equal(instances(), 1);
  distrust(commits);
  // Whoever still reads of the log keeps it from being left.
  assert.throws(() => store('2'), { code: 'DatabaseUnavailable' });
  reader.exec('COMMIT');
  assert.equal(instances(), 1);
  // A log that begins has another salt (16 bytes into it).
  const salt = (): string => readFileSync(`${path}-wal`).toString('hex', 16, 24);
  const before = salt();
  store('2');
  assert.notEqual(salt(), before, 'a new log was begun');
  assert.equal(instances(), 2);
  store('3');
  assert.equal(instances(), 3);
  reader.close();
  writer.close();
});
