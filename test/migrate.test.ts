/**
 * Owns `isen migrate`: a server with everything that it can hold moves from SQLite and files to PostgreSQL and S3 and back, is killed
 * in the middle each time, and answers the same afterwards.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { make } from './dicom/made.ts';
import { freePort, ROOT, temporaryFolder, without } from './peer.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from './postgres-server.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import { type S3Server, S3_SERVER, startS3 } from './s3-server.ts';
import { startChild } from './server-child.ts';
import { alterBlob, blobsBelow, loseBlob } from './storage/blobs.ts';

const skip = withoutPostgres() || without(S3_SERVER) || without('redis-server');
let postgres: PostgresServer;
let redis: RedisServer;
let s3: S3Server;
before(async () => {
  if (skip !== false) return;
  [postgres, redis, s3] = await Promise.all([startPostgres(), startRedis(), startS3()]);
});
after(async () => {
  if (skip !== false) return;
  await Promise.all([postgres.stop(), redis.stop(), s3.kill()]);
});

const INSTANCES = 900;

/** Options of a server: engines by name. */
interface Place {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
}

const COMMON = {
  StableAge: 3600,
  AuthenticationEnabled: false,
  DicomServerEnabled: false,
  LogExportedResources: true,
  DicomModalitiesInDatabase: true,
  OrthancPeersInDatabase: true,
};

const inPostgres = (schema: string): object => {
  const { host, port, database, username, password } = postgres.connection;
  return {
    PostgreSQL: { Host: host, Port: port, Database: database, Username: username, Password: password, Schema: schema },
  };
};
const inS3 = (prefix: string): object => ({
  S3: { Endpoint: s3.endpoint, Bucket: s3.bucket, AccessKey: s3.accessKey, SecretKey: s3.secretKey, Prefix: prefix },
});
const inRedis = (prefix: string): object => ({ Redis: { Url: redis.target.url, Prefix: prefix } });

/** A configuration in a folder of its own. */
function place(
  name: string,
  ...options: readonly object[]
): Place & { readonly file: string; readonly folder: string } {
  const folder = temporaryFolder();
  const all: Record<string, unknown> = Object.assign({ StorageDirectory: folder, ...COMMON }, ...options);
  const file = join(folder, 'migrate.json');
  writeFileSync(file, JSON.stringify(all));
  return { name, options: all, file, folder };
}

const CLI = join(ROOT, 'dist', 'src', 'cli.js');
const migration = (from: { file: string }, to: { file: string }): ChildProcess =>
  spawn(process.execPath, [CLI, 'migrate', '--from', from.file, '--to', to.file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });

