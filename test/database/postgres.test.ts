/** Runs the contract of the `database` port on PostgreSQL, and what only a server shared by several can suffer. */

import { after, before } from 'node:test';
import type { Database } from '../../src/database/database.ts';
import { openPostgres } from '../../src/database/postgres.ts';
import { databaseContract, UNLIMITED } from '../contracts/database.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from '../postgres-server.ts';

const skip = withoutPostgres();
let server: PostgresServer;
before(async () => {
  if (skip === false) server = await startPostgres();
});
after(async () => {
  if (skip === false) await server.stop();
});

/** Opens the index of the schema `name`. */
async function open(schema: string, limits = UNLIMITED): Promise<Database> {
  return openPostgres({
    connection: { ...server.connection, schema },
    limits,
    connections: 8,
    patience: { retries: 100, interval: 100 },
  });
}

if (skip === false) databaseContract('postgres', open);
