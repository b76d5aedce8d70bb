/** Runs the contract of the `database` port on PostgreSQL, and what only a server shared by several can suffer. */

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { Constraint, Database } from '../../src/database/database.ts';
import { openPostgres } from '../../src/database/postgres.ts';
import { asIsenError } from '../../src/errors.ts';
import { databaseContract, UNLIMITED } from '../contracts/database.ts';
import { attachmentOf, publicIdOf, storing } from '../contracts/instances.ts';
import { freePort, temporaryFolder } from '../peer.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from '../postgres-server.ts';

const skip = withoutPostgres();
const options = { skip, timeout: 60_000 };
let server: PostgresServer;
before(async () => {
  if (skip === false) server = await startPostgres(['deadlock_timeout=500ms']);
});
after(async () => {
  if (skip === false) await server.stop();
});

/** Opens the index of the schema `name`. */
async function open(schema: string, limits = UNLIMITED): Promise<Database> {
  return openPostgres({
    connection: { ...server.connection, schema },
    limits,
    connections: 8,
    patience: { retries: 100, interval: 100 },
  });
}

/** A connection beside the index, for what an operator would look at. */
async function administrate<T>(schema: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const { host, port, database, username, password } = server.connection;
  const client = new pg.Client({
    ...(host !== undefined && port !== undefined ? { host, port } : {}),
    ...(database !== undefined && username !== undefined ? { database, user: username } : {}),
    ...(password !== undefined ? { password } : {}),
    options: `-c search_path=${schema}`,
  });
  // It may be one of those that are killed.
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Whether everything in the index agrees with everything else. */
async function assertSound(schema: string): Promise<void> {
  await administrate(schema, async (client) => {
    const value = async (sql: string): Promise<number> =>
      Number(Object.values((await client.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0]);
    for (const table of ['patients', 'studies', 'series', 'instances']) {
      assert.equal(await value(`SELECT ${table} FROM counters`), await value(`SELECT count(*) FROM ${table}`), table);
    }
    for (const [child, parent] of [
      ['studies', 'patients'],
      ['series', 'studies'],
      ['instances', 'series'],
    ]) {
      assert.equal(await value(`SELECT count(*) FROM ${child} WHERE parent NOT IN (SELECT id FROM ${parent})`), 0);
      assert.equal(await value(`SELECT count(*) FROM ${parent} WHERE id NOT IN (SELECT parent FROM ${child})`), 0);
    }
    const last = await value('SELECT seq FROM counters');
    assert.equal(await value('SELECT max(seq) FROM changes'), last);
    assert.equal(await value('SELECT count(*) FROM changes'), last, 'no gap in the log');
    assert.equal(
      await value('SELECT count(*) FROM changes WHERE type = 1'),
      await value('SELECT count(*) FROM instances'),
    );
    assert.equal(
      await value('SELECT count(*) FROM changes WHERE type = 2'),
      await value('SELECT count(*) FROM patients'),
    );
    assert.equal(await value('SELECT disk_size FROM counters'), await value('SELECT sum(size) FROM instances'));
  });
}

if (skip === false) databaseContract('postgres', open);
else test('postgres: the contract of the database', { skip }, () => {});

test('postgres: processes that store the same new patients at once fail none and double nothing', options, async () => {
  const schema = 'shared';
  const database = await open(schema);
  const child = fileURLToPath(new URL('postgres-child.js', import.meta.url));
  const to = JSON.stringify({ ...server.connection, schema });
  const lines: string[] = [];
  let running = 4;
  const children = Array.from({ length: running }, async (_, name) => {
    const started = spawn(process.execPath, [child, to, `${name}`, '10000'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    started.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const [code] = (await once(started, 'close')) as [number | null];
    assert.equal(code, 0);
    lines.push(...text.split('\n').filter((line) => line !== ''));
    running--;
  });
  // One that follows the log meanwhile never sees a number appear below one that it saw.
  let since = 0;
  while (running > 0) {
    const { changes } = await database.changes({ since, limit: 1000 });
    for (const change of changes) assert.equal(change.seq, ++since);
    await sleep(2);
  }
  await Promise.all(children);
  assert.deepEqual(
    lines.filter((line) => !/^(Success|AlreadyStored) /.test(line)),
    [],
  );
  const stored = lines.filter((line) => line.startsWith('Success ')).map((line) => line.slice('Success '.length));
  assert.equal(new Set(stored).size, stored.length, 'an instance was stored twice');
  assert.equal((await database.statistics())?.instances, stored.length);
  assert.ok(lines.length - stored.length > stored.length / 2, 'they met');
  assert.ok(stored.length > 1000, `${stored.length} stored`);
  await database.close();
  await assertSound(schema);
});

test('postgres: what is attached is told once commits have ended that a process left behind', options, async () => {
  const schema = 'left';
  const [died, next] = [await open(schema), await open(schema)];
  const operation = storing({ patient: 'P', study: '1', series: '1.1', instance: '1.1.1' });
  const { uuid } = operation.attachment;
  await administrate(schema, async (client) => {
    // In its last statement a commit changes the counters.
    await client.query('BEGIN');
    await client.query('SELECT * FROM counters FOR UPDATE');
    const committing = died.commit([operation]);
    const waits = async (count: number): Promise<void> => {
      const end = Date.now() + 20_000;
      const sql = `SELECT count(*)::int AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = $1`;
      while ((await client.query<{ count: number }>(sql, [`isen ${schema}`])).rows[0]?.count !== count) {
        assert.ok(Date.now() < end, `${count} do not wait`);
        await sleep(20);
        // What it sees of the others is kept through a transaction.
        await client.query('SELECT pg_stat_clear_snapshot()');
      }
    };
    await waits(1);
    let told: ReadonlySet<string> | undefined;
    const asked = next.attached([uuid]).then((answer) => (told = answer));
    await waits(2);
    assert.equal(told, undefined, 'it was told before');
    await client.query('COMMIT');
    await committing;
    assert.deepEqual([...(await asked)], [uuid]);
  });
  await Promise.all([died.close(), next.close()]);
});

test('postgres: a series completed by two processes is completed once', options, async () => {
  const both = [await open('halves'), await open('halves')];
  const of = (number: number, index: number) =>
    storing({
      patient: 'P',
      study: '1',
      series: `1.${number}`,
      instance: `1.${number}.${index}`,
      seriesMetadata: { ExpectedNumberOfInstances: '4' },
      instanceMetadata: { IndexInSeries: `${index}` },
    });
  for (let number = 0; number < 30; number++) {
    await Promise.all(
      both.map((database, half) => database.commit([of(number, half * 2 + 1), of(number, half * 2 + 2)])),
    );
  }
  const completed = await both[0]?.changes({ limit: 100, types: ['CompletedSeries'] });
  assert.equal(completed?.changes.length, 30);
  for (const database of both) await database.close();
});

test('postgres: stores, deletions and replacements of several processes leave it sound', options, async () => {
  const schema = 'mixed';
  const all = [await open(schema), await open(schema), await open(schema)];
  await Promise.all(
    all.map(async (database, process) => {
      for (let round = 0; round < 40; round++) {
        const chain = { patient: `P${round % 3}`, study: '1', series: `1.${round % 2}`, instance: `${round % 7}` };
        const id = publicIdOf(chain.patient, chain.study, chain.series);
        await database.commit(
          round % 5 === process
            ? [{ kind: 'delete', level: 'Series', id }, storing(chain)]
            : [
                storing({ ...chain, overwrite: round % 4 === 0 ? 'Always' : 'Never' }),
                { kind: 'label', level: 'Series', id, label: `l${process}`, present: true },
              ],
        );
      }
    }),
  );
  const statistics = await all[0]?.statistics();
  await administrate(schema, async (client) => {
    for (const table of ['patients', 'studies', 'series', 'instances'] as const) {
      const { rows } = await client.query<{ count: string }>(`SELECT count(*) FROM ${table}`);
      assert.equal(Number(rows[0]?.count), statistics?.[table], table);
    }
    const { rows } = await client.query<{ size: string }>('SELECT sum(size) AS size FROM instances');
    assert.equal(Number(rows[0]?.size), statistics?.dicomDiskSize);
  });
  for (const database of all) await database.close();
});

test('postgres: a transaction that waits in a circle is tried again', options, async () => {
  const schema = 'circle';
  const database = await open(schema);
  const set = (name: string, value: string) => ({ kind: 'property', name, value }) as const;
  await database.commit([set('a', '0'), set('b', '0')]);
  await administrate(schema, async (client) => {
    const write = (name: string) => client.query(`UPDATE properties SET value = 'other' WHERE name = $1`, [name]);
    // The server looks for circles half a second after a wait began: it is not this one that it ends.
    await client.query(`SET deadlock_timeout = '20s'`);
    await client.query('BEGIN');
    await write('a');
    const committing = database.commit([set('b', '1'), set('a', '1')]);
    await sleep(150);
    await write('b');
    await client.query('COMMIT');
    assert.deepEqual((await committing).outcomes, [{ kind: 'done' }, { kind: 'done' }]);
  });
  assert.deepEqual([await database.property('a'), await database.property('b')], ['1', '1']);
  await database.close();
});

/** Commits until it worked; what was lost on the way is found stored already. */
async function insist(database: Database, instance: string, wrong: string[]): Promise<void> {
  for (;;) {
    try {
      await database.commit([storing({ patient: 'P', study: '1', series: '1.1', instance })]);
      return;
    } catch (thrown) {
      const { code } = asIsenError(thrown);
      if (code !== 'DatabaseUnavailable') wrong.push(asIsenError(thrown).message);
      await sleep(20);
    }
  }
}

test(
  'postgres: processes of the server killed in the middle of commits lose nothing acknowledged',
  options,
  async () => {
    const schema = 'killed';
    const database = await open(schema);
    const acknowledged: string[] = [];
    const wrong: string[] = [];
    let over = false;
    const clients = Array.from({ length: 4 }, async (_, client) => {
      for (let number = 0; !over; number++) {
        const instance = `${client}.${number}`;
        await insist(database, instance, wrong);
        acknowledged.push(publicIdOf('P', '1', '1.1', instance));
      }
    });
    for (let round = 0; round < 4; round++) {
      await sleep(300);
      await administrate(schema, async (client) => {
        const { rows } = await client.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'isen%' AND query ~ 'COMMIT|INSERT|UPDATE' LIMIT 1`,
        );
        // The server ends every other of its processes then, and recovers.
        if (rows[0] !== undefined) process.kill(rows[0].pid, 'SIGKILL');
      });
      await insist(database, `after ${round}`, wrong);
    }
    over = true;
    await Promise.all(clients);
    // The last of the deaths may be noticed after the last commit.
    const there = new Set<string>();
    for (let answered = false; !answered; ) {
      try {
        for (const { id } of await database.find({ level: 'Instance', idsOnly: true })) there.add(id);
        answered = true;
      } catch (thrown) {
        assert.equal(asIsenError(thrown).code, 'DatabaseUnavailable');
        await sleep(20);
      }
    }
    for (const id of acknowledged) assert.ok(there.has(id), `${id} was acknowledged`);
    assert.ok(acknowledged.length > 100, `${acknowledged.length} acknowledged`);
    assert.deepEqual(wrong, []);
    await database.close();
    await assertSound(schema);
  },
);

test(
  'postgres: a server that is away is DatabaseUnavailable at once, and used again when it is back',
  options,
  async () => {
    const schema = 'away';
    const database = await open(schema);
    await database.commit([storing({ patient: 'P', study: '1', series: '1.1', instance: '1' })]);
    await server.kill();
    for (let tries = 0; tries < 3; tries++) {
      const began = performance.now();
      await assert.rejects(database.find({ level: 'Patient' }), { code: 'DatabaseUnavailable' });
      await assert.rejects(database.commit([storing({ patient: 'P', study: '1', series: '1.1', instance: '2' })]), {
        code: 'DatabaseUnavailable',
      });
      assert.ok(performance.now() - began < 5000);
    }
    const { connection } = server;
    await assert.rejects(
      openPostgres({ connection, limits: UNLIMITED, connections: 1, patience: { retries: 2, interval: 20 } }),
      { code: 'DatabaseUnavailable' },
    );
    await server.start();
    await insist(database, '3', []);
    assert.equal((await database.statistics())?.instances, 2);
    await database.close();
    await assert.rejects(database.lastSeq(), { code: 'DatabaseUnavailable' });
  },
);

test('postgres: a statement that waits for another server has its deadline', options, async () => {
  const schema = 'waiting';
  const database = await open(schema);
  await administrate(schema, async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT * FROM counters FOR UPDATE');
    const storing_ = database.commit([storing({ patient: 'P', study: '1', series: '1.1', instance: '1' })]);
    let settled = false;
    void storing_.finally(() => (settled = true)).catch(() => {});
    await sleep(200);
    assert.equal(settled, false);
    // What reads is not held up by what writes.
    assert.equal(await database.lastSeq(), 0);
    const { rowCount } = await client.query(
      `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'isen%'`,
    );
    assert.equal(rowCount, 1);
    await assert.rejects(storing_, { code: 'DatabaseUnavailable' });
    await client.query('ROLLBACK');
  });
  assert.equal((await database.statistics())?.instances, 0);
  await database.commit([storing({ patient: 'P', study: '1', series: '1.1', instance: '1' })]);
  await database.close();
});

test(
  'postgres: the schema is made once by processes that start at once, and a newer one is refused',
  options,
  async () => {
    const schema = 'versions';
    const all = await Promise.all(Array.from({ length: 4 }, () => open(schema)));
    for (const database of all) await database.close();
    await administrate(schema, async (client) => client.query('UPDATE schema_version SET version = 99'));
    await assert.rejects(open(schema), { code: 'IncompatibleDatabaseVersion' });
    await administrate(schema, async (client) => {
      assert.equal(
        (await client.query<{ version: number }>('SELECT version FROM schema_version')).rows[0]?.version,
        99,
      );
    });
  },
);

test('postgres: a wrong password is a Database error; nobody there is DatabaseUnavailable', options, async () => {
  const opening = async (connection: Partial<PostgresServer['connection']>) =>
    openPostgres({
      connection: { ...server.connection, ...connection },
      limits: UNLIMITED,
      connections: 1,
      patience: { retries: 1, interval: 1 },
    });
  await assert.rejects(opening({ password: 'wrong' }), { code: 'Database' });
  await assert.rejects(opening({ database: 'nowhere' }), { code: 'Database' });
  await assert.rejects(opening({ port: await freePort() }), { code: 'DatabaseUnavailable' });
  const { host, port, username, password } = server.connection;
  const url = `postgresql://${username}:${password}@${host}:${port}/postgres?options=-c%20statement_timeout%3D1000`;
  const database = await opening({ url, port: 1, schema: 'by_url' });
  await database.commit([storing({ patient: 'P', study: '1', series: '1.1', instance: '1' })]);
  await database.close();
  await assertSound('by_url');
});

test('postgres: text that it cannot hold costs only the characters it cannot hold', options, async () => {
  const database = await open('text');
  const chain = { patient: 'P\0Q', study: '1', series: '1.1', instance: '1' };
  const id = publicIdOf('P\0Q', '1');
  const { outcomes } = await database.commit([
    storing({ ...chain, studyTags: { '0008,1030': 'a\0b\ud800c\\u0000' } }),
    { kind: 'metadata', level: 'Study', id, name: 'n\0', value: 'v\0\udfff{"\\' },
    { kind: 'label', level: 'Study', id, label: 'l\0"\'', present: true },
    { kind: 'property', name: 'p\0', value: '\0' },
  ]);
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['stored', 'written', 'written', 'done'],
  );
  const [found] = await database.find({ level: 'Study', id });
  assert.equal(found?.tags['0008,1030'], 'ab\ufffdc\\u0000');
  assert.equal(found?.metadata['n']?.value, 'v\ufffd{"\\');
  assert.deepEqual(found?.labels, [`l"'`]);
  assert.equal(await database.property('p'), '');
  const where: Constraint[] = [{ tag: '0010,0020', caseSensitive: false, match: 'equal', value: 'p\0q' }];
  assert.equal((await database.find({ level: 'Study', where })).length, 1);
  await database.close();
});

test('postgres: text beyond ASCII is found without a column as with one', options, async () => {
  const database = await open('accents');
  const names = ['Größe', 'GRÖSSE', 'Ünlü çay', 'ünlü', 'plain', ' Plain\t', '東京', '100% [a]_b'];
  await database.commit(
    names.map((name, index) =>
      storing({
        patient: 'P',
        study: '1',
        series: `1.${index}`,
        instance: `${index}`,
        seriesTags: { '0008,103e': name },
      }),
    ),
  );
  const search = async (constraint: Record<string, unknown>): Promise<string[]> => {
    const where = [{ tag: '0008,103e', caseSensitive: false, ...constraint } as Constraint];
    const found = await database.find({ level: 'Series', where });
    return found.map(({ tags }) => tags['0008,103e'] ?? '').sort();
  };
  assert.deepEqual(await search({ match: 'equal', value: 'grosse' }), ['GRÖSSE', 'Größe']);
  assert.deepEqual(await search({ match: 'wildcard', value: 'UNLU*' }), ['Ünlü çay', 'ünlü']);
  assert.deepEqual(await search({ match: 'wildcard', value: '*ÇAY' }), ['Ünlü çay']);
  assert.deepEqual(await search({ match: 'equal', value: 'PLAIN' }), [' Plain\t', 'plain']);
  assert.deepEqual(await search({ match: 'list', values: ['東京', 'x'] }), ['東京']);
  assert.deepEqual(await search({ match: 'wildcard', value: '100% [a]_?' }), ['100% [a]_b']);
  assert.deepEqual(await search({ match: 'wildcard', value: '1__% *' }), []);
  assert.deepEqual(await search({ match: 'wildcard', value: '*', caseSensitive: true }), [...names].sort());
  assert.deepEqual(await search({ match: 'equal', value: 'plain', caseSensitive: true }), ['plain']);
  await database.close();
});

test('postgres: an operation that fails leaves its connection fit for the next', options, async () => {
  const database = await open('failing');
  const good = storing({ patient: 'P', study: '1', series: '1.1', instance: '1' });
  const bad = { ...good, attachment: { ...attachmentOf(1), uncompressedMD5: 'zz' } };
  for (let count = 0; count < 10; count++) {
    const other = { ...bad, ids: good.ids };
    await assert.rejects(database.commit([other]), { code: 'Database' });
  }
  assert.deepEqual((await database.commit([good])).outcomes, [{ kind: 'stored', status: 'Success' }]);
  await database.close();
  await assertSound('failing');
});

test('postgres: on a full disk storing is FullStorage, and goes on when there is room', options, async (context) => {
  const schema = 'full_disk';
  const mounted = temporaryFolder();
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', mounted]).status !== 0)
    return context.skip('needs the right to mount a file system');
  try {
    execFileSync('chown', ['postgres', mounted]);
    await administrate('public', async (client) => {
      await client.query(`CREATE TABLESPACE small LOCATION '${mounted}'`);
      await client.query('ALTER ROLE isen SET default_tablespace = small');
    });
    const database = await open(schema);
    const filler = openSync(join(mounted, 'filler'), 'w');
    assert.throws(() => {
      for (;;) writeSync(filler, Buffer.alloc(65_536, 7));
    });
    closeSync(filler);
    const operation = (index: number) => storing({ patient: `${index}`, study: '1', series: '1', instance: '1' });
    let stored = 0;
    await assert.rejects(
      async () => {
        for (; stored < 10_000; stored++) await database.commit([operation(stored)]);
      },
      { code: 'FullStorage', http: 507 },
    );
    assert.equal((await database.find({ level: 'Patient', idsOnly: true })).length, stored);
    rmSync(join(mounted, 'filler'));
    await database.commit([operation(stored)]);
    assert.equal((await database.statistics())?.patients, stored + 1);
    await database.close();
    await assertSound(schema);
    await administrate('public', async (client) => {
      await client.query('ALTER ROLE isen RESET default_tablespace');
      await client.query(`DROP SCHEMA ${schema} CASCADE`);
      await client.query('DROP TABLESPACE small');
    });
  } finally {
    // Where something failed, the server still has its files open.
    spawnSync('umount', ['-l', mounted]);
  }
});
