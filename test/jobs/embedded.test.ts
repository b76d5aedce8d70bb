/** Runs the contract of the `queue` port on the rows of SQLite, and kills a process in the middle of its work. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { queueContract } from '../contracts/queue.ts';
import { temporaryFolder } from '../peer.ts';
import { openQueue } from './opened.ts';

const folder = temporaryFolder();

queueContract('embedded', async (name, capacity) => openQueue(join(folder, `${name}.db`), capacity));

const CHILD = fileURLToPath(new URL('embedded-child.js', import.meta.url));

test('embedded: kills in the middle of adding and settling lose and double nothing', { timeout: 60_000 }, async () => {
  const path = join(folder, 'killed.db');
  /** What the child acknowledged: the position, and the entries settled. */
  let position = 0;
  const settled = new Set<number>();
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [CHILD, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    let killing = false;
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const [verb, ...numbers] = line.split(' ');
        if (verb === 'added') position = Number(numbers[0]);
        else for (const number of numbers) settled.add(Number(number));
      }
      if (killing) return;
      killing = true;
      setTimeout(() => child.kill('SIGKILL'), 30 + 40 * round);
    });
    await once(child, 'close');
    const queue = await openQueue(path);
    const stored = Number(await queue.position('source'));
    assert.ok(stored >= position, 'an acknowledged position is lost');
    const there = new Set<number>();
    for (let after = 0; ; ) {
      const page = await queue.list({ queue: 'q', after, limit: 500 });
      for (const { id, state } of page) {
        assert.ok(!there.has(Number(id)) && state !== 'active');
        there.add(Number(id));
      }
      const last = page.at(-1);
      if (last === undefined) break;
      after = last.seq;
    }
    for (const number of settled) assert.ok(!there.has(number), `${number} was settled and is there again`);
    for (const number of there) assert.ok(number <= stored, `${number} is beyond the position ${stored}`);
    // Of those not there each was settled; the last of them perhaps without an answer.
    const gone = stored - there.size;
    assert.ok(gone >= settled.size && gone - settled.size <= 4 * 10, `${gone} gone, ${settled.size} settled`);
    const counted = (await queue.count({ queue: 'q' })).reduce((sum, { count }) => sum + count, 0);
    assert.equal(counted, there.size);
    position = stored;
    for (let number = 1; number <= stored; number++) if (!there.has(number)) settled.add(number);
    await queue.close();
  }
  assert.ok(settled.size > 100 && position > 100, `${settled.size} settled of ${position}`);
});
