/** Runs the contract of the `database` port on SQLite, and what only a file can suffer. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, copyFileSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import type { StoreOperation } from '../../src/database/database.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { databaseContract, UNLIMITED } from '../contracts/database.ts';
import { storing } from '../contracts/instances.ts';
import { temporaryFolder } from '../peer.ts';

const folder = temporaryFolder();

databaseContract('sqlite', async (name, limits) => openSqlite({ path: join(folder, `${name}.db`), limits }));

/** Whether the file is sound, and everything in it agrees with everything else. */
function assertSound(path: string): void {
  const db = new Sqlite(path);
  try {
    assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
    const value = (sql: string): unknown => db.prepare(sql).pluck().get();
    for (const table of ['patients', 'studies', 'series', 'instances']) {
      assert.equal(value(`SELECT ${table} FROM counters`), value(`SELECT count(*) FROM ${table}`), table);
    }
    assert.equal(value('SELECT count(*) FROM instances WHERE parent NOT IN (SELECT id FROM series)'), 0);
    assert.equal(value('SELECT count(*) FROM series WHERE id NOT IN (SELECT parent FROM instances)'), 0);
    assert.equal(value('SELECT seq FROM counters'), value('SELECT max(seq) FROM changes'));
    assert.equal(value('SELECT count(*) FROM changes'), value('SELECT max(seq) FROM changes'), 'no gap in the log');
    assert.equal(value('SELECT count(*) FROM changes WHERE type = 1'), value('SELECT count(*) FROM instances'));
  } finally {
    db.close();
  }
}

/** Operations in each commit of the child. */
const BATCH = 20;

const CHILD = fileURLToPath(new URL('sqlite-child.js', import.meta.url));

/** Starts the child; calls `each` with its lines, and resolves when it has ended. */
async function child(command: readonly string[], each: (line: string, process: ChildProcess) => void): Promise<void> {
  const [program = '', ...rest] = command;
  const started = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  started.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) each(line, started);
  });
  await once(started, 'close');
}

test('sqlite: a process killed in the middle of commits loses nothing that it acknowledged', async () => {
  const path = join(folder, 'killed.db');
  const acknowledged = new Set<string>();
  for (let round = 0; round < 6; round++) {
    let killing = false;
    await child([process.execPath, CHILD, path, `${round}`], (line, started) => {
      for (const id of line.split(' ')) acknowledged.add(id);
      if (killing) return;
      killing = true;
      setTimeout(() => started.kill('SIGKILL'), 20 + 60 * round);
    });
    const database = await openSqlite({ path, limits: UNLIMITED });
    const found = await database.find({ level: 'Instance', idsOnly: true });
    const there = new Set(found.map((each) => each.id));
    for (const id of acknowledged) assert.ok(there.has(id), `${id} was acknowledged`);
    await database.close();
    assertSound(path);
  }
  assert.ok(acknowledged.size > 100, `${acknowledged.size} acknowledged`);
});

test('sqlite: a full disk is a Database error that leaves what was committed, and ends with the room', async () => {
  const path = join(folder, 'full.db');
  const acknowledged = new Set<string>();
  let ending = '';
  // The shell's limit of a file's size (in blocks of 512 or 1024 bytes) fails a write as a full disk does.
  const limited = ['sh', '-c', 'ulimit -f 3000; exec "$0" "$@"', process.execPath, CHILD, path, 'full'];
  await child(limited, (line) => {
    if (line.startsWith('error')) ending = line;
    else for (const id of line.split(' ')) acknowledged.add(id);
  });
  assert.equal(ending, `error Database ${acknowledged.size}`);
  assert.ok(acknowledged.size > 100);
  const database = await openSqlite({ path, limits: UNLIMITED });
  const found = await database.find({ level: 'Instance', idsOnly: true });
  const ids = new Set(found.map((each) => each.id));
  for (const id of acknowledged) assert.ok(ids.has(id), `acknowledged ${id} is lost`);
  // The commit that failed may be durable after all, but then whole: the disk was full before it could say so.
  assert.ok(
    [0, BATCH].includes(ids.size - acknowledged.size),
    `${ids.size} found of ${acknowledged.size} acknowledged`,
  );
  await database.commit([storing({ patient: 'after', study: '1', series: '1', instance: '1' })]);
  await database.close();
  assertSound(path);
});

test('sqlite: the index of a newer program is refused and not touched', async () => {
  const path = join(folder, 'newer.db');
  const db = new Sqlite(path);
  db.pragma('user_version = 99');
  db.close();
  await assert.rejects(openSqlite({ path, limits: UNLIMITED }), { code: 'IncompatibleDatabaseVersion' });
  const after = new Sqlite(path);
  assert.equal(after.pragma('user_version', { simple: true }), 99);
  assert.equal(after.prepare('SELECT count(*) FROM sqlite_schema').pluck().get(), 0);
  after.close();
});

