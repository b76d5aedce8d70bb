/**
 * Owns the one write connection: a batch of operations in one transaction. What it holds in memory to make that cheap
 * is dropped when a transaction fails or another process has written.
 */

import type { Database as Connection } from 'better-sqlite3';
import type { Committed, DatabaseLimits, Outcome, StabilizeOperation } from '../database.ts';
import { protect, setAttachment, setLabel, setMetadata } from './additions.ts';
import { LIMIT, isFull, openWriter } from './connection.ts';
import { LogFile } from './log-file.ts';
import { PARENT_LEVELS, Parents } from './parents.ts';
import { reconstruct } from './reconstruction.ts';
import { deleteResource, deleteSome } from './removal.ts';
import { TABLE } from '../rows.ts';
import { Reserve } from './reserve.ts';
import { uuidBytes } from './rows.ts';
import { storeInstance } from './storing.ts';
import type { ReadOperation, ReadStore, WriterData } from './task.ts';
import { Transaction } from './transaction.ts';
import { addWork, settleWork, takeWork } from './work.ts';
import { logExport } from './exports.ts';

const done: Outcome = { kind: 'done' };
const REST: Outcome = { kind: 'deleted', remaining: undefined, rest: true };

/** What ends in fewer bytes on the disks. */
const MAKES_ROOM: ReadonlySet<ReadOperation['kind']> = new Set<ReadOperation['kind']>([
  'delete',
  'forget',
  'clear-changes',
]);

export class Writer {
  readonly #db: Connection;
  readonly #limits: DatabaseLimits;
  readonly #reserve: Reserve;
  readonly #log: LogFile;
  readonly #tx: Transaction;
  readonly #parents: Parents;
  #dataVersion: number;

  constructor({ path, limits, commits }: WriterData) {
    this.#db = openWriter(path);
    this.#limits = limits;
    this.#reserve = new Reserve(path);
    this.#log = new LogFile(this.#db, commits);
    this.#tx = new Transaction(this.#db, commits);
    this.#parents = new Parents(this.#tx, limits);
    this.#dataVersion = this.#readDataVersion();
  }

  /**
   * Applies all, or throws having changed nothing, unless the disk failed at the very end. On a full disk what makes room may use the
   * reserve.
   */
  commit(operations: readonly ReadOperation[]): Committed {
    let committed: Committed;
    try {
      committed = this.#commit(operations, () => this.#log.sync());
    } catch (thrown) {
      if (!isFull(thrown) || !operations.every(({ kind }) => MAKES_ROOM.has(kind)) || !this.#reserve.release())
        throw thrown;
      committed = this.#commit(operations, () => this.#log.sync());
    }
    this.#reserve.fill();
    return committed;
  }

  /**
   * The same for instances, but durable only once somebody has synced the log. `before` is called when all but the commit itself is done; if
   * it throws nothing is changed.
   */
  commitUnsynced(operations: readonly ReadStore[], before: () => void): Committed {
    const committed = this.#commit(operations, undefined, before);
    this.#reserve.fill();
    return committed;
  }

  #commit(operations: readonly ReadOperation[], durable: (() => void) | undefined, before?: () => void): Committed {
    this.#log.mend();
    const used = this.#log.used();
    this.#tx.begin();
    try {
      if (used !== undefined) this.#log.ensure(used);
      const version = this.#readDataVersion();
      if (version !== this.#dataVersion) {
        this.#tx.reload();
        this.#parents.forget();
        this.#dataVersion = version;
      }
      const outcomes = operations.map((operation) => this.#apply(operation));
      this.#parents.flush();
      this.#log.open();
      before?.();
      this.#tx.commit(durable);
      return { outcomes, changes: this.#tx.changes, removals: this.#tx.removals };
    } catch (error) {
      this.#parents.forget();
      this.#tx.rollback();
      throw error;
    }
  }

  /** Waits until everything that was committed is durable. Throws DatabaseUnavailable when nobody knows. */
  sync(): void {
    this.#tx.sync(() => this.#log.sync());
  }

  /** Moves committed pages from the write-ahead log into the file, as far as readers allow. */
  checkpoint(): void {
    this.#db.pragma('wal_checkpoint(PASSIVE)');
  }

  close(): void {
    this.#log.close();
    this.#db.close();
  }

  /** Changes when another connection has written. */
  #readDataVersion(): number {
    return Number(this.#db.pragma('data_version', { simple: true }));
  }

  #apply(operation: ReadOperation): Outcome {
    const tx = this.#tx;
    if (operation.kind === 'store') return storeInstance(tx, this.#parents, this.#limits, operation);
    // All but work read and delete rows that the stores before them in this batch have yet to bring up to date.
    if (!operation.kind.startsWith('work-')) this.#parents.flush();
    switch (operation.kind) {
      case 'delete': {
        const row = tx.resource(operation.level, operation.id);
        if (row === undefined) return { kind: 'refused', error: 'UnknownResource' };
        this.#parents.forget();
        if (operation.most !== undefined && deleteSome(tx, operation.level, row.id, operation.most)) return REST;
        return { kind: 'deleted', remaining: deleteResource(tx, operation.level, row.id) };
      }
      case 'protect':
        return protect(tx, operation);
      case 'reconstruct':
        // Of a series it may be the expected number of instances, which is held.
        this.#parents.forget();
        return reconstruct(tx, operation);
      case 'metadata':
        // Of a series it may be the expected number of instances, which is held.
        this.#parents.forget();
        return setMetadata(tx, operation);
      case 'attachment':
        // It may recycle patients.
        this.#parents.forget();
        return setAttachment(tx, this.#limits, operation);
      case 'label':
        return setLabel(tx, operation);
      case 'stabilize':
        return { kind: 'stabilized', count: this.#stabilize(operation) };
      case 'property':
        if (operation.value === undefined) tx.run('DELETE FROM properties WHERE name = ?', operation.name);
        else tx.run('INSERT OR REPLACE INTO properties VALUES (?, ?)', operation.name, operation.value);
        return done;
      case 'forget':
        for (const uuid of operation.uuids) tx.run('DELETE FROM removals WHERE uuid = ?', uuidBytes(uuid));
        return done;
      case 'clear-changes':
        tx.run('DELETE FROM changes');
        return done;
      case 'work-add':
        return addWork(tx, operation);
      case 'work-settle':
        return settleWork(tx, operation);
      case 'work-take':
        return takeWork(tx, operation);
      case 'export':
        return logExport(tx, operation);
      case 'clear-exports':
        tx.run('DELETE FROM exports');
        return done;
    }
  }

  #stabilize({ now, limit }: StabilizeOperation): number {
    let count = 0;
    for (const level of [...PARENT_LEVELS].reverse()) {
      const due = this.#tx.rows<{ id: number; public_id: Buffer }>(
        `SELECT id, public_id FROM ${TABLE[level]} WHERE stable_at <= ? ORDER BY stable_at, id ${LIMIT}`,
        now,
        limit - count,
      );
      for (const { id, public_id } of due) {
        this.#tx.run(`UPDATE ${TABLE[level]} SET stable_at = NULL WHERE id = ?`, id);
        this.#tx.log(`Stable${level}`, level, public_id);
      }
      count += due.length;
    }
    // What is held of their times is not what is written any more.
    if (count > 0) this.#parents.forget();
    return count;
  }
}
