/** Texts kept in memory. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kept } from '../src/kept.ts';

test('the text that was not asked for longest goes first', () => {
  const kept = new Kept<string>(64);
  for (const key of 'abcdefghijklmnop') kept.add(key, 'txt');
  assert.equal(kept.get('a'), 'txt');
  kept.add('q', 'txt');
  assert.equal(kept.get('b'), undefined);
  assert.equal(kept.get('a'), 'txt');
  assert.equal(kept.get('q'), 'txt');
});

test('what was kept is counted once, and no more once it has gone', () => {
  const kept = new Kept<string>(64);
  for (let round = 0; round < 3; round++) for (const key of 'abcdefghijklmnop') kept.add(key, 'txt');
  for (const key of 'abcdefghijklmnop') assert.equal(kept.get(key), 'txt');
  kept.clear();
  assert.equal(kept.get('a'), undefined);
  for (const key of 'abcdefghijklmnop') kept.add(key, 'new');
  for (const key of 'abcdefghijklmnop') assert.equal(kept.get(key), 'new');
});

test('a text as large as a sixteenth of all is kept, a larger one is not', () => {
  const kept = new Kept<string>(64);
  kept.add('a', 'txt');
  kept.add('b', 'text');
  assert.equal(kept.get('a'), 'txt');
  assert.equal(kept.get('b'), undefined);
});
