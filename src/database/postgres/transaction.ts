/**
 * Owns what all writing shares: one transaction on one connection, its locks, the sums of what it changed, its rows of
 * the log and its list of blobs to remove.
 */

import type pg from 'pg';
import type { Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import type { Change, ChangeType } from '../database.ts';
import { dateText, isPublicId, TABLE } from '../rows.ts';
import { asDatabaseError, LOCK_CLASS, prepared } from './connection.ts';
import { type Counters, logChanges } from './log.ts';
import { hexOf } from './values.ts';

const ZERO: Counters = {
  patients: 0,
  studies: 0,
  series: 0,
  instances: 0,
  disk_size: 0,
  uncompressed_size: 0,
  dicom_disk_size: 0,
  dicom_uncompressed_size: 0,
};

/** Columns of a file whose row goes. */
export interface FileRow {
  readonly uuid: string;
  readonly size: number;
  readonly disk: number;
}

/** The select list of {@link FileRow}, of the table `of`. */
export const fileColumns = (of: string): string =>
  `${of}.uuid, ${of}.size, coalesce(${of}.compressed_size, ${of}.size) AS disk`;

/**
 * `shared` transactions run beside each other: they only add, and write rows in one order. An `exclusive` one has the
 * index to itself, so that nothing it read can change under it.
 */
export type Mode = 'shared' | 'exclusive';

/** Takes the lock of the index, and (second in every transaction) that of durable work and of the log of exports. */
const LOCK: Readonly<Record<Mode, string>> = {
  shared: `SELECT pg_advisory_xact_lock_shared(${LOCK_CLASS}, hashtext(current_schema()))`,
  exclusive: `SELECT pg_advisory_xact_lock(${LOCK_CLASS}, hashtext(current_schema()))`,
};
const LOCK_WORK = `SELECT pg_advisory_xact_lock(${LOCK_CLASS}, hashtext('work ' || current_schema()))`;

/**
 * Resolves when every transaction has ended that any process had begun by now: the server goes on with one whose process is gone. Throws
 * as a commit does.
 */
export async function ended(pool: pg.Pool): Promise<void> {
  try {
    // Outside of a transaction it is given back at once.
    await pool.query(LOCK.exclusive);
  } catch (thrown) {
    throw asDatabaseError(thrown);
  }
}

/** Microseconds since the epoch, never the same twice in this process. */
let latest = 0;

export class Transaction {
  readonly #client: pg.PoolClient;
  /** Of statements that nobody waits for before the end. */
  readonly #sent: Promise<unknown>[] = [];
  readonly #added: Counters = { ...ZERO };
  /** The counters as this transaction found them. */
  #before: Counters = ZERO;
  #changes: Omit<Change, 'seq'>[] = [];
  #removals: string[] = [];
  #savepoints = 0;
  #failure: unknown;
  /** Milliseconds since the epoch. */
  readonly now = Date.now();

  /** `work`: it writes durable work or exports, which one transaction at a time does. */
  constructor(client: pg.PoolClient, mode: Mode, work: boolean) {
    this.#client = client;
    this.#keep(client.query('BEGIN'));
    this.send(LOCK[mode]);
    if (work) this.send(LOCK_WORK);
  }

  /** Seconds since the epoch. */
  get seconds(): number {
    return Math.floor(this.now / 1000);
  }

  /**
   * What the first statement that failed failed with, or undefined: those behind it in the pipeline fail because of it, and one of them
   * may be waited for first.
   */
  get failure(): unknown {
    return this.#failure;
  }

  get removals(): readonly string[] {
    return this.#removals;
  }

  /** A moment for `active_at`: now, and later than every other. */
  moment(): number {
    latest = Math.max(latest + 1, this.now * 1000);
    return latest;
  }

  async rows<Row extends pg.QueryResultRow>(sql: string, ...values: unknown[]): Promise<Row[]> {
    return (await this.#watch(this.#client.query<Row>(prepared(sql, values)))).rows;
  }

  async row<Row extends pg.QueryResultRow>(sql: string, ...values: unknown[]): Promise<Row | undefined> {
    return (await this.rows<Row>(sql, ...values))[0];
  }

  /** Runs a statement of which nothing but success matters: its failure is that of the commit. */
  send(sql: string, ...values: unknown[]): void {
    this.#keep(this.#client.query(prepared(sql, values)));
  }

  #keep(sent: Promise<unknown>): void {
    // It is looked at in the end; until then it must not count as unhandled.
    this.#sent.push(this.#watch(sent));
  }

  #watch<Answer>(sent: Promise<Answer>): Promise<Answer> {
    sent.catch((thrown: unknown) => (this.#failure ??= thrown));
    return sent;
  }

  /** Row id of a public id, when there is such a resource. */
  async resource(level: Level, id: string): Promise<number | undefined> {
    if (!isPublicId(id)) return undefined;
    const sql = `SELECT id FROM ${TABLE[level]} WHERE public_id = decode($1, 'hex')`;
    return (await this.row<{ id: number }>(sql, hexOf(id)))?.id;
  }

  /** Adds a row to the log; the commit numbers it. */
  log(type: ChangeType, level: Level, id: string): void {
    this.#changes.push({ type, level, id, date: dateText(this.seconds) });
  }

  /** Counts resources that came (or, `by` negative, went). */
  count(level: Level, by: number): void {
    this.#added[TABLE[level]] += by;
  }

  /** Adds (1) a file to the sizes, or takes it off (-1). */
  account(sign: 1 | -1, diskSize: number, uncompressedSize: number, dicom: boolean): void {
    this.#added.disk_size += sign * diskSize;
    this.#added.uncompressed_size += sign * uncompressedSize;
    if (!dicom) return;
    this.#added.dicom_disk_size += sign * diskSize;
    this.#added.dicom_uncompressed_size += sign * uncompressedSize;
  }

  /** Lists the blob of a row that goes, and takes it off the sizes. */
  removeFiles(files: readonly FileRow[], dicom: boolean): void {
    if (files.length === 0) return;
    const uuids = files.map((file) => file.uuid);
    this.#removals.push(...uuids);
    this.send('INSERT INTO removals SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING', uuids);
    for (const { disk, size } of files) this.account(-1, disk, size, dicom);
  }

  /** Reads the counters, which only an exclusive transaction may rely on; {@link total} then tells them. */
  async loadCounters(): Promise<void> {
    this.#before = (await this.row<Counters & pg.QueryResultRow>('SELECT * FROM counters')) ?? ZERO;
  }

  /** A counter as it stands in this transaction, once {@link loadCounters} was called. */
  total(name: keyof Counters): number {
    return this.#before[name] + this.#added[name];
  }

  /** Runs `work`; when it is false everything it did is undone. */
  async attempt(work: () => Promise<boolean>): Promise<boolean> {
    const [changes, removals, added] = [this.#changes.length, this.#removals.length, { ...this.#added }];
    const name = `attempt${this.#savepoints++}`;
    this.#keep(this.#client.query(`SAVEPOINT ${name}`));
    const done = await work();
    if (done) return true;
    this.#keep(this.#client.query(`ROLLBACK TO ${name}`));
    this.#changes.length = changes;
    this.#removals.length = removals;
    Object.assign(this.#added, added);
    return false;
  }

  /** Makes everything durable; answers the rows of the log with their numbers. */
  async commit(): Promise<readonly Change[]> {
    const changed = this.#changes.length > 0 || Object.values(this.#added).some((value) => value !== 0);
    const seq = changed ? logChanges(this, this.#added, this.#changes) : Promise.resolve(0);
    seq.catch(() => {});
    const committing = this.#client.query('COMMIT');
    committing.catch(() => {});
    await Promise.all(this.#sent);
    const first = (await seq) - this.#changes.length + 1;
    // A transaction that failed before is rolled back by its COMMIT, and that is no error to the server.
    if ((await committing).command !== 'COMMIT') throw new IsenError('Database', 'the transaction was rolled back');
    return this.#changes.map((change, index) => ({ seq: first + index, ...change }));
  }

  /** Undoes everything; answers whether the connection can still be used. */
  async rollback(): Promise<boolean> {
    try {
      await Promise.allSettled(this.#sent);
      await this.#client.query('ROLLBACK');
      return true;
    } catch (error) {
      asDatabaseError(error);
      return false;
    }
  }
}
