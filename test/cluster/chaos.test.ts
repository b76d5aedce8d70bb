/**
 * Owns the proof that a cluster survives the death of any of its parts: nodes, Redis (which loses its last second) and PostgreSQL are killed
 * with SIGKILL at random and started again while 16 HTTP and 4 DICOM clients send through the balancer, a rule routes to two modalities, and four readers follow
 * the log on different nodes.
 */

import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type NativeCluster, startCluster } from '../../deploy/native.ts';
import { readFileMeta } from '../../src/dicom/read.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder, without } from '../peer.ts';
import { run } from '../scp/programs.ts';
import { receive } from '../scu/receiver.ts';
import { listen, poll, readLog } from './followers.ts';
import { balancerOf, isPassing, type Node, nodesOf, withoutCluster } from './nodes.ts';

/** ISEN_CHAOS=full is the whole of it; else a minute. */
const FULL = process.env['ISEN_CHAOS'] === 'full';
/** Milliseconds of killing. */
const DURATION = FULL ? 300_000 : 45_000;
const HTTP_CLIENTS = 16;
const DICOM_CLIENTS = 4;
/** Milliseconds that any request may take, whatever is down. */
const DEADLINE = 30_000;
/** Milliseconds in which everything must be where it should be, once nothing is killed any more. */
const SETTLING = 90_000;
/** Milliseconds in which something must be delivered while anything waits. */
const STANDSTILL = 30_000;
/** The rest of a client's time between two of its instances, so that sending lasts while things die. */
const PAUSE = 100;

/** MD5 of the data set of a file: who receives it by DICOM writes the File Meta Information anew. */
const md5 = (file: Buffer): string =>
  createHash('md5')
    .update(file.subarray(readFileMeta(file).end))
    .digest('hex');

/** What the clients know in the end. */
interface Ledger {
  /** MD5 of the data set of each acknowledged instance, by SOP Instance UID. */
  readonly acknowledged: Map<string, string>;
  readonly ids: Map<string, string>;
  readonly jobs: Set<string>;
  /** Answers by status. */
  readonly statuses: Map<number | string, number>;
  slowest: number;
}

let number = 0;
function newInstance(): { readonly uid: string; readonly file: Buffer } {
  number += 1;
  const uid = `2.25.99.${number}`;
  const file = make({
    patientId: `P${number % 7}`,
    studyUid: `2.25.99.1.${number % 14}`,
    seriesUid: `2.25.99.2.${number % 28}`,
    sopUid: uid,
    rows: 64,
    columns: 64,
    pixels: randomBytes(2 * 64 * 64),
  });
  return { uid, file };
}

const count = (ledger: Ledger, what: number | string): void =>
  void ledger.statuses.set(what, (ledger.statuses.get(what) ?? 0) + 1);

/** One request of a client; undefined where an outage explains that there is no answer. */
async function ask(ledger: Ledger, node: Node, path: string, init: RequestInit): Promise<unknown> {
  const began = performance.now();
  try {
    const answer = await node.get(path, { ...init, signal: AbortSignal.timeout(DEADLINE) });
    count(ledger, answer.status);
    if (answer.status === 200) return answer.body;
    assert.equal(answer.status, 503, `${path}: ${JSON.stringify(answer.body)}`);
    assert.match(answer.headers.get('retry-after') ?? '', /^\d+$/, 'a 503 says when to try again');
    return undefined;
  } catch (thrown) {
    if (!isPassing(thrown)) throw thrown;
    count(ledger, 'broken connection');
    return undefined;
  } finally {
    ledger.slowest = Math.max(ledger.slowest, performance.now() - began);
  }
}

