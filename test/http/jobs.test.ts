/** Jobs over HTTP: what is shown, every action in every state, outputs, synchronous answers, and many of them. */

import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { createEmbeddedChanges } from '../../src/changes/embedded.ts';
import { loadConfig } from '../../src/config.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { asIsenError, IsenError } from '../../src/errors.ts';
import { createHttp } from '../../src/http/app.ts';
import { answerJob, jobOptions } from '../../src/http/jobs.ts';
import type { Environment } from '../../src/http/routes.ts';
import type { HttpServer } from '../../src/http/server.ts';
import type { Services } from '../../src/http/services.ts';
import { createEngine } from '../../src/jobs/engine.ts';
import type { Jobs } from '../../src/jobs/jobs.ts';
import type { Queue } from '../../src/jobs/queue.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { openQueue } from '../jobs/opened.ts';
import { temporaryFolder } from '../peer.ts';
const folder = temporaryFolder();
let jobs: Jobs;
let queue: Queue;
let http: HttpServer;
let beginning: Server;
let url = '';
/** Begins a job by POST: what no route does yet. */
let begin = '';
const closers: (() => Promise<unknown>)[] = [];

before(async () => {
  queue = await openQueue(join(folder, 'queue'));
  const database = await openSqlite({ path: join(folder, 'index'), limits: UNLIMITED });
  const storage = await openFilesystem({ root: join(folder, 'blobs'), sync: false });
  jobs = createEngine({ queue, storage, concurrent: 1, history: 20_000, save: true, outputs: 10 });
  jobs.register({
    type: 'Test',
    deadline: 60_000,
    async run(job, signal) {
      job.progress(0.5);
      if (job.content['output'] === true) {
        const output = await job.output('archive', { type: 'application/zip', filename: 'archive.zip' });
        await output.write(Buffer.from('0123456789'));
        await output.finish();
      }
      if (job.content['fails'] === true) throw new IsenError('NetworkProtocol', 'nobody answers');
      await sleep(Number(job.content['slow'] ?? 0), undefined, { signal });
      return { ...job.content, Ended: true };
    },
  });
  await jobs.start();
  const { config } = loadConfig({ env: { ISEN__HTTPPORT: '0' } });
  const changes = createEmbeddedChanges(database);
  const services = { config, changes, database, storage, queue, jobs, version: '' } as Services;
  http = await createHttp(services);
  url = `http://127.0.0.1:${(await http.listen()).port}`;
  const app = new Hono<Environment>();
  app.post('/', async (context) => {
    const body: Record<string, unknown> = await context.req.json();
    const { synchronous, priority, userData } = jobOptions(body, true);
    const id = await jobs.submit({ type: 'Test', content: body, priority, userData });
    return answerJob(services, context, id, synchronous);
  });
  app.onError((thrown) => new Response(thrown.message, { status: asIsenError(thrown).http }));
  const listener = getRequestListener(app.fetch);
  beginning = createServer((request, response) => void listener(request, response)).listen(0, '127.0.0.1');
  await new Promise((resolve) => beginning.once('listening', resolve));
  begin = `http://127.0.0.1:${(beginning.address() as AddressInfo).port}/`;
  closers.push(
    async () => http.close(100),
    async () => {
      beginning.closeAllConnections();
      beginning.close();
    },
    async () => jobs.close(),
    async () => queue.close(),
    async () => database.close(),
  );
});

after(async () => {
  for (const close of closers) await close();
});

interface Shown {
  readonly ID: string;
  readonly State: string;
  readonly [key: string]: unknown;
}

async function get<T>(path: string): Promise<T> {
  const answer = await fetch(`${url}${path}`);
  assert.equal(answer.status, 200, path);
  assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8');
  return (await answer.json()) as T;
}

const submit = async (content: object = {}): Promise<string> => {
  const answer = await fetch(begin, { method: 'POST', body: JSON.stringify({ ...content, Asynchronous: true }) });
  const { ID, Path } = (await answer.json()) as { ID: string; Path: string };
  assert.equal(Path, `/jobs/${ID}`);
  return ID;
};

async function until(id: string, state: string): Promise<Shown> {
  for (let tries = 0; tries < 500; tries++) {
    const job = await get<Shown>(`/jobs/${id}`);
    if (job.State === state) return job;
    await sleep(10);
  }
  throw new Error(`the job is not ${state}`);
}

/** Status and body of an action. */
async function act(id: string, action: string): Promise<string> {
  const answer = await fetch(`${url}/jobs/${id}/${action}`, { method: 'POST' });
  return `${answer.status} ${(await answer.text()).trim()}`;
}

