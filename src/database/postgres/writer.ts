/** Owns a commit: in which mode its transaction runs, what each operation does, and trying again after a conflict. */

import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import type { Summary } from '../../dicom/summary.ts';
import type { Committed, DatabaseLimits, Operation, Outcome } from '../database.ts';
import { protect, setAttachment, setLabel, setMetadata } from './additions.ts';
import { asDatabaseError, isConflict } from './connection.ts';
import { logExport } from './exports.ts';
import { reconstruct } from './reconstruction.ts';
import { deleteResource, deleteSome } from './removal.ts';
import { ALREADY_STORED, storeCarefully, SUCCESS } from './replacing.ts';
import { stabilize } from './stability.ts';
import { insertInstances } from './storing.ts';
import { type Mode, Transaction } from './transaction.ts';
import { type ReadStore, text, uuidText } from './values.ts';
import { addWork, settleWork, takeWork } from './work.ts';

const REST: Outcome = { kind: 'deleted', remaining: undefined, rest: true };

/** Times that a transaction is tried which others that ran beside it undid. */
const ATTEMPTS = 6;

const DONE: Outcome = { kind: 'done' };

/** An {@link Operation} whose summary is read. */
type ReadOperation = Exclude<Operation, { kind: 'store' }> | ReadStore;

/** Kinds of operations that need the lock of durable work; those that may run beside the others of other transactions. */
const WORK: ReadonlySet<Operation['kind']> = new Set([
  'work-add',
  'work-settle',
  'work-take',
  'export',
  'clear-exports',
]);
const SHARED: ReadonlySet<Operation['kind']> = new Set([...WORK, 'store', 'property', 'forget']);

/** Applies the operations in one transaction; all of them, or throws having changed nothing. */
export async function commit(
  pool: pg.Pool,
  limits: DatabaseLimits,
  operations: readonly Operation[],
): Promise<Committed> {
  const read = operations.map(
    (operation): ReadOperation =>
      operation.kind === 'store' ? { ...operation, summary: JSON.parse(operation.summary) as Summary } : operation,
  );
  const limited = limits.maximumStorageSize > 0 || limits.maximumPatientCount > 0;
  let mode: Mode = !limited && operations.every(({ kind }) => SHARED.has(kind)) ? 'shared' : 'exclusive';
  const work = operations.some(({ kind }) => WORK.has(kind));
  for (let attempt = 1; ; attempt++) {
    try {
      const committed = await transact(pool, mode, work, (tx) => new Applying(tx, mode, limits).all(read));
      if (committed !== undefined) return committed;
      mode = 'exclusive';
    } catch (thrown) {
      if (!isConflict(thrown) || attempt >= ATTEMPTS) throw asDatabaseError(thrown);
      await pause(Math.random() * 10 * 2 ** attempt);
    }
  }
}

/** One transaction of `work`, undone when that throws or answers undefined. */
async function transact(
  pool: pg.Pool,
  mode: Mode,
  writesWork: boolean,
  work: (tx: Transaction) => Promise<readonly Outcome[] | undefined>,
): Promise<Committed | undefined> {
  const client = await pool.connect();
  const tx = new Transaction(client, mode, writesWork);
  let usable = false;
  try {
    const outcomes = await work(tx);
    if (outcomes === undefined) {
      usable = await tx.rollback();
      return undefined;
    }
    const changes = await tx.commit();
    usable = true;
    return { outcomes, changes, removals: tx.removals };
  } catch (thrown) {
    const cause = tx.failure ?? thrown;
    usable = await tx.rollback();
    throw cause;
  } finally {
    client.release(!usable);
  }
}

class Applying {
  readonly #tx: Transaction;
  readonly #mode: Mode;
  readonly #limits: DatabaseLimits;

  constructor(tx: Transaction, mode: Mode, limits: DatabaseLimits) {
    this.#tx = tx;
    this.#mode = mode;
    this.#limits = limits;
  }

  /** Undefined when a shared transaction met what needs an exclusive one. */
  async all(operations: readonly ReadOperation[]): Promise<readonly Outcome[] | undefined> {
    if (this.#mode === 'exclusive') await this.#tx.loadCounters();
    const outcomes: Outcome[] = [];
    for (let at = 0; at < operations.length; ) {
      const stores = storesFrom(operations, at);
      if (stores.length > 0) {
        const stored = await this.#store(stores);
        if (stored === undefined) return undefined;
        outcomes.push(...stored);
        at += stores.length;
      } else {
        const operation = operations[at++];
        if (operation !== undefined && operation.kind !== 'store') outcomes.push(await this.#apply(operation));
      }
    }
    return outcomes;
  }

  async #store(stores: readonly ReadStore[]): Promise<readonly Outcome[] | undefined> {
    const careful =
      this.#limits.maximumStorageSize > 0 ||
      this.#limits.maximumPatientCount > 0 ||
      stores.some(({ overwrite }) => overwrite !== 'Never');
    if (this.#mode === 'exclusive' && careful) return storeCarefully(this.#tx, this.#limits, stores);
    const fresh = await insertInstances(this.#tx, this.#limits.stableAge, stores);
    if (fresh.some((each, index) => !each && stores[index]?.overwrite !== 'Never')) return undefined;
    return fresh.map((each) => (each ? SUCCESS : ALREADY_STORED));
  }

  async #apply(operation: Exclude<ReadOperation, ReadStore>): Promise<Outcome> {
    const tx = this.#tx;
    switch (operation.kind) {
      case 'delete': {
        const row = await tx.resource(operation.level, operation.id);
        if (row === undefined) return { kind: 'refused', error: 'UnknownResource' };
        const { level, most } = operation;
        if (most !== undefined && (await deleteSome(tx, level, row, most))) return REST;
        return { kind: 'deleted', remaining: await deleteResource(tx, level, row) };
      }
      case 'protect':
        return protect(tx, operation);
      case 'reconstruct':
        return reconstruct(tx, operation);
      case 'metadata':
        return setMetadata(tx, operation);
      case 'attachment':
        return setAttachment(tx, this.#limits, operation);
      case 'label':
        return setLabel(tx, operation);
      case 'stabilize':
        return { kind: 'stabilized', count: await stabilize(tx, this.#limits.stableAge, operation) };
      case 'property':
        if (operation.value === undefined) tx.send('DELETE FROM properties WHERE name = $1', text(operation.name));
        else {
          tx.send(
            'INSERT INTO properties VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
            text(operation.name),
            text(operation.value),
          );
        }
        return DONE;
      case 'forget':
        tx.send('DELETE FROM removals WHERE uuid = ANY ($1::uuid[])', operation.uuids.map(uuidText));
        return DONE;
      case 'clear-changes':
        tx.send('DELETE FROM changes');
        return DONE;
      case 'work-add':
        return addWork(tx, operation);
      case 'work-settle':
        return settleWork(tx, operation);
      case 'work-take':
        return takeWork(tx, operation);
      case 'export':
        return logExport(tx, operation);
      case 'clear-exports':
        tx.send('DELETE FROM exports');
        return DONE;
    }
  }
}

/** The stores that follow each other from `at` on. */
function storesFrom(operations: readonly ReadOperation[], at: number): ReadStore[] {
  const stores: ReadStore[] = [];
  for (let operation = operations[at]; operation?.kind === 'store'; operation = operations[++at])
    stores.push(operation);
  return stores;
}
