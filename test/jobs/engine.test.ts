/** The job engine over a real queue and a real storage: kinds that work and kinds that follow, and all that is asked of jobs. */

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IsenError } from '../../src/errors.ts';
import { createEngine, type EngineOptions } from '../../src/jobs/engine.ts';
import type { Job } from '../../src/jobs/job.ts';
import type { Jobs } from '../../src/jobs/jobs.ts';
import type { FollowingKind, JobKind, JobRun, WorkingKind } from '../../src/jobs/kinds.ts';
import type { Queue } from '../../src/jobs/queue.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { temporaryFolder } from '../peer.ts';
import { openQueue } from './opened.ts';

const NEVER = new AbortController().signal;

const root = temporaryFolder();
let opened = 0;

/** A kind whose runs a test decides about. */
function kindOf(run: WorkingKind['run'], deadline = 60_000): WorkingKind {
  return { type: 'Test', deadline, run };
}

const sending: FollowingKind = {
  type: 'Sending',
  follow: (content, { failed, total }) => ({ ...content, Failed: failed, Count: total }),
  failure: (content, first) =>
    content['Permissive'] === true ? undefined : { code: 'NetworkProtocol', details: first?.reason },
};

interface Opened {
  readonly queue: Queue;
  readonly storage: Storage;
  readonly jobs: Jobs;
  readonly folder: string;
  /** Ends this engine and opens another on the same data. */
  again(kinds?: readonly JobKind[], options?: Partial<EngineOptions>): Promise<Opened>;
}

async function open(
  context: TestContext,
  kinds: readonly JobKind[],
  options: Partial<EngineOptions> = {},
  folder: string = join(root, `${opened++}`),
): Promise<Opened> {
  mkdirSync(folder, { recursive: true });
  const queue = await openQueue(join(folder, 'index'));
  const storage = await openFilesystem({ root: join(folder, 'blobs'), sync: false });
  const all = { concurrent: 2, history: 10, save: true, outputs: 10, ...options };
  const jobs = createEngine({ queue, storage, ...all });
  for (const kind of kinds) jobs.register(kind);
  await jobs.start();
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    closing ??= jobs.close().then(() => queue.close());
    await closing;
  };
  context.after(close);
  return {
    queue,
    storage,
    jobs,
    folder,
    again: async (others = kinds, more = {}) => {
      await close();
      return open(context, others, { ...options, ...more }, folder);
    },
  };
}

async function until(jobs: Jobs, id: string, state: Job['state']): Promise<Job> {
  for (let tries = 0; tries < 500; tries++) {
    const job = await jobs.get(id);
    if (job?.state === state) return job;
    await sleep(10);
  }
  throw new Error(`the job is ${(await jobs.get(id))?.state}, not ${state}`);
}

/** Waits for its abortion, as a kind that hears its signal does. */
async function aborted(signal: AbortSignal): Promise<never> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  throw new Error('aborted');
}

async function listed(jobs: Jobs, request?: Parameters<Jobs['list']>[0]): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of jobs.list(request)) ids.push(id);
  return ids;
}

