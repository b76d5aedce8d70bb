/** Owns the contract of the `queue` port: the same suite for every backend. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Entry, EntryState, NewEntry, Queue } from '../../src/jobs/queue.ts';

/** Opens a backend on the data set `name`; the same name again is the same data. */
export type OpenQueue = (name: string, capacity: number) => Promise<Queue>;

export const entry = (id: string, others: Partial<NewEntry> = {}): NewEntry => ({
  queue: 'q',
  id,
  group: '',
  priority: 0,
  due: 0,
  value: null,
  ...others,
});

const ids = (entries: readonly Entry[]): string => entries.map(({ id }) => id).join(' ');

/** Whether `promise` is settled within some milliseconds. */
async function within(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  return Promise.race([promise.then(() => true), sleep(milliseconds, false)]);
}

export function queueContract(backend: string, open: OpenQueue): void {
  let count = 0;
  const check = (
    name: string,
    body: (queue: Queue, reopen: () => Promise<Queue>) => Promise<void>,
    capacity = 1000,
  ): void => {
    test(`${backend}: ${name}`, { timeout: 30_000 }, async () => {
      const key = `queue${count++}`;
      let queue = await open(key, capacity);
      try {
        await body(queue, async () => {
          await queue.close();
          queue = await open(key, capacity);
          return queue;
        });
      } finally {
        await queue.close();
      }
    });
  };

  check('entries come back whole, the highest priority first, each to one taker', async (queue) => {
    const value = { text: 'é "quoted"', list: [1, null, { deep: true }] };
    await queue.add([entry('a', { value, group: 'g' }), entry('b', { priority: 2 }), entry('c')]);
    await queue.add([entry('a', { value: 'ignored' }), entry('a', { queue: 'other' })]);
    const both = await Promise.all([queue.take('q', 2), queue.take('q', 2)]);
    assert.deepEqual(both.map(ids).sort(), ['b a', 'c']);
    const taken = both.flat().find(({ id }) => id === 'a');
    assert.ok(taken && Math.abs(taken.added - Date.now()) < 60_000);
    assert.deepEqual(taken, {
      ...entry('a', { value, group: 'g' }),
      seq: taken.seq,
      added: taken.added,
      attempts: 1,
      state: 'active',
      reason: '',
    });
    assert.deepEqual(await queue.take('q', 5), []);
    assert.deepEqual(await queue.take('other', 0), []);
  });

  check(
    'what is under way when a process ends is taken again, and counted as another attempt',
    async (queue, reopen) => {
      await queue.add([entry('a'), entry('b'), entry('c')]);
      await queue.take('q', 2);
      await queue.settle([{ queue: 'q', id: 'a', state: 'paused' }]);
      const again = await reopen();
      const entries = await again.take('q', 9);
      assert.deepEqual(
        entries.map(({ id, attempts }) => `${id}${attempts}`),
        ['b2', 'c1'],
      );
    },
  );

  check('settling changes only what is where it should be, and answers what it changed', async (queue) => {
    await queue.add(['a', 'b', 'c', 'd'].map((id) => entry(id, { value: id })));
    await queue.take('q', 3);
    const settled = await queue.settle([
      { queue: 'q', id: 'a', state: 'done', value: { x: 1 } },
      { queue: 'q', id: 'b', state: 'failed', reason: 'no answer' },
      { queue: 'q', id: 'c', state: 'removed' },
      { queue: 'q', id: 'd', state: 'done', from: ['active'] },
      { queue: 'q', id: 'e', state: 'done' },
    ]);
    assert.equal(ids(settled), 'a b c');
    assert.deepEqual(settled[0]?.value, { x: 1 });
    assert.deepEqual([settled[1]?.reason, settled[1]?.value], ['no answer', 'b']);
    assert.equal(ids(await queue.list({ queue: 'q', limit: 9 })), 'a b d');
    const states = (await queue.count({ queue: 'q' })).map(({ state, count: many }) => `${state} ${many}`);
    assert.deepEqual(states.sort(), ['done 1', 'failed 1', 'waiting 1']);
    assert.deepEqual(await queue.settle([]), []);
    // Tried again by hand.
    assert.equal(ids(await queue.settle([{ queue: 'q', id: 'b', state: 'waiting', from: ['failed'], due: 0 }])), 'b');
    const again = await queue.take('q', 9);
    assert.deepEqual(
      again.map(({ id, attempts }) => `${id}${attempts}`),
      ['b1', 'd1'],
    );
  });

  check('entries are listed and counted by group over all queues', async (queue) => {
    await queue.add([
      entry('1', { group: 'g' }),
      entry('2', { group: 'g', queue: 'r' }),
      entry('3'),
      entry('4', { group: 'g' }),
    ]);
    assert.equal(ids(await queue.list({ queue: 'q', group: 'g', limit: 9 })), '1 4');
    assert.equal(ids(await queue.list({ queue: 'q', group: 'g', descending: true, limit: 1 })), '4');
    const [first] = await queue.list({ queue: 'q', limit: 1 });
    assert.equal(ids(await queue.list({ queue: 'q', after: first?.seq ?? 0, limit: 9 })), '3 4');
    const counts = (await queue.count({ group: 'g' })).map(({ queue: of, count: many }) => `${of} ${many}`);
    assert.deepEqual(counts.sort(), ['q 2', 'r 1']);
  });

  check('the position goes with the entries', async (queue, reopen) => {
    assert.equal(await queue.position('changes'), undefined);
    await queue.add([entry('a')], { name: 'changes', value: '12' });
    await queue.add([], { name: 'changes', value: '13' });
    const again = await reopen();
    assert.equal(await again.position('changes'), '13');
    assert.equal((await again.list({ queue: 'q', limit: 9 })).length, 1);
  });

  check('a position that is not where it was believed to be stays', async (queue) => {
    const at = async (value: string, since?: string): Promise<boolean> =>
      queue.add([entry(value)], { name: 'changes', value, ...(since !== undefined && { since }) });
    assert.equal(await at('11', '7'), false, 'it was lost');
    assert.equal(await queue.position('changes'), undefined);
    assert.equal(await at('12'), true);
    assert.equal(await at('13', '12'), true);
    assert.equal(await at('14', '12'), false);
    assert.equal(await queue.position('changes'), '13');
    assert.equal(ids(await queue.list({ queue: 'q', limit: 9 })), '11 12 13 14');
    assert.equal(await at('5'), true);
    assert.equal(await queue.position('changes'), '5');
  });

  check('nothing is settled on a premise that is not true any more', async (queue) => {
    await queue.add([entry('a', { value: { done: 0, at: 1.25 } }), entry('b')]);
    const settle = async (value: unknown, id = 'a'): Promise<string> =>
      ids(
        await queue.settle(
          [
            { queue: 'q', id: 'b', state: 'removed' },
            { queue: 'q', id: 'a', state: 'paused', value: { done: 1 } },
          ],
          [
            { queue: 'q', id: 'b', value: null },
            { queue: 'q', id, value },
          ],
        ),
      );
    assert.equal(await settle({ done: 1 }), '');
    assert.equal(await settle({ done: 0, at: 1.25 }, 'c'), '');
    assert.equal(ids(await queue.list({ queue: 'q', states: ['waiting'], limit: 9 })), 'a b');
    assert.equal(await settle({ done: 0, at: 1.25 }), 'b a');
    assert.equal(await settle({ done: 1 }), '', 'the other one is gone');
    assert.equal(ids(await queue.list({ queue: 'q', states: ['paused'], limit: 9 })), 'a');
  });

  check(
    'a full queue says so, adds nothing, and leaves the others alone',
    async (queue) => {
      await queue.add([entry('a'), entry('b')]);
      const refused = queue.add([entry('c', { queue: 'r' }), entry('c'), entry('d')], { name: 'p', value: '1' });
      await assert.rejects(refused, { code: 'Busy' });
      assert.equal(ids(await queue.list({ queue: 'r', limit: 9 })), '');
      assert.equal(await queue.position('p'), undefined);
      await queue.add([entry('c', { queue: 'r' })]);
      await queue.settle([{ queue: 'q', id: 'a', state: 'removed' }]);
      await queue.add([entry('c'), entry('d')]);
    },
    3,
  );

  check('a waiter is woken by what is there, what comes, what is settled back, and the hour', async (queue) => {
    const { signal } = new AbortController();
    assert.equal(await within(queue.wait('q', signal), 30), false, 'nothing is there');
    const first = queue.wait('q', signal);
    await queue.add([entry('elsewhere', { queue: 'r' })]);
    assert.equal(await within(first, 30), false, 'another queue is not meant');
    await queue.add([entry('a')]);
    await first;
    await queue.wait('q', signal);
    await queue.take('q', 9);
    const second = queue.wait('q', signal);
    assert.equal(await within(second, 30), false, 'taken');
    const due = Date.now() + 80;
    await queue.settle([{ queue: 'q', id: 'a', state: 'retrying', due }]);
    await second;
    assert.ok(Date.now() >= due, 'before its hour');
    assert.equal(ids(await queue.take('q', 9)), 'a');
    const third = queue.wait('q', signal);
    await queue.add([entry('late', { due: Date.now() + 60_000 })]);
    assert.equal(await within(third, 30), false, 'its hour has not come');
    await queue.settle([{ queue: 'q', id: 'a', state: 'waiting', due: 0 }]);
    await third;
  });

  check('waiting ends with its signal and with the queue', async (queue) => {
    const aborter = new AbortController();
    const waiting = queue.wait('q', aborter.signal);
    aborter.abort();
    await waiting;
    await queue.wait('q', aborter.signal);
    const last = queue.wait('q', new AbortController().signal);
    await queue.close();
    await last;
  });

  check('a watcher hears what was added and settled, until it stops', async (queue) => {
    const heard: string[] = [];
    const stop = queue.watch(({ id, state, value }) => heard.push(`${id} ${state} ${JSON.stringify(value)}`));
    await queue.add([entry('a', { value: 1 })]);
    await queue.add([entry('a', { value: 2 })]);
    await queue.take('q', 1);
    await queue.settle([{ queue: 'q', id: 'a', state: 'active', value: 3, from: ['active'] }]);
    await queue.settle([{ queue: 'q', id: 'a', state: 'failed' }]);
    stop();
    await queue.settle([{ queue: 'q', id: 'a', state: 'removed' }]);
    assert.deepEqual(heard, ['a waiting 1', 'a active 3', 'a failed 3']);
  });

  check('leases of a name are as many as there may be, until they are released', async (queue) => {
    const [first, second, third] = [await queue.lease('l', 2), await queue.lease('l', 2), await queue.lease('l', 2)];
    assert.ok(first && second);
    assert.equal(third, undefined);
    const other = await queue.lease('other', 1);
    assert.ok(other);
    await first.release();
    await first.release();
    const fourth = await queue.lease('l', 2);
    assert.ok(fourth);
    assert.equal(await queue.lease('l', 2), undefined);
    assert.ok(!second.lost.aborted && !fourth.lost.aborted);
    for (const lease of [second, fourth, other]) await lease.release();
  });

  check('takers and adders that race lose and double nothing', async (queue) => {
    const TOTAL = 600;
    const aborter = new AbortController();
    const done = new Set<string>();
    const taker = async (): Promise<void> => {
      while (done.size < TOTAL) {
        const taken = await queue.take('q', 7);
        if (taken.length === 0) await queue.wait('q', aborter.signal);
        if (aborter.signal.aborted) return;
        for (const { id, attempts } of taken) {
          assert.ok(!done.has(id) && attempts === 1, `${id} was taken twice`);
          done.add(id);
        }
        await queue.settle(
          taken.map(({ id }) => ({ queue: 'q', id, state: 'removed' as const, from: ['active'] as EntryState[] })),
        );
      }
      aborter.abort();
    };
    const adder = async (name: number): Promise<void> => {
      for (let at = 0; at < TOTAL / 3; at += 10) {
        await queue.add(Array.from({ length: 10 }, (_, index) => entry(`${name}.${at + index}`)));
      }
    };
    await Promise.all([taker(), taker(), taker(), adder(1), adder(2), adder(3)]);
    assert.equal(done.size, TOTAL);
    assert.deepEqual(await queue.count(), []);
  });
}
