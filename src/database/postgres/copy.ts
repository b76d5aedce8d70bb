/** Owns an index of PostgreSQL as rows that do not depend on the engine (database/copy). */

import type pg from 'pg';
import { IsenError } from '../../errors.ts';
import { COUNTERS, type IndexRows, type Row, type Table, TABLES, type Totals, type ValueKind } from '../copy.ts';
import {
  asDatabaseError,
  lockForCopy,
  migrate,
  openPool,
  type Patience,
  type PostgresConnection,
} from './connection.ts';
import { jsonText, text } from './values.ts';

const NUMBER = 'bigint';
/** What each kind is bound as. */
const TYPE: Readonly<Record<ValueKind, string>> = {
  integer: NUMBER,
  text: 'text',
  json: 'text',
  hex: 'text',
  uuid: 'uuid',
  seconds: NUMBER,
  milliseconds: NUMBER,
  rank: NUMBER,
};

/** The column that has another name here. */
const nameOf = (name: string): string => (name === 'last_update' ? 'active_at' : `"${name}"`);
const namesOf = (table: Table): string[] => Object.keys(table.columns).map(nameOf);
const keysOf = (table: Table): string[] => namesOf(table).slice(0, table.key);

/**
 * A column as it is read. Of patients, studies and series the time of the last instance counts where it is later than what the other
 * times say; `$1` is `StableAge` in microseconds.
 */
function selected(name: string, kind: ValueKind): string {
  const column = nameOf(name);
  if (kind === 'hex') return `encode(${column}, 'hex')`;
  if (kind === 'json') return `${column}::text`;
  if (kind === 'seconds') return `${column} / 1000000`;
  if (kind === 'milliseconds')
    return `CASE WHEN ${column} IS NOT NULL THEN (greatest(${column}, active_at + $1) + 999) / 1000 END`;
  if (kind === 'rank') return `CASE WHEN ${column} IS NOT NULL THEN greatest(${column}, active_at) END`;
  return column;
}

/** A column as it is written, from the value `x.<name>`. */
function written(name: string, kind: ValueKind): string {
  const value = `x.${nameOf(name)}`;
  if (kind === 'hex') return `decode(${value}, 'hex')`;
  if (kind === 'json') return `${value}::json`;
  if (kind === 'seconds') return `${value} * 1000000`;
  if (kind === 'milliseconds') return `${value} * 1000`;
  return value;
}

/** Rows as the columns that `unnest` takes. */
const transposed = (rows: readonly Row[], columns: number): unknown[][] =>
  Array.from({ length: columns }, (_, column) => rows.map((row) => row[column] ?? null));

const unnested = (names: readonly string[], kinds: readonly ValueKind[]): string =>
  `unnest(${kinds.map((kind, at) => `$${at + 1}::${TYPE[kind]}[]`).join()}) AS x (${names.join()})`;

class PostgresRows implements IndexRows {
  readonly identity: string;
  readonly #pool: pg.Pool;
  readonly #options: PostgresRowsOptions;
  #unlock = async (): Promise<void> => {};

  constructor(pool: pg.Pool, identity: string, options: PostgresRowsOptions) {
    this.#pool = pool;
    this.identity = identity;
    this.#options = options;
  }