/** Runs it to its end. */
async function migrate(from: { file: string }, to: { file: string }): Promise<{ code: number | null; output: string }> {
  const child = migration(from, to);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** Runs it until `isMidway`, and kills it then. */
async function interrupt(
  from: { file: string },
  to: { file: string },
  isMidway: () => Promise<boolean>,
): Promise<void> {
  const child = migration(from, to);
  const deadline = Date.now() + 60_000;
  while (!(await isMidway())) {
    assert.equal(child.exitCode, null, 'it ended before it was killed');
    assert.ok(Date.now() < deadline);
    await sleep(5);
  }
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** A server on a configuration while `work` runs. */
async function serve<Result>(
  at: { folder: string; options: Readonly<Record<string, unknown>> },
  work: (url: string) => Promise<Result>,
): Promise<Result> {
  const port = await freePort();
  const child = await startChild(at.folder, port, at.options);
  try {
    return await work(`http://127.0.0.1:${port}`);
  } finally {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
}

async function ask(url: string, path: string, init: RequestInit = {}): Promise<string> {
  const answer = await fetch(`${url}${path}`, init);
  const text = await answer.text();
  assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
  return text;
}
const put = (url: string, path: string, body: string): Promise<string> => ask(url, path, { method: 'PUT', body });

/** Fills a server with some of everything. */
async function fill(url: string): Promise<void> {
  await put(url, '/modalities/away', JSON.stringify({ AET: 'AWAY', Host: '127.0.0.1', Port: 9, RetryDelay: 3600 }));
  await put(url, '/modalities/rested', JSON.stringify({ AET: 'RESTED', Host: '127.0.0.1', Port: 9 }));
  await put(url, '/peers/other', JSON.stringify(['http://127.0.0.1:9']));
  await put(url, '/routes/some', JSON.stringify({ When: { Tags: { PatientID: 'P1' } }, To: 'away' }));
  await put(url, '/modalities/idle', JSON.stringify({ AET: 'IDLE', Host: '127.0.0.1', Port: 9 }));
  for (const name of ['rested', 'idle']) await ask(url, `/modalities/${name}/queue/pause`, { method: 'POST' });
  const waiting = Array.from({ length: INSTANCES }, (_, index) => index);
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
        const [study, series] = [`2.25.7.${index % 20}`, `2.25.7.${index % 20}.${index % 3}`];
        const body = make({
          patientId: `P${index % 10}`,
          studyUid: study,
          seriesUid: series,
          sopUid: `2.25.7.9.${index}`,
        });
        await ask(url, '/instances', { method: 'POST', body: new Uint8Array(body) });
      }
    }),
  );
  // Past what is held whole, and not a DICOM file.
  const [study = ''] = JSON.parse(await ask(url, '/studies')) as string[];
  await put(url, `/studies/${study}/attachments/1024`, 'x'.repeat(9 << 20));
  await put(url, `/studies/${study}/metadata/1025`, 'first\u0001 é');
  await ask(url, `/studies/${study}/metadata/1025`, {
    method: 'PUT',
    body: 'second',
    headers: { 'If-Match': '"0"' },
  });
  await put(url, `/studies/${study}/labels/keep`, '');
  const [patient = '', other = ''] = JSON.parse(await ask(url, '/patients')) as string[];
  await put(url, `/patients/${patient}/protected`, '1');
  const [first = '', second = ''] = JSON.parse(await ask(url, '/instances?limit=2&since=0')) as string[];
  await ask(url, `/instances/${first}/attachments/dicom/compress`, { method: 'POST' });
  await ask(url, `/instances/${second}`, { method: 'DELETE' });
  const job = await ask(url, `/patients/${other}/anonymize`, {
    method: 'POST',
    body: JSON.stringify({ Asynchronous: true }),
  });
  const { ID } = JSON.parse(job) as { ID: string };
  const state = async (): Promise<string> => (JSON.parse(await ask(url, `/jobs/${ID}`)) as { State: string }).State;
  for (let tries = 0; (await state()) !== 'Success'; tries++) {
    assert.ok(tries < 300);
    await sleep(50);
  }
  await ask(url, '/modalities/rested/store', {
    method: 'POST',
    body: JSON.stringify({ Resources: [patient], Asynchronous: true }),
  });
}

const QUESTIONS = [
  '/patients?expand',
  '/studies?expand',
  '/series?expand',
  '/instances?expand&since=0&limit=100000',
  '/changes?limit=100000',
  '/changes?last',
  '/exports',
  '/statistics',
  '/modalities?expand',
  '/peers?expand',
  '/routes?expand',
  '/tools/labels',
];

/** Everything that a client sees of a server; of queues what both engines keep. */
async function portrait(url: string): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  for (const path of QUESTIONS) seen[path] = JSON.parse(await ask(url, path));
  const [study = ''] = JSON.parse(
    await ask(url, '/tools/find', {
      method: 'POST',
      body: JSON.stringify({ Level: 'Study', Query: {}, Labels: ['keep'] }),
    }),
  ) as string[];
  for (const path of ['metadata?expand', 'attachments/1024/md5', 'attachments?full', 'labels'])
    seen[path] = await ask(url, `/studies/${study}/${path}`);
  const revised = await fetch(`${url}/studies/${study}/metadata/1025`);
  seen['revision'] = [revised.headers.get('etag'), await revised.text()];
  seen['protected'] = await Promise.all(
    (JSON.parse(await ask(url, '/patients')) as string[]).map((id) => ask(url, `/patients/${id}/protected`)),
  );
  const instances = JSON.parse(await ask(url, '/instances')) as string[];
  for (const id of instances.filter((_, index) => index % 90 === 0))
    seen[id] = await ask(url, `/instances/${id}/attachments/dicom/verify-md5`, { method: 'POST' });
  const queues = ['away', 'rested', 'idle'].map(async (name) => {
    const { Waiting, Retrying, Failed, Paused } = JSON.parse(await ask(url, `/modalities/${name}/queue`)) as Record<
      string,
      unknown
    >;
    return [Number(Waiting) + Number(Retrying), Failed, Paused];
  });
  seen['queues'] = await Promise.all(queues);
  const jobs = JSON.parse(await ask(url, '/jobs?expand')) as { ID: string; Type: string; State: string }[];
  seen['jobs'] = jobs.map(({ ID, Type, State }) => `${ID} ${Type} ${State === 'Running' ? 'Pending' : State}`).sort();
  return seen;
}

/** How many files are below a folder. */
const filesIn = (folder: string): number => (existsSync(folder) ? blobsBelow(folder).length : 0);

