import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { Budget } from '../src/budget.ts';

test('a large piece of work is not overtaken by small ones that come after it', async () => {
  const budget = new Budget(100);
  const order: string[] = [];
  const first = await budget.take(60);
  const large = budget.with(90, async () => {
    order.push('large');
  });
  const small = budget.with(10, async () => {
    order.push('small');
  });
  await sleep(5);
  assert.deepEqual(order, []);
  first();
  await Promise.all([large, small]);
  assert.deepEqual(order, ['large', 'small']);
});

test('more than the budget goes alone, and what is given back twice counts once', async () => {
  const budget = new Budget(100);
  const some = await budget.take(40);
  let alone = false;
  const large = budget.take(1000).then((give) => {
    alone = true;
    return give;
  });
  await sleep(5);
  assert.equal(alone, false);
  some();
  some();
  const give = await large;
  const waiting = budget.take(100);
  give();
  (await waiting)();
  (await budget.take(100))();
});

test('a turn that does not come is Busy, and frees the way for who waited behind', async () => {
  const budget = new Budget(100, 50);
  const held = await budget.take(50);
  const large = budget.take(90);
  const small = budget.take(10);
  await assert.rejects(large, { code: 'Busy' });
  (await small)();
  held();
});
