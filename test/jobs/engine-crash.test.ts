/** Jobs of a process that is killed again and again: none is lost, and each goes on where it stopped. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { temporaryFolder } from '../peer.ts';
import { openQueue } from './opened.ts';

const CHILD = fileURLToPath(new URL('engine-child.js', import.meta.url));
const JOBS = 4;

test('jobs go on at their checkpoints after each of many kills', { timeout: 60_000 }, async () => {
  const folder = temporaryFolder();
  /** The last step of each job that was said to be durable. */
  const steps = new Map<string, number>();
  let goneOn = 0;
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, [CHILD, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    let seen = 0;
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const [verb, id = '', number = '0'] = line.split(' ');
        if (verb === 'submitted') steps.set(id, Math.max(0, steps.get(id) ?? 0));
        if (verb === 'begin') {
          const durable = steps.get(id) ?? 0;
          assert.ok(Number(number) >= durable, `${id} began at ${number}, ${durable} was durable`);
          if (Number(number) > 0) goneOn++;
        }
        if (verb === 'step') {
          steps.set(id, Number(number));
          seen++;
        }
      }
      // All are submitted and some have worked: any moment will do.
      if (steps.size >= JOBS && seen > 3 + 2 * round) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const queue = await openQueue(join(folder, 'index'));
    const entries = await queue.list({ queue: 'jobs', limit: 100 });
    await queue.close();
    const there = new Set(entries.map(({ id }) => id));
    for (const id of steps.keys()) assert.ok(there.has(id), `${id} is lost`);
    assert.equal(there.size, JOBS);
    if (entries.every(({ state }) => state === 'done')) break;
  }
  assert.ok(goneOn > 3, `${goneOn} went on`);
});
