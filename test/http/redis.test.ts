/** Runs suites of the whole server once more with its log and its queues in Redis, and several servers beside each other. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { make } from '../dicom/made.ts';
import { temporaryFolder, without } from '../peer.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from '../postgres-server.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';
import { type Served, serve } from './served.ts';

const skip = without('redis-server') || withoutPostgres();
let redis: RedisServer;
let postgres: PostgresServer;
before(async () => {
  if (skip === false) [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
});
after(async () => {
  if (skip === false) await Promise.all([redis.stop(), postgres.stop()]);
});

for (const suite of ['changes', 'jobs', 'storing']) {
  test(`redis: ${suite}`, { skip, timeout: 120_000 }, async () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const child = spawn(process.execPath, ['--test', fileURLToPath(new URL(`${suite}.test.js`, import.meta.url))], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...env, ISEN_TEST_REDIS: redis.target.url },
      timeout: 110_000,
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    const [code] = (await once(child, 'close')) as [number | null];
    assert.equal(code, 0, output.slice(-5000));
    assert.match(output, /pass [1-9]/);
  });
}

interface Page {
  readonly Changes: readonly { readonly Seq: number }[];
  readonly Last: number;
}

const get = async <T>(url: string): Promise<T> => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(15_000) });
  assert.equal(answer.status, 200, url);
  return (await answer.json()) as T;
};

const store = async (server: Served, number: number): Promise<void> => {
  const body = make({ patientId: 'P', studyUid: '1.2', seriesUid: '1.2.3', sopUid: `1.2.3.${number}` });
  const answer = await fetch(`${server.url}/instances`, { method: 'POST', body });
  assert.equal(answer.status, 200);
  await answer.arrayBuffer();
};

test('redis: servers on one index show one log and one list of jobs', { skip, timeout: 60_000 }, async () => {
  const { host, port, database, username, password } = postgres.connection;
  const options = {
    StorageDirectory: temporaryFolder(),
    PostgreSQL: { Host: host, Port: port, Database: database, Username: username, Password: password, Schema: 'nodes' },
    Redis: { Url: redis.target.url, Prefix: '{servers}' },
  };
  const servers = await Promise.all(['one', 'two', 'three'].map(async (NodeName) => serve({ ...options, NodeName })));
  const [one, two, three] = servers;
  assert.ok(one && two && three);
  const aborter = new AbortController();
  const live = await fetch(`${three.url}/changes?since=0`, {
    headers: { Accept: 'text/event-stream' },
    signal: aborter.signal,
  });
  const seqs: number[] = [];
  const reading = (async () => {
    let text = '';
    try {
      for await (const chunk of live.body ?? []) {
        text += Buffer.from(chunk).toString();
        const lines = text.split('\n');
        text = lines.pop() ?? '';
        for (const line of lines) if (line.startsWith('id: ')) seqs.push(Number(line.slice(4)));
      }
    } catch {
      // It was told to stop.
    }
  })();
  await Promise.all(
    Array.from({ length: 60 }, async (_, number) => {
      const server = servers[number % 2];
      assert.ok(server);
      await store(server, number);
    }),
  );
  const expected = Array.from({ length: 63 }, (_, index) => index + 1);
  for (const server of servers) {
    const page = await get<Page>(`${server.url}/changes?limit=1000`);
    assert.deepEqual(
      page.Changes.map(({ Seq }) => Seq),
      expected,
    );
    assert.equal(page.Last, 63);
  }
  const end = Date.now() + 10_000;
  while (seqs.length < 63 && Date.now() < end) await sleep(20);
  assert.deepEqual(seqs, expected);
  aborter.abort();
  await reading;
  const cleared = await fetch(`${one.url}/changes`, { method: 'DELETE' });
  assert.equal(cleared.status, 200);
  for (const server of servers) assert.deepEqual((await get<Page>(`${server.url}/changes`)).Changes, []);
  await store(two, 1000);
  for (const server of servers)
    assert.deepEqual(
      (await get<Page>(`${server.url}/changes`)).Changes.map(({ Seq }) => Seq),
      [64],
    );
  for (const server of servers) await server.close();
});

test('redis: a server without its Redis says so, stores all the same, and goes on', {
  skip,
  timeout: 60_000,
}, async () => {
  const own = await startRedis();
  const server = await serve({ Redis: { Url: own.target.url } });
  assert.deepEqual(await get(`${server.url}/health/ready`), {
    Ready: true,
    Engines: { Database: true, Storage: true, Changes: true, Queue: true },
  });
  const { Engines } = (await get(`${server.url}/system`)) as { readonly Engines: unknown };
  assert.deepEqual(Engines, { Changes: 'Redis', Database: 'SQLite', Queue: 'Redis', Storage: 'Files' });
  await store(server, 1);
  await own.kill();
  for (const path of ['/health/ready', '/changes', '/jobs']) {
    const answer = await fetch(`${server.url}${path}`, { signal: AbortSignal.timeout(10_000) });
    assert.deepEqual([path, answer.status, answer.headers.get('retry-after')], [path, 503, '1']);
    const body = (await answer.json()) as { readonly Engines?: unknown };
    if (path === '/health/ready')
      assert.deepEqual(body.Engines, { Database: true, Storage: true, Changes: false, Queue: false });
  }
  assert.deepEqual(await get(`${server.url}/health/live`), { Live: true });
  await store(server, 2);
  await own.start();
  const end = Date.now() + 15_000;
  while ((await fetch(`${server.url}/health/ready`)).status !== 200) {
    assert.ok(Date.now() < end, 'it is not ready again');
    await sleep(50);
  }
  while ((await get<Page>(`${server.url}/changes`)).Changes.length < 5) assert.ok(Date.now() < end, 'a change is lost');
  assert.deepEqual(
    (await get<Page>(`${server.url}/changes`)).Changes.map(({ Seq }) => Seq),
    [1, 2, 3, 4, 5],
  );
  await server.close();
  await own.stop();
});
