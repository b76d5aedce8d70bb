/** Owns an index of SQLite as rows that do not depend on the engine (database/copy). */

import { existsSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Database as Connection, Statement } from 'better-sqlite3';
import { IsenError } from '../../errors.ts';
import { makeFolder } from '../../folder.ts';
import { COUNTERS, type IndexRows, type Row, type Table, TABLES, type Totals, type ValueKind } from '../copy.ts';
import { uuidText } from '../rows.ts';
import { LIMIT, asDatabaseError, lockFile, openWriter } from './connection.ts';
import { uuidBytes } from './rows.ts';

/** Ranks below are positions in a list, those above are moments in microseconds, as PostgreSQL has them. */
const MOMENTS = 1e12;

const quoted = (name: string): string => `"${name}"`;
const namesOf = (table: Table): string[] => Object.keys(table.columns).map(quoted);
const keysOf = (table: Table): string[] => namesOf(table).slice(0, table.key);

class SqliteRows implements IndexRows {
  readonly identity: string;
  readonly #folder: string;
  #db: Connection | undefined;
  #unlock = async (): Promise<void> => {};
  readonly #statements = new Map<string, Statement<unknown[]>>();
  /** What makes a moment of a position in the list of recycling. */
  #ranksFrom = 0;

  constructor(folder: string) {
    this.#folder = folder;
    this.identity = `SQLite ${existsSync(folder) ? realpathSync(folder) : resolve(folder)}`;
  }

