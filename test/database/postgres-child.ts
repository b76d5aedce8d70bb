/**
 * Owns one of the processes that the suite of PostgreSQL runs beside each other: stores instances of patients that all of
 * them store, for as long as it is told, and says on standard output what it stored. Its arguments: the connection as
 * JSON, its name, milliseconds.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresConnection } from '../../src/database/postgres/connection.ts';
import { openPostgres } from '../../src/database/postgres.ts';
import { asIsenError } from '../../src/errors.ts';
import { UNLIMITED } from '../contracts/database.ts';
import { storing } from '../contracts/instances.ts';

const [to = '', name = '', time = ''] = process.argv.slice(2);
const database = await openPostgres({
  connection: JSON.parse(to) as PostgresConnection,
  limits: UNLIMITED,
  connections: 2,
  patience: { retries: 100, interval: 100 },
});
const lines: string[] = [];
const end = Date.now() + Number(time);

/** Instances that every process stores, in an order of its own; new patients all the time. */
async function client(offset: number): Promise<void> {
  for (let round = 0; Date.now() < end; round++) {
    const operations = Array.from({ length: 20 }, (_, index) => {
      const number = round * 20 + ((index * 7 + offset * 3) % 20);
      return storing({
        patient: `P${Math.floor(number / 5)}`,
        study: `1.${number % 5}`,
        series: `1.${number % 5}.1`,
        instance: `${number}`,
      });
    });
    try {
      const { outcomes } = await database.commit(operations);
      for (const [index, outcome] of outcomes.entries()) {
        const said = outcome.kind === 'stored' ? outcome.status : outcome.kind;
        lines.push(`${said} ${operations[index]?.ids.Instance}\n`);
      }
    } catch (error) {
      lines.push(`error ${asIsenError(error).message}\n`);
    }
    // A process that ran ahead would leave the others nothing but what is there already.
    if (round % 5 === 4) await sleep(5);
  }
}

await Promise.all([0, 1].map((offset) => client(offset + Number(name) * 2)));
await database.close();
process.stdout.write(lines.join(''));
