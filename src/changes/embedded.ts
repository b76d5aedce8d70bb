/**
 * Owns the `changes` port over the rows of the database, for one process: the index numbers the changes as it commits
 * them, so that all that is left is to wake who follows.
 */

import type { Database } from '../database/database.ts';
import type { Changes } from './changes.ts';

/** Changes that a follower holds at a time. */
const PAGE = 256;

/** The embedded log. Nothing is held but one callback for each follower that waits. */
export function createEmbeddedChanges(database: Database): Changes {
  const waiting = new Set<() => void>();
  let announcements = 0;

  /** Resolves at the next announcement after the `seen`-th, or when `signal` aborts. */
  const announcement = async (seen: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (announcements !== seen || signal.aborted) {
        resolve();
        return;
      }
      const wake = (): void => {
        waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      waiting.add(wake);
      signal.addEventListener('abort', wake);
    });

  return {
    async announce(changes) {
      if (changes.length === 0) return;
      announcements++;
      for (const wake of waiting) wake();
    },
    async since(request) {
      const { changes, more } = await database.changes(request);
      return { changes, done: !more };
    },
    async last() {
      return database.lastSeq();
    },
    async *follow(since, signal) {
      let at = since;
      while (!signal.aborted) {
        // Counted before reading: what is announced during the reading is not slept through.
        const seen = announcements;
        const { changes } = await database.changes({ since: at, limit: PAGE });
        for (const change of changes) {
          if (signal.aborted) return;
          at = change.seq;
          yield change;
        }
        if (changes.length === 0) await announcement(seen, signal);
      }
    },
    async cleared() {},
  };
}
