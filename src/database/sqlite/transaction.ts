/**
 * Owns what all writing shares: prepared statements, the counters, the log and the list of blobs to remove, each of them
 * of the one transaction that is running.
 */

import type { Database as Connection, Statement } from 'better-sqlite3';
import type { Level } from '../../dicom/levels.ts';
import { IsenError } from '../../errors.ts';
import { CHANGE_TYPES, type Change, type ChangeType } from '../database.ts';
import { type Commits, countBegun, counted, countReadable, readableOf, tellDurable } from './commits.ts';
import { dateText, levelNumber, publicId, publicIdBytes, TABLE, uuidText } from '../rows.ts';

/** The counters row. Sizes in bytes. */
interface Counters {
  patients: number;
  studies: number;
  series: number;
  instances: number;
  disk_size: number;
  uncompressed_size: number;
  dicom_disk_size: number;
  dicom_uncompressed_size: number;
  seq: number;
  recycling: number;
}

/** Columns of a file whose row goes. */
export interface FileRow {
  readonly uuid: Buffer;
  readonly size: number;
  readonly disk: number;
}

/** The select list of {@link FileRow}. */
export const FILE_COLUMNS = 'uuid, size, ifnull(compressed_size, size) AS disk';

export class Transaction {
  readonly #db: Connection;
  readonly #commits: Commits;
  readonly #statements = new Map<string, Statement<unknown[]>>();
  #counters: Counters;
  #changes: Change[] = [];
  #removals: string[] = [];
  /** Milliseconds since the epoch. */
  #now = 0;
  #date = '';

  constructor(db: Connection, commits: Commits) {
    this.#db = db;
    this.#commits = commits;
    this.#counters = this.#readCounters();
  }

  get now(): number {
    return this.#now;
  }

  /** Seconds since the epoch. */
  get seconds(): number {
    return Math.floor(this.#now / 1000);
  }

  get counters(): Counters {
    return this.#counters;
  }

  get changes(): readonly Change[] {
    return this.#changes;
  }

  get removals(): readonly string[] {
    return this.#removals;
  }

  begin(): void {
    this.#now = Date.now();
    this.#date = dateText(this.seconds);
    this.#changes = [];
    this.#removals = [];
    this.#db.exec('BEGIN IMMEDIATE');
  }

  /** `durable` waits for the disk; without it somebody else is to. */
  commit(durable?: () => void): void {
    this.#writeCounters();
    const commits = this.#commits;
    countBegun(commits);
    counted(commits, () => {
      try {
        this.#db.exec('COMMIT');
      } finally {
        countReadable(commits);
      }
      if (durable !== undefined) this.sync(durable);
    });
  }

  /** Has `durable` wait for the disk, and tells that what can be read is durable. */
  sync(durable: () => void): void {
    const readable = readableOf(this.#commits);
    durable();
    tellDurable(this.#commits, readable);
  }

  rollback(): void {
    // A full disk, for one, has rolled back by itself already.
    if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
    this.reload();
  }

  /** Forgets the counters held, so that the row speaks. */
  reload(): void {
    this.#counters = this.#readCounters();
  }

  /** Runs `work`; when it is false everything it did is undone. */
  attempt(work: () => boolean): boolean {
    this.#writeCounters();
    const [changes, removals] = [this.#changes.length, this.#removals.length];
    this.#db.exec('SAVEPOINT attempt');
    const done = work();
    this.#db.exec(done ? 'RELEASE attempt' : 'ROLLBACK TO attempt; RELEASE attempt');
    if (!done) {
      this.reload();
      this.#changes.length = changes;
      this.#removals.length = removals;
    }
    return done;
  }

  run(sql: string, ...values: unknown[]): { changes: number; id: number } {
    const { changes, lastInsertRowid } = this.#prepare(sql).run(...values);
    return { changes, id: Number(lastInsertRowid) };
  }

  row<Row>(sql: string, ...values: unknown[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  rows<Row>(sql: string, ...values: unknown[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  /** Row id and bytes of a public id, when there is such a resource. */
  resource(level: Level, id: string): { readonly id: number; readonly bytes: Buffer } | undefined {
    const bytes = publicIdBytes(id);
    if (bytes === undefined) return undefined;
    const row = this.row<{ id: number }>(`SELECT id FROM ${TABLE[level]} WHERE public_id = ?`, bytes);
    return row === undefined ? undefined : { id: row.id, bytes };
  }

  log(type: ChangeType, level: Level, bytes: Buffer): void {
    const seq = ++this.#counters.seq;
    const number = levelNumber(level);
    this.run(
      'INSERT INTO changes VALUES (?, ?, ?, ?, ?)',
      seq,
      CHANGE_TYPES.indexOf(type),
      number,
      bytes,
      this.seconds,
    );
    this.#changes.push({ seq, type, level, id: publicId(bytes.toString('hex')), date: this.#date });
  }

  /** Adds (1) a file to the sizes, or takes it off (-1). */
  account(sign: 1 | -1, diskSize: number, uncompressedSize: number, dicom: boolean): void {
    this.#counters.disk_size += sign * diskSize;
    this.#counters.uncompressed_size += sign * uncompressedSize;
    if (!dicom) return;
    this.#counters.dicom_disk_size += sign * diskSize;
    this.#counters.dicom_uncompressed_size += sign * uncompressedSize;
  }

  /** Lists the blob of a row that goes, and takes it off the sizes. */
  removeFile({ uuid, size, disk }: FileRow, dicom: boolean): void {
    this.run('INSERT OR IGNORE INTO removals VALUES (?)', uuid);
    this.#removals.push(uuidText(uuid.toString('hex')));
    this.account(-1, disk, size, dicom);
  }

  #prepare(sql: string): Statement<unknown[]> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare<unknown[]>(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #readCounters(): Counters {
    const counters = this.row<Counters>('SELECT * FROM counters');
    if (counters === undefined) throw new IsenError('Database', 'The counters are missing');
    return counters;
  }

  #writeCounters(): void {
    const c = this.#counters;
    this.run(
      `UPDATE counters SET patients = ?, studies = ?, series = ?, instances = ?, disk_size = ?, uncompressed_size = ?,
       dicom_disk_size = ?, dicom_uncompressed_size = ?, seq = ?, recycling = ?`,
      c.patients,
      c.studies,
      c.series,
      c.instances,
      c.disk_size,
      c.uncompressed_size,
      c.dicom_disk_size,
      c.dicom_uncompressed_size,
      c.seq,
      c.recycling,
    );
  }
}
