/**
 * Owns the process that the suite of SQLite kills or starves: stores instances into the index named by its first argument
 * without end, and says on standard output what was acknowledged, or which error ended it.
 */

import { openSqlite } from '../../src/database/sqlite.ts';
import { asIsenError } from '../../src/errors.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { storing } from '../contracts/instances.ts';
import { say } from '../say.ts';

const [path = '', round = ''] = process.argv.slice(2);
const database = await openSqlite({ path, limits: UNLIMITED });
let next = 0;

async function client(name: string): Promise<void> {
  for (;;) {
    const operations = Array.from({ length: 20 }, () => {
      const number = next++;
      return storing({
        patient: `${round}.${name}.${Math.floor(number / 100)}`,
        study: '1',
        series: `1.${number % 3}`,
        instance: `${number}`,
      });
    });
    await database.commit(operations);
    say(`${operations.map((each) => each.ids.Instance).join(' ')}\n`);
  }
}

try {
  await Promise.all(['a', 'b', 'c', 'd'].map(client));
} catch (error) {
  // The reads must go on as if nothing had happened.
  const statistics = await database.statistics();
  say(`error ${asIsenError(error).code} ${statistics?.instances}\n`);
  process.exit(3);
}
