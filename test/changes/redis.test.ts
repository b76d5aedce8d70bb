/** Runs the contract of the `changes` port on a real Redis, and what Redis may lose. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openRedisChanges } from '../../src/changes/redis.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { connectRedis } from '../../src/redis.ts';
import { changesContract } from '../contracts/changes.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { temporaryFolder, without } from '../peer.ts';
import { type RedisServer, startRedis } from '../redis-server.ts';

const folder = temporaryFolder();
let count = 0;
let server: RedisServer;

const skip = without('redis-server');
before(async () => {
  if (skip === false) server = await startRedis();
});
after(async () => server?.stop());

const open = async () => {
  const name = `changes${count++}`;
  const database = await openSqlite({ path: join(folder, `${name}.db`), limits: UNLIMITED });
  const redis = await connectRedis({ ...server.target, prefix: `{${name}}` });
  const changes = await openRedisChanges(redis, database);
  return {
    database,
    changes,
    redis,
    close: async () => {
      await changes.close();
      await redis.close();
      await database.close();
    },
  };
};
if (skip === false) changesContract('redis', open);
test('x', { skip }, () => assert.ok(true));
