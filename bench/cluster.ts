/**
 * Owns `npm run bench -- cluster`: what the engines of a cluster let through. Its parts run one by one (`--part`): `reference` compares
 * ingest with PostgreSQL with the Debian reference server and its PostgreSQL plugin; `nodes` sends through one, two and three
 * nodes of the composed cluster; `changes` appends to the log and reads it through /changes; `jobs` queues C-STORE work; `growth`
 * fills an index in PostgreSQL to a million rows.
 */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { readServices } from '../deploy/compose.ts';
import { COMPOSE_FILE, startCluster } from '../deploy/native.ts';
import { openBullQueue } from '../src/jobs/bullmq.ts';
import type { NewEntry, Queue } from '../src/jobs/queue.ts';
import { connectRedis } from '../src/redis.ts';
import { startPostgres } from '../test/postgres-server.ts';
import { startRedis } from '../test/redis-server.ts';
import { ImageSource } from './images.ts';
import { getPaths, percentile, sendImages } from './sender.ts';
import { startServer } from './servers.ts';

const PLUGIN = '/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so';

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const median = (values: readonly number[]): number => percentile(values, 0.5);
const rateText = (value: number): string => `${value.toFixed(0).padStart(6)}/s`;

/** The verdict over a bar. */
const verdict = (value: number, least: number): string => `bar ${least}: ${value >= least ? 'met' : 'MISSED'}`;

/** Settings of PostgreSQL as docker-compose.yml has them, and durable commits. */
function postgresSettings(): readonly string[] {
  const services = readServices(COMPOSE_FILE, new Proxy({}, { get: () => 'secret' }));
  const command = services.find(({ name }) => name === 'postgres')?.command ?? [];
  return [...command.filter((each) => each.includes('=')), 'fsync=on'];
}

/** 128 × 128 instances of 16 bits. */
const smallImages = (seed: number): ImageSource =>
  new ImageSource({ rows: 128, columns: 128, instancesPerSeries: 200, seed });

/** Uploads a second once the server is warm. */
async function ingestRate(port: number, clients: number, seed: number, seconds: number): Promise<number> {
  const source = smallImages(seed);
  const send = async (count: number): Promise<number> => {
    const sent = await sendImages(port, source, clients, count);
    if (sent.failures > 0) throw new Error(`${sent.failures} uploads were refused`);
    return sent.count / sent.seconds;
  };
  let rate = 0;
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) rate = await send(200);
  execFileSync('sync');
  return send(Math.max(300, Math.round(rate * seconds)));
}

/** Ingest with the index in PostgreSQL, both with files on the same disk, in turn. */
async function reference(rounds: number): Promise<void> {
  if (!existsSync(PLUGIN))
    throw new Error('this part needs the reference server and its plugin: apt-get install orthanc-postgresql');
  const CLIENTS = [4, 16];
  const results = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? (['isen', 'reference'] as const) : (['reference', 'isen'] as const);
    for (const subject of order) {
      const postgres = await startPostgres(postgresSettings());
      const { host, port, database, username, password } = postgres.connection;
      const PostgreSQL = {
        EnableIndex: true,
        Host: host,
        Port: port,
        Database: database,
        Username: username,
        Password: password,
        // With several connections it refuses uploads whose transactions collide.
        ...(subject === 'reference' && { EnableStorage: false, Lock: false, IndexConnectionsCount: 1 }),
      };
      const server = await startServer(subject, {
        options: { PostgreSQL, ...(subject === 'reference' && { Plugins: [PLUGIN] }) },
      });
      try {
        for (const clients of CLIENTS) {
          const rates = results.get(`${subject} ${clients}`) ?? [];
          rates.push(await ingestRate(server.port, clients, round * 100 + clients, 4));
          results.set(`${subject} ${clients}`, rates);
        }
      } finally {
        await server.stop();
        await postgres.stop();
      }
    }
  }
  print('\n128 × 128 instances, index in PostgreSQL, uploads/s');
  const rate = (subject: string, clients: number): number => median(results.get(`${subject} ${clients}`) ?? []);
  for (const clients of CLIENTS) {
    const ratio = rate('isen', clients) / rate('reference', clients);
    print(`  isen : reference, ${clients} clients = ${ratio.toFixed(2)} (${verdict(ratio, 3)})`);
  }
  for (const [name, rates] of results)
    print(
      `  ${name.padEnd(13)} clients ${rateText(median(rates))}  [${rates.map((each) => each.toFixed(0)).join(' ')}]`,
    );
}

