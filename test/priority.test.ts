import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, getPriority } from 'node:os';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { NICE, watchThreads } from '../src/priority.ts';

const PRIORITY = new URL('../src/priority.js', import.meta.url).href;
const skip = process.platform === 'linux' ? false : 'threads have no nice value of their own here';

/** What a thread says of itself: its nice value, and its policy (proc_pid_stat(5), field 41). */
interface Said {
  readonly nice: number;
  readonly policy: number;
}

/** A thread that gives way, which works for 5 of every 25 milliseconds and says how. */
function thread(): Worker {
  const code = `
    import { readFileSync } from 'node:fs';
    import { getPriority } from 'node:os';
    import { parentPort } from 'node:worker_threads';
    import { beNice, NICE } from ${JSON.stringify(PRIORITY)};
    beNice(NICE.parse);
    setInterval(() => {
      const until = performance.now() + 5;
      while (performance.now() < until);
      const fields = readFileSync('/proc/thread-self/stat', 'utf8').split(') ')[1].split(' ');
      parentPort.postMessage({ nice: getPriority(), policy: Number(fields[38]) });
    }, 20);
  `;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
}

const [OTHER, IDLE] = [0, 5];

test('a thread that gives way leaves the others as they were', { skip }, async () => {
  const before = getPriority();
  const worker = thread();
  const [said] = (await once(worker, 'message')) as [Said];
  assert.deepEqual(said, { nice: NICE.parse, policy: OTHER });
  assert.equal(getPriority(), before);
  await worker.terminate();
});

const mayReturn = (): boolean =>
  (BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`) &
    (1n << 23n)) !==
  0n;

test('watched, it runs only when nobody else would, and is an ordinary one when others never let it', async (context) => {
  if (skip !== false) return context.skip(skip);
  if (!mayReturn()) return context.skip('this user may not take a thread back from SCHED_IDLE');
  let unwatch = watchThreads();
  const worker = thread();
  let last: Said | undefined;
  worker.on('message', (said: Said) => {
    last = said;
  });
  const until = async (policy: number, milliseconds: number): Promise<void> => {
    const end = performance.now() + milliseconds;
    while (last?.policy !== policy && performance.now() < end) await sleep(10);
    assert.deepEqual(last, { nice: NICE.parse, policy });
  };
  // Working while nobody is in its way changes nothing. Other suites may be: then another second is looked at.
  for (let tries = 0; tries < 10; tries++) {
    await until(IDLE, 20_000);
    await sleep(1000);
    if (last?.policy === IDLE) break;
    unwatch();
    unwatch = watchThreads();
  }
  assert.equal(last?.policy, IDLE);
  // Nice, so that other suites hardly notice.
  const hogs: ChildProcess[] = Array.from({ length: availableParallelism() * 2 }, () =>
    spawn('nice', ['-n', '9', process.execPath, '-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  try {
    await until(OTHER, 30_000);
  } finally {
    for (const hog of hogs) hog.kill('SIGKILL');
  }
  await worker.terminate();
  const descriptors = readdirSync('/proc/self/fd').length;
  unwatch();
  assert.ok(readdirSync('/proc/self/fd').length <= descriptors);
});
