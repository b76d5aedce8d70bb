/** Owns bringing entries and positions of queues from one engine to another while nothing runs on either. */

import type { IndexRows, Row, Table } from '../database/copy.ts';
import { rowsOf, TABLES } from '../database/copy.ts';
import { WORK_STATES } from '../database/database.ts';
import { IsenError } from '../errors.ts';
import { type Entry, type EntryState, FOLLOWED, pausedOf, type Queue } from './queue.ts';

/** Entries handled together. */
const BATCH = 500;

/** Queues as a whole: what is read of the one engine and written to the other. */
export interface QueueCopy {
  isEmpty(): Promise<boolean>;
  entries(): AsyncIterable<readonly Entry[]>;
  /** Every position by its name. */
  positions(): Promise<ReadonlyMap<string, string>>;
  /** Forgets every entry. */
  clear(): Promise<void>;
  /** Takes entries over, in the order of adding; what was under way waits. */
  put(entries: readonly Entry[]): Promise<void>;
  setPosition(name: string, value: string): Promise<void>;
}

/** Whether a name is that of a position. */
export const isPosition = (name: string): boolean =>
  Object.values(FOLLOWED).some((each) => each === name) || name.startsWith(pausedOf(''));

/** Brings everything over; answers how many entries that were. */
export async function copyQueues(from: QueueCopy, to: QueueCopy): Promise<number> {
  let count = 0;
  // What an earlier run has brought may have changed since.
  await to.clear();
  for await (const entries of from.entries()) {
    await to.put(entries);
    count += entries.length;
  }
  for (const [name, value] of await from.positions()) await to.setPosition(name, value);
  return count;
}

const tableOf = (name: string): Table => {
  const table = TABLES.find((each) => each.name === name);
  if (table === undefined) throw new IsenError('InternalError', `there is no table ${name}`);
  return table;
};

const stateOf = (state: EntryState): EntryState => (state === 'active' ? 'waiting' : state);

const entryOf = ([seq, queue, id, group, state, priority, due, attempts, added, reason, value]: Row): Entry => ({
  seq: Number(seq),
  queue: String(queue),
  id: String(id),
  group: String(group),
  state: WORK_STATES[Number(state)] ?? 'failed',
  priority: Number(priority),
  due: Number(due),
  attempts: Number(attempts),
  added: Number(added),
  reason: String(reason),
  value: JSON.parse(String(value)) as unknown,
});

/** Queues that are rows of an index. */
export function queueInRows(index: IndexRows): QueueCopy {
  const work = tableOf('work');
  const counts = tableOf('work_counts');
  /** How many there are by group (and in all), queue and state. */
  const sums = new Map<string, Row>();
  const clear = async (table: Table): Promise<void> => {
    for (
      let rows = await index.read(table, undefined, BATCH);
      rows.length > 0;
      rows = await index.read(table, undefined, BATCH)
    )
      await index.write(table, rows, []);
  };
  return {
    isEmpty: async () => (await index.count(work)) === 0,
    async *entries() {
      let after: Row | undefined;
      for (;;) {
        const rows = await index.read(work, after, BATCH);
        if (rows.length === 0) return;
        yield rows.map(entryOf);
        after = rows.at(-1);
      }
    },
    async positions() {
      const found = new Map<string, string>();
      for await (const [name, value] of rowsOf(index, tableOf('properties')))
        if (isPosition(String(name))) found.set(String(name), String(value));
      return found;
    },
    async clear() {
      await clear(work);
      await clear(counts);
      sums.clear();
    },
    async put(entries) {
      const rows = entries.map(
        ({ seq, queue, id, group, state, priority, due, attempts, added, reason, value }): Row => [
          seq,
          queue,
          id,
          group,
          WORK_STATES.indexOf(stateOf(state)),
          priority,
          due,
          attempts,
          added,
          reason,
          JSON.stringify(value) ?? 'null',
        ],
      );
      await index.write(work, [], rows);
      for (const [, queue = '', , group = '', state = 0] of rows) {
        for (const each of new Set(['', group])) {
          const key = JSON.stringify([each, queue, state]);
          sums.set(key, [each, queue, state, Number(sums.get(key)?.[3] ?? 0) + 1]);
        }
      }
      await index.write(counts, [...sums.values()], [...sums.values()]);
    },
    setPosition: (name, value) => index.setProperty(name, value),
  };
}

/** Queues behind the port, and the names of their positions. The times of adding and the attempts so far are not taken over: both begin anew. */
export function queueBehindPort(queue: Queue, positionNames: () => Promise<readonly string[]>): QueueCopy {
  const names = async (): Promise<readonly string[]> => [...new Set((await queue.count()).map((each) => each.queue))];
  async function* entries(): AsyncGenerator<readonly Entry[]> {
    for (const name of await names()) {
      let after = 0;
      for (;;) {
        const list = await queue.list({ queue: name, after, limit: BATCH });
        if (list.length === 0) break;
        yield list;
        after = list.at(-1)?.seq ?? after;
      }
    }
  }
  return {
    isEmpty: async () => (await queue.count()).length === 0,
    entries,
    async positions() {
      const found = new Map<string, string>();
      for (const name of (await positionNames()).filter(isPosition)) {
        const value = await queue.position(name);
        if (value !== undefined) found.set(name, value);
      }
      return found;
    },
    async clear() {
      for await (const list of entries())
        await queue.settle(list.map(({ queue: name, id }) => ({ queue: name, id, state: 'removed' })));
    },
    async put(list) {
      await queue.add(list);
      const others = list.filter(({ state }) => stateOf(state) !== 'waiting');
      await queue.settle(
        others.map(({ queue: name, id, state, due, reason }) => ({ queue: name, id, state, due, reason })),
      );
    },
    async setPosition(name, value) {
      await queue.add([], { name, value });
    },
  };
}
