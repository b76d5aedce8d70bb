/** The log of changes over HTTP: its live stream, resuming it, and the end of both. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { make } from '../dicom/made.ts';
import { type Served, serve } from './served.ts';

interface Event {
  readonly id: number;
  readonly type: string;
}

const upload = (server: Served, sopUid: string): Promise<Response> =>
  fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(make({ sopUid })) });

/** Takes `count` events of the live stream, then leaves. */
async function follow(
  server: Served,
  count: number,
  options: { headers?: Record<string, string>; query?: string; opened?: () => void } = {},
): Promise<Event[]> {
  const stop = new AbortController();
  const answer = await fetch(`${server.url}/changes${options.query ?? ''}`, {
    headers: { accept: 'text/event-stream', ...options.headers },
    signal: stop.signal,
  });
  assert.equal(answer.headers.get('content-type'), 'text/event-stream');
  assert.ok(answer.body);
  const events: Event[] = [];
  let text = '';
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    options.opened?.();
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [, id, data] = /^id: (\d+)\ndata: (.*)$/.exec(text.slice(0, end)) ?? [];
      text = text.slice(end + 2);
      if (id === undefined || data === undefined) continue;
      const change = JSON.parse(data) as { Seq: number; ChangeType: string };
      assert.equal(change.Seq, Number(id));
      events.push({ id: Number(id), type: change.ChangeType });
    }
    if (events.length >= count) break;
  }
  stop.abort();
  return events;
}

test('the live stream begins with what comes, and goes on where a client left', { timeout: 30_000 }, async () => {
  const server = await serve();
  try {
    await upload(server, '1.2.3.1');
    const page = (await (await fetch(`${server.url}/changes`)).json()) as { Last: number };
    let opened = (): void => {};
    const ready = new Promise<void>((resolve) => {
      opened = resolve;
    });
    const following = follow(server, 2, { opened });
    await ready;
    await upload(server, '1.2.3.2');
    await upload(server, '1.2.3.3');
    const events = await following;
    assert.deepEqual(
      events.map(({ type }) => type),
      ['NewInstance', 'NewInstance'],
    );
    assert.equal(events[0]?.id, page.Last + 1);

    const resumed = await follow(server, 1, { headers: { 'last-event-id': String(events[0]?.id) } });
    assert.equal(resumed[0]?.id, events[1]?.id);
    const all = await follow(server, 6, { query: '?since=0' });
    assert.deepEqual(
      all.map(({ id }) => id),
      [1, 2, 3, 4, 5, 6],
    );
    const some = await follow(server, 1, { query: '?since=0&type=NewStudy' });
    assert.equal(some[0]?.type, 'NewStudy');
  } finally {
    await server.close();
  }
});

test('a follower that does not read holds nothing up, and closing ends it', { timeout: 30_000 }, async () => {
  const server = await serve();
  const answer = await fetch(`${server.url}/changes?since=0`, { headers: { accept: 'text/event-stream' } });
  await Promise.all(Array.from({ length: 40 }, (_, index) => upload(server, `1.2.3.${index + 1}`)));
  const started = performance.now();
  await server.close();
  assert.ok(performance.now() - started < 5000, 'the server waited for a follower');
  await answer.body?.cancel().catch(() => {});
});

test('emptying the log keeps its numbers', async () => {
  const server = await serve();
  try {
    await upload(server, '1.2.3.1');
    const read = async () =>
      (await (await fetch(`${server.url}/changes`)).json()) as { Changes: unknown[]; Last: number };
    const { Last } = await read();
    assert.equal((await fetch(`${server.url}/changes`, { method: 'DELETE' })).status, 200);
    assert.deepEqual(await read(), { Changes: [], Done: true, Last });
    await upload(server, '1.2.3.2');
    assert.equal((await read()).Last, Last + 1);
  } finally {
    await server.close();
  }
});
