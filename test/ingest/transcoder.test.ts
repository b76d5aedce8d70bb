/** Owns the proof that whole files go to the transcoding threads and back, and that a bad one harms no other. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFile } from '../../src/dicom/read.ts';
import type { StoredFile } from '../../src/ingest/header.ts';
import { createTranscoder, isImpossible, type TranscoderOptions } from '../../src/ingest/transcoder.ts';
import { openFilesystem } from '../../src/storage/filesystem.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder } from '../peer.ts';

const EXPLICIT = '1.2.840.10008.1.2.1';
const RLE = '1.2.840.10008.1.2.5';
const JPEG_2000 = '1.2.840.10008.1.2.4.90';
const RULE = { ofUncompressed: true, ofCompressed: true, hash: true };

async function room(options: Partial<TranscoderOptions> = {}) {
  const storage = await openFilesystem({ root: temporaryFolder(), sync: false });
  return { storage, transcoder: createTranscoder({ storage, quality: 90, cached: 1 << 30, ...options }) };
}

/** Stores a file as ingest does. */
async function stored(storage: Storage, bytes: Uint8Array, md5?: string): Promise<StoredFile> {
  const uuid = storage.name();
  await storage.put(uuid, bytes);
  await storage.keep(uuid);
  const hash = md5 ?? createHash('md5').update(bytes).digest('hex');
  return {
    attachment: {
      uuid,
      contentType: 1,
      uncompressedSize: bytes.length,
      uncompressedMD5: hash,
      compressedSize: bytes.length,
      compressedMD5: hash,
      compression: 'none',
    },
    metadata: { TransferSyntax: { value: readFile(bytes).transferSyntax, revision: 0 } },
  };
}

test('stored files come in the transfer syntax that is asked for, many at once', async () => {
  const { storage, transcoder } = await room();
  const original = make({ rows: 64, columns: 64 });
  const file = await stored(storage, original);
  const made = await Promise.all(
    Array.from({ length: 40 }, (_, index) => transcoder.transcode(file, index % 2 === 0 ? RLE : JPEG_2000)),
  );
  for (const [index, bytes] of made.entries())
    assert.equal(readFile(bytes).transferSyntax, index % 2 === 0 ? RLE : JPEG_2000);
  const back = await transcoder.transcode(await stored(storage, made[1] ?? assert.fail()), EXPLICIT);
  assert.deepEqual(
    readFile(back).bytes.subarray(-64 * 64 * 2),
    original.subarray(-64 * 64 * 2),
    'the pixels come back',
  );
  assert.deepEqual(Buffer.from(await transcoder.transcode(file, EXPLICIT)), original);
  // What was made last is kept.
  assert.equal(await transcoder.transcode(file, RLE), await transcoder.transcode(file, RLE));
  await transcoder.close();
  await assert.rejects(transcoder.transcode(file, '1.2.840.10008.1.2'), { code: 'Busy' });
});

test('the quality is the one asked for, else that of the configuration', async () => {
  const { storage, transcoder } = await room({ quality: 30 });
  const pixels = Uint8Array.from({ length: 64 * 64 }, (_, at) => (at * at * 7) >> 3);
  const file = await stored(storage, make({ rows: 64, columns: 64, bits: 8, pixels }));
  const jpeg = '1.2.840.10008.1.2.4.50';
  const [initial, good, same] = await Promise.all([
    transcoder.transcode(file, jpeg),
    transcoder.transcode(file, jpeg, 95),
    transcoder.transcode(file, jpeg, 30),
  ]);
  assert.deepEqual(same, initial);
  assert.ok(good.length > initial.length * 1.3, `${good.length} ${initial.length}`);
  await transcoder.close();
});

test('what cannot be transcoded, was altered or is gone is said so, and known from what may be tried again', async () => {
  const { storage, transcoder } = await room();
  const file = await stored(storage, make());
  const damaged = await stored(storage, make({ transferSyntax: '1.2.840.10008.1.2.4.70' }));
  const altered = await stored(storage, make(), createHash('md5').update('other').digest('hex'));
  const { attachment } = file;
  const gone = { ...file, attachment: { ...attachment, uuid: storage.name() } };
  const huge = { ...file, attachment: { ...attachment, uncompressedSize: 2 ** 31 } };
  for (const [of, syntax, code, impossible] of [
    [file, 'nope', 'ParameterOutOfRange', true],
    [file, '1.2.840.10008.1.2.4.102', 'NotImplemented', true],
    [file, '1.2.840.10008.1.2.4.50', 'IncompatibleImageFormat', true],
    [damaged, EXPLICIT, 'BadFileFormat', true],
    [huge, RLE, 'NotEnoughMemory', true],
    [altered, RLE, 'CorruptedFile', false],
    [gone, RLE, 'InexistentFile', false],
  ] as const) {
    await assert.rejects(transcoder.transcode(of, syntax), (thrown: Error & { code?: string }) => {
      assert.deepEqual([thrown.code, isImpossible(thrown)], [code, impossible]);
      return true;
    });
  }
  assert.equal(readFile(await transcoder.transcode(file, RLE)).transferSyntax, RLE);
  await transcoder.close();
});

