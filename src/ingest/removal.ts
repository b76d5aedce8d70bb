/**
 * Owns the second step of a deletion: blobs that the index no longer refers to leave storage, from a durable list, a few
 * at a time. A crash in between leaves the list, not the blobs.
 */

import type { Database } from '../database/database.ts';
import type { Storage } from '../storage/storage.ts';
import { Background } from './background.ts';

/** Blobs removed together, and forgotten in one transaction. */
const BATCH = 64;

/** Milliseconds after which a failed removal is tried again. */
const RETRY = 10_000;

/** To be woken when there may be blobs to remove. */
export function createRemoval(
  database: Database,
  storage: Storage,
  forget: (uuids: readonly string[]) => Promise<void>,
): Background {
  const step = async (): Promise<number | undefined> => {
    const uuids = await database.removals(BATCH);
    if (uuids.length === 0) return undefined;
    await Promise.all(uuids.map((uuid) => storage.remove(uuid)));
    await forget(uuids);
    return 0;
  };
  return new Background(step, RETRY, database.shared);
}