const blobs = (folder: string): number =>
  readdirSync(join(folder, 'blobs'), { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && /^[0-9a-f]{8}-/.test(entry.name),
  ).length;

test('a job runs, shows how far it is, and ends with its content', { timeout: 30_000 }, async (context) => {
  let go = (): void => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const kind = kindOf(async (job) => {
    assert.deepEqual([job.content, job.state], [{ Description: 'REST API' }, { secret: 1 }]);
    job.progress(0.25);
    await gate;
    return { ...job.content, Made: 3 };
  });
  const { jobs } = await open(context, [kind]);
  const id = await jobs.submit({
    type: 'Test',
    content: { Description: 'REST API' },
    state: { secret: 1 },
    priority: 7,
    userData: { mine: true },
  });
  const waiting = jobs.wait(id, NEVER);
  const running = await until(jobs, id, 'Running');
  while ((await jobs.get(id))?.progress !== 0.25) await sleep(5);
  assert.equal(running.completed, undefined);
  go();
  assert.deepEqual(await waiting, { Description: 'REST API', Made: 3 });
  const job = await jobs.get(id);
  assert.ok(job?.completed !== undefined && job.completed > job.created && job.runtime > 0);
  assert.deepEqual(
    [job.state, job.progress, job.priority, job.userData, job.error, job.content['Made']],
    ['Success', 1, 7, { mine: true }, undefined, 3],
  );
  assert.equal(JSON.stringify(job).includes('secret'), false);
});

test('a failed job says why, to those who wait too, and can be submitted again', {
  timeout: 30_000,
}, async (context) => {
  let fails = true;
  const kind = kindOf(async (job) => {
    await job.checkpoint(fails ? 'half' : job.state);
    if (fails) throw new IsenError('NetworkProtocol', 'nobody answers');
    return { From: job.state };
  });
  const { jobs } = await open(context, [kind]);
  const id = await jobs.submit({ type: 'Test', content: {} });
  await assert.rejects(jobs.wait(id, NEVER), { code: 'NetworkProtocol', details: 'nobody answers' });
  const failed = await jobs.get(id);
  assert.deepEqual(failed?.error, { code: 'NetworkProtocol', details: 'nobody answers' });
  await assert.rejects(jobs.resume(id), { code: 'BadRequest' });
  fails = false;
  await jobs.resubmit(id);
  assert.equal((await until(jobs, id, 'Success')).content['From'], 'half');
  await assert.rejects(jobs.resubmit(id), { code: 'BadRequest' });
  await jobs.cancel(id);
  await jobs.pause(id);
  assert.equal((await jobs.get(id))?.state, 'Success');
});

test('a thrown mistake, a kind nobody knows and a deadline are failures', { timeout: 30_000 }, async (context) => {
  const kind = kindOf(async (job, signal) => {
    if (job.content['slow'] === true) return aborted(signal);
    throw new TypeError('a mistake');
  }, 50);
  const { jobs } = await open(context, [kind]);
  const wait = async (type: string, content = {}): Promise<unknown> =>
    jobs.wait(await jobs.submit({ type, content }), NEVER);
  await assert.rejects(wait('Test'), { code: 'InternalError' });
  await assert.rejects(wait('Other'), { code: 'NotImplemented' });
  await assert.rejects(wait('Test', { slow: true }), { code: 'Timeout' });
});

test('only so many jobs run at once, the most urgent first', { timeout: 30_000 }, async (context) => {
  let now = 0;
  let most = 0;
  const order: unknown[] = [];
  const kind = kindOf(async (job) => {
    most = Math.max(most, ++now);
    order.push(job.content['n']);
    await sleep(20);
    now--;
    return {};
  });
  const { jobs } = await open(context, [kind], { history: 100 });
  const ids = [];
  for (let n = 0; n < 2; n++) ids.push(await jobs.submit({ type: 'Test', content: { n } }));
  const others = [4, 5, 6, 7, 8, 9].map((n) => jobs.submit({ type: 'Test', content: { n }, priority: n }));
  for (const id of [...ids, ...(await Promise.all(others))]) await until(jobs, id, 'Success');
  assert.equal(most, 2);
  assert.equal(order.length, 8);
  assert.deepEqual(new Set(order.slice(-2)), new Set([4, 5]));
});

test('jobs are paused, resumed and cancelled: waiting, running and paused ones', {
  timeout: 30_000,
}, async (context) => {
  let runs = 0;
  const kind = kindOf(async (job, signal) => {
    runs++;
    if (job.state === 'go on') return { Done: true };
    await job.checkpoint('go on');
    return aborted(signal);
  });
  const { jobs } = await open(context, [kind], { concurrent: 1 });
  const first = await jobs.submit({ type: 'Test', content: {} });
  await until(jobs, first, 'Running');
  while (runs < 1) await sleep(5);
  const second = await jobs.submit({ type: 'Test', content: {} });
  const third = await jobs.submit({ type: 'Test', content: {} });
  await jobs.pause(second);
  await jobs.cancel(third);
  assert.equal((await jobs.get(second))?.state, 'Paused');
  assert.equal((await jobs.get(third))?.error?.code, 'CanceledJob');
  await sleep(30);
  await jobs.pause(first);
  await until(jobs, first, 'Paused');
  await jobs.resume(first);
  assert.deepEqual((await until(jobs, first, 'Success')).content, { Done: true });
  assert.equal((await jobs.get(second))?.state, 'Paused');
  await jobs.cancel(second);
  const waiting = assert.rejects(jobs.wait(second, NEVER), { code: 'CanceledJob' });
  await waiting;
  for (const action of ['cancel', 'pause', 'resume', 'resubmit'] as const)
    await assert.rejects(jobs[action]('nobody'), { code: 'BadRequest' }, action);
});

test('a running job that is cancelled hears of it, and what it still does is forgotten', {
  timeout: 30_000,
}, async (context) => {
  let after: unknown;
  let done = (): void => {};
  const over = new Promise<void>((resolve) => {
    done = resolve;
  });
  const kind = kindOf(async (job, signal) => {
    await aborted(signal).catch(() => {});
    after = await job.checkpoint('too late').catch((thrown: unknown) => thrown);
    done();
    return { Never: true };
  });
  const { jobs } = await open(context, [kind]);
  const id = await jobs.submit({ type: 'Test', content: {} });
  await until(jobs, id, 'Running');
  const waiting = assert.rejects(jobs.wait(id, NEVER), { code: 'CanceledJob' });
  await sleep(30);
  await jobs.cancel(id);
  await Promise.all([waiting, over]);
  assert.ok(after instanceof IsenError && after.code === 'CanceledJob');
  assert.deepEqual((await jobs.get(id))?.content, {});
});

test('who leaves stops waiting, and the job goes on', { timeout: 30_000 }, async (context) => {
  let go = (): void => {};
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const { jobs } = await open(context, [kindOf(() => gate.then(() => ({})))]);
  const id = await jobs.submit({ type: 'Test', content: {} });
  const aborter = new AbortController();
  const waiting = assert.rejects(jobs.wait(id, aborter.signal), { code: 'CanceledJob' });
  aborter.abort();
  await waiting;
  assert.notEqual((await jobs.get(id))?.state, 'Failure');
  go();
  await until(jobs, id, 'Success');
  await assert.rejects(jobs.wait('nobody', NEVER), { code: 'UnknownResource' });
});

test('an engine that ends leaves its jobs to the next, at their checkpoints', { timeout: 30_000 }, async (context) => {
  const starts: unknown[] = [];
  const kind = kindOf(async (job, signal) => {
    starts.push(job.state);
    if (job.state === 2) return { Steps: 2 };
    await job.checkpoint(Number(job.state ?? 0) + 1, { Step: job.state ?? 0 });
    return aborted(signal);
  });
  const first = await open(context, [kind]);
  const id = await first.jobs.submit({ type: 'Test', content: {} });
  while ((await first.jobs.get(id))?.content['Step'] !== 0) await sleep(5);
  const second = await first.again();
  while ((await second.jobs.get(id))?.content['Step'] !== 1) await sleep(5);
  const third = await second.again();
  assert.deepEqual((await until(third.jobs, id, 'Success')).content, { Steps: 2 });
  assert.deepEqual(starts, [null, 1, 2]);
  const fourth = await third.again(undefined, { save: false });
  assert.deepEqual(await listed(fourth.jobs), []);
});

test('so many ended jobs are remembered, and lists are filtered', { timeout: 30_000 }, async (context) => {
  const other: WorkingKind = { ...kindOf(() => Promise.reject(new IsenError('Database'))), type: 'Other' };
  const { jobs } = await open(context, [kindOf(async () => ({})), other], { history: 4 });
  const ids: string[] = [];
  for (let n = 0; n < 9; n++) {
    const id = await jobs.submit({ type: n % 3 === 0 ? 'Other' : 'Test', content: { n } });
    await jobs.wait(id, NEVER).catch(() => {});
    ids.push(id);
  }
  while ((await listed(jobs)).length > 4) await sleep(10);
  assert.deepEqual(await listed(jobs), ids.slice(5));
  assert.deepEqual(await listed(jobs, { states: ['Failure'] }), [ids[6]]);
  assert.deepEqual(await listed(jobs, { type: 'Test' }), [ids[5], ids[7], ids[8]]);
  assert.deepEqual(await listed(jobs, { type: 'Test', limit: 2 }), [ids[5], ids[7]]);
  assert.deepEqual(await listed(jobs, { since: ids[6] ?? '', limit: 1 }), [ids[7]]);
  assert.deepEqual(await listed(jobs, { limit: 0 }), []);
  assert.deepEqual(await jobs.count(), { Pending: 0, Running: 0, Retry: 0, Paused: 0, Failure: 1, Success: 3 });
  await jobs.remove(ids[7] ?? '');
  assert.deepEqual(await listed(jobs), [ids[5], ids[6], ids[8]]);
  await assert.rejects(jobs.remove(ids[7] ?? ''), { code: 'InexistentItem' });
});

test('the end of a job that the history has forgotten already is heard by who waits only then', {
  timeout: 30_000,
}, async (context) => {
  const other: WorkingKind = { ...kindOf(() => Promise.reject(new IsenError('Database', 'lost'))), type: 'Other' };
  const { jobs } = await open(context, [kindOf(async () => ({ done: true })), other], { history: 1 });
  const [good, bad] = [
    await jobs.submit({ type: 'Test', content: {} }),
    await jobs.submit({ type: 'Other', content: {} }),
  ];
  const last = await jobs.submit({ type: 'Test', content: {} });
  await jobs.wait(last, NEVER);
  while ((await jobs.get(good)) !== undefined || (await jobs.get(bad)) !== undefined) {
    // Whichever ended last is remembered.
    await jobs.wait(await jobs.submit({ type: 'Test', content: {} }), NEVER);
  }
  await jobs.wait(good, NEVER);
  await assert.rejects(jobs.wait(bad, NEVER), { code: 'Database', details: 'lost' });
  await assert.rejects(jobs.wait('nobody', NEVER), { code: 'UnknownResource' });
});

test('outputs are there once the job has succeeded, few of them, and go with it', {
  timeout: 30_000,
}, async (context) => {
  const kind = kindOf(async (job: JobRun) => {
    const writer = await job.output('archive', { type: 'application/zip', filename: 'a.zip' });
    await writer.write(new Uint8Array([1, 2, 3]));
    await writer.finish();
    if (job.content['fails'] === true) throw new IsenError('Database');
    return {};
  });
  const { jobs, storage, folder } = await open(context, [kind], { outputs: 2 });
  const make = async (content = {}): Promise<string> => {
    const id = await jobs.submit({ type: 'Test', content });
    await jobs.wait(id, NEVER).catch(() => {});
    return id;
  };
  const first = await make();
  const { uuid, ...of } = await jobs.output(first, 'archive');
  assert.deepEqual(of, { type: 'application/zip', filename: 'a.zip' });
  assert.deepEqual([...(await storage.read(uuid))], [1, 2, 3]);
  await assert.rejects(jobs.output(first, 'other'), {
    code: 'InexistentItem',
    details: 'Job has no such output: other',
  });
  await assert.rejects(jobs.output(first, 'toString'), { code: 'InexistentItem' });
  const failed = await make({ fails: true });
  await assert.rejects(jobs.output(failed, 'archive'), { code: 'InexistentItem' });
  assert.equal(blobs(folder), 1);
  const [second, third] = [await make(), await make()];
  const isThere = async (id: string): Promise<boolean> =>
    jobs.output(id, 'archive').then(
      () => true,
      () => false,
    );
  // The oldest goes soon after the third has ended.
  while (await isThere(first)) await sleep(10);
  assert.equal(blobs(folder), 2);
  await jobs.removeOutput(second, 'archive');
  await assert.rejects(jobs.output(second, 'archive'), { code: 'InexistentItem' });
  assert.equal(blobs(folder), 1);
  await jobs.remove(third);
  assert.equal(blobs(folder), 0);
});

// --- jobs that follow --------------------------------------------------------------------------------------------

const delivery = (id: string, queue = 'modality:a') => ({ queue, id, priority: 0, due: 0, value: id });

test('a job follows its entries: pending, running, retrying, failed, and again to success', {
  timeout: 30_000,
}, async (context) => {
  const { jobs, queue } = await open(context, [sending]);
  const id = await jobs.deliver({ type: 'Sending', content: { D: 1 } }, [
    delivery('1'),
    delivery('2'),
    delivery('3', 'modality:b'),
    delivery('1'),
  ]);
  assert.equal((await jobs.get(id))?.state, 'Pending');
  const taken = await queue.take('modality:a', 9);
  assert.deepEqual(
    taken.map((entry) => [entry.group, entry.value]),
    [
      [id, '1'],
      [id, '2'],
    ],
  );
  const [one, two] = taken;
  const settle = async (entry: typeof one, state: 'done' | 'retrying' | 'failed', reason = ''): Promise<void> => {
    const due = state === 'retrying' ? Date.now() + 60_000 : 0;
    await queue.settle([{ queue: entry?.queue ?? '', id: entry?.id ?? '', state, due, reason }]);
  };
  await settle(one, 'done');
  const running = await until(jobs, id, 'Running');
  assert.ok(running.runtime >= 0 && running.completed === undefined);
  const [three] = await queue.take('modality:b', 9);
  await settle(three, 'failed', 'refused');
  await settle(two, 'retrying', 'busy');
  const retrying = await until(jobs, id, 'Retry');
  assert.equal(retrying.progress, 1 / 3);
  assert.deepEqual(retrying.content, { D: 1, Failed: 1, Count: 3 });
  const waiting = assert.rejects(jobs.wait(id, NEVER), { code: 'NetworkProtocol', details: 'refused' });
  await settle(two, 'done');
  await waiting;
  const failed = await jobs.get(id);
  assert.equal(failed?.state, 'Failure');
  assert.ok(failed.completed !== undefined);
  // Only what failed is left, for somebody to look at.
  assert.deepEqual(
    (await queue.count({ group: id })).map(({ queue: of, state, count }) => `${of} ${state} ${count}`),
    ['modality:b failed 1'],
  );
  await jobs.resubmit(id);
  assert.equal((await jobs.get(id))?.completed, undefined);
  const [again] = await queue.take('modality:b', 9);
  assert.equal(again?.attempts, 1);
  await settle(again, 'done');
  const done = await until(jobs, id, 'Success');
  assert.deepEqual([done.progress, done.content['Failed'], done.error], [1, 0, undefined]);
  while ((await queue.count({ group: id })).length > 0) await sleep(5);
});

test('what a job does in the end is done again where the index was away, and fails it where it fails', {
  timeout: 30_000,
}, async (context) => {
  const outcomes = [new IsenError('DatabaseUnavailable'), undefined, new IsenError('NetworkProtocol', 'refused')];
  const seen: unknown[] = [];
  const kind: FollowingKind = {
    ...sending,
    ending: () => async (sent) => {
      for await (const value of sent) seen.push(value);
      const outcome = outcomes.shift();
      if (outcome !== undefined) throw outcome;
    },
  };
  const { jobs, queue } = await open(context, [kind]);
  for (const [name, state] of [
    ['1', 'Success'],
    ['2', 'Failure'],
  ] as const) {
    const id = await jobs.deliver({ type: 'Sending', content: {} }, [delivery(name)]);
    const [entry] = await queue.take('modality:a', 1);
    await queue.settle([{ queue: 'modality:a', id: entry?.id ?? '', state: 'done' }]);
    for (let tries = 0; (await jobs.get(id))?.state === 'Running' || tries === 0; tries++) {
      assert.ok(tries < 1000);
      await sleep(10);
    }
    await until(jobs, id, state);
  }
  assert.deepEqual(seen, ['1', '1', '2']);
});

test('a job that follows takes no slot, can be paused, cancelled, and fail permissively', {
  timeout: 30_000,
}, async (context) => {
  const busy = kindOf((_, signal) => aborted(signal));
  const { jobs, queue } = await open(context, [sending, busy], { concurrent: 1 });
  await until(jobs, await jobs.submit({ type: 'Test', content: {} }), 'Running');
  const empty = await jobs.deliver({ type: 'Sending', content: {} }, []);
  await until(jobs, empty, 'Success');

  const paused = await jobs.deliver({ type: 'Sending', content: {} }, [delivery('1'), delivery('2')]);
  await jobs.pause(paused);
  await until(jobs, paused, 'Paused');
  assert.deepEqual(await queue.take('modality:a', 9), []);
  await jobs.resume(paused);
  await until(jobs, paused, 'Pending');
  assert.equal((await queue.take('modality:a', 1)).length, 1);
  const waiting = assert.rejects(jobs.wait(paused, NEVER), { code: 'CanceledJob' });
  await jobs.cancel(paused);
  await waiting;
  // The one under way ends; its job stays cancelled.
  const late = await queue.settle([{ queue: 'modality:a', id: `${paused}:1`, state: 'done', from: ['active'] }]);
  assert.deepEqual(late, []);
  assert.equal((await jobs.get(paused))?.error?.code, 'CanceledJob');

  const permissive = await jobs.deliver({ type: 'Sending', content: { Permissive: true } }, [
    delivery('1'),
    delivery('2'),
  ]);
  const taken = await queue.take('modality:a', 9);
  // One fails, the other is taken out of its queue by somebody.
  const states = ['failed', 'removed'] as const;
  await queue.settle(taken.map(({ queue: of, id }, index) => ({ queue: of, id, state: states[index] ?? 'done' })));
  assert.deepEqual((await until(jobs, permissive, 'Success')).content, { Permissive: true, Failed: 2, Count: 2 });
});

test('many entries are added in steps, all or none, and what a crash left half is withdrawn', {
  timeout: 60_000,
}, async (context) => {
  const first = await open(context, [sending]);
  const { jobs, queue } = first;
  async function* many(count: number, error?: Error) {
    for (let n = 0; n < count; n++) yield delivery(`${n}`);
    if (error) throw error;
  }
  await assert.rejects(jobs.deliver({ type: 'Sending', content: {} }, many(1200, new Error('lost'))), {
    message: 'lost',
  });
  assert.deepEqual(await queue.count(), []);
  const id = await jobs.deliver({ type: 'Sending', content: {} }, many(1200));
  let sent = 0;
  for (;;) {
    const taken = await queue.take('modality:a', 300);
    if (taken.length === 0) break;
    sent += taken.length;
    await queue.settle(taken.map((entry) => ({ queue: entry.queue, id: entry.id, state: 'done' as const })));
  }
  assert.equal(sent, 1200);
  assert.equal((await until(jobs, id, 'Success')).content['Count'], 1200);

  // As a crash in the middle of adding leaves them.
  const value = {
    type: 'Sending',
    content: {},
    state: null,
    created: 1,
    runtime: 0,
    progress: 0,
    outputs: {},
    following: { done: 0 },
  };
  await queue.add([
    { queue: 'jobs', id: 'half', group: '', priority: 0, due: Number.MAX_SAFE_INTEGER, value },
    { ...delivery('x'), group: 'half' },
  ]);
  const again = await first.again();
  assert.equal(await again.jobs.get('half'), undefined);
  assert.deepEqual(await again.queue.take('modality:a', 9), []);
});

test('what moved while no engine ran is seen by the next', { timeout: 30_000 }, async (context) => {
  const first = await open(context, [sending]);
  const id = await first.jobs.deliver({ type: 'Sending', content: {} }, [delivery('1')]);
  const [entry] = await first.queue.take('modality:a', 1);
  await first.jobs.close();
  await first.queue.settle([{ queue: 'modality:a', id: entry?.id ?? '', state: 'done' }]);
  const second = await first.again();
  await until(second.jobs, id, 'Success');
});
