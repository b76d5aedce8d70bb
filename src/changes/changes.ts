/**
 * Owns the `changes` port: the ordered log that routing, stability, live views and scripts follow.
 */

import type { Change, ChangesRequest } from '../database/database.ts';

/** A page of the log, as `/changes` shows it. */
export interface ChangesPage {
  readonly changes: readonly Change[];
  /** Nothing follows this page. */
  readonly done: boolean;
}

/** The port. */
export interface Changes {
  /** Makes committed rows visible to followers, in order. Called by the writer after each commit. */
  announce(changes: readonly Change[]): Promise<void>;
  since(request: ChangesRequest): Promise<ChangesPage>;
  /** The last Seq ever given; 0 when none was. */
  last(): Promise<number>;
  /**
   * Every change with Seq greater than `since`, as it comes, until `signal` aborts. A reader that saw N never later sees
   * a smaller one. A slow reader costs no memory: what it has not taken is read again from the log.
   */
  follow(since: number, signal: AbortSignal): AsyncIterable<Change>;
  /** The log of the index was emptied (`clear-changes`): forgets what it holds of it. Its numbers go on. */
  cleared(): Promise<void>;
}
