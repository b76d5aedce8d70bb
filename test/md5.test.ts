import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { md5Each } from '../src/md5.ts';

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

test('digests side by side are those of one after the other', () => {
  const piece = 64 << 10;
  const sizes = [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, piece - 9, piece - 8, piece - 1, piece];
  sizes.push(piece + 1, piece + 64, 2 * piece, 2 * piece + 55, 3 * piece - 1, 525_000);
  for (const first of sizes) {
    for (const [index, second] of sizes.entries()) {
      const more = [first + 1, second + 63].slice(0, index % 3);
      const all = [first, second, ...more].map((size) => randomBytes(size));
      assert.deepEqual(md5Each(all), all.map(md5), `${first}, ${second} and ${more.join()} bytes`);
    }
  }
});

test('shared memory, and a part of it', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(100_000)).fill(7);
  const part = shared.subarray(33, 70_001);
  assert.deepEqual(md5Each([shared, part]), [md5(shared), md5(part)]);
});

test('any number of them, in their order', () => {
  for (let count = 0; count < 11; count++) {
    const all = Array.from({ length: count }, (_, index) => randomBytes(((index * 7) % 5) * 10_000 + index));
    assert.deepEqual(md5Each(all), all.map(md5), `${count}`);
  }
});
