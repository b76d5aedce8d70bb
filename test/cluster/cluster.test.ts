/**
 * Owns what the nodes of a cluster are to each other: the same to whoever asks, and each other's successors. One cluster serves all of it,
 * as docker-compose.yml describes it.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Redis } from 'ioredis';
import { parse } from 'yaml';
import { requiredVariables } from '../../deploy/compose.ts';
import { COMPOSE_FILE, type NativeCluster, startCluster } from '../../deploy/native.ts';
import { make } from '../dicom/made.ts';
import { ROOT, temporaryFolder, without } from '../peer.ts';
import { run } from '../scp/programs.ts';
import { receive, type Receiver } from '../scu/receiver.ts';
import { listen, poll, readLog } from './followers.ts';
import { balancerOf, composeServices, type Node, nodesOf, withoutCluster } from './nodes.ts';

const skip = withoutCluster();
let cluster: NativeCluster;
let nodes: readonly [Node, Node, Node];
let balancer: Node;
let receiver: Receiver;
before(async () => {
  if (skip !== false) return;
  receiver = await receive({ keep: false });
  const pacs = { AET: 'PACS', Host: '127.0.0.1', Port: receiver.port, RetryDelay: 0.5, MaximumRetryDelay: 1 };
  cluster = await startCluster({
    env: { ISEN__DICOM_MODALITIES: JSON.stringify({ pacs }), ISEN__STABLE_AGE: '3' },
  });
  nodes = nodesOf(cluster);
  balancer = balancerOf(cluster);
});
after(async () => {
  if (skip !== false) return;
  await cluster.stop();
  await receiver.close();
});

let number = 0;
function newFile(study = '2.25.98'): Uint8Array<ArrayBuffer> {
  number += 1;
  return new Uint8Array(
    make({ patientId: 'P', studyUid: study, seriesUid: `${study}.1`, sopUid: `2.25.98.1.${number}` }),
  );
}

async function send(node: Node, study?: string): Promise<{ readonly ID: string; readonly ParentStudy: string }> {
  const { status, body } = await node.get('/instances', { method: 'POST', body: newFile(study) });
  assert.equal(status, 200, JSON.stringify(body));
  return body as { ID: string; ParentStudy: string };
}

/** Milliseconds until `check` holds. Fails after `patience`. */
async function until(what: string, check: () => Promise<boolean>, patience = 20_000): Promise<number> {
  const began = performance.now();
  while (!(await check())) {
    assert.ok(performance.now() - began < patience, what);
    await sleep(50);
  }
  return performance.now() - began;
}

/** Docker Compose: its plugin, or the program of its own. */
const COMPOSE = [['docker', 'compose'], ['docker-compose']].find(
  ([program = '', ...args]) => spawnSync(program, [...args, 'version']).status === 0,
);

test('docker-compose.yml is valid, and says what the programs of this machine are told', {
  skip: COMPOSE === undefined && without('docker-compose'),
}, () => {
  const [program = '', ...args] = COMPOSE ?? [];
  const config = [...args, '-f', COMPOSE_FILE, 'config'];
  const secrets = Object.fromEntries(requiredVariables(COMPOSE_FILE).map((name) => [name, 'secret']));
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
  const output = execFileSync(program, config, { env: { ...env, ISEN_USER: 'secret', ...secrets }, encoding: 'utf8' });
  interface Resolved {
    readonly command?: readonly string[];
    readonly entrypoint?: readonly string[] | null;
    readonly environment?: Readonly<Record<string, string>>;
    readonly expose?: readonly (string | number)[];
  }
  const { services } = parse(output) as { services: Readonly<Record<string, Resolved>> };
  const unescaped = (texts: readonly string[]): string[] => texts.map((text) => text.replaceAll('$$', '$'));
  const known = composeServices();
  assert.deepEqual(Object.keys(services).sort(), known.map(({ name }) => name).sort());
  for (const { name, command, entrypoint, environment, ports } of known) {
    const service = services[name];
    assert.deepEqual(unescaped(service?.command ?? []), command, `${name}: command`);
    assert.deepEqual(unescaped(service?.entrypoint ?? []), entrypoint, `${name}: entrypoint`);
    assert.deepEqual(service?.environment ?? {}, environment, `${name}: environment`);
    assert.deepEqual((service?.expose ?? []).map(Number), ports, `${name}: ports`);
  }
  // Each of them is asked for in the same words; the program takes seconds to start.
  const [name = ''] = Object.keys(secrets);
  const { [name]: _, ...others } = secrets;
  const without = spawnSync(program, config, { env: { ...env, ...others }, encoding: 'utf8' });
  assert.notEqual(without.status, 0, `there is a default for ${name}`);
});

