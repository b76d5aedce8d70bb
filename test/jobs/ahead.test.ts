/** Work done ahead: in order, within its room, and ended with who takes it. */

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { ahead } from '../../src/jobs/ahead.ts';

async function* counting(state: { taken: number; ended: boolean }, count: number): AsyncGenerator<number, void> {
  try {
    for (; state.taken < count; state.taken += 1) yield state.taken;
  } finally {
    state.ended = true;
  }
}

test('results come in order, with as much under way as there is room for', async () => {
  const source = { taken: 0, ended: false };
  let held = 0;
  let most = 0;
  const room = (): (() => void) | undefined => {
    if (held >= 3) return undefined;
    held += 1;
    most = Math.max(most, held);
    return () => {
      held -= 1;
    };
  };
  const results: number[] = [];
  const work = async (item: number): Promise<number> => {
    await sleep((item * 7) % 5);
    return item;
  };
  for await (const result of ahead(counting(source, 20), room, work)) results.push(result);
  assert.deepEqual(
    results,
    Array.from({ length: 20 }, (_, index) => index),
  );
  assert.equal(most, 3);
  assert.equal(held, 0);
});

test('without room one is done all the same', async () => {
  const source = { taken: 0, ended: false };
  const results: number[] = [];
  for await (const result of ahead(
    counting(source, 3),
    () => undefined,
    async (item) => item,
  ))
    results.push(result);
  assert.deepEqual(results, [0, 1, 2]);
});

test('whoever takes no more ends the source, and the room comes back', async () => {
  const source = { taken: 0, ended: false };
  let held = 0;
  const room = (_: number, waiting: number): (() => void) | undefined => {
    if (waiting >= 4) return undefined;
    held += 1;
    return () => {
      held -= 1;
    };
  };
  for await (const result of ahead(counting(source, 1000), room, async (item) => item)) if (result === 2) break;
  await sleep(1);
  assert.ok(source.ended);
  assert.ok(source.taken < 10);
  assert.equal(held, 0);
});

test('an error comes in its turn, and ends the source', async () => {
  const source = { taken: 0, ended: false };
  const results: number[] = [];
  const work = async (item: number): Promise<number> => {
    if (item === 2) throw new RangeError('two');
    return item;
  };
  await assert.rejects(async () => {
    for await (const result of ahead(counting(source, 9), () => () => {}, work)) results.push(result);
  }, /two/);
  assert.deepEqual(results, [0, 1]);
  assert.ok(source.ended);
});