  async lock(use: 'source' | 'target'): Promise<void> {
    if (use === 'source' && !existsSync(join(this.#folder, 'index')))
      throw new IsenError('InexistentFile', `there is no index in ${this.#folder}`);
    makeFolder(this.#folder);
    this.#unlock = lockFile(join(this.#folder, 'lock'), 'the index');
    this.#db = openWriter(join(this.#folder, 'index'));
    // Rows go and come table by table: what refers to a row finds it again in the end.
    this.#db.pragma('foreign_keys = OFF');
    this.#db.pragma('wal_autocheckpoint = 4000');
    const row = this.#one<{ rank: number | null; latest: number | null }>(
      'SELECT max(recycling) AS rank, max(last_update) AS latest FROM patients',
    );
    const { rank = null, latest = null } = row ?? {};
    // An empty list takes the moments that it is given.
    this.#ranksFrom = rank === null || rank >= MOMENTS ? 0 : ((latest ?? 0) + 1) * 1e6;
  }

  async read(table: Table, after: Row | undefined, limit: number): Promise<readonly Row[]> {
    const keys = keysOf(table).join();
    const where = after === undefined ? '' : `WHERE (${keys}) > (${keysOf(table).fill('?').join()})`;
    const sql = `SELECT ${namesOf(table).join()} FROM ${table.name} ${where} ORDER BY ${keys} ${LIMIT}`;
    const kinds = Object.values(table.columns);
    const from = (after ?? []).slice(0, after === undefined ? 0 : table.key);
    const bound = from.map((value, at) => this.#bound(kinds[at] ?? 'text', value));
    const rows = this.#try(() =>
      this.#prepare(sql)
        .raw()
        .all(...bound, limit),
    ) as unknown[][];
    return rows.map((row) => row.map((value, at) => this.#value(kinds[at] ?? 'text', value)));
  }

  async count(table: Table): Promise<number> {
    return this.#one<{ count: number }>(`SELECT count(*) AS count FROM ${table.name}`)?.count ?? 0;
  }

  kept(_table: Table, row: Row): Row {
    return row;
  }

  async write(table: Table, removed: readonly Row[], added: readonly Row[]): Promise<void> {
    const kinds = Object.values(table.columns);
    const remove = `DELETE FROM ${table.name} WHERE (${keysOf(table).join()}) = (${keysOf(table).fill('?').join()})`;
    const add = `INSERT INTO ${table.name} (${namesOf(table).join()}) VALUES (${namesOf(table).fill('?').join()})`;
    const run = (sql: string, row: Row): void =>
      void this.#prepare(sql).run(...row.map((value, at) => this.#bound(kinds[at] ?? 'text', value)));
    this.#transaction(() => {
      for (const row of removed) run(remove, row.slice(0, table.key));
      for (const row of added) run(add, row);
    });
  }

  async totals(): Promise<Totals> {
    const counters = this.#one<Totals['counters']>(`SELECT ${COUNTERS.join()} FROM counters`);
    if (counters === undefined) throw new IsenError('Database', 'The counters are missing');
    const given: Record<string, number> = {};
    for (const table of TABLES.filter(({ numbered }) => numbered)) {
      const [key = ''] = keysOf(table);
      const last = this.#one<{ last: number | null }>(`SELECT max(${key}) AS last FROM ${table.name}`)?.last ?? 0;
      const sequence = this.#one<{ seq: number }>('SELECT seq FROM sqlite_sequence WHERE name = ?', table.name);
      given[table.name] = Math.max(last, sequence?.seq ?? 0);
    }
    return { counters, given };
  }

  async setTotals({ counters, given }: Totals): Promise<void> {
    this.#transaction(() => {
      this.#prepare(`UPDATE counters SET ${COUNTERS.map((name) => `${name} = ?`).join()}`).run(
        ...COUNTERS.map((name) => counters[name]),
      );
      this.#prepare(
        'UPDATE counters SET recycling = max(recycling, ifnull((SELECT max(recycling) FROM patients), 0))',
      ).run();
      for (const [name, last] of Object.entries(given)) {
        // Only of the tables whose numbers are never given twice.
        const { changes } = this.#prepare('UPDATE sqlite_sequence SET seq = ? WHERE name = ?').run(last, name);
        const isCounted = name === 'work' || name === 'exports';
        if (changes === 0 && isCounted) this.#prepare('INSERT INTO sqlite_sequence VALUES (?, ?)').run(name, last);
      }
    });
  }

  async property(name: string): Promise<string | undefined> {
    return this.#one<{ value: string }>('SELECT value FROM properties WHERE name = ?', name)?.value;
  }

  async setProperty(name: string, value: string | undefined): Promise<void> {
    this.#transaction(() => {
      this.#prepare('DELETE FROM properties WHERE name = ?').run(name);
      if (value !== undefined) this.#prepare('INSERT INTO properties VALUES (?, ?)').run(name, value);
    });
  }

  async close(): Promise<void> {
    this.#db?.close();
    this.#db = undefined;
    await this.#unlock();
  }

  #value(kind: ValueKind, value: unknown): string | number | null {
    if (value === null) return null;
    if (Buffer.isBuffer(value)) return kind === 'uuid' ? uuidText(value.toString('hex')) : value.toString('hex');
    return kind === 'rank' ? Number(value) + this.#ranksFrom : (value as string | number);
  }

  #bound(kind: ValueKind, value: string | number | null): string | number | Buffer | null {
    if (value === null || (kind !== 'hex' && kind !== 'uuid')) return value;
    return kind === 'uuid' ? uuidBytes(String(value)) : Buffer.from(String(value), 'hex');
  }

  #transaction(work: () => void): void {
    this.#try(() => this.#open().transaction(work).immediate());
  }

  #one<Found>(sql: string, ...values: readonly unknown[]): Found | undefined {
    return this.#try(() => this.#prepare(sql).get(...values)) as Found | undefined;
  }

  #try<Answer>(work: () => Answer): Answer {
    try {
      return work();
    } catch (thrown) {
      throw asDatabaseError(thrown);
    }
  }

  #open(): Connection {
    if (this.#db === undefined) throw new IsenError('BadSequenceOfCalls');
    return this.#db;
  }

  #prepare(sql: string): Statement<unknown[]> {
    const statement = this.#statements.get(sql) ?? this.#open().prepare<unknown[]>(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** The index of a folder (`IndexDirectory`), which is made when it is locked. */
export const sqliteRows = (folder: string): IndexRows => new SqliteRows(folder);
