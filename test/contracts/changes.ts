/** Owns the contract of the `changes` port: the same suite for every backend. */

import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Changes } from '../../src/changes/changes.ts';
import type { Change, Database } from '../../src/database/database.ts';
import { storing } from './instances.ts';

/** A backend and the index that its changes come from. */
export interface OpenChanges {
  readonly changes: Changes;
  readonly database: Database;
  close(): Promise<void>;
}

/** Waits for a condition, at most five seconds. */
async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!condition()) {
    assert.ok(Date.now() < end, 'waited for five seconds');
    await turn();
  }
}

export function changesContract(backend: string, open: () => Promise<OpenChanges>): void {
  const check = (
    name: string,
    body: (opened: OpenChanges, store: (count?: number) => Promise<readonly Change[]>) => Promise<void>,
  ): void => {
    test(`${backend}: ${name}`, { timeout: 30_000 }, async () => {
      const opened = await open();
      let count = 0;
      // As the writer does: committed first, then announced.
      const store = async (wanted = 1): Promise<readonly Change[]> => {
        const operations = Array.from({ length: wanted }, () =>
          storing({ patient: 'P', study: '1', series: '1.1', instance: `1.1.${count++}` }),
        );
        const { changes } = await opened.database.commit(operations);
        await opened.changes.announce(changes);
        return changes;
      };
      try {
        await body(opened, store);
      } finally {
        await opened.close();
      }
    });
  };

  check('pages, done and last', async ({ changes }, store) => {
    assert.deepEqual(await changes.since({ limit: 5 }), { changes: [], done: true });
    assert.equal(await changes.last(), 0);
    const all = await store(3);
    assert.deepEqual(await changes.since({ limit: 100 }), { changes: all, done: true });
    assert.deepEqual(await changes.since({ limit: 2 }), { changes: all.slice(0, 2), done: false });
    assert.deepEqual(await changes.since({ since: 4, limit: 2 }), { changes: all.slice(4), done: true });
    assert.deepEqual(await changes.since({ to: 5, limit: 2 }), { changes: all.slice(3, 5), done: false });
    assert.deepEqual(await changes.since({ limit: 9, types: ['NewStudy'] }), { changes: [all[2]], done: true });
    assert.equal(await changes.last(), 6);
  });

  check('a follower gets what is there, then what comes', async ({ changes }, store) => {
    const first = await store();
    const aborter = new AbortController();
    const seen: Change[] = [];
    const reading = (async () => {
      for await (const change of changes.follow(2, aborter.signal)) seen.push(change);
    })();
    await until(() => seen.length === 2);
    const second = await store(2);
    await until(() => seen.length === 4);
    assert.deepEqual(seen, [...first.slice(2), ...second]);
    aborter.abort();
    await reading;
  });

  check('an aborted follower ends: waiting, reading, and before it began', async ({ changes }, store) => {
    await store(10);
    const aborter = new AbortController();
    const waiting = changes.follow(13, aborter.signal)[Symbol.asyncIterator]();
    const next = waiting.next();
    setTimeout(() => aborter.abort(), 20);
    assert.deepEqual(await next, { done: true, value: undefined });
    let seen = 0;
    const second = new AbortController();
    for await (const _ of changes.follow(0, second.signal)) if (++seen === 3) second.abort();
    assert.equal(seen, 3);
    for await (const _ of changes.follow(0, second.signal)) assert.fail();
  });

  check('many followers, quick and slow, each see every change once and in order', async ({ changes }, store) => {
    const TOTAL = 1200;
    const aborter = new AbortController();
    setMaxListeners(0, aborter.signal);
    const readers = Array.from({ length: 12 }, async (_, index) => {
      const seqs: number[] = [];
      for await (const change of changes.follow(0, aborter.signal)) {
        seqs.push(change.seq);
        if (index % 3 === 1 && seqs.length % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
        if (index % 3 === 2) await turn();
        if (seqs.length === TOTAL + 3) break;
      }
      return seqs;
    });
    // Four callers store at once, and announcements need not come in the order of the commits.
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let stored = 0; stored < TOTAL / 4; stored += 10) await store(10);
      }),
    );
    const expected = Array.from({ length: TOTAL + 3 }, (_, index) => index + 1);
    for (const reader of readers) assert.deepEqual(await reader, expected);
    aborter.abort();
  });

  check('a follower that starts while changes come misses none', async ({ changes }, store) => {
    const aborter = new AbortController();
    const storing_ = (async () => {
      for (let round = 0; round < 60; round++) await store();
    })();
    for (let round = 0; round < 20; round++) {
      const from = await changes.last();
      const [first] = await take(changes, from, 1, aborter.signal);
      assert.equal(first?.seq, from + 1);
      if (from > 40) break;
    }
    await storing_;
    assert.equal((await take(changes, 0, 63, aborter.signal)).length, 63);
  });

  check('an emptied log goes on with its numbers', async ({ changes, database }, store) => {
    await store(5);
    await database.commit([{ kind: 'clear-changes' }]);
    await changes.cleared();
    assert.deepEqual(await changes.since({ limit: 9 }), { changes: [], done: true });
    assert.equal(await changes.last(), 8);
    assert.deepEqual(await changes.since({ to: 8, limit: 1 }), { changes: [], done: true });
    const later = await store(2);
    assert.deepEqual(await changes.since({ limit: 9 }), { changes: later, done: true });
    assert.deepEqual(await changes.since({ since: 3, limit: 1 }), { changes: later.slice(0, 1), done: false });
    assert.deepEqual(await changes.since({ to: 9, limit: 5 }), { changes: later.slice(0, 1), done: true });
    assert.equal(await changes.last(), 10);
  });
}

async function take(changes: Changes, since: number, count: number, signal: AbortSignal): Promise<readonly Change[]> {
  const taken: Change[] = [];
  for await (const change of changes.follow(since, signal)) {
    taken.push(change);
    if (taken.length === count) break;
  }
  return taken;
}