test('every service runs as docker-compose.yml has it', { skip }, async () => {
  for (const { name, ports } of cluster.services) {
    if (cluster.missing.has(name)) continue;
    for (const port of ports) {
      const [host = '', at = ''] = cluster.address(name, port).split(':');
      const socket = connect(Number(at), host);
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
      socket.destroy();
    }
  }
  const commandOf = (name: string): readonly string[] =>
    cluster.services.find((service) => service.name === name)?.command ?? [];
  const redis = new Redis(`redis://${cluster.address('redis', 6379)}`, {
    password: cluster.variables['REDIS_PASSWORD'] ?? '',
  });
  const [, ...options] = commandOf('redis');
  for (let at = 0; at < options.length; at += 2) {
    const name = (options[at] ?? '').slice(2);
    assert.deepEqual(await redis.config('GET', name), [name, options[at + 1]], name);
  }
  redis.disconnect();
  const client = new pg.Client({
    connectionString: `postgresql://isen:${cluster.variables['POSTGRES_PASSWORD']}@${cluster.address('postgres', 5432)}/isen`,
  });
  await client.connect();
  const settings = commandOf('postgres').filter((text) => text.includes('='));
  assert.ok(settings.length > 0);
  for (const setting of settings) {
    const [name = '', value = ''] = setting.split('=');
    const { rows } = await client.query<Record<string, string>>(`SHOW ${name}`);
    assert.deepEqual(rows, [{ [name]: name === 'wal_compression' ? 'pglz' : value }], name);
  }
  await client.end();
});

