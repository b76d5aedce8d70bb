/** Runs the contract of the `changes` port on the rows of SQLite. */

import { join } from 'node:path';
import { createEmbeddedChanges } from '../../src/changes/embedded.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { changesContract } from '../contracts/changes.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { temporaryFolder } from '../peer.ts';

const folder = temporaryFolder();
let count = 0;

changesContract('embedded', async () => {
  const database = await openSqlite({ path: join(folder, `changes${count++}.db`), limits: UNLIMITED });
  return { database, changes: createEmbeddedChanges(database), close: async () => database.close() };
});
