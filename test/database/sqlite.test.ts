/** Runs the contract of the `database` port on SQLite, and what only a file can suffer. */

import { join } from 'node:path';
import { openSqlite } from '../../src/database/sqlite.ts';
import { databaseContract } from '../contracts/database.ts';
import { temporaryFolder } from '../peer.ts';

const folder = temporaryFolder();

databaseContract('sqlite', async (name, limits) => openSqlite({ path: join(folder, `${name}.db`), limits }));
