/**
 * Owns the PostgreSQL backend of the `database` port: any number of processes share one index. Writes are one transaction
 * a commit, on connections of their own, so that reads never hold them up; both make their connections again after the
 * server was away.
 */

import type pg from 'pg';
import { IsenError } from '../errors.ts';
import { type Database, type DatabaseLimits, DICOM_ATTACHMENT, type Operation } from './database.ts';
import { migrate, openPool, type Patience, type PostgresConnection } from './postgres/connection.ts';
import { readExports } from './postgres/exports.ts';
import { readChanges } from './postgres/log.ts';
import { Reader } from './postgres/reader.ts';
import { nextStable } from './postgres/stability.ts';
import { countWork, listWork, nextWork } from './postgres/work.ts';
import { ended } from './postgres/transaction.ts';
import { commit } from './postgres/writer.ts';

/** Transactions of one process at once; the caller of the port gathers operations into few large ones. */
const WRITERS = 4;

export interface PostgresOptions {
  readonly connection: PostgresConnection;
  readonly limits: DatabaseLimits;
  /** Connections that answer reads, at most. */
  readonly connections: number;
  /** For a server that is not there yet. */
  readonly patience: Patience;
}

/**
 * Opens (creating or migrating) the index. Throws `IncompatibleDatabaseVersion` when a newer program made it, and
 * `DatabaseUnavailable` when the server stays away for longer than `patience`.
 */
export async function openPostgres({ connection, limits, connections, patience }: PostgresOptions): Promise<Database> {
  const writers = openPool(connection, WRITERS);
  const readers = openPool(connection, connections);
  const end = async (pools: readonly pg.Pool[]): Promise<void> => {
    await Promise.all(pools.map((pool) => pool.end()));
  };
  try {
    await migrate(writers, connection.schema, patience);
  } catch (error) {
    await end([writers, readers]);
    throw error;
  }
  const reader = new Reader(readers);
  return {
    shared: true,
    async commit(operations: readonly Operation[]) {
      for (const operation of operations) {
        if (operation.kind === 'attachment' && operation.contentType === DICOM_ATTACHMENT && !operation.attachment) {
          throw new IsenError('ForbiddenAccess', 'The DICOM file goes with its instance only');
        }
      }
      if (operations.length === 0) return { outcomes: [], changes: [], removals: [] };
      return commit(writers, limits, operations);
    },
    find: (request) => reader.find(request),
    count: (request) => reader.count(request),
    lookup: (value) => reader.lookup(value),
    statistics: (of) => reader.statistics(of),
    changes: (request) => readChanges(reader.query, request),
    settled: async () => {},
    lastSeq: () => reader.lastSeq(),
    property: (name) => reader.property(name),
    work: (request) => listWork(reader.query, request),
    workCounts: (of) => countWork(reader.query, of),
    nextWork: (queue) => nextWork(reader.query, queue),
    exports: (request) => readExports(reader.query, request),
    // Another process may commit at any time: knowing of it takes a statement, or a message that comes after the fact.
    version: () => undefined,
    labels: () => reader.labels(),
    removals: (limit) => reader.removals(limit),
    async attached(uuids) {
      await ended(writers);
      return reader.attached(uuids);
    },
    nextStable: () => nextStable(reader.query),
    async close() {
      await end([writers, readers]);
    },
  };
}
