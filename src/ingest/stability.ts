/**
 * Owns the moment when a patient, study or series becomes stable. The deadlines are stored in the index; this only
 * wakes at the nearest one, so a restart in the middle of the wait loses no event.
 */

import type { Database } from '../database/database.ts';
import { Background } from './background.ts';

/** Resources marked in one transaction. */
const LIMIT = 500;

/** Milliseconds between a failed attempt and the next. */
const RETRY = 1000;

/**
 * To be woken at the start, and whenever images came in. `stabilize` commits a `stabilize` operation and answers how many
 * resources it marked.
 */
export function createStability(
  database: Database,
  stabilize: (now: number, limit: number) => Promise<number>,
): Background {
  const step = async (): Promise<number | undefined> => {
    const next = await database.nextStable();
    if (next === undefined) return undefined;
    const wait = next - Date.now();
    // A little late rather than early.
    if (wait > 0) return wait + 5;
    return (await stabilize(Date.now(), LIMIT)) === 0 ? RETRY : 0;
  };
  return new Background(step, RETRY, database.shared);
}
