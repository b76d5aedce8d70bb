/**
 * Owns the patients, studies and series that instances are being stored into: their ids are held, so that an instance
 * costs no look-up, and their times are written once a batch.
 */

import { LEVEL, type Level } from '../../dicom/levels.ts';
import type { DatabaseLimits } from '../database.ts';
import { normalise } from '../../dicom/match.ts';
import { IDENTIFIERS } from '../find.ts';
import { TABLE } from '../rows.ts';
import type { ReadStore } from './task.ts';
import type { Transaction } from './transaction.ts';

/** Parents held, in all. */
const HELD = 8192;

export const PARENT_LEVELS = ['Patient', 'Study', 'Series'] as const;

/** A patient, study or series in use. */
export interface Parent {
  readonly id: number;
  readonly level: Level;
  /** Of a series that says how many instances it expects: how many there are. */
  completeness: { readonly expected: number; present: number } | undefined;
  /** Its times as {@link Parents.flush} wrote them last: seconds, milliseconds, and a patient's place in the order of recycling. */
  times?: { readonly lastUpdate: number; readonly stableAt: number; readonly recycling: number };
}

/**
 * How much longer than asked for a resource may wait to become stable, as a part of that and in milliseconds: what gets many instances has
 * its times written a few times a second then, not with each, which is half of what a commit of one instance writes.
 */
const SLACK = 0.1;
const MOST_SLACK = 1000;

export class Parents {
  readonly #tx: Transaction;
  readonly #limits: DatabaseLimits;
  /** By level and public id, in order of last use. */
  readonly #held = new Map<string, Parent>();
  readonly #touched = new Set<Parent>();

  constructor(tx: Transaction, limits: DatabaseLimits) {
    this.#tx = tx;
    this.#limits = limits;
  }

  /** Drops what is held: rows have gone, or were never committed. */
  forget(): void {
    this.#held.clear();
    this.#touched.clear();
  }

  get(level: Level, id: string, bytes: Buffer): Parent | undefined {
    const key = level + id;
    const held = this.#held.get(key);
    if (held !== undefined) {
      this.#held.delete(key);
      this.#held.set(key, held);
      return held;
    }
    const row = this.#tx.row<{ id: number; metadata: string }>(
      `SELECT id, metadata FROM ${TABLE[level]} WHERE public_id = ?`,
      bytes,
    );
    if (row === undefined) return undefined;
    const found: Parent = { id: row.id, level, completeness: this.#completeness(level, row.id, row.metadata) };
    this.#hold(key, found);
    return found;
  }

  insert(level: Level, bytes: Buffer, parent: number, operation: ReadStore): Parent {
    const { names, values } = columnsOf(level, operation);
    // Its times, and a patient's place in the order of recycling, are written at the end of this batch.
    const columns = ['public_id', level === 'Patient' ? 'recycling' : 'parent', 'last_update', ...names];
    const { id } = this.#tx.run(
      `INSERT INTO ${TABLE[level]} (${columns.join()}) VALUES (${columns.map(() => '?').join()})`,
      bytes,
      parent,
      0,
      ...values,
    );
    this.#tx.counters[TABLE[level]]++;
    const created: Parent = { id, level, completeness: this.#completeness(level, id, values[1] ?? '{}') };
    this.#hold(level + operation.summary.ids[level], created);
    return created;
  }

  /** Gives a parent the tags and metadata of `operation`. */
  replace(parent: Parent, operation: ReadStore): void {
    const { names, values } = columnsOf(parent.level, operation);
    const set = names.map((name) => `${name} = ?`).join();
    this.#tx.run(`UPDATE ${TABLE[parent.level]} SET ${set} WHERE id = ?`, ...values, parent.id);
    parent.completeness = this.#completeness(parent.level, parent.id, values[1] ?? '{}');
  }

  /** Whether the parent has exactly one child. */
  hasOneChild({ level, id }: Parent): boolean {
    const child = LEVEL[level].child ?? level;
    return this.#tx.rows(`SELECT 1 FROM ${TABLE[child]} WHERE parent = ? LIMIT 2`, id).length === 1;
  }

  /** Marks a parent as having got an instance; {@link flush} writes it. */
  touch(parent: Parent): void {
    this.#touched.add(parent);
  }

  /** Writes the times of the parents that were touched, once for all their instances, where they are not near enough as they are. */
  flush(): void {
    const { stableAge } = this.#limits;
    const deadline = this.#tx.now + stableAge;
    const lastUpdate = this.#tx.seconds;
    const stableAt = Math.floor(deadline + Math.min(MOST_SLACK, stableAge * SLACK));
    for (const parent of this.#touched) {
      const { level, id, times } = parent;
      // The last in the order of recycling stays it.
      const isLast = level !== 'Patient' || times?.recycling === this.#tx.counters.recycling;
      if (times !== undefined && times.lastUpdate === lastUpdate && times.stableAt >= deadline && isLast) continue;
      if (level === 'Patient') {
        this.#tx.run(
          `UPDATE patients SET last_update = ?, stable_at = ?, recycling = CASE WHEN recycling IS NOT NULL THEN ? END
           WHERE id = ?`,
          lastUpdate,
          stableAt,
          ++this.#tx.counters.recycling,
          id,
        );
      } else {
        this.#tx.run(
          `UPDATE ${TABLE[level]} SET last_update = ?, stable_at = ? WHERE id = ?`,
          lastUpdate,
          stableAt,
          id,
        );
      }
      parent.times = { lastUpdate, stableAt, recycling: this.#tx.counters.recycling };
    }
    this.#touched.clear();
  }

  #hold(key: string, parent: Parent): void {
    this.#held.set(key, parent);
    if (this.#held.size <= HELD) return;
    const [oldest] = this.#held.keys();
    if (oldest !== undefined) this.#held.delete(oldest);
  }

  #completeness(level: Level, id: number, metadata: string): Parent['completeness'] {
    if (level !== 'Series') return undefined;
    const expected = (JSON.parse(metadata) as Record<string, string>)['ExpectedNumberOfInstances'];
    if (expected === undefined) return undefined;
    const row = this.#tx.row<{ count: number }>('SELECT count(*) AS count FROM instances WHERE parent = ?', id);
    return { expected: Number(expected), present: row?.count ?? 0 };
  }
}

/** The columns of a parent's row that come from the file, `tags` and `metadata` first. */
function columnsOf(level: Level, { summary, metadata }: ReadStore): { names: string[]; values: (string | null)[] } {
  const tags = summary.tags[level];
  const remote = level === 'Series' && metadata['RemoteAET'] !== undefined ? { RemoteAET: metadata['RemoteAET'] } : {};
  const names = ['tags', 'metadata'];
  const values: (string | null)[] = [JSON.stringify(tags), JSON.stringify({ ...summary.metadata[level], ...remote })];
  for (const [column, tag] of Object.entries(IDENTIFIERS[level])) {
    const value = tags[tag];
    names.push(column);
    values.push(value === undefined ? null : normalise(value));
  }
  return { names, values };
}
