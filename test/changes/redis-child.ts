/**
 * Owns one of the processes that the suite of the log on Redis runs beside each other: a node that stores and announces for some
 * time, or until it is killed, and follows the log, saying on standard output what it saw. Its arguments: the path of the index, the
 * target as JSON, its name, milliseconds.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { openRedisChanges } from '../../src/changes/redis.ts';
import { openSqlite } from '../../src/database/sqlite.ts';
import { connectRedis, type RedisTarget } from '../../src/redis.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { storing } from '../contracts/instances.ts';
import { say } from '../say.ts';

const [path = '', target = '', name = '', time = ''] = process.argv.slice(2);
const database = await openSqlite({ path, limits: UNLIMITED });
const redis = await connectRedis(JSON.parse(target) as RedisTarget);
const changes = await openRedisChanges(redis, database);
const aborter = new AbortController();

let seen = 0;
async function follow(): Promise<void> {
  let lines = '';
  for await (const { seq, id } of changes.follow(0, aborter.signal)) {
    seen = seq;
    lines += `${seq} ${id}\n`;
    if (lines.length > 2000) {
      say(lines);
      lines = '';
    }
  }
  say(lines);
}

const following = follow();
const end = Date.now() + Number(time);
for (let round = 0; Date.now() < end; round++) {
  const operations = Array.from({ length: 20 }, (_, index) =>
    storing({ patient: 'P', study: '1', series: '1.1', instance: `${name}.${round}.${index}` }),
  );
  const committed = await database.commit(operations);
  // What Redis does not take is announced by whoever finds it.
  await changes.announce(committed.changes).catch(() => {});
  await sleep(2);
}
// Until everything that the others stored has come: they are as long about it as this one, more or less.
for (let [last, moved] = [0, Date.now()], late = Date.now() + 40_000; Date.now() < late; await sleep(50)) {
  const now = await database.lastSeq();
  if (now !== last) [last, moved] = [now, Date.now()];
  if (seen >= last && Date.now() > moved + 3000) break;
}
aborter.abort();
await following;
await changes.close();
await redis.close();
await database.close();