test('a file that takes too long is given up, and the next one is not', async () => {
  const { storage, transcoder } = await room({ deadline: 2000 });
  const noise = randomBytes(1 << 27);
  const slow = make({ rows: 8192, columns: 8192, pixels: noise });
  const quick = await stored(storage, make());
  await transcoder.transcode(quick, JPEG_2000);
  const hanging = transcoder.transcode(await stored(storage, slow), JPEG_2000);
  await assert.rejects(hanging, { code: 'Timeout' });
  const received = transcoder.ingest(JPEG_2000, RULE)?.received(
    slow.length,
    () => Promise.resolve(slow),
    () => assert.fail('nothing is to be written'),
  );
  assert.match(JSON.stringify(await received), /^\{"problem":"Timeout/);
  // A thread that starts anew may take longer than this suite's deadline.
  let tries = 0;
  for (;;) {
    try {
      assert.equal(readFile(await transcoder.transcode(quick, RLE)).transferSyntax, RLE);
      break;
    } catch (thrown) {
      tries += 1;
      if (tries === 5) throw thrown;
    }
  }
  await transcoder.close();
});

test('received bytes are read in place where they are shared, and written when they are made', async () => {
  const { transcoder } = await room();
  const bytes = make();
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  const ingest = transcoder.ingest(RLE, RULE) ?? assert.fail();
  const answer = await ingest.received(
    shared.length,
    () => Promise.resolve(shared),
    ({ bytes: made, parsed }) => Promise.resolve({ made, md5: parsed.md5 }),
  );
  assert.ok('written' in answer);
  assert.equal(readFile(answer.written.made).transferSyntax, RLE);
  assert.equal(answer.written.md5, createHash('md5').update(answer.written.made).digest('hex'));
  assert.deepEqual(Buffer.from(shared), bytes);
  const unwritten = (): Promise<never> => Promise.reject(new Error('nothing is to be written'));
  const text = (): Promise<Uint8Array> => Promise.resolve(Buffer.from('no DICOM'));
  assert.deepEqual(await ingest.received(8, text, unwritten), {});
  assert.ok('problem' in (await ingest.received(2 ** 31, text, unwritten)));
  const full = (): Promise<never> => Promise.reject(new Error('the disk is full'));
  await assert.rejects(
    ingest.received(bytes.length, () => Promise.resolve(new Uint8Array(bytes)), full),
    /disk is full/,
  );
  assert.throws(() => transcoder.ingest('nope', RULE), { code: 'ParameterOutOfRange' });
  assert.equal(transcoder.ingest('1.2.840.10008.1.2.4.51', RULE), undefined);
  await transcoder.close();
});

test('large files wait for one another by their bytes, small ones by their number', { timeout: 20_000 }, async () => {
  for (const [size, most] of [
    [700 << 20, 1],
    [400 << 20, 2],
    [1024, 2 * availableParallelism()],
  ] as const) {
    const { storage } = await room();
    const bytes = make();
    let reading = 0;
    let peak = 0;
    const slow: Storage = {
      ...storage,
      async read() {
        reading += 1;
        peak = Math.max(peak, reading);
        await sleep(30);
        reading -= 1;
        return Uint8Array.from(bytes);
      },
    };
    const transcoder = createTranscoder({ storage: slow, quality: 90, cached: 0 });
    const file = await stored(storage, bytes);
    const claimed = { ...file, attachment: { ...file.attachment, uncompressedSize: size } };
    await Promise.all(Array.from({ length: 24 }, () => transcoder.transcode(claimed, RLE)));
    assert.ok(peak >= 1 && peak <= most, `${peak} files of ${size} bytes`);
    assert.ok(size > 1024 || peak > 1, String(peak));
    await transcoder.close();
  }
});
