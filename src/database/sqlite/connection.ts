/** Owns opening the SQLite file: its settings, and bringing its schema to this program's version. */

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import { asError, IsenError } from '../../errors.ts';

/** The .sql files stay in src; the compiled program runs from dist/src/database/sqlite. */
const MIGRATIONS = fileURLToPath(new URL('../../../../src/database/sqlite/', import.meta.url));

/** Whether the engine failed for want of room; the memory that it shares with other connections is a file as well. */
export function isFull(thrown: unknown): boolean {
  return thrown instanceof Sqlite.SqliteError && ['SQLITE_FULL', 'SQLITE_IOERR_SHMSIZE'].includes(thrown.code);
}

/**
 * Any failure of the engine as an IsenError: `FullStorage` on a full disk, `DatabaseUnavailable` when trying again may help, else
 * `Database`.
 */
export function asDatabaseError(thrown: unknown): IsenError {
  if (thrown instanceof IsenError) return thrown;
  const error = asError(thrown);
  const code = thrown instanceof Sqlite.SqliteError ? thrown.code : '';
  // Thrown while the transaction is written: its end, that makes it one, is not on the disk.
  if (code === 'SQLITE_FULL') return new IsenError('FullStorage', 'the disk of the index is full', { cause: error });
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return new IsenError('DatabaseUnavailable', code, { cause: error });
  return new IsenError('Database', code === '' ? undefined : `${code}: ${error.message}`, { cause: error });
}

/**
 * How many rows at most, as a parameter. Of a bare `LIMIT ?` SQLite looks at the number that is bound to plan with it, and so compiles the
 * statement anew for each: that takes several times as long as a short one runs.
 */
export const LIMIT = 'LIMIT (? + 0)';

/** The connection that writes: creates the file and migrates it. Throws `IncompatibleDatabaseVersion` for a newer file. */
export function openWriter(path: string): Sqlite.Database {
  const db = new Sqlite(path, { timeout: 5000 });
  try {
    // Each instance touches one page of an index in random order: the smaller the page, the less is written for it.
    db.pragma('page_size = 2048');
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    // Small on purpose: a file below 1 GiB makes SQLite walk its whole cache at every commit in which a page was split (it
    // numbers pages past the end for a moment), a quarter of a commit at 128 MB. What is not here the system caches.
    db.pragma('cache_size = -8192');
    db.pragma('temp_store = MEMORY');
    // Checkpoints are tasks of their own, between commits.
    db.pragma('wal_autocheckpoint = 0');
    db.pragma('journal_size_limit = 134217728');
    migrate(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A connection that only reads; the file must be there. */
export function openReader(path: string): Sqlite.Database {
  const db = new Sqlite(path, { readonly: true, timeout: 5000 });
  // Where this is too little SQLite reads a page from the system for each: what searches look at of 100,000 studies is 60 MB.
  db.pragma('cache_size = -65536');
  db.pragma('temp_store = MEMORY');
  return db;
}

function migrate(db: Sqlite.Database): void {
  const files = readdirSync(MIGRATIONS)
    .filter((file) => /^\d{3}-.*\.sql$/.test(file))
    .sort();
  const apply = db.transaction(() => {
    const version = Number(db.pragma('user_version', { simple: true }));
    if (version > files.length) {
      throw new IsenError(
        'IncompatibleDatabaseVersion',
        `The index has version ${version}, this program knows ${files.length}`,
      );
    }
    for (const file of files.slice(version)) db.exec(readFileSync(`${MIGRATIONS}${file}`, 'utf8'));
    if (version < files.length) db.pragma(`user_version = ${files.length}`);
  });
  apply.immediate();
}

/**
 * Makes this process the only one that uses something, `what`, whose lock is the file at `path`, until what it answers is called or the process
 * ends, however it ends. Throws `Database` when another one runs.
 */
export function lockFile(path: string, what: string): () => Promise<void> {
  const lock = new Sqlite(path, { timeout: 0 });
  try {
    // A transaction that stays open: the system drops its lock with the process.
    lock.exec('BEGIN EXCLUSIVE');
  } catch (thrown) {
    lock.close();
    throw new IsenError('Database', `another server uses ${what} of ${path}: stop it or choose other folders`, {
      cause: thrown,
    });
  }
  return async () => {
    lock.close();
  };
}
