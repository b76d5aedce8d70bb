/** Bodies: what is read as JSON, that none is made to be slow, and how they may come. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseJson } from '../../src/http/body.ts';
import { serve } from './served.ts';

test('what JSON.parse reads is read, brackets in texts included', () => {
  for (const text of [
    '1',
    '"[[[["',
    String.raw`{"a\"[": ["\\", "]", "\\\"{"], "b": {"c": [[1], {}]}}`,
    JSON.stringify('['.repeat(1000)),
    `[${'[],'.repeat(1000)}0]`,
    `${'['.repeat(256)}${']'.repeat(256)}`,
  ]) {
    assert.deepEqual(parseJson(text), JSON.parse(text));
  }
  for (const text of ['', '[', '"', String.raw`"\"`, '{"a": 1', ']', '"\\'.repeat(3)])
    assert.throws(() => parseJson(text), SyntaxError, text);
});

test('what is nested without end is refused at once', () => {
  const began = performance.now();
  for (const text of ['['.repeat(20_000_000), '{"a":'.repeat(5_000_000), `${'['.repeat(257)}${']'.repeat(257)}`])
    assert.throws(() => parseJson(text), /nested too deeply/);
  // Each quotation mark is looked back from once, whatever stands before it.
  assert.throws(() => parseJson(`"${String.raw`\"`.repeat(2_000_000)}`), SyntaxError);
  const took = performance.now() - began;
  assert.ok(took < 2000, `${took} ms`);
});

test('what has values without end is refused at once', () => {
  assert.equal((parseJson(`[${'0,'.repeat(99_999)}0]`) as unknown[]).length, 100_000);
  // What stands in a text is no value.
  assert.equal(parseJson(JSON.stringify(','.repeat(1_000_000))), ','.repeat(1_000_000));
  const began = performance.now();
  for (const text of [
    `[${'0,'.repeat(20_000_000)}0]`,
    `{${'"":0,'.repeat(5_000_000)}"":0}`,
    `[${'0,'.repeat(100_000)}0]`,
  ])
    assert.throws(() => parseJson(text), /too many values/);
  const took = performance.now() - began;
  assert.ok(took < 2000, `${took} ms`);
});

test('routes with large bodies refuse such a one in time', async () => {
  const server = await serve({ DicomModalities: { pacs: ['PACS', '127.0.0.1', 1] } });
  try {
    const bodies = ['['.repeat(32 << 20), `{"Tags":{${'"":"",'.repeat(5 << 20)}"":""}}`];
    const paths = ['/tools/create-dicom', '/modalities/pacs/store', '/tools/find', '/tools/bulk-modify'];
    for (const [path, body] of paths.flatMap((path) => bodies.map((body): [string, string] => [path, body]))) {
      const began = performance.now();
      const { status } = await fetch(server.url + path, { method: 'POST', body });
      assert.ok(status === 400 || status === 413, `${path}: ${status}`);
      const took = performance.now() - began;
      assert.ok(took < 5000, `${path}: ${took} ms`);
    }
  } finally {
    await server.close();
  }
});

test('a body is read whole however it comes, and its connection goes on', async () => {
  const server = await serve({});
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1').setNoDelay();
  let answers = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    answers += text;
  });
  const post = (body: string): string =>
    `POST /tools/find HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const found = post(JSON.stringify({ Level: 'Study', Query: {} }));
  const wrong = post('[]');
  const chunked = `POST /tools/find HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n`;
  const empty = post('');
  const counted = found.replace('/tools/find', '/tools/count-resources');
  try {
    for (const [text, statuses] of [
      [found, [200]],
      [wrong, [400]],
      [chunked, [400]],
      [empty, [400]],
      [counted, [200]],
      [wrong.replace('find', 'count-resources'), [400]],
      [found + wrong + found, [200, 400, 200]],
      [wrong + counted + found, [400, 200, 200]],
    ] as const) {
      // At once, and in pieces: cut in the head, behind it, and before the end.
      for (const cuts of [[], [30], [text.indexOf('\r\n\r\n') + 4], [30, text.length - 1]]) {
        answers = '';
        let from = 0;
        for (const to of [...cuts, text.length]) {
          if (from > 0) await sleep(5);
          socket.write(text.slice(from, to));
          from = Math.max(from, to);
        }
        const heads = (): string[] => answers.match(/HTTP\/1\.1 \d{3}/g) ?? [];
        while (heads().length < statuses.length && !socket.destroyed) await once(socket, 'data');
        assert.deepEqual(
          heads().map((head) => Number(head.slice(-3))),
          statuses,
          text,
        );
        assert.doesNotMatch(answers, /Connection: close/i, text);
      }
    }
  } finally {
    socket.destroy();
    await server.close();
  }
});