  async lock(use: 'source' | 'target'): Promise<void> {
    const { schema } = this.#options.connection;
    const { rows } = await this.#query<{ there: boolean }>({
      text: "SELECT to_regclass('counters') IS NOT NULL AS there",
    });
    if (use === 'source' && rows[0]?.there !== true)
      throw new IsenError('InexistentFile', `there is no index in the schema ${schema} of PostgreSQL`);
    await migrate(this.#pool, schema, this.#options.patience);
    this.#unlock = await lockForCopy(this.#pool);
  }

  async read(table: Table, after: Row | undefined, limit: number): Promise<readonly Row[]> {
    const keys = keysOf(table).join();
    const columns = Object.entries(table.columns);
    // Where no column asks for the age, its type must be said all the same.
    const from = ['$1::bigint IS NOT NULL'];
    if (after !== undefined) {
      const bound = columns.slice(0, table.key).map(([, kind], at) => `$${at + 3}::${TYPE[kind]}`);
      from.push(`(${keys}) > (${bound.join()})`);
    }
    const { rows } = await this.#query<(string | number | null)[]>({
      text: `SELECT ${columns.map(([name, kind]) => selected(name, kind)).join()} FROM ${table.name}
        WHERE ${from.join(' AND ')} ORDER BY ${keys} LIMIT $2`,
      values: [this.#options.stableAge * 1000, limit, ...(after ?? []).slice(0, after === undefined ? 0 : table.key)],
      rowMode: 'array',
    });
    return rows;
  }

  async count(table: Table): Promise<number> {
    const { rows } = await this.#query<{ count: number }>({ text: `SELECT count(*) AS count FROM ${table.name}` });
    return rows[0]?.count ?? 0;
  }

  kept(table: Table, row: Row): Row {
    const kinds = Object.values(table.columns);
    return row.map((value, at) => {
      if (typeof value !== 'string') return value;
      return kinds[at] === 'json' ? jsonText(value) : kinds[at] === 'text' ? text(value) : value;
    });
  }

  async write(table: Table, removed: readonly Row[], added: readonly Row[]): Promise<void> {
    const columns = Object.entries(table.columns);
    const kinds = columns.map(([, kind]) => kind);
    const keys = keysOf(table);
    const values = columns.map(([name, kind]) => written(name, kind));
    await this.#transaction(async (client) => {
      if (removed.length > 0) {
        await client.query(
          `DELETE FROM ${table.name} WHERE (${keys.join()}) IN (SELECT ${keys.map((key) => `x.${key}`).join()}
           FROM ${unnested(keys, kinds.slice(0, table.key))})`,
          transposed(removed, table.key),
        );
      }
      if (added.length > 0) {
        await client.query(
          `INSERT INTO ${table.name} (${namesOf(table).join()}) ${table.numbered ? 'OVERRIDING SYSTEM VALUE' : ''}
           SELECT ${values.join()} FROM ${unnested(namesOf(table), kinds)}`,
          transposed(
            added.map((row) => this.kept(table, row)),
            kinds.length,
          ),
        );
      }
    });
  }

  async totals(): Promise<Totals> {
    const { rows } = await this.#query<Totals['counters']>({ text: `SELECT ${COUNTERS.join()} FROM counters` });
    const [counters] = rows;
    if (counters === undefined) throw new IsenError('Database', 'The counters are missing');
    const given: Record<string, number> = {};
    for (const table of TABLES.filter(({ numbered }) => numbered)) {
      const [key = ''] = keysOf(table);
      const last = await this.#query<{ last: number }>({
        text: `SELECT greatest((SELECT max(${key}) FROM ${table.name}),
          pg_sequence_last_value(pg_get_serial_sequence('${table.name}', '${key.replaceAll('"', '')}')::regclass), 0) AS last`,
      });
      given[table.name] = last.rows[0]?.last ?? 0;
    }
    return { counters, given };
  }

  async setTotals({ counters, given }: Totals): Promise<void> {
    await this.#transaction(async (client) => {
      await client.query(
        `UPDATE counters SET ${COUNTERS.map((name, at) => `${name} = $${at + 1}`).join()}`,
        COUNTERS.map((name) => counters[name]),
      );
      for (const table of TABLES.filter(({ numbered }) => numbered)) {
        const last = given[table.name] ?? 0;
        const [key = ''] = Object.keys(table.columns);
        await client.query(
          `SELECT setval(pg_get_serial_sequence('${table.name}', '${key}')::regclass, greatest($1, 1), $1 > 0)`,
          [last],
        );
      }
    });
  }

  async property(name: string): Promise<string | undefined> {
    const sql = { text: 'SELECT value FROM properties WHERE name = $1', values: [name] };
    return (await this.#query<{ value: string }>(sql)).rows[0]?.value;
  }

  async setProperty(name: string, value: string | undefined): Promise<void> {
    await this.#transaction(async (client) => {
      await client.query('DELETE FROM properties WHERE name = $1', [name]);
      if (value !== undefined) await client.query('INSERT INTO properties VALUES ($1, $2)', [name, value]);
    });
  }

  async close(): Promise<void> {
    await this.#unlock();
    await this.#pool.end();
  }

  async #query<Found extends object>(config: pg.QueryConfig & { rowMode?: 'array' }): Promise<{ rows: Found[] }> {
    try {
      return await this.#pool.query<Found>(config);
    } catch (thrown) {
      throw asDatabaseError(thrown);
    }
  }

  async #transaction(work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
    let client: pg.PoolClient | undefined;
    try {
      client = await this.#pool.connect();
      await client.query('BEGIN');
      await work(client);
      await client.query('COMMIT');
      client.release();
    } catch (thrown) {
      client?.release(true);
      throw asDatabaseError(thrown);
    }
  }
}

export interface PostgresRowsOptions {
  readonly connection: PostgresConnection;
  readonly patience: Patience;
  /** `StableAge` in milliseconds. */
  readonly stableAge: number;
}

/** Connects to an index, which is made when it is locked. Throws `DatabaseUnavailable` when the server is away. */
export async function postgresRows(options: PostgresRowsOptions): Promise<IndexRows> {
  // One for the lock, one for everything else.
  const pool = openPool(options.connection, 2);
  try {
    const { rows } = await pool.query<{ server: string; database: string }>(
      'SELECT (SELECT system_identifier FROM pg_control_system())::text AS server, current_database() AS database',
    );
    const { server = '', database = '' } = rows[0] ?? {};
    return new PostgresRows(pool, `PostgreSQL ${server} ${database} ${options.connection.schema}`, options);
  } catch (thrown) {
    await pool.end();
    throw asDatabaseError(thrown);
  }
}