test('a job is shown as the reference shows it', async () => {
  const id = await submit({ Priority: 3, UserData: { a: 1 } });
  const job = await until(id, 'Success');
  assert.deepEqual(Object.keys(job), [
    'CompletionTime',
    'Content',
    'CreationTime',
    'EffectiveRuntime',
    'ErrorCode',
    'ErrorDescription',
    'ErrorDetails',
    'ID',
    'Priority',
    'Progress',
    'State',
    'Timestamp',
    'Type',
    'UserData',
  ]);
  for (const name of ['CompletionTime', 'CreationTime', 'Timestamp'])
    assert.match(String(job[name]), /^20\d{6}T\d{6}\.\d{6}$/, name);
  assert.ok(String(job['CreationTime']) < String(job['CompletionTime']));
  const { Content, ErrorCode, ErrorDescription, ErrorDetails, Priority, Progress, Type, UserData } = job;
  assert.deepEqual(
    [ErrorCode, ErrorDescription, ErrorDetails, Priority, Progress, Type, UserData],
    [0, 'Success', '', 3, 100, 'Test', { a: 1 }],
  );
  assert.equal((Content as { Ended: boolean }).Ended, true);

  const failed = await until(await submit({ fails: true }), 'Failure');
  assert.deepEqual(
    [failed['ErrorCode'], failed['ErrorDescription'], failed['ErrorDetails'], 'UserData' in failed],
    [9, 'Error in the network protocol', 'nobody answers', false],
  );
  const running = await submit({ slow: 10_000 });
  const shown = await until(running, 'Running');
  assert.deepEqual([shown['ErrorCode'], 'CompletionTime' in shown], [0, false]);
  for (let tries = 0; tries < 100; tries++) {
    const { Progress: progress, EstimatedTimeOfArrival } = await get<Shown>(`/jobs/${running}`);
    if (progress === 50) {
      assert.match(String(EstimatedTimeOfArrival), /^20\d{6}T\d{6}\.\d{6}$/);
      break;
    }
    await sleep(10);
  }
  assert.equal(await act(running, 'cancel'), '200 {}');
  const cancelled = await get<Shown>(`/jobs/${running}`);
  assert.deepEqual(
    [cancelled.State, cancelled['ErrorCode'], cancelled['ErrorDescription'], cancelled['ErrorDetails']],
    ['Failure', 37, 'This job was canceled', ''],
  );
});

test('every action answers in every state as the reference does', async () => {
  const blocker = await submit({ slow: 20_000 });
  await until(blocker, 'Running');
  const failure = async (): Promise<string> => {
    const id = await submit();
    await act(id, 'cancel');
    return id;
  };
  const states: Record<string, () => Promise<string>> = {
    Pending: submit,
    Failure: failure,
    Paused: async () => {
      const id = await submit();
      await act(id, 'pause');
      return id;
    },
    unknown: async () => 'nope',
  };
  const expected: Record<string, Record<string, string>> = {
    Pending: { cancel: 'Failure', pause: 'Paused', resume: '400', resubmit: '400' },
    Failure: { cancel: 'Failure', pause: 'Failure', resume: '400', resubmit: 'Pending' },
    Paused: { cancel: 'Failure', pause: 'Paused', resume: 'Pending', resubmit: '400' },
    unknown: { cancel: '400', pause: '400', resume: '400', resubmit: '400' },
  };
  for (const [state, actions] of Object.entries(expected)) {
    for (const [action, becomes] of Object.entries(actions)) {
      const id = (await states[state]?.()) ?? '';
      assert.equal(await act(id, action), becomes === '400' ? '400 ' : '200 {}', `${state} ${action}`);
      if (becomes !== '400') assert.equal((await get<Shown>(`/jobs/${id}`)).State, becomes, `${state} ${action}`);
      if (state !== 'unknown') await act(id, 'cancel');
    }
  }
  const success = (await get<string[]>('/jobs?state=Success&limit=1'))[0] ?? '';
  assert.equal(await act(success, 'cancel'), '200 {}');
  assert.equal(await act(success, 'pause'), '200 {}');
  assert.equal(await act(success, 'resume'), '400 ');
  assert.equal(await act(success, 'resubmit'), '400 ');
  const running = await fetch(`${url}/jobs/${blocker}`, { method: 'DELETE' });
  assert.equal(running.status, 400);
  assert.equal(await act(blocker, 'resume'), '400 ');
  assert.equal(await act(blocker, 'resubmit'), '400 ');
  assert.equal(await act(blocker, 'cancel'), '200 {}');
  assert.equal((await fetch(`${url}/jobs/${blocker}`, { method: 'DELETE' })).status, 200);
  const gone = await fetch(`${url}/jobs/${blocker}`);
  assert.deepEqual([gone.status, await gone.text()], [404, '']);
  const again = await fetch(`${url}/jobs/${blocker}`, { method: 'DELETE' });
  assert.equal(again.status, 404);
  assert.equal(((await again.json()) as { OrthancStatus: number }).OrthancStatus, 7);
  const put = await fetch(`${url}/jobs/${blocker}`, { method: 'PUT' });
  assert.deepEqual([put.status, put.headers.get('allow')], [405, 'GET,DELETE']);
});

