/** Owns the proof of series as arrays: their order and values, compressed or not, and that they are never in memory whole. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import yauzl from 'yauzl';
import { NUMPY_HEAD } from '../../src/imaging/arrays.ts';
import { log } from '../../src/log.ts';
import { make } from '../dicom/made.ts';
import { serve } from './served.ts';

log.http.level = 'silent';
const server = await serve();
after(() => server.close());

/** Stores slices, the last first, and answers the ID of their series. */
async function series(
  name: number,
  count: number,
  size: number,
  pixels: (slice: number) => Uint8Array,
): Promise<string> {
  let id = '';
  for (let slice = count - 1; slice >= 0; slice -= 1) {
    const body = make({
      studyUid: `2.25.88.${name}`,
      seriesUid: `2.25.88.${name}.1`,
      sopUid: `2.25.88.${name}.1.${slice + 1}`,
      rows: size,
      columns: size,
      pixels: pixels(slice),
      extra: [
        { tag: '0020,0013', vr: 'IS', value: String(slice + 1) },
        { tag: '0020,0032', vr: 'DS', value: `0\\0\\${slice}` },
        { tag: '0020,0037', vr: 'DS', value: '1\\0\\0\\0\\1\\0' },
        { tag: '0028,1052', vr: 'DS', value: '-1000' },
        { tag: '0028,1053', vr: 'DS', value: '0.5' },
      ],
    });
    const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(body) });
    assert.equal(answer.status, 200);
    ({ ParentSeries: id } = (await answer.json()) as { ParentSeries: string });
  }
  return id;
}

const noise = (bytes: number): Uint8Array => {
  let state = 1;
  return Uint8Array.from({ length: bytes }, () => {
    state = Math.imul(state, 1103515245) + 12345;
    return state >> 16;
  });
};

async function array(path: string): Promise<Buffer> {
  const answer = await fetch(server.url + path);
  assert.equal(answer.status, 200, path);
  return Buffer.from(await answer.arrayBuffer());
}

/** The one file of an archive. */
async function unzipped(bytes: Buffer): Promise<{ readonly name: string; readonly data: Buffer }> {
  const archive = await yauzl.fromBufferPromise(bytes);
  for await (const entry of archive.eachEntry()) {
    const chunks: Buffer[] = [];
    for await (const chunk of await archive.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
    return { name: entry.fileName, data: Buffer.concat(chunks) };
  }
  assert.fail('an empty archive');
}

test('slices come in order, rescaled or as they are stored, in a file or an archive of one', async () => {
  const id = await series(
    1,
    3,
    4,
    (slice) => new Uint8Array(Uint16Array.from({ length: 16 }, (_, at) => 100 * slice + at).buffer),
  );
  const stored = Array.from({ length: 48 }, (_, at) => 100 * Math.floor(at / 16) + (at % 16));
  const rescaled = await array(`/series/${id}/numpy`);
  assert.match(rescaled.toString('latin1', 0, NUMPY_HEAD), /'<f4'.*'shape': \(3, 4,4,1\)/);
  const floats = new Float32Array(new Uint8Array(rescaled.subarray(NUMPY_HEAD)).buffer);
  assert.deepEqual(
    [...floats],
    stored.map((value) => value / 2 - 1000),
  );
  const plain = await array(`/series/${id}/numpy?rescale=false`);
  assert.match(plain.toString('latin1', 0, NUMPY_HEAD), /'<u2'.*'shape': \(3, 4,4,1\)/);
  assert.deepEqual([...new Uint16Array(new Uint8Array(plain.subarray(NUMPY_HEAD)).buffer)], stored);
  for (const [query, expected] of [
    ['compress', rescaled],
    ['compress=true&rescale=0', plain],
  ] as const) {
    const { name, data } = await unzipped(await array(`/series/${id}/numpy?${query}`));
    assert.equal(name, 'arr_0');
    assert.deepEqual(data, expected, query);
  }
});

test('a large series is not in memory whole while its client is slow', { timeout: 60_000 }, async () => {
  const size = 256;
  const slices = 200;
  const pixels = noise(2 * size * size);
  const id = await series(2, slices, size, () => pixels);
  const whole = NUMPY_HEAD + slices * 4 * size * size;
  const memory = (): number => process.memoryUsage().arrayBuffers;
  for (const query of ['', '?compress']) {
    const before = memory();
    const answer = await fetch(`${server.url}/series/${id}/numpy${query}`);
    assert.equal(answer.status, 200);
    const reader = (answer.body ?? assert.fail()).getReader();
    let received = (await reader.read()).value?.length ?? 0;
    // Long enough to make all of its 50 MB.
    let most = 0;
    for (let waited = 0; waited < 15; waited += 1) {
      await sleep(100);
      most = Math.max(most, memory() - before);
    }
    assert.ok(most < 30 << 20, `${query}: ${most >> 20} MiB while nobody reads`);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      received += value.length;
    }
    if (query === '') assert.equal(received, whole);
  }
});
