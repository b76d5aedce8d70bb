/**
 * Owns the connections to PostgreSQL: their settings, what each failure of theirs means, and bringing the schema to this
 * program's version. `pg` was chosen over `postgres`: in pipelines a transaction of eight statements takes 0.16 ms
 * against 0.58, and the other may run what is left of a transaction outside it once its connection is lost.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { asError, asIsenError, IsenError } from '../../errors.ts';

/** The .sql files stay in src; the compiled program runs from dist/src/database/postgres. */
const MIGRATIONS = fileURLToPath(new URL('../../../../src/database/postgres/', import.meta.url));

/** Milliseconds to get a connection: the server's answer, or one of the pool's that becomes free. */
const CONNECT = 10_000;
/** Milliseconds that the server may take for one statement, waiting for locks included. */
const STATEMENT = 60_000;
/** Milliseconds until a server that says nothing at all counts as lost. */
const SILENCE = STATEMENT + 5000;
/** Milliseconds that a transaction may be left open by a process that hangs: its locks hold up the others. */
const IDLE_IN_TRANSACTION = 30_000;

/** Where the server is; names of the connection's options are those of libpq. */
export interface PostgresConnection {
  /** `postgresql://user:password@host:port/database?sslmode=…`; over the other fields. */
  readonly url?: string;
  readonly host?: string;
  readonly port?: number;
  readonly database?: string;
  readonly username?: string;
  readonly password?: string;
  /** Encrypts without looking at the certificate (libpq's sslmode=require); a `url` can ask for more. */
  readonly ssl?: boolean;
  /** Of the tables: several servers may share one database. */
  readonly schema: string;
}

/**
 * Settings of every session. Plans are made once a statement and follow the order of its joins through indices, so that
 * a statement costs the same before and after the tables grew or were analysed.
 */
const SETTINGS = {
  join_collapse_limit: '1',
  from_collapse_limit: '1',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_seqscan: 'off',
  plan_cache_mode: 'force_generic_plan',
  jit: 'off',
  statement_timeout: `${STATEMENT}`,
  idle_in_transaction_session_timeout: `${IDLE_IN_TRANSACTION}`,
};

/** JSON stays text: what reads it decides when to parse. Numbers of 64 bits are sizes, sequences and times: safe. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    if (oid === pg.types.builtins.INT8) return Number;
    if (oid === pg.types.builtins.JSON) return String;
    return pg.types.getTypeParser(oid, format) as unknown;
  }) as pg.CustomTypesConfig['getTypeParser'],
};

/** At most `max` connections that are made when needed, and again after they were lost. */
export function openPool(to: PostgresConnection, max: number): pg.Pool {
  const settings = Object.entries({ ...SETTINGS, search_path: pg.escapeIdentifier(to.schema) });
  const set = settings
    .map(([name, value]) => `SET ${name} = ${name === 'search_path' ? value : `'${value}'`}`)
    .join(';');
  const pool = new pg.Pool({
    ...(to.url === undefined
      ? {
          host: to.host,
          port: to.port,
          database: to.database,
          user: to.username,
          password: to.password,
          ...(to.ssl === true ? { ssl: { rejectUnauthorized: false } } : {}),
        }
      : { connectionString: to.url }),
    // Who copies an index knows by it whether a server uses this one.
    application_name: `isen ${to.schema}`,
    min: 1,
    max,
    idleTimeoutMillis: 300_000,
    connectionTimeoutMillis: CONNECT,
    query_timeout: SILENCE,
    keepAlive: true,
    pipeline: true,
    types,
    // Not among what opens the connection: proxies such as PgBouncer refuse that.
    // oxlint-disable-next-line typescript/no-misused-promises -- the pool waits for it; only its types say nothing of that
    onConnect: async (client) => client.query(set),
  });
  // An idle connection that is lost leaves the pool; the next statement makes another.
  pool.on('error', () => {});
  // One in use says so twice: its statements fail as well.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/** SQLSTATE classes and codes after which the same may succeed: connection, resources, shutdown, locks, time. */
const TRANSIENT = /^(08|57P|57014|53[23]|40|55P03|25P03|25006)/;

const DISK_FULL = '53100';

/** Any failure as an IsenError: `FullStorage` on a full disk, `DatabaseUnavailable` when trying again may help, else `Database`. */
export function asDatabaseError(thrown: unknown): IsenError {
  if (thrown instanceof IsenError) return thrown;
  if (thrown instanceof pg.DatabaseError) {
    const code = thrown.code ?? '';
    if (code === DISK_FULL) return new IsenError('FullStorage', 'the disk of the index is full', { cause: thrown });
    if (TRANSIENT.test(code)) return new IsenError('DatabaseUnavailable', code, { cause: thrown });
    return new IsenError('Database', `${code}: ${thrown.message}`, { cause: thrown });
  }
  if (thrown instanceof TypeError || thrown instanceof RangeError) return asIsenError(thrown);
  // The driver's own errors and the socket's: the server cannot be reached, or was lost.
  return new IsenError('DatabaseUnavailable', asError(thrown).message, { cause: thrown });
}

/** Whether the transaction was undone only because of the others that ran beside it. */
export function isConflict(thrown: unknown): boolean {
  return thrown instanceof pg.DatabaseError && (thrown.code === '40P01' || thrown.code === '40001');
}

/** Names of prepared statements by their text; the texts are few, made of levels and flags. */
const NAMES = new Map<string, string>();

/** `sql` as a statement that a connection plans once. */
export function prepared(sql: string, values: readonly unknown[]): { name: string; text: string; values: unknown[] } {
  let name = NAMES.get(sql);
  if (name === undefined) {
    name = `isen${NAMES.size}`;
    NAMES.set(sql, name);
  }
  return { name, text: sql, values: [...values] };
}

/** Runs one statement. Throws IsenError `Database` or `DatabaseUnavailable`. */
export type Query = <Row extends object>(sql: string, values: readonly unknown[]) => Promise<Row[]>;

/** How long a start waits for a server that is not there yet. */
export interface Patience {
  readonly retries: number;
  /** Milliseconds between two attempts. */
  readonly interval: number;
}

/**
 * Creates or migrates the schema; of several processes that start at once one does. Throws `IncompatibleDatabaseVersion`
 * for the schema of a newer program, which it leaves alone.
 */
export async function migrate(pool: pg.Pool, schema: string, { retries, interval }: Patience): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await applyMigrations(client, schema);
        await client.query('COMMIT');
        client.release();
      } catch (thrown) {
        client.release(true);
        throw thrown;
      }
      return;
    } catch (thrown) {
      const error = asDatabaseError(thrown);
      if (error.code !== 'DatabaseUnavailable' || attempt >= retries) throw error;
      await pause(interval);
    }
  }
}

