/**
 * Owns the proof that a modification survives: the server is killed in the middle of it again and again, and in the end every
 * instance has one result, no more and no less.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { make } from '../dicom/made.ts';
import { freePort, temporaryFolder } from '../peer.ts';
import { startChild } from '../server-child.ts';

const INSTANCES = 500;
const KILLS = 3;

test('an anonymisation that is killed again and again makes each instance once', { timeout: 120_000 }, async () => {
  const folder = temporaryFolder();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const get = async <T>(path: string): Promise<T> => (await (await fetch(url + path)).json()) as T;

  let child = await startChild(folder, port);
  const study = { patientId: 'P', studyUid: '2.25.8' };
  let first = '';
  for (let at = 0; at < INSTANCES; at += 50) {
    const some = Array.from({ length: 50 }, async (_, index) => {
      const number = at + index;
      const body = make({ ...study, seriesUid: `2.25.8.${number % 3}`, sopUid: `2.25.8.${number % 3}.${number}` });
      const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(body) });
      first = ((await answer.json()) as { ParentStudy: string }).ParentStudy;
    });
    await Promise.all(some);
  }
  const begun = await fetch(`${url}/studies/${first}/anonymize`, {
    method: 'POST',
    body: JSON.stringify({ Asynchronous: true, KeepSource: false }),
  });
  const { Path } = (await begun.json()) as { Path: string };
  interface State {
    readonly State: string;
    readonly ErrorDetails: string;
    readonly Content: { readonly ID: string; readonly InstancesCount: number };
  }
  let seen = INSTANCES;
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const enough = INSTANCES + (INSTANCES / (KILLS + 2)) * kill;
    // Some of it is done, and not all.
    for (let tries = 0; tries < 2000; tries += 1) {
      seen = (await get<{ CountInstances: number }>('/statistics')).CountInstances;
      if (seen >= enough) break;
      await sleep(5);
    }
    assert.ok(seen >= enough && seen < 2 * INSTANCES, `${seen} instances: no kill came while it was at work`);
    child.kill('SIGKILL');
    await once(child, 'close');
    child = await startChild(folder, port);
  }
  let job: State;
  do {
    await sleep(50);
    job = await get<State>(Path);
  } while (job.State === 'Pending' || job.State === 'Running');
  assert.equal(job.State, 'Success', job.ErrorDetails);
  const { CountInstances, CountStudies } = await get<Record<string, number>>('/statistics');
  assert.deepEqual([CountInstances, CountStudies], [INSTANCES, 1]);
  const made = await get<{ ID: string }[]>(`/studies/${job.Content.ID}/instances?expand`);
  assert.equal(made.length, INSTANCES);
  const sources = await Promise.all(
    made.map(async ({ ID }) => (await fetch(`${url}/instances/${ID}/metadata/AnonymizedFrom`)).text()),
  );
  assert.equal(new Set(sources).size, INSTANCES);
  child.kill();
  await once(child, 'close');
});
