/** Owns the proof that what is hashed beside a thread is hashed right, whoever does it in the end. */

import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { test } from 'node:test';
import { HashingBeside } from '../src/md5-beside.ts';

/** Some bytes in the middle of shared memory of their own. */
function shared(size: number): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(size + 100), 50, size);
  bytes.set(randomBytes(size));
  return bytes;
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

test('what was begun is answered in order, whether the other thread came to it or not', async () => {
  const hashing = new HashingBeside();
  const memories = Array.from({ length: 12 }, (_, memoryId) => ({ memoryId, bytes: shared(randomInt(1, 400_000)) }));
  // It is not there yet at first.
  for (let round = 0; round < 300; round += 1) {
    const files = Array.from({ length: 1 + (round % 4) }, () => memories[randomInt(memories.length)] ?? assert.fail());
    const wait = hashing.begin(files);
    // Sometimes it has the time to begin, sometimes it is asked at once.
    if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, randomInt(3)));
    assert.deepEqual(
      wait(),
      files.map(({ bytes }) => md5(bytes)),
      `round ${round}`,
    );
  }
});

test('more files than it takes are hashed all the same', () => {
  const files = Array.from({ length: 40 }, (_, memoryId) => ({ memoryId, bytes: shared(1000) }));
  assert.deepEqual(
    new HashingBeside().begin(files)(),
    files.map(({ bytes }) => md5(bytes)),
  );
});