async function rowsIn(schema: string): Promise<number> {
  const { host, port, database, username, password } = postgres.connection;
  const client = new pg.Client({ host: host ?? '', port: port ?? 0, database, user: username, password });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>(`SELECT count(*) FROM ${schema}.instances`);
    return Number(rows[0]?.count);
  } catch {
    return 0;
  } finally {
    await client.end();
  }
}

test('a server moves to PostgreSQL, S3 and Redis, and back, killed in the middle each time', {
  skip,
  timeout: 300_000,
}, async (context) => {
  const sqlite = place('sqlite');
  const cluster = place('cluster', inPostgres('cluster'), inS3('cluster'), inRedis('{cluster}'));
  const back = place('back');
  await serve(sqlite, fill);

  await interrupt(sqlite, cluster, async () => (await rowsIn('cluster')) >= 500);
  // Neither a server nor a migration from elsewhere takes what is half there.
  await assert.rejects(
    serve(cluster, async () => {}),
    /ended at its start/,
  );
  const foreign = place('foreign');
  await serve(foreign, async () => {});
  const refused = await migrate(foreign, cluster);
  assert.equal(refused.code, 1);
  assert.match(refused.output, /half of a migration from another index/);
  // Meanwhile the old server went on for a while: what it stored, changed and deleted is brought after.
  const went = await serve(sqlite, async (url) => {
    const [first = '', second = ''] = JSON.parse(await ask(url, '/studies')) as string[];
    await put(url, `/studies/${second}/labels/late`, '');
    await put(url, `/studies/${second}/metadata/1026`, 'late');
    await ask(url, `/series/${(JSON.parse(await ask(url, `/studies/${first}`)) as { Series: string[] }).Series[0]}`, {
      method: 'DELETE',
    });
    const body = new Uint8Array(make({ patientId: 'late', sopUid: '2.25.7.9.99999' }));
    await ask(url, '/instances', { method: 'POST', body });
    return portrait(url);
  });
  const done = await migrate(sqlite, cluster);
  assert.equal(done.code, 0, done.output);
  context.diagnostic(done.output.replaceAll(/\s+/g, ' '));
  const there = await serve(cluster, portrait);
  assert.deepEqual(there, went);
  const again = await migrate(sqlite, cluster);
  assert.equal(again.code, 1);
  assert.match(again.output, /the target is not empty: it has patients \d+/);

  await interrupt(cluster, back, async () => filesIn(back.folder) > 600);
  const home = await migrate(cluster, back);
  assert.equal(home.code, 0, home.output);
  context.diagnostic(home.output.replaceAll(/\s+/g, ' '));
  assert.deepEqual(await serve(back, portrait), there);
  // New numbers follow the old ones, and nothing of the copy is left provisional.
  await serve(back, async (url) => {
    const { Last } = JSON.parse(await ask(url, '/changes?last')) as { Last: number };
    await ask(url, '/instances', { method: 'POST', body: new Uint8Array(make({ sopUid: '2.25.7.9.88888' })) });
    const { Changes } = JSON.parse(await ask(url, `/changes?since=${Last}`)) as { Changes: { Seq: number }[] };
    assert.deepEqual(
      Changes.map(({ Seq }) => Seq),
      Changes.map((_, index) => Last + 1 + index),
    );
    const { CountInstances } = JSON.parse(await ask(url, '/statistics')) as { CountInstances: number };
    // The attachment of the study is a file too.
    assert.equal(filesIn(back.folder), CountInstances + 1);
  });
});

test('files alone move beside an index that stays; a server that runs on either side is in the way', {
  skip,
  timeout: 120_000,
}, async () => {
  const files = place('files');
  const bucket = place('bucket', inS3('bucket'), { IndexDirectory: files.folder });
  const index = place('index', inPostgres('away'), inS3('away'));
  await serve(files, async (url) => {
    for (let number = 0; number < 30; number++)
      await ask(url, '/instances', { method: 'POST', body: new Uint8Array(make({ sopUid: `2.25.7.8.${number}` })) });
    for (const to of [bucket, index]) {
      const { code, output } = await migrate(files, to);
      assert.equal(code, 1);
      assert.match(output, /another server uses the index/);
    }
  });
  await serve(index, async () => {
    const { code, output } = await migrate(files, index);
    assert.equal(code, 1);
    assert.match(output, /a server uses the index/);
  });
  const moved = await migrate(files, bucket);
  assert.equal(moved.code, 0, moved.output);
  assert.match(moved.output, /files copied\s+30\b/);
  // Nothing but S3 has them now.
  for (const name of readdirSync(files.folder))
    if (/^[0-9a-f]{2}$|^packs$/.test(name)) rmSync(join(files.folder, name), { recursive: true });
  await serve(bucket, async (url) => {
    for (const id of JSON.parse(await ask(url, '/instances')) as string[])
      assert.ok((await ask(url, `/instances/${id}/file`)).length > 0);
  });
  const same = await migrate(files, files);
  assert.match(same.output, /both configurations name the same/);
  const nothing = await migrate(place('nothing'), place('target'));
  assert.match(nothing.output, /there is no index/);
});