test('an output is downloaded, whole or in part, and removed', async () => {
  const id = await submit({ output: true });
  await until(id, 'Success');
  const whole = await fetch(`${url}/jobs/${id}/archive`);
  assert.equal(whole.headers.get('content-type'), 'application/zip');
  assert.equal(whole.headers.get('content-disposition'), 'filename="archive.zip"');
  assert.equal(await whole.text(), '0123456789');
  const part = await fetch(`${url}/jobs/${id}/archive`, { headers: { range: 'bytes=2-4' } });
  assert.deepEqual([part.status, await part.text()], [206, '234']);
  for (const path of [`${id}/other`, 'nope/archive']) {
    const answer = await fetch(`${url}/jobs/${path}`);
    const { Details, OrthancStatus } = (await answer.json()) as { Details: string; OrthancStatus: number };
    assert.deepEqual([answer.status, OrthancStatus], [404, 7]);
    assert.match(Details, /^Job has no such output: /);
  }
  assert.equal((await fetch(`${url}/jobs/${id}/archive`, { method: 'DELETE' })).status, 200);
  assert.equal((await fetch(`${url}/jobs/${id}/archive`)).status, 404);
  assert.equal((await fetch(`${url}/jobs/${id}/archive`, { method: 'DELETE' })).status, 404);
});

test('a synchronous request answers the content or the error, and leaves its job alone when it leaves', async () => {
  const post = (body: object, signal?: AbortSignal): Promise<Response> =>
    fetch(begin, { method: 'POST', body: JSON.stringify(body), ...(signal && { signal }) });
  const done = await post({ a: 1 });
  assert.deepEqual([done.status, await done.json()], [200, { a: 1, Ended: true }]);
  const failed = await post({ fails: true, Synchronous: true });
  assert.equal(failed.status, 500);
  assert.match(await failed.text(), /nobody answers/);
  assert.equal((await post({ Asynchronous: 'yes' })).status, 400);
  assert.equal((await post({ Priority: 'high' })).status, 400);
  const aborter = new AbortController();
  const leaving = assert.rejects(post({ slow: 300, left: true }, aborter.signal));
  let left: Shown | undefined;
  while (left === undefined) [left] = await get<Shown[]>('/jobs?expand&state=Running');
  aborter.abort();
  await leaving;
  assert.deepEqual((await until(left.ID, 'Success'))['Content'], { slow: 300, left: true, Ended: true });
});

test('lists are filtered and paged, and 10,000 jobs hold nothing up', { timeout: 60_000 }, async () => {
  const before_ = await get<string[]>('/jobs');
  const blocker = await submit({ slow: 60_000 });
  await until(blocker, 'Running');
  const value = {
    type: 'Test',
    content: { n: 1 },
    state: null,
    created: Date.now(),
    runtime: 0,
    progress: 0,
    outputs: {},
  };
  for (let at = 0; at < 10_000; at += 500) {
    const some = Array.from({ length: 500 }, (_, n) => `job-${at + n}`);
    await queue.add(some.map((id) => ({ queue: 'jobs', id, group: '', priority: -1, due: 0, value })));
  }
  const all = await get<string[]>('/jobs');
  assert.equal(all.length, before_.length + 10_001);
  assert.deepEqual(all.slice(-2), ['job-9998', 'job-9999']);
  const page = await get<Shown[]>('/jobs?expand&since=job-4999&limit=3&type=Test&state=Pending');
  assert.deepEqual(
    page.map(({ ID, State }) => `${ID} ${State}`),
    ['job-5000 Pending', 'job-5001 Pending', 'job-5002 Pending'],
  );
  assert.deepEqual(await get('/jobs?type=Other'), []);
  assert.deepEqual(await get('/jobs?limit=0'), []);
  assert.deepEqual(await get('/jobs?state=Running'), [blocker]);
  assert.equal((await fetch(`${url}/jobs?since=nobody`)).status, 404);
  assert.equal((await fetch(`${url}/jobs?state=Sleeping`)).status, 400);
  const metrics = await (await fetch(`${url}/tools/metrics-prometheus`)).text();
  assert.match(metrics, /^orthanc_jobs_pending 10000 /m);
  assert.match(metrics, /^isen_work_entries\{queue="jobs",state="waiting"\} 10000$/m);

  // Somebody takes the whole list at a trickle; the others do not notice.
  const slow = await new Promise<IncomingMessage>((resolve) => {
    httpRequest(`${url}/jobs?expand`, resolve).end();
  });
  slow.pause();
  const times: number[] = [];
  for (let n = 0; n < 50; n++) {
    const began = performance.now();
    await get(`/jobs/job-${n * 100}`);
    times.push(performance.now() - began);
  }
  slow.destroy();
  const median = times.sort((a, b) => a - b)[25] ?? Number.POSITIVE_INFINITY;
  assert.ok(median < 50, `a job took ${median} ms`);
  assert.equal(await act(blocker, 'cancel'), '200 {}');
  // The others begin: each of them is seen by the one that waits for it.
  await until('job-0', 'Success');
});
