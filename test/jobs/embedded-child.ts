/**
 * Owns the process that the suite of the queue kills: adds numbered entries with their position without end, takes and settles
 * them, and says on standard output what was acknowledged.
 */

import { entry } from '../contracts/queue.ts';
import { openQueue } from './opened.ts';
import { say } from '../say.ts';

const [path = ''] = process.argv.slice(2);
const queue = await openQueue(path);
const { signal } = new AbortController();

async function add(): Promise<never> {
  for (let next = Number((await queue.position('source')) ?? 0); ; ) {
    const some = Array.from({ length: 12 }, () => entry(String(++next)));
    await queue.add(some, { name: 'source', value: String(next) });
    say(`added ${next}\n`);
  }
}

async function process_(): Promise<never> {
  for (;;) {
    const taken = await queue.take('q', 10);
    if (taken.length === 0) await queue.wait('q', signal);
    await queue.settle(taken.map(({ id }) => ({ queue: 'q', id, state: 'removed', from: ['active'] })));
    if (taken.length > 0) say(`settled ${taken.map(({ id }) => id).join(' ')}\n`);
  }
}

await Promise.all([add(), process_(), process_(), process_()]);