test('the dashboard asks for metrics that there are', { skip }, async () => {
  const path = join(ROOT, 'deploy', 'grafana', 'dashboards', 'isen.json');
  const dashboard = JSON.parse(readFileSync(path, 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  // What has no value yet has no line of its own, but says what it is.
  const { body: ours } = await nodes[0].get('/tools/metrics-prometheus');
  const balancers = await (await fetch(`http://${cluster.address('balancer', 8404)}/metrics`)).text();
  const there = `${String(ours)}\n${balancers}`;
  let count = 0;
  for (const { title, targets } of dashboard.panels) {
    for (const { expr } of targets) {
      for (const [name] of expr.matchAll(/\b(isen|orthanc|haproxy|nodejs|process)_[a-z0-9_]+/g)) {
        count += 1;
        const base = name.replace(/_(bucket|sum|count)$/, '');
        assert.match(there, new RegExp(`^(# TYPE )?${base}\\b`, 'm'), `${title}: ${name}`);
      }
    }
  }
  assert.ok(count > 10);
});

test('readers on different nodes miss nothing and go back never, while all nodes take images in', {
  skip,
}, async () => {
  const followers = [poll(nodes[0], 7), listen(nodes[1]), listen(nodes[2]), poll(nodes[2], 1000)];
  const each = 120;
  await Promise.all(
    Array.from({ length: 12 }, async (_, client) => {
      for (let index = 0; index < each / 4; index++) await send(nodes[client % 3] ?? balancer, `2.25.98.${client % 5}`);
    }),
  );
  const log = await readLog(nodes[0]);
  const end = log.at(-1)?.Seq ?? 0;
  assert.ok(end >= each * 3);
  await until('the readers have not come to the end', async () => followers.every(({ last }) => last >= end));
  for (const follower of followers) await follower.stop();
  // Meanwhile more may have happened.
  assert.deepEqual((await readLog(nodes[1])).slice(0, log.length), log);
});

test('what is set on one node is so on each: modalities, rules, log levels, metrics, metadata', { skip }, async () => {
  const everywhere = async (path: string, expected: unknown): Promise<void> => {
    for (const node of nodes) {
      await until(`${path} on ${node.name}`, async () => {
        const { body } = await node.get(path);
        return JSON.stringify(body) === JSON.stringify(expected);
      });
    }
  };
  const put = async (node: Node, path: string, body: string): Promise<void> => {
    const { status } = await node.get(path, { method: 'PUT', body });
    assert.equal(status, 200, path);
  };
  await put(nodes[0], '/modalities/other', '["OTHER", "127.0.0.1", 4243]');
  await everywhere('/modalities', ['other', 'pacs']);
  // At once on different nodes: each keeps what the others set.
  await Promise.all(
    nodes.map(async (node, index) => put(node, `/modalities/m${index}`, `["M${index}", "127.0.0.1", 1]`)),
  );
  await everywhere('/modalities', ['m0', 'm1', 'm2', 'other', 'pacs']);
  await nodes[1].get('/modalities/pacs', { method: 'DELETE' });
  await everywhere('/modalities', ['m0', 'm1', 'm2', 'other']);
  const pacs = { AET: 'PACS', Host: '127.0.0.1', Port: receiver.port, RetryDelay: 0.5, MaximumRetryDelay: 1 };
  await put(nodes[2], '/modalities/pacs', JSON.stringify(pacs));
  await everywhere('/modalities', ['m0', 'm1', 'm2', 'other', 'pacs']);
  await put(nodes[1], '/tools/log-level-jobs', 'verbose');
  await everywhere('/tools/log-level-jobs', 'verbose');
  await put(nodes[0], '/tools/log-level', 'default');
  await everywhere('/tools/log-level-jobs', 'default');
  await put(nodes[2], '/tools/metrics', '0');
  await everywhere('/tools/metrics', '0');
  await put(nodes[2], '/tools/metrics', '1');
  await everywhere('/tools/metrics', '1');
  await put(nodes[2], '/routes/none', JSON.stringify({ To: 'other', Enabled: false }));
  for (const node of nodes) assert.equal((await node.get('/routes/none')).status, 200);
  await put(nodes[1], '/peers/there', JSON.stringify([nodes[0].url]));
  await everywhere('/peers', ['there']);
  const { ID } = await send(nodes[0]);
  // Asks the cluster itself, as one modality another; the answers are kept for all nodes.
  const [host = '', port = ''] = cluster.address('balancer', 4242).split(':');
  await put(nodes[2], '/modalities/self', JSON.stringify({ AET: 'ISEN', Host: host, Port: Number(port) }));
  const asked = await nodes[0].get('/modalities/self/query', {
    method: 'POST',
    body: JSON.stringify({ Level: 'Study', Query: { PatientID: 'P' } }),
  });
  assert.equal(asked.status, 200, JSON.stringify(asked.body));
  const query = (asked.body as { ID: string }).ID;
  await everywhere('/queries', [query]);
  const { body: answers } = await nodes[0].get(`/queries/${query}/answers?expand&simplify`);
  assert.ok((answers as unknown[]).length > 0);
  await everywhere(`/queries/${query}/answers?expand&simplify`, answers);
  assert.equal((await nodes[1].get(`/queries/${query}`, { method: 'DELETE' })).status, 200);
  await everywhere('/queries', []);
  await nodes[0].get('/modalities/self', { method: 'DELETE' });
  for (const [index, node] of nodes.entries()) {
    const { status } = await node.get(`/instances/${ID}/metadata/2000`, { method: 'PUT', body: `value ${index}` });
    // Without the revision that it replaces only the first one is new.
    assert.equal(status, 200);
    await everywhere(`/instances/${ID}/metadata/2000`, `value ${index}`);
  }
});

test('images of a node that dies become stable, and its jobs go on elsewhere within seconds', {
  skip,
}, async (context) => {
  const { ParentStudy } = await send(nodes[0], '2.25.98.77');
  for (let index = 0; index < 400; index++) await send(nodes[index % 3] ?? balancer, '2.25.98.77');
  await sleep(100);
  const stale = await send(nodes[0], '2.25.98.78');
  const jobs: string[] = [];
  for (let index = 0; index < 6; index++) {
    const { body } = await nodes[0].get(`/studies/${ParentStudy}/modify`, {
      method: 'POST',
      body: JSON.stringify({ Replace: { StudyDescription: `${index}` }, Asynchronous: true }),
    });
    jobs.push((body as { ID: string }).ID);
  }
  const states = async (node: Node): Promise<readonly string[]> =>
    Promise.all(jobs.map(async (id) => ((await node.get(`/jobs/${id}`)).body as { State: string }).State));
  await until('no job runs', async () => (await states(nodes[1])).includes('Running'));
  await cluster.programs.get('isen-1')?.end('SIGKILL');
  const began = performance.now();
  try {
    await until(
      'the jobs do not end',
      async () => (await states(nodes[1])).every((state) => state === 'Success'),
      60_000,
    );
    context.diagnostic(`all jobs had ended ${((performance.now() - began) / 1000).toFixed(1)} s after the death`);
    assert.deepEqual(await states(nodes[2]), await states(nodes[1]));
    await until('the study is not stable', async () => {
      const { body } = await nodes[2].get(`/studies/${stale.ParentStudy}`);
      return (body as { IsStable: boolean }).IsStable;
    });
    const log = await readLog(nodes[1]);
    assert.equal(
      log.filter(({ ChangeType, ID }) => ChangeType === 'StableStudy' && ID === stale.ParentStudy).length,
      1,
    );
  } finally {
    await cluster.programs.get('isen-1')?.start();
  }
});

test('one node follows the log for all, and another one when it dies: rules and webhooks', {
  skip,
  timeout: 120_000,
}, async (context) => {
  /** Times that each change was told, by its number. */
  const told = new Map<number, number>();
  const hook = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    request.on('end', () => {
      const { Change } = JSON.parse(text) as { Change: { Seq: number } };
      told.set(Change.Seq, (told.get(Change.Seq) ?? 0) + 1);
      response.end();
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  const Url = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`;
  const webhook = { Url, Events: ['NewInstance'], RetryDelay: 0.5, MaximumRetryDelay: 1 };
  for (const [path, value] of [
    ['/routes/all', { To: 'pacs' }],
    ['/webhooks/all', webhook],
  ] as const) {
    const { status, body } = await nodes[1].get(path, { method: 'PUT', body: JSON.stringify(value) });
    assert.equal(status, 200, JSON.stringify(body));
  }
  for (const node of nodes) assert.deepEqual((await node.get('/webhooks')).body, ['all']);
  const before = receiver.received.length;
  let sent = 0;
  const arrived = (): number =>
    new Set(receiver.received.slice(before).map(({ sopInstanceUid }) => sopInstanceUid)).size;
  for (const { name } of nodes) {
    for (let index = 0; index < 20; index++, sent++) await send(balancer);
    await cluster.programs.get(name)?.end('SIGKILL');
    const [alive] = nodes.filter((node) => node.name !== name);
    for (let index = 0; index < 20; index++, sent++) await send(alive ?? balancer);
    const isDone = async (): Promise<boolean> => arrived() === sent && told.size === sent;
    const took = await until(`without ${name} not all is routed and told`, isDone, 30_000).catch((thrown: unknown) => {
      throw new Error(`of ${sent}, ${arrived()} were routed and ${told.size} told without ${name}`, { cause: thrown });
    });
    context.diagnostic(`without ${name} all was delivered after ${(took / 1000).toFixed(1)} s`);
    await cluster.programs.get(name)?.start();
  }
  const doubles = receiver.received.length - before - sent;
  assert.ok(doubles <= 20, `${doubles} came twice`);
  const repeated = [...told.values()].filter((times) => times > 1).length;
  assert.ok(repeated <= 20, `${repeated} were told twice`);
  // Without a death each comes once: never do two nodes follow.
  const quiet = receiver.received.length;
  for (let index = 0; index < 100; index++) await send(nodes[index % 3] ?? balancer);
  await until('not all is routed', async () => receiver.received.length >= quiet + 100);
  await sleep(1500);
  assert.equal(receiver.received.length, quiet + 100);
  // A node that does not follow waits for the one that does before it clears the log.
  for (const node of nodes) {
    for (let index = 0; index < 50; index++) await send(node);
    assert.equal((await node.get('/changes', { method: 'DELETE' })).status, 200);
  }
  await until('what was cleared is not routed', async () => receiver.received.length >= quiet + 250);
  await until('what was cleared is not told', async () => told.size === sent + 250, 30_000);
  await nodes[2].get('/webhooks/all', { method: 'DELETE' });
  hook.closeAllConnections();
  hook.close();
});

test('a node that is told to stop loses no request of the balancer, and no C-STORE', {
  skip: skip || without('storescu'),
  timeout: 180_000,
}, async (context) => {
  let going = true;
  const statuses = new Map<number, number>();
  const sent = new Map<string, number>();
  const clients = Array.from({ length: 8 }, async () => {
    while (going) {
      const { status } = await balancer.get('/instances', { method: 'POST', body: newFile() });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      const { status: read } = await balancer.get('/system');
      statuses.set(read, (statuses.get(read) ?? 0) + 1);
    }
  });
  const folder = temporaryFolder();
  const [host = '', port = ''] = cluster.address('balancer', 4242).split(':');
  const senders = [1, 2].map(async (sender) => {
    const path = join(folder, `${sender}.dcm`);
    while (going) {
      writeFileSync(path, newFile());
      const { output } = await run('storescu', ['-v', host, port, path]);
      const said = /Received Store Response \((.*)\)/.exec(output)?.[1] ?? output;
      sent.set(said, (sent.get(said) ?? 0) + 1);
    }
  });
  for (const node of nodes) {
    await sleep(500);
    const program = cluster.programs.get(node.name);
    const ending = program?.end('SIGTERM');
    await sleep(300);
    const { status, body } = await node.get('/health/ready');
    assert.deepEqual([status, (body as { Leaving?: boolean }).Leaving], [503, true]);
    await ending;
    await program?.start();
    await until(`${node.name} is not ready`, async () => (await node.get('/health/ready')).status === 200);
  }
  going = false;
  await Promise.all([...clients, ...senders]);
  context.diagnostic(JSON.stringify(Object.fromEntries([...statuses, ...sent])));
  assert.deepEqual([...statuses.keys()], [200]);
  assert.deepEqual([...sent.keys()], ['Success']);
});