test('sqlite: a file that is no index, and a folder that is not there, are Database errors', async () => {
  const path = join(folder, 'garbage.db');
  writeFileSync(path, 'this is no database '.repeat(500));
  await assert.rejects(openSqlite({ path, limits: UNLIMITED }), { code: 'Database' });
  await assert.rejects(openSqlite({ path: join(folder, 'no', 'such', 'folder.db'), limits: UNLIMITED }), {
    name: 'IsenError',
    code: 'Database',
  });
});

test('sqlite: two programs on one file give each number once', async () => {
  const path = join(folder, 'shared.db');
  const both = [await openSqlite({ path, limits: UNLIMITED }), await openSqlite({ path, limits: UNLIMITED })];
  const results = await Promise.all(
    Array.from({ length: 40 }, async (_, index) =>
      both[index % 2]?.commit([storing({ patient: 'P', study: '1', series: '1.1', instance: `${index % 30}` })]),
    ),
  );
  const statuses = results.map((result) => result?.outcomes[0]);
  assert.equal(statuses.filter((each) => each?.kind === 'stored' && each.status === 'AlreadyStored').length, 10);
  for (const database of both) {
    assert.equal((await database.statistics())?.instances, 30);
    assert.equal(await database.lastSeq(), 33);
    await database.close();
  }
  assertSound(path);
});

test('sqlite: the log of a long search does not hold up closing', async () => {
  const database = await openSqlite({ path: join(folder, 'closing.db'), limits: UNLIMITED });
  const operations = Array.from({ length: 5000 }, (_, index) =>
    storing({ patient: 'P', study: '1', series: '1.1', instance: `${index}` }),
  );
  await database.commit(operations);
  const [first] = operations;
  const searching = database.find({
    level: 'Instance',
    of: { level: 'Patient', id: first?.ids.Patient ?? '' },
  });
  const refused = assert.rejects(searching, { code: 'DatabaseUnavailable' });
  await database.close();
  await refused;
});

test('sqlite: commits find room in the log, and what a power cut leaves of it is read up to its last frame', async () => {
  const path = join(folder, 'room.db');
  const database = await openSqlite({ path, limits: UNLIMITED });
  const commit = async (from: number, to: number): Promise<void> => {
    for (let at = from; at < to; at++)
      await database.commit([storing({ patient: 'P', study: '1', series: '2', instance: `${at}` })]);
  };
  await commit(0, 20);
  const { size } = statSync(`${path}-wal`);
  assert.ok(size > 4 << 20, `${size} bytes`);
  await commit(20, 60);
  assert.equal(statSync(`${path}-wal`).size, size, 'they did not make it longer');
  const copy = join(folder, 'room-copy.db');
  for (const ending of ['', '-wal']) copyFileSync(path + ending, copy + ending);
  await database.close();
  const reopened = await openSqlite({ path: copy, limits: UNLIMITED });
  assert.equal((await reopened.find({ level: 'Instance', idsOnly: true })).length, 60);
  await reopened.close();
  assertSound(copy);
});

test('sqlite: on a full disk storing is FullStorage, and deleting makes room', async (context) => {
  const mounted = join(folder, 'mounted');
  mkdirSync(mounted);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'none', mounted]).status !== 0)
    return context.skip('needs the right to mount a file system');
  try {
    const database = await openSqlite({ path: join(mounted, 'index'), limits: UNLIMITED });
    const operation = (index: number): StoreOperation =>
      storing({ patient: `${index}`, study: '1', series: '1', instance: '1' });
    await database.commit([operation(0)]);
    const filler = openSync(join(mounted, 'filler'), 'w');
    assert.throws(() => {
      for (;;) writeSync(filler, Buffer.alloc(65_536, 7));
    });
    closeSync(filler);
    const stored = [operation(0).ids.Patient];
    await assert.rejects(
      async () => {
        for (let index = 1; index < 10_000; index++) {
          await database.commit([operation(index)]);
          stored.push(operation(index).ids.Patient);
        }
      },
      { code: 'FullStorage', http: 507 },
    );
    for (const id of stored) {
      const { outcomes } = await database.commit([{ kind: 'delete', level: 'Patient', id }]);
      assert.deepEqual(outcomes, [{ kind: 'deleted', remaining: undefined }]);
    }
    const uuids = await database.removals(1000);
    await database.commit([{ kind: 'forget', uuids }]);
    assert.equal((await database.statistics())?.patients, 0);
    rmSync(join(mounted, 'filler'));
    await database.commit([operation(1)]);
    await database.close();
    const index = new Sqlite(join(mounted, 'index'));
    assert.equal(index.pragma('integrity_check', { simple: true }), 'ok');
    index.close();
  } finally {
    spawnSync('umount', [mounted]);
  }
});