test('what the source has lost or altered is said, and the rest moves', { skip, timeout: 60_000 }, async () => {
  const source = place('source');
  const target = place('target');
  await serve(source, async (url) => {
    for (let number = 0; number < 5; number++)
      await ask(url, '/instances', { method: 'POST', body: new Uint8Array(make({ sopUid: `2.25.7.6.${number}` })) });
  });
  const [lost = '', altered = ''] = blobsBelow(source.folder);
  loseBlob(source.folder, lost);
  alterBlob(source.folder, altered, 10);
  const { code, output } = await migrate(source, target);
  assert.equal(code, 1);
  assert.match(output, new RegExp(`missing in the source: ${lost}`));
  assert.match(output, new RegExp(`copied as it is: ${altered}`));
  assert.equal(filesIn(target.folder), 4);
  await serve(target, async (url) => assert.equal((JSON.parse(await ask(url, '/instances')) as string[]).length, 5));
});

test('what is in the way stays in the way: queues of others, another place for half of the files, one place by two names', {
  skip,
  timeout: 120_000,
}, async () => {
  const bucket = place('bucket', inS3('apart'));
  await serve(bucket, async (url) => {
    for (let number = 0; number < 5; number++)
      await ask(url, '/instances', { method: 'POST', body: new Uint8Array(make({ sopUid: `2.25.7.5.${number}` })) });
  });

  // Another server's queue: refused however often, and nothing of it is forgotten.
  const other = place('other', inRedis('{other}'));
  await serve(other, async (url) => {
    await put(url, '/modalities/away', JSON.stringify({ AET: 'AWAY', Host: '127.0.0.1', Port: 9, RetryDelay: 3600 }));
    await ask(url, '/modalities/away/queue/pause', { method: 'POST' });
    const body = new Uint8Array(make({ sopUid: '2.25.7.4.1' }));
    const { ID } = JSON.parse(await ask(url, '/instances', { method: 'POST', body })) as { ID: string };
    const job = { Resources: [ID], Asynchronous: true };
    await ask(url, '/modalities/away/store', { method: 'POST', body: JSON.stringify(job) });
  });
  for (const target of [
    place('taken', inRedis('{other}')),
    place('queues', inS3('apart'), inRedis('{other}'), { IndexDirectory: bucket.folder }),
  ]) {
    for (let run = 0; run < 2; run++) {
      const { code, output } = await migrate(bucket, target);
      assert.equal(code, 1);
      assert.match(output, /the queues of the target are not empty/);
    }
  }
  await serve(other, async (url) => {
    const { Waiting, Retrying } = JSON.parse(await ask(url, '/modalities/away/queue')) as Record<string, number>;
    assert.equal(Number(Waiting) + Number(Retrying), 1);
  });

  // One bucket, by two names.
  const alias = await migrate(bucket, place('alias', inS3('apart/')));
  assert.equal(alias.code, 1);
  assert.match(alias.output, /name the same files/);

  // Half of it is in one place, where a file cannot be made: it goes on there, and nowhere else.
  const source = place('source');
  await serve(source, async (url) => {
    for (let number = 0; number < 5; number++)
      await ask(url, '/instances', { method: 'POST', body: new Uint8Array(make({ sopUid: `2.25.7.3.${number}` })) });
  });
  const [uuid = ''] = blobsBelow(source.folder);
  const path = join(uuid.slice(0, 2), uuid.slice(2, 4), uuid);
  const target = place('half');
  mkdirSync(join(target.folder, path, 'in the way'), { recursive: true });
  assert.equal((await migrate(source, target)).code, 1);
  const elsewhere = await migrate(source, place('elsewhere', { IndexDirectory: target.folder }));
  assert.equal(elsewhere.code, 1);
  assert.match(elsewhere.output, /to other files/);
  rmSync(join(target.folder, path), { recursive: true });
  const done = await migrate(source, target);
  assert.equal(done.code, 0, done.output);
  assert.equal(filesIn(target.folder), 5);
});
