import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism, getPriority } from 'node:os';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';

const PRIORITY = new URL('../src/priority.js', import.meta.url).href;
const skip = process.platform === 'linux' ? false : 'threads have no nice value of their own here';

/** What a thread says of itself: its nice value, and its policy (proc_pid_stat(5), field 41). */
interface Said {
  readonly nice: number;
  readonly policy: number;
}

/** A thread that gives way and answers every message; `busy`: which works meanwhile. */
function thread(busy = false): Worker {
  const code = `
    import { readFileSync } from 'node:fs';
    import { getPriority } from 'node:os';
    import { parentPort, threadId } from 'node:worker_threads';
    import { giveWay } from ${JSON.stringify(PRIORITY)};
    giveWay(getPriority() + 3);
    const say = () => {
      const fields = readFileSync('/proc/thread-self/stat', 'utf8').split(') ')[1].split(' ');
      parentPort.postMessage({ nice: getPriority(), policy: Number(fields[38]) });
    };
    say();
    parentPort.on('message', () => {});
    if (${busy}) setInterval(() => {
      const until = performance.now() + 20;
      while (performance.now() < until);
      say();
    });
  `;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
}

test('a thread that gives way leaves the others as they were', { skip }, async () => {
  const before = getPriority();
  const worker = thread();
  const [said] = (await once(worker, 'message')) as [Said];
  assert.equal(said.nice, before + 3);
  assert.equal(getPriority(), before);
  await worker.terminate();
});

const mayReturn = (): boolean =>
  (BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`) &
    (1n << 23n)) !==
  0n;

test('where it may come back it runs only when nobody else would, and is an ordinary one when others never let it', async (context) => {
  if (skip !== false) return context.skip(skip);
  if (!mayReturn()) return context.skip('this user may not take a thread back from SCHED_IDLE');
  const [OTHER, IDLE] = [0, 5];
  const worker = thread(true);
  let last: Said | undefined;
  worker.on('message', (said: Said) => {
    last = said;
  });
  await once(worker, 'message');
  assert.equal(last?.policy, IDLE);
  const hogs: ChildProcess[] = Array.from({ length: availableParallelism() * 2 }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  try {
    const until = performance.now() + 60_000;
    while (last?.policy !== OTHER && performance.now() < until) await once(worker, 'message');
    assert.equal(last?.policy, OTHER);
  } finally {
    for (const hog of hogs) hog.kill('SIGKILL');
  }
  await worker.terminate();
});
