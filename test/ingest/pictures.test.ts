/** Owns the proof that pictures are kept within their bound and by content, and that a hostile one harms no other. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Headers, StoredFile } from '../../src/ingest/header.ts';
import { createPictures, type PictureRequest } from '../../src/ingest/pictures.ts';
import { attachmentOf } from '../contracts/instances.ts';
import { make } from '../dicom/made.ts';
import { serve } from '../http/served.ts';

const PREVIEW: PictureRequest = { rendering: { kind: 'preview' }, format: 'pam', quality: 90 };

/** Headers of files in memory: what is asked of them is counted. */
function filesOf(bytes: (file: StoredFile) => Buffer): { headers: Headers; reads: () => number } {
  let reads = 0;
  const headers: Partial<Headers> = {
    withFrame: (file, _frame, work) => {
      reads += 1;
      return work({ bytes: new Uint8Array(bytes(file)), truncated: false });
    },
  };
  return { headers: headers as Headers, reads: () => reads };
}

const fileNamed = (): StoredFile => ({ attachment: attachmentOf(1), metadata: {} });

test('what is kept stays within its bytes: the latest are answered without reading, the first are made again', async () => {
  const picture = make({ rows: 64, columns: 64, bits: 8 });
  const { headers, reads } = filesOf(() => picture);
  // Room for some twenty pictures of 4 KB.
  const pictures = createPictures(headers, { cached: 96 * 1024 });
  try {
    const files = Array.from({ length: 60 }, fileNamed);
    for (const file of files) await pictures.picture(file, 0, PREVIEW);
    assert.equal(reads(), 60);
    for (const file of files.slice(-15)) await pictures.picture(file, 0, PREVIEW);
    assert.equal(reads(), 60, 'the latest are kept');
    for (const file of files.slice(0, 15)) await pictures.picture(file, 0, PREVIEW);
    assert.equal(reads(), 75, 'the first are not');
    const large = filesOf(() => make({ rows: 128, columns: 128, bits: 8 }));
    const none = createPictures(large.headers, { cached: 96 * 1024 });
    const file = fileNamed();
    await none.picture(file, 0, PREVIEW);
    await none.picture(file, 0, PREVIEW);
    assert.equal(large.reads(), 2, 'one that would take the room of many is not kept');
    await none.close();
  } finally {
    await pictures.close();
  }
});

test('a picture that takes too long is cut off, and twenty others at the same time are shown', async () => {
  const good = make({ rows: 256, columns: 256, bits: 16 });
  // Nearly as many bytes as a frame may have, in RLE: many seconds of work as PNG on any machine, from a few megabytes.
  const hostile = hostileRle(22_000);
  const slow = fileNamed();
  const { headers } = filesOf((file) => (file === slow ? hostile : good));
  const pictures = createPictures(headers, { deadline: 3000 });
  try {
    // Threads start in the first second, which counts.
    await pictures.picture(fileNamed(), 0, PREVIEW);
    const cut = assert.rejects(pictures.picture(slow, 0, { ...PREVIEW, format: 'png' }), { code: 'Timeout' });
    const shown = await Promise.all(Array.from({ length: 20 }, () => pictures.picture(fileNamed(), 0, PREVIEW)));
    assert.ok(shown.every((picture) => picture.length > 256 * 256));
    await cut;
    for (let count = 0; count < 8; count += 1)
      assert.ok((await pictures.picture(fileNamed(), 0, PREVIEW)).length > 256 * 256, 'the threads live');
  } finally {
    await pictures.close();
  }
});

/** An image of `side` × `side` pixels in runs of 128. */
function hostileRle(side: number): Buffer {
  const runs = Math.ceil((side * side) / 128);
  const segment = Buffer.alloc(64 + 2 * runs);
  segment.writeUInt32LE(1, 0);
  segment.writeUInt32LE(64, 4);
  for (let run = 0; run < runs; run += 1) segment.writeUInt16LE(0x81 + (run & 0xff) * 256, 64 + 2 * run);
  return make({
    transferSyntax: '1.2.840.10008.1.2.5',
    bits: 8,
    pixels: { fragments: [segment] },
    extra: [
      { tag: '0028,0010', vr: 'US', value: [side] },
      { tag: '0028,0011', vr: 'US', value: [side] },
    ],
  });
}

test('what is stored again under the same identifiers is shown anew', async () => {
  const server = await serve({ OverwriteInstances: true });
  try {
    const of = (value: number): Buffer => make({ rows: 16, columns: 16, bits: 8, pixels: ramp(value) });
    const send = async (bytes: Buffer): Promise<string> => {
      const answer = await fetch(`${server.url}/instances`, { method: 'POST', body: new Uint8Array(bytes) });
      return ((await answer.json()) as { ID: string }).ID;
    };
    const shown = async (id: string): Promise<Buffer> => {
      const headers = { Accept: 'image/x-portable-arbitrarymap' };
      const answer = await fetch(`${server.url}/instances/${id}/image-uint8`, { headers });
      assert.equal(answer.status, 200);
      return Buffer.from(await answer.arrayBuffer()).subarray(-256);
    };
    const id = await send(of(1));
    assert.deepEqual(await shown(id), Buffer.from(ramp(1)));
    assert.deepEqual(await shown(id), Buffer.from(ramp(1)));
    assert.equal(await send(of(7)), id);
    assert.deepEqual(await shown(id), Buffer.from(ramp(7)), 'overwritten');
    assert.equal((await fetch(`${server.url}/instances/${id}`, { method: 'DELETE' })).status, 200);
    assert.equal((await fetch(`${server.url}/instances/${id}/image-uint8`)).status, 404, 'deleted');
    assert.equal(await send(of(9)), id);
    assert.deepEqual(await shown(id), Buffer.from(ramp(9)), 'deleted and stored again');
  } finally {
    await server.close();
  }
});

const ramp = (step: number): Uint8Array => Uint8Array.from({ length: 256 }, (_, at) => (at * step) & 0xff);
