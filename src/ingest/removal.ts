/**
 * Owns the second step of a deletion: blobs that the index no longer refers to leave storage, from a durable list, a few
 * at a time. A crash in between leaves the list, not the blobs.
 */

import type { Database } from '../database/database.ts';
import type { Storage } from '../storage/storage.ts';
import { Background } from './background.ts';

/** Blobs removed together, and forgotten in one transaction. */
const BATCH = 64;

/** Blobs that could not be removed, behind which the others are tried. */
const MOST_LEFT = 1000;

/** Milliseconds after which a failed removal is tried again. */
const RETRY = 10_000;

/** To be woken when there may be blobs to remove. */
export function createRemoval(
  database: Database,
  storage: Storage,
  forget: (uuids: readonly string[]) => Promise<void>,
): Background {
  /** Those that could not be removed: others do not wait behind them. */
  const left = new Set<string>();
  const step = async (): Promise<number | undefined> => {
    const uuids = (await database.removals(BATCH + left.size)).filter((uuid) => !left.has(uuid));
    if (uuids.length === 0) {
      const isLeft = left.size > 0;
      left.clear();
      return isLeft ? RETRY : undefined;
    }
    const outcomes = await Promise.allSettled(uuids.map((uuid) => storage.remove(uuid)));
    const removed = uuids.filter((_, index) => outcomes[index]?.status === 'fulfilled');
    for (const [index, uuid] of uuids.entries()) if (outcomes[index]?.status === 'rejected') left.add(uuid);
    if (removed.length > 0) await forget(removed);
    if (left.size < MOST_LEFT) return 0;
    // The storage is away, most likely.
    left.clear();
    return RETRY;
  };
  return new Background(step, RETRY, database.shared);
}
