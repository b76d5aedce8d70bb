/** Bodies that are JSON: what is read, and that none is made to be slow. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
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