/** Sends instance after instance, each until it is acknowledged. */
async function sendByHttp(ledger: Ledger, balancer: Node, going: () => boolean): Promise<void> {
  while (going()) {
    const { uid, file } = newInstance();
    for (;;) {
      const answer = await ask(ledger, balancer, '/instances', { method: 'POST', body: new Uint8Array(file) });
      if (answer !== undefined) {
        const { ID } = answer as { ID: string };
        ledger.acknowledged.set(uid, md5(file));
        ledger.ids.set(uid, ID);
        if (randomInt(40) === 0) {
          const job = await ask(ledger, balancer, '/modalities/one/store', {
            method: 'POST',
            body: JSON.stringify({ Resources: [ID], Asynchronous: true }),
          });
          if (job !== undefined) ledger.jobs.add((job as { ID: string }).ID);
        }
        break;
      }
      await sleep(200);
    }
    await sleep(PAUSE);
  }
}

async function sendByDicom(ledger: Ledger, address: string, folder: string, going: () => boolean): Promise<void> {
  const [host = '', port = ''] = address.split(':');
  while (going()) {
    const { uid, file } = newInstance();
    const path = join(folder, `${uid}.dcm`);
    writeFileSync(path, file);
    for (;;) {
      const { output } = await run('storescu', ['-v', '-to', '10', '-ta', '20', '-td', '20', host, port, path]);
      const stored = /Received Store Response \(Success\)/.test(output);
      count(ledger, stored ? 'C-STORE success' : 'C-STORE failure');
      if (stored) {
        ledger.acknowledged.set(uid, md5(file));
        break;
      }
      await sleep(200);
    }
    rmSync(path);
    await sleep(PAUSE);
  }
}

/** Kills one part after the other, all of them in turn and in a new order each time. */
async function kill(cluster: NativeCluster, going: () => boolean): Promise<ReadonlyMap<string, number>> {
  const kills = new Map<string, number>();
  let order: string[] = [];
  while (going()) {
    if (order.length === 0) {
      order = ['isen-1', 'isen-2', 'isen-3', 'redis', 'postgres'].sort(() => Math.random() - 0.5);
    }
    const name = order.pop() ?? '';
    const program = cluster.programs.get(name);
    assert.ok(program);
    await sleep(randomInt(300, 1500));
    await program.end('SIGKILL');
    kills.set(name, (kills.get(name) ?? 0) + 1);
    if (name === 'redis') cutLog(cluster.folder);
    await sleep(randomInt(100, 2000));
    await program.start();
  }
  return kills;
}

/** As a power cut would with `appendfsync everysec`: the end of what Redis wrote is gone. */
function cutLog(folder: string): void {
  const logs = join(folder, 'volumes', 'redis', 'appendonlydir');
  for (const name of readdirSync(logs)) {
    if (!name.endsWith('.incr.aof')) continue;
    const path = join(logs, name);
    truncateSync(path, Math.max(0, statSync(path).size - randomInt(100_000)));
  }
}

/** Asks until `check` passes, and throws what it throws when that takes too long. */
async function eventually(what: string, check: () => Promise<void>, end: number): Promise<void> {
  for (;;) {
    try {
      await check();
      return;
    } catch (thrown) {
      if (Date.now() > end) throw new Error(`${what}, still wrong after all was up again`, { cause: thrown });
    }
    await sleep(500);
  }
}

const blobs = (folder: string): readonly string[] =>
  readdirSync(join(folder, 'volumes', 's3', 'images'), { recursive: true })
    .map((path) => String(path).split('/').at(-1) ?? '')
    .filter((name) => /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name));

