/** Webhooks over HTTP: who is told what, signed how, tried again until it is taken, and what is refused. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { make } from '../dicom/made.ts';
import { type Served, serve } from './served.ts';

interface Told {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const told: Told[] = [];
/** Answers to give before 200. */
const refusals: number[] = [];
const receiver = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const refusal = refusals.shift();
    if (refusal === undefined)
      told.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(refusal ?? 200).end('thanks');
  });
});
let url = '';
/** The same receiver by another name. */
let elsewhere = '';
let server: Served;

before(async () => {
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  elsewhere = url.replace('127.0.0.1', 'localhost');
  server = await serve({
    OutgoingHttpAllowed: [url, elsewhere],
    Webhooks: { fixed: { Url: `${url}/fixed`, Events: ['NewStudy'] } },
  });
});
after(async () => {
  await server.close();
  receiver.close();
});

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: string }> {
  const answer = await fetch(server.url + path, {
    method,
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.status, body: await answer.text() };
}

async function upload(study: string): Promise<void> {
  const body = new Uint8Array(make({ studyUid: study, seriesUid: `${study}.1`, sopUid: `${study}.1.1` }));
  assert.equal((await fetch(`${server.url}/instances`, { method: 'POST', body })).status, 200);
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 20) {
    assert.ok(waited < 20_000, what);
    await sleep(20);
  }
}

test('a change is told once to who wants it, signed, and again until it is taken', async () => {
  const hook = {
    Url: `${url}/hook?token=1`,
    Events: ['New*'],
    Secret: 'secret',
    RetryDelay: 0.1,
    HttpHeaders: { 'X-Own': 'yes' },
  };
  assert.equal((await ask('PUT', '/webhooks/hook', hook)).status, 200);
  refusals.push(500, 503);
  await upload('2.25.1');
  // Patient, study, series and instance to one, the study to the other.
  await until('every change is told', () => told.length >= 5);
  assert.equal(refusals.length, 0);
  const changes = told.map(({ path, body }) => {
    const { Change } = JSON.parse(body) as { Change: { ChangeType: string; Path: string; ID: string } };
    return `${path} ${Change.ChangeType}`;
  });
  assert.deepEqual(changes.sort(), [
    '/fixed NewStudy',
    ...['Instance', 'Patient', 'Series', 'Study'].map((level) => `/hook?token=1 New${level}`),
  ]);
  for (const { path, headers, body } of told) {
    if (path === '/fixed') {
      assert.equal(headers['isen-signature'], undefined, 'nothing to sign with');
      continue;
    }
    const [, time = '', signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['isen-signature'])) ?? [];
    assert.equal(signature, createHmac('sha256', 'secret').update(`${time}.${body}`).digest('hex'));
    assert.ok(Math.abs(Number(time) - Date.now() / 1000) < 60);
    assert.equal(headers['x-own'], 'yes');
  }
  const deliveries = new Set(told.map(({ headers }) => String(headers['isen-delivery'])));
  assert.equal(deliveries.size, told.length, 'each has a name of its own');
});

test('what the log is emptied of right after is told all the same', async () => {
  assert.equal((await ask('PUT', '/webhooks/emptied', { Url: `${url}/emptied`, Events: ['NewStudy'] })).status, 200);
  for (let round = 0; round < 5; round++) {
    await upload(`2.25.7.${round}`);
    assert.equal((await ask('DELETE', '/changes')).status, 200);
  }
  await until('all five are told', () => told.filter(({ path }) => path === '/emptied').length === 5);
  assert.equal((await ask('DELETE', '/webhooks/emptied')).status, 200);
});

test('a secret stays with the server that it was made for', async () => {
  assert.equal((await ask('PUT', '/webhooks/moving', { Url: `${url}/one`, Enabled: false, Secret: 's' })).status, 200);
  for (const [Url, isSigned] of [
    [`${url}/two`, true],
    [`${elsewhere}/three`, false],
    [`${url}/four`, false],
  ] as const) {
    assert.equal((await ask('PUT', '/webhooks/moving', { Url, Enabled: false })).status, 200);
    told.length = 0;
    assert.equal((await ask('POST', '/webhooks/moving/test', '')).status, 200);
    assert.equal(told[0]?.headers['isen-signature'] !== undefined, isSigned, Url);
  }
  assert.equal((await ask('DELETE', '/webhooks/moving')).status, 200);
});

test('what is shown has no secret; a test is answered at once; what is removed is told nothing', async () => {
  const shown = JSON.parse((await ask('GET', '/webhooks/hook')).body) as Record<string, unknown>;
  assert.deepEqual([shown['Secret'], shown['HttpHeaders'], shown['Url']], [null, ['X-Own'], `${url}/hook?token=1`]);
  assert.deepEqual(JSON.parse((await ask('GET', '/webhooks')).body), ['fixed', 'hook']);
  told.length = 0;
  const tested = await ask('POST', '/webhooks/hook/test', '');
  assert.deepEqual(JSON.parse(tested.body), { Status: 200, Body: 'thanks' });
  assert.deepEqual(JSON.parse(told[0]?.body ?? ''), { Webhook: 'hook', Test: true });
  // Without a secret it keeps its own.
  assert.equal((await ask('PUT', '/webhooks/hook', { Url: `${url}/moved`, Events: ['NewStudy'] })).status, 200);
  told.length = 0;
  await upload('2.25.2');
  await until('both are told', () => told.length >= 2);
  assert.deepEqual(told.map(({ path }) => path).sort(), ['/fixed', '/moved']);
  assert.match(String(told.find(({ path }) => path === '/moved')?.headers['isen-signature']), /^t=/);
  assert.equal((await ask('DELETE', '/webhooks/hook')).status, 200);
  told.length = 0;
  await upload('2.25.3');
  await until('the other is told', () => told.length >= 1);
  await sleep(100);
  assert.deepEqual(
    told.map(({ path }) => path),
    ['/fixed'],
  );
  assert.equal((await ask('GET', '/webhooks/hook')).status, 404);
});

test('what is no webhook is refused, and so are URLs that are not allowed', async () => {
  const rows: [unknown, number][] = [
    ['nonsense', 400],
    [[], 400],
    [{}, 400],
    [{ Url: 'ftp://example.org/' }, 400],
    [{ Url: `${url}/`, Events: ['Nope'] }, 400],
    [{ Url: `${url}/`, Unknown: 1 }, 400],
    [{ Url: `${url.replace('http://', 'http://user:password@')}/` }, 400],
    [{ Url: `${url}/`, HttpHeaders: { 'X-Bad': 'a\r\nHost: other' } }, 400],
    [{ Url: `${url}/`, HttpHeaders: { 'X Bad': 'a' } }, 400],
    [{ Url: 'http://169.254.169.254/latest/meta-data/' }, 403],
    [{ Url: 'http://localhost:1/' }, 403],
  ];
  for (const [body, status] of rows) {
    const answer = await ask('PUT', '/webhooks/bad', body);
    assert.equal(answer.status, status, `${JSON.stringify(body)}: ${answer.body}`);
  }
  for (const method of ['PUT', 'DELETE'])
    assert.equal((await ask(method, '/webhooks/fixed', { Url: `${url}/` })).status, 403, 'of the configuration');
  assert.equal((await ask('PUT', '/webhooks/a%20b', { Url: `${url}/` })).status, 400);
});
