/**
 * Owns the second step of a deletion: blobs that the index no longer refers to leave storage, from a durable list, a few
 * at a time. A crash in between leaves the list, not the blobs.
 */

import type { Database } from '../database/database.ts';
import type { Storage } from '../storage/storage.ts';

/** Blobs removed together, and forgotten in one transaction. */
const BATCH = 64;

/** Milliseconds after which a failed removal is tried again. */
const RETRY = 10_000;

export class Removal {
  readonly #database: Database;
  readonly #storage: Storage;
  readonly #forget: (uuids: readonly string[]) => Promise<void>;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(database: Database, storage: Storage, forget: (uuids: readonly string[]) => Promise<void>) {
    this.#database = database;
    this.#storage = storage;
    this.#forget = forget;
  }

  /** There may be blobs to remove. */
  wake(): void {
    this.#again = true;
    if (this.#closed || this.#running !== undefined) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#again && this.#timer === undefined) this.wake();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        const uuids = await this.#database.removals(BATCH);
        if (uuids.length === 0) continue;
        await Promise.all(uuids.map((uuid) => this.#storage.remove(uuid)));
        await this.#forget(uuids);
        this.#again = true;
      }
    } catch {
      if (this.#closed) return;
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.wake();
      }, RETRY);
    }
  }
}