async function applyMigrations(client: pg.PoolClient, schema: string): Promise<void> {
  const files = readdirSync(MIGRATIONS)
    .filter((file) => /^\d{3}-.*\.sql$/.test(file))
    .sort();
  // Before the schema there is nothing else that could be locked.
  await client.query('SELECT pg_advisory_xact_lock($1, hashtext($2))', [LOCK_CLASS, `migrate ${schema}`]);
  const copy = await client.query<{ free: boolean }>(
    'SELECT pg_try_advisory_xact_lock_shared($1, hashtext($2)) AS free',
    [LOCK_CLASS, `copy ${schema}`],
  );
  if (copy.rows[0]?.free !== true) throw new IsenError('Database', 'the index is being migrated');
  const encoding = await client.query<{ server_encoding: string }>('SHOW server_encoding');
  if (encoding.rows[0]?.server_encoding !== 'UTF8') {
    throw new IsenError(
      'Database',
      `the database has the encoding ${encoding.rows[0]?.server_encoding}; UTF8 is needed`,
    );
  }
  const table = await client.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [
    `${pg.escapeIdentifier(schema)}.schema_version`,
  ]);
  if (table.rows[0]?.there !== true) {
    await client.query(`CREATE SCHEMA IF NOT EXISTS ${pg.escapeIdentifier(schema)}`);
    await client.query('CREATE TABLE schema_version (version integer NOT NULL)');
    await client.query('INSERT INTO schema_version VALUES (0)');
  }
  const version = Number((await client.query('SELECT version FROM schema_version')).rows[0]?.version);
  if (version > files.length) {
    throw new IsenError(
      'IncompatibleDatabaseVersion',
      `The index has version ${version}, this program knows ${files.length}`,
    );
  }
  for (const file of files.slice(version)) await client.query(readFileSync(`${MIGRATIONS}${file}`, 'utf8'));
  if (version < files.length) await client.query('UPDATE schema_version SET version = $1', [files.length]);
}

/**
 * Keeps servers from starting on the schema of the pool until what it answers is called. Throws `Database` where one runs, or another copy
 * does.
 */
export async function lockForCopy(pool: pg.Pool): Promise<() => Promise<void>> {
  let client: pg.PoolClient | undefined;
  try {
    const holder = await pool.connect();
    client = holder;
    const locked = await client.query<{ locked: boolean }>(
      "SELECT pg_try_advisory_lock($1, hashtext('copy ' || current_schema())) AS locked",
      [LOCK_CLASS],
    );
    if (locked.rows[0]?.locked !== true) throw new IsenError('Database', 'the index is being migrated');
    // A connection that has just ended may still be listed.
    for (let attempt = 0; ; attempt++) {
      const others = await client.query<{ count: number }>(
        `SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = current_setting('application_name') AND pid <> ALL ($1::int[])`,
        [await ownProcesses(pool, client)],
      );
      if (others.rows[0]?.count === 0) break;
      if (attempt === GOING) throw new IsenError('Database', 'a server uses the index: stop it first');
      await pause(100);
    }
    // With its connection the lock goes.
    return async () => holder.release(true);
  } catch (thrown) {
    client?.release(true);
    throw asDatabaseError(thrown);
  }
}

/** Process numbers of the server's side of both connections of a pool of two. */
async function ownProcesses(pool: pg.Pool, client: pg.PoolClient): Promise<readonly number[]> {
  const sql = 'SELECT pg_backend_pid() AS pid';
  const answers = await Promise.all([client.query<{ pid: number }>(sql), pool.query<{ pid: number }>(sql)]);
  return answers.map(({ rows }) => rows[0]?.pid ?? 0);
}

/** Looks, a tenth of a second apart, before a server counts as running. */
const GOING = 20;

/** First key of our advisory locks. */
export const LOCK_CLASS = 0x6973656e;
