/**
 * Owns the proof that routing neither loses an image nor holds one up for another: instances are routed to three modalities, one of
 * them dead for a while, one that breaks off, one slow, while the server is killed with SIGKILL again and again. All three end with
 * exactly what was uploaded, byte by byte.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFileMeta } from '../src/dicom/read.ts';
import { make } from './dicom/made.ts';
import { freePort, ROOT, temporaryFolder } from './peer.ts';
import { receive } from './scu/receiver.ts';

/** ISEN_ROUTING_CRASH=full is the whole of it; else what takes a few seconds. */
const FULL = process.env['ISEN_ROUTING_CRASH'] === 'full';
const INSTANCES = FULL ? 2000 : 300;
const CRASHES = FULL ? 10 : 4;
/** Milliseconds that one modality is dead. */
const DEAD = FULL ? 60_000 : 8000;
/** Milliseconds that the slow one takes for an instance. */
const SLOW = 10;
/** Every so many instances one breaks off. */
const BREAKS = 50;

async function start(config: string, url: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'src', 'cli.js'), 'serve', config], {
    stdio: ['ignore', 'ignore', process.env['ISEN_TEST_VERBOSE'] ? 'inherit' : 'ignore'],
  });
  for (let tries = 0; tries < 1200; tries++) {
    assert.equal(child.exitCode, null, 'the server ended at its start');
    try {
      const answer = await fetch(`${url}/system`);
      await answer.arrayBuffer();
      return child;
    } catch {
      await sleep(25);
    }
  }
  throw new Error('the server did not start');
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** The instance of a number, and the MD5 of its data set. */
function instance(number: number): { readonly uid: string; readonly file: Buffer; readonly dataSet: string } {
  const uid = `2.25.77.${number}`;
  const pixels = randomBytes(2 * 128 * 128);
  const file = make({
    patientId: `P${number % 5}`,
    studyUid: `2.25.77.1.${number % 10}`,
    seriesUid: `2.25.77.2.${number % 20}`,
    sopUid: uid,
    rows: 128,
    columns: 128,
    pixels,
  });
  return { uid, file, dataSet: md5(file.subarray(readFileMeta(file).end)) };
}

test(`${INSTANCES} instances to three modalities, ${CRASHES} kills meanwhile`, {
  timeout: 600_000,
}, async (context) => {
  const expected = new Map<string, string>();
  /** By modality: MD5 of the data set of each instance, how often it came, and when the last one did. */
  const seen = {
    dead: new Map<string, string>(),
    breaking: new Map<string, string>(),
    slow: new Map<string, string>(),
  };
  const times = { dead: 0, breaking: 0, slow: 0 };
  let doubles = 0;
  const note = (name: keyof typeof seen, uid: string, dataSet: Buffer): void => {
    const digest = md5(dataSet);
    if (seen[name].has(uid)) doubles += 1;
    // What came broken would be seen here, also the first of two.
    if (expected.get(uid) !== digest) seen[name].set(uid, `wrong: ${digest}`);
    else if (!seen[name].has(uid)) seen[name].set(uid, digest);
    times[name] = performance.now();
  };
  const dead = await receive({
    keep: false,
    answer: ({ sopInstanceUid, dataSet }) => (note('dead', sopInstanceUid, dataSet), 0),
  });
  await dead.close();
  const breaking = await receive({
    keep: false,
    answer: ({ sopInstanceUid, dataSet }, count) => {
      if (count % BREAKS === 0) return 'abort';
      note('breaking', sopInstanceUid, dataSet);
      return 0;
    },
  });
  const slow = await receive({
    keep: false,
    answer: async ({ sopInstanceUid, dataSet }) => {
      await sleep(SLOW);
      note('slow', sopInstanceUid, dataSet);
      return 0;
    },
  });

  const folder = temporaryFolder();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const config = join(folder, 'config.json');
  const modality = (AET: string, at: number): object => ({
    AET,
    Host: '127.0.0.1',
    Port: at,
    RetryDelay: 0.5,
    MaximumRetryDelay: 2,
  });
  writeFileSync(
    config,
    JSON.stringify({
      HttpPort: port,
      DicomServerEnabled: false,
      StorageDirectory: join(folder, 'storage'),
      DicomModalities: {
        dead: modality('DEAD', dead.port),
        breaking: modality('BREAKING', breaking.port),
        slow: modality('SLOW', slow.port),
      },
      Routes: [{ Name: 'all', To: ['dead', 'breaking', 'slow'] }],
    }),
  );

  let server = await start(config, url);
  const began = performance.now();
  let uploaded = 0;
  let uploadedAt = 0;
  /** Uploads every instance, again and again until it is acknowledged. */
  const uploads = (async () => {
    const clients = Array.from({ length: 4 }, async (_, client) => {
      for (let number = client; number < INSTANCES; number += 4) {
        const { uid, file, dataSet } = instance(number);
        expected.set(uid, dataSet);
        for (;;) {
          try {
            const answer = await fetch(`${url}/instances`, { method: 'POST', body: file });
            await answer.arrayBuffer();
            if (answer.status === 200) break;
          } catch {
            // It is being killed, or starts again.
          }
          await sleep(20);
        }
        uploaded += 1;
        // So that there is something to kill in the middle of for the whole time.
        await sleep((DEAD * 2) / INSTANCES);
      }
    });
    await Promise.all(clients);
    uploadedAt = performance.now();
  })();

  let others = 0;
  const revival = (async () => {
    await sleep(DEAD);
    // A slow machine may be in the middle of a restart.
    for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(50)) {
      others = Math.min(seen.breaking.size, seen.slow.size) / uploaded;
      if (others > 0.8) break;
    }
    await dead.open();
  })();
  for (let crash = 0; crash < CRASHES; crash++) {
    await sleep(randomInt(DEAD / CRASHES / 2, DEAD / CRASHES));
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGKILL');
    await ended;
    server = await start(config, url);
  }
  try {
    await uploads;
    await revival;
    const end = Date.now() + 120_000;
    while (Object.values(seen).some(({ size }) => size < INSTANCES)) {
      const counts = JSON.stringify(Object.fromEntries(Object.entries(seen).map(([name, { size }]) => [name, size])));
      assert.ok(Date.now() < end, `not all came: ${counts} of ${INSTANCES}`);
      await sleep(50);
    }
    for (const [name, came] of Object.entries(seen)) {
      for (const [uid, digest] of expected) assert.equal(came.get(uid), digest, `${uid} at ${name}`);
      assert.equal(came.size, INSTANCES, `${name} got something else`);
      const queue = (await (await fetch(`${url}/modalities/${name}/queue`)).json()) as Record<string, number>;
      assert.equal(queue['Failed'], 0, `${name}: nothing failed for good`);
    }
    const late = (name: keyof typeof times): string => `${((times[name] - uploadedAt) / 1000).toFixed(1)} s`;
    context.diagnostic(
      `${INSTANCES} uploaded in ${((uploadedAt - began) / 1000).toFixed(1)} s; the last one came later at breaking by ${late('breaking')}, at slow by ${late('slow')}, at dead by ${late('dead')}; ${doubles} came twice; when the dead one came back the others had ${(others * 100).toFixed(0)} % of what was uploaded`,
    );
    // Those that are alive do not wait for the one that is dead: they lack what came last at most, or during a restart.
    assert.ok(others > 0.8, `the others had ${(others * 100).toFixed(0)} % when the dead one came back`);
  } finally {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGTERM');
    await ended;
    await Promise.all([dead.close(), breaking.close(), slow.close()]);
  }
  assert.equal(server.exitCode, 0, 'a graceful end exits with 0');
});
