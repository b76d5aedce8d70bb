/** Owns what the suites of jobs share: a queue with the writer and the index below it. */

import { openSqlite } from '../../src/database/sqlite.ts';
import { Writer } from '../../src/ingest/writer.ts';
import { openEmbeddedQueue } from '../../src/jobs/embedded.ts';
import type { Queue } from '../../src/jobs/queue.ts';
import { UNLIMITED } from '../contracts/database.ts';

export async function openQueue(path: string, capacity = 1_000_000): Promise<Queue> {
  const database = await openSqlite({ path, limits: UNLIMITED });
  const writer = new Writer(database, 10_000, async () => {});
  const queue = await openEmbeddedQueue({ database, commit: (operations) => writer.submitAll(operations), capacity });
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await queue.close();
    await writer.drain();
    await database.close();
  };
  return { ...queue, close: () => (closing ??= close()) };
}
