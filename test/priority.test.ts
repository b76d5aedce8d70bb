import assert from 'node:assert/strict';
import { once } from 'node:events';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';

const PRIORITY = new URL('../src/priority.js', import.meta.url).href;

test('a thread that gives way leaves the others as they were', async (context) => {
  if (process.platform !== 'linux') return context.skip('threads have no nice value of their own here');
  const before = getPriority();
  const code = `
    import { getPriority } from 'node:os';
    import { parentPort } from 'node:worker_threads';
    import { beNice } from ${JSON.stringify(PRIORITY)};
    beNice(getPriority() + 3);
    parentPort.postMessage(getPriority());
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const [nice] = (await once(worker, 'message')) as [number];
  assert.equal(nice, before + 3);
  assert.equal(getPriority(), before);
  await worker.terminate();
});