test(`${DURATION / 1000} s of SIGKILL for nodes, Redis and PostgreSQL under ${HTTP_CLIENTS} HTTP and ${DICOM_CLIENTS} DICOM clients`, {
  skip: withoutCluster() || without('storescu'),
  timeout: DURATION + 360_000,
}, async (context) => {
  const received = { one: new Map<string, number>(), two: new Map<string, number>() };
  const note = (at: keyof typeof received, uid: string): number => {
    received[at].set(uid, (received[at].get(uid) ?? 0) + 1);
    return 0;
  };
  const one = await receive({ keep: false, answer: ({ sopInstanceUid }) => note('one', sopInstanceUid) });
  const two = await receive({ keep: false, answer: ({ sopInstanceUid }) => note('two', sopInstanceUid) });
  const modality = (AET: string, Port: number): object => ({
    AET,
    Host: '127.0.0.1',
    Port,
    MaximumAssociations: 2,
    RetryDelay: 0.5,
    MaximumRetryDelay: 2,
  });
  const cluster = await startCluster({
    without: ['prometheus', 'grafana'],
    keep: process.env['ISEN_TEST_VERBOSE'] !== undefined,
    env: {
      ISEN__DICOM_MODALITIES: JSON.stringify({ one: modality('ONE', one.port), two: modality('TWO', two.port) }),
      ISEN__ROUTES: JSON.stringify([{ Name: 'all', To: ['one', 'two'] }]),
      ISEN__STABLE_AGE: '2',
      ISEN__SHUTDOWN_DELAY: '0',
      ISEN__JOBS_HISTORY_SIZE: '100000',
    },
  });
  const nodes = nodesOf(cluster);
  const balancer = balancerOf(cluster);
  const ledger: Ledger = {
    acknowledged: new Map(),
    ids: new Map(),
    jobs: new Set(),
    statuses: new Map(),
    slowest: 0,
  };
  const folder = temporaryFolder();
  const until = Date.now() + DURATION;
  const going = (): boolean => Date.now() < until;
  try {
    const followers = [poll(nodes[0], 100), listen(nodes[1]), listen(nodes[2]), poll(balancer, 1000)];
    const killing = kill(cluster, going);
    await Promise.all([
      ...Array.from({ length: HTTP_CLIENTS }, async () => sendByHttp(ledger, balancer, going)),
      ...Array.from({ length: DICOM_CLIENTS }, async () =>
        sendByDicom(ledger, cluster.address('balancer', 4242), folder, going),
      ),
    ]);
    const kills = await killing;
    const began = performance.now();
    const summary = (): string =>
      `${ledger.acknowledged.size} acknowledged, answers ${JSON.stringify(Object.fromEntries(ledger.statuses))}, slowest ${(ledger.slowest / 1000).toFixed(1)} s; killed ${JSON.stringify(Object.fromEntries(kills))}; ${ledger.jobs.size} jobs`;
    context.diagnostic(summary());

    // A slow machine may take long to deliver; what matters is that it goes on.
    let [fewest, moved] = [Number.POSITIVE_INFINITY, Date.now()];
    for (;;) {
      const lacking = Object.entries(received).flatMap(([name, came]) =>
        [...ledger.acknowledged.keys()].filter((uid) => !came.has(uid)).map((uid) => `${name} ${uid}`),
      );
      if (lacking.length === 0) break;
      if (lacking.length < fewest) [fewest, moved] = [lacking.length, Date.now()];
      if (Date.now() >= moved + STANDSTILL) {
        // What the nodes think of it tells a lost entry from one that waits for something.
        const queues = await Promise.all(
          nodes.flatMap((node) =>
            ['one', 'two'].map(async (name) => {
              const answer = await node.get(`/modalities/${name}/queue`);
              return `${node.name}, ${name}: ${JSON.stringify(answer).slice(0, 2000)}`;
            }),
          ),
        );
        assert.fail(`${lacking.length} are not delivered, such as ${lacking[0]}\n${queues.join('\n')}`);
      }
      await sleep(500);
    }
    const end = Date.now() + SETTLING;
    context.diagnostic(
      `all was delivered ${((performance.now() - began) / 1000).toFixed(1)} s after the last one was sent`,
    );

    await eventually(
      'the jobs have ended, and each node shows the same',
      async () => {
        const lists = await Promise.all(nodes.map(async (node) => node.get('/jobs?expand')));
        const shown = lists.map(({ body }) =>
          (body as { ID: string; State: string; CompletionTime?: string }[]).map(({ ID, State, CompletionTime }) => [
            ID,
            State,
            CompletionTime,
          ]),
        );
        assert.deepEqual(shown[1], shown[0]);
        assert.deepEqual(shown[2], shown[0]);
        const states = new Map((shown[0] ?? []).map(([id, state]) => [id, state]));
        // Those of the last second of a Redis that died are gone.
        for (const [id, state] of states) assert.equal(state, 'Success', `job ${id}`);
        const lost = [...ledger.jobs].filter((id) => !states.has(id)).length;
        assert.ok(lost <= ledger.jobs.size / 4, `${lost} of ${ledger.jobs.size} jobs are lost`);
      },
      end,
    );

    await eventually(
      'each node shows the same log',
      async () => {
        const logs = await Promise.all(nodes.map(readLog));
        const [first = []] = logs;
        for (const [at, { Seq }] of first.entries()) assert.equal(Seq, at + 1, 'a gap or a double in the log');
        for (const log of logs.slice(1)) assert.deepEqual(log, first);
        const times = new Map<string, number>();
        for (const { ChangeType, ID } of first) {
          if (ChangeType === 'NewInstance') times.set(ID, (times.get(ID) ?? 0) + 1);
        }
        for (const id of ledger.ids.values()) assert.equal(times.get(id), 1, `NewInstance of ${id}`);
        for (const type of ['Patient', 'Study', 'Series']) {
          const stable = new Set(first.filter((each) => each.ChangeType === `Stable${type}`).map(({ ID }) => ID));
          const made = new Set(first.filter((each) => each.ChangeType === `New${type}`).map(({ ID }) => ID));
          assert.deepEqual(stable, made, `every ${type} became stable`);
        }
        for (const { name, last } of followers) assert.equal(last, first.length, `${name} has seen all`);
      },
      end,
    );
    for (const follower of followers) await follower.stop();

    const { body } = await balancer.get('/instances?expand&since=0&limit=1000000');
    const stored = new Map(
      (body as { FileUuid: string; MainDicomTags: { SOPInstanceUID: string }; ID: string }[]).map((each) => [
        each.MainDicomTags.SOPInstanceUID,
        each,
      ]),
    );
    for (const uid of ledger.acknowledged.keys()) assert.ok(stored.has(uid), `acknowledged ${uid} is lost`);
    for (const [uid, expected] of ledger.acknowledged) {
      if (randomInt(10) > 0) continue;
      const answer = await fetch(`${balancer.url}/instances/${stored.get(uid)?.ID}/file`, {
        headers: { Authorization: balancer.authorization },
      });
      assert.equal(md5(Buffer.from(await answer.arrayBuffer())), expected, `the bytes of ${uid}`);
    }

    // What a crash left provisional is settled by the next start of its node.
    for (const { name } of nodes) await cluster.programs.get(name)?.end('SIGTERM');
    for (const { name } of nodes) await cluster.programs.get(name)?.start();
    const referred = new Set([...stored.values()].map(({ FileUuid }) => FileUuid));
    const there = blobs(cluster.folder);
    assert.equal(there.filter((uuid) => !referred.has(uuid)).length, 0, 'files that nothing refers to');
    assert.equal(there.length, referred.size, 'an instance without its file');

    const twice = [...received.one.values(), ...received.two.values()].filter((times) => times > 1).length;
    context.diagnostic(`${stored.size} stored, ${twice} deliveries came more than once`);
    assert.ok(ledger.acknowledged.size > DURATION / 200, 'something was sent');
  } catch (thrown) {
    const answers = JSON.stringify(Object.fromEntries(ledger.statuses));
    context.diagnostic(`${ledger.acknowledged.size} acknowledged, answers ${answers}`);
    throw thrown;
  } finally {
    await cluster.stop();
    await Promise.all([one.close(), two.close()]);
  }
});