/** 16 clients over one, two and three nodes, without the balancer, in turn; and once through it. */
async function nodes(rounds: number): Promise<void> {
  const cluster = await startCluster({
    without: ['prometheus', 'grafana'],
    env: { ISEN__AUTHENTICATION_ENABLED: 'false', ISEN__LOG_LEVEL: 'default' },
  });
  try {
    const portOf = (service: string): number => Number(cluster.address(service, 8042).split(':')[1]);
    const ports = [1, 2, 3].map((number) => portOf(`isen-${number}`));
    const results = new Map<string, number[]>();
    const note = (name: string, rate: number): void => void results.set(name, [...(results.get(name) ?? []), rate]);
    for (const port of ports) await ingestRate(port, 8, port, 3);
    for (let round = 0; round < rounds; round++) {
      for (const count of round % 2 === 0 ? [1, 2, 3] : [3, 2, 1]) {
        const rates = await Promise.all(
          ports
            .slice(0, count)
            .map((port, at) => ingestRate(port, Math.round(16 / count), round * 100 + count * 10 + at, 3)),
        );
        note(
          `${count} of 3 nodes`,
          rates.reduce((sum, each) => sum + each, 0),
        );
      }
      note('the balancer', await ingestRate(portOf('balancer'), 16, round * 100 + 99, 3));
    }
    print(
      '\n128 × 128 instances through the cluster (PostgreSQL, Redis, S3; all of it and the sender on this machine), uploads/s',
    );
    const one = median(results.get('1 of 3 nodes') ?? []);
    for (const [name, rates] of results)
      print(
        `  ${name.padEnd(13)} ${rateText(median(rates))}  ${(median(rates) / one).toFixed(2)} × one node  [${rates.map((each) => each.toFixed(0)).join(' ')}]`,
      );
  } finally {
    await cluster.stop();
  }
}

