/** Owns the proof that a line's feed keeps nothing to itself that it does not hand out. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Feed, type FeedSource } from '../../src/jobs/feed.ts';
import type { Entry, Queue } from '../../src/jobs/queue.ts';
import { entry } from '../contracts/queue.ts';
import { temporaryFolder } from '../peer.ts';
import { openQueue } from './opened.ts';

const unused = (): never => assert.fail('nothing is read here');

/** A feed of five entries; whoever takes them asks the index by `find`. */
async function opened(
  context: TestContext,
  find: FeedSource['database']['find'],
): Promise<{ readonly feed: Feed; readonly queue: Queue; waiting(): Promise<string> }> {
  const queue = await openQueue(join(temporaryFolder(), 'index'));
  context.after(() => queue.close());
  await queue.add(['a', 'b', 'c', 'd', 'e'].map((id) => entry(id, { value: { instance: id } })));
  const giveBack = async (entries: readonly Entry[]): Promise<void> => {
    await queue.settle(entries.map(({ id }) => ({ queue: 'q', id, state: 'waiting', from: ['active'] })));
  };
  const source: FeedSource = {
    queue,
    database: { find },
    storage: { read: unused, stream: unused, state: unused },
    transcoder: { transcode: unused },
    modifier: { changed: unused },
  };
  const listed = async (): Promise<string> =>
    (await queue.list({ queue: 'q', states: ['waiting'], limit: 9 })).map(({ id }) => id).join(' ');
  return { feed: new Feed(source, 'q', () => 4, giveBack), queue, waiting: listed };
}

test('what is withdrawn while it waits for its turn is given back', async (context) => {
  const { feed, waiting } = await opened(context, async () => []);
  assert.equal((await feed.next())?.entry.id, 'a');
  await feed.withdraw('c');
  // Handed out already: that is the line's.
  await feed.withdraw('a');
  assert.equal(await waiting(), 'c e');
  assert.deepEqual(
    (await feed.end()).map(({ entry: { id } }) => id),
    ['b', 'd'],
  );
});

test('what is withdrawn while it is taken is given back', async (context) => {
  let go = (): void => {};
  let asked = false;
  const gate = new Promise<void>((resolve) => (go = resolve));
  const { feed, waiting } = await opened(context, async () => {
    asked = true;
    await gate;
    return [];
  });
  const next = feed.next();
  while (!asked) await sleep(5);
  await feed.withdraw('a');
  await feed.withdraw('d');
  go();
  assert.equal((await next)?.entry.id, 'b');
  const left = (await feed.end()).map(({ entry: { id } }) => id);
  // Nobody called them off in the queue: they may have been taken once more by now.
  assert.deepEqual([...left, ...(await waiting()).split(' ').filter(Boolean)].sort(), ['a', 'c', 'd', 'e']);
});
