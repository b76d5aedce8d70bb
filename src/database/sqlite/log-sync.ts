/**
 * Owns waiting for the write-ahead log to be durable beside the thread that commits, which goes on with the next transaction meanwhile:
 * commits that end while the disk is busy share the next sync.
 */

import { closeSync, fdatasync, openSync } from 'node:fs';
import { promisify } from 'node:util';
import { unwritten } from './log-file.ts';

const sync = promisify(fdatasync);

export class LogSync {
  readonly #fd: number;
  readonly #failed: () => void;
  #failures = 0;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** `path`: of the index, which a connection is open to; `failed` hears of each sync that failed. Throws as open(2) does. */
  constructor(path: string, failed: () => void) {
    this.#fd = openSync(`${path}-wal`, 'r+');
    this.#failed = failed;
  }

  /** How many syncs have failed: of what was committed after an earlier number was read nothing is certain. */
  get failures(): number {
    return this.#failures;
  }

  /** Resolves when every commit that had ended by now would survive a power cut. Rejects with DatabaseUnavailable when nobody knows. */
  synced(): Promise<void> {
    if (this.#running === undefined && this.#next === undefined) return this.#begin();
    // The one that runs may have begun before the last commit ended.
    this.#next ??= (this.#running ?? Promise.resolve())
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.#begin();
      });
    return this.#next;
  }

  /** No sync begins any more; resolves when the last one has ended. */
  async close(): Promise<void> {
    await (this.#next ?? this.#running)?.catch(() => {});
    closeSync(this.#fd);
  }

  #begin(): Promise<void> {
    const running = sync(this.#fd)
      .catch((thrown: unknown) => {
        this.#failures += 1;
        this.#failed();
        throw unwritten(thrown);
      })
      .finally(() => {
        this.#running = undefined;
      });
    this.#running = running;
    return running;
  }
}