/** Changes a second that uploads append, and that readers get through /changes. */
async function changes(): Promise<void> {
  const [postgres, redis] = await Promise.all([startPostgres(postgresSettings()), startRedis()]);
  const { host, port, database, username, password } = postgres.connection;
  const server = await startServer('isen', {
    options: {
      PostgreSQL: { Host: host, Port: port, Database: database, Username: username, Password: password },
      Redis: { Url: redis.target.url },
    },
  });
  try {
    const base = `http://127.0.0.1:${server.port}`;
    const last = async (): Promise<number> =>
      ((await (await fetch(`${base}/changes?last`)).json()) as { Last: number }).Last;
    const began = [performance.now(), await last()] as const;
    await ingestRate(server.port, 16, 1, 6);
    const end = await last();
    const appended = ((end - began[1]) / (performance.now() - began[0])) * 1000;
    print(`\n${end} changes in Redis and PostgreSQL`);
    for (const limit of [100, 1000]) {
      for (const readers of [1, 4]) {
        const pages = Math.floor((end - 1) / limit);
        const paths = Array.from({ length: pages }, (_, page) => `/changes?since=${page * limit}&limit=${limit}`);
        await getPaths(server.port, paths, readers, pages);
        const read = await getPaths(server.port, paths, readers, Math.max(pages, Math.round(60_000 / limit)));
        if (read.failures > 0) throw new Error(`${read.failures} pages were refused`);
        const rate = (read.count * limit) / read.seconds;
        print(`  read, pages of ${limit}, ${readers} readers: ${rateText(rate)} (${verdict(rate, 20_000)})`);
      }
    }
    print(`  appended by uploads meanwhile, warming included: ${rateText(appended)}`);
  } finally {
    await server.stop();
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}

/** C-STORE entries a second that go into and out of the queue of a modality. */
async function jobs(): Promise<void> {
  const redis = await startRedis();
  const COUNT = 20_000;
  let number = 0;
  const entry = (): NewEntry => {
    number += 1;
    return {
      queue: 'modality:pacs',
      id: `rule ${number}`,
      group: '',
      priority: 0,
      due: 0,
      value: { instance: '00038760-b90114e9-f0bd8a65-37588a87-bf269d4f', rule: 'all' },
    };
  };
  const connections = await Promise.all([1, 2].map(async () => connectRedis(redis.target)));
  const queues: Queue[] = [];
  for (const connection of connections) queues.push(await openBullQueue({ redis: connection, capacity: 1_000_000 }));
  const [queue, other] = queues;
  if (queue === undefined || other === undefined) throw new Error('no queue');
  try {
    const add = async (into: Queue, batch: number, count: number): Promise<void> => {
      for (let left = count; left > 0; left -= batch) await into.add(Array.from({ length: batch }, entry));
    };
    const timed = async (name: string, least: number | undefined, work: () => Promise<unknown>): Promise<void> => {
      const began = performance.now();
      await work();
      const rate = (COUNT / (performance.now() - began)) * 1000;
      print(`  ${name.padEnd(44)} ${rateText(rate)}${least === undefined ? '' : ` (${verdict(rate, least)})`}`);
    };
    await add(queue, 100, 2000);
    print('\nC-STORE entries through BullMQ');
    await timed('queued by one node, 100 at a time', 2000, () => add(queue, 100, COUNT));
    await timed('queued by two nodes at once, 100 at a time', 2000, () =>
      Promise.all([add(queue, 100, COUNT / 2), add(other, 100, COUNT / 2)]),
    );
    await timed('queued one by one, 16 at once', 2000, () =>
      Promise.all(Array.from({ length: 16 }, async () => add(queue, 1, COUNT / 16))),
    );
    await timed('taken and done, 100 at a time', undefined, async () => {
      for (let done = 0; done < COUNT; ) {
        const taken = await queue.take('modality:pacs', 100);
        if (taken.length === 0) await sleep(10);
        await queue.settle(taken.map(({ queue: name, id }) => ({ queue: name, id, state: 'removed' })));
        done += taken.length;
      }
    });
  } finally {
    for (const each of queues) await each.close();
    for (const each of connections) await each.close();
    await redis.stop();
  }
}

/** The benchmark of a growing index on a PostgreSQL of its own. */
async function growth(): Promise<void> {
  const postgres = await startPostgres(postgresSettings());
  const { host, port, database, username, password } = postgres.connection;
  process.env['ISEN_BENCH_POSTGRESQL'] = `postgresql://${username}:${password}@${host}:${port}/${database}`;
  try {
    const { run: grow } = await import('./index-growth.ts');
    await grow([]);
  } finally {
    await postgres.stop();
  }
}

const PARTS: Readonly<Record<string, (rounds: number) => Promise<void>>> = { reference, nodes, changes, jobs, growth };

/** Arguments: `--part` of {@link PARTS} (all but `growth`, which takes minutes), `--rounds N` (3). */
export async function run(args: readonly string[]): Promise<void> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? undefined : args[at + 1];
  };
  const part = option('part');
  const rounds = Number(option('rounds') ?? 3);
  const chosen = part === undefined ? [reference, nodes, changes, jobs] : [PARTS[part]];
  for (const each of chosen) {
    if (each === undefined) throw new Error(`--part is one of ${Object.keys(PARTS).join(', ')}`);
    await each(rounds);
  }
}
