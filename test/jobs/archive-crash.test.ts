/** Owns the proof that a job which is killed while it makes an archive leaves none of it behind. */

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { make } from '../dicom/made.ts';
import { freePort, temporaryFolder } from '../peer.ts';
import { startChild } from '../server-child.ts';

const INSTANCES = 50;

test('a server that is killed while it makes an archive begins anew, or forgets it', { timeout: 120_000 }, async () => {
  const folder = temporaryFolder();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const serve = (more: object = {}): Promise<ChildProcess> => startChild(folder, port, more);
  const blobs = (): string[] =>
    readdirSync(folder, { recursive: true })
      .map(String)
      .filter((name) => /^..\/..\/[0-9a-f-]{36}$/.test(name));

  let child = await serve();
  let study = '';
  for (let number = 0; number < INSTANCES; number += 1) {
    const pixels = randomBytes(1 << 20);
    const body = make({ sopUid: `2.25.9.${number}`, rows: 1024, columns: 512, pixels });
    const answer = await fetch(`${url}/instances`, { method: 'POST', body: new Uint8Array(body) });
    study = ((await answer.json()) as { ParentStudy: string }).ParentStudy;
  }
  const stored = new Set(blobs());
  assert.equal(stored.size, INSTANCES);
  const kill = async (): Promise<string> => {
    const body = JSON.stringify({ Asynchronous: true });
    const begun = await fetch(`${url}/studies/${study}/media`, { method: 'POST', body });
    const { Path } = (await begun.json()) as { Path: string };
    let size = 0;
    for (const until = Date.now() + 20_000; size < 2 << 20 && Date.now() < until; await sleep(1)) {
      const output = blobs().find((name) => !stored.has(name));
      size = output === undefined ? 0 : statSync(join(folder, output)).size;
    }
    assert.ok(size > 0 && size < INSTANCES << 20, `${size} bytes: no kill came while it was at work`);
    child.kill('SIGKILL');
    await once(child, 'close');
    return Path;
  };
  const path = await kill();
  child = await serve();
  let state: { State: string; Content: { ArchiveSize: string } };
  do {
    await sleep(50);
    state = (await (await fetch(url + path)).json()) as typeof state;
  } while (state.State === 'Pending' || state.State === 'Running');
  assert.equal(state.State, 'Success');
  const download = await (await fetch(`${url}${path}/archive`)).arrayBuffer();
  assert.equal(String(download.byteLength), state.Content.ArchiveSize);
  assert.equal(blobs().length, INSTANCES + 1);
  assert.equal((await fetch(`${url}${path}/archive`, { method: 'DELETE' })).status, 200);
  assert.deepEqual(new Set(blobs()), stored);

  await kill();
  child = await serve({ SaveJobs: false });
  for (let wait = 0; wait < 200 && blobs().length > INSTANCES; wait += 1) await sleep(25);
  assert.deepEqual(new Set(blobs()), stored);
  child.kill();
  await once(child, 'close');
});
