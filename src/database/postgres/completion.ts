/** Owns when a series is complete: its instances have the indexes 1 to the expected number, each once. */

import { type Transaction } from './transaction.ts';
import { type ReadStore, hexOf } from './values.ts';

const INDEXES = `SELECT encode(i.public_id, 'hex') AS id, i.metadata ->> 'IndexInSeries' AS index FROM instances i
  WHERE i.parent = (SELECT id FROM series WHERE public_id = decode($1, 'hex'))`;

interface Indexed {
  readonly id: string;
  readonly index: string | null;
}

function isComplete(rows: readonly Indexed[], expected: number): boolean {
  const indexes = rows.map(({ index }) => Number.parseInt(index ?? '', 10));
  return new Set(indexes.filter((index) => index >= 1 && index <= expected)).size === expected;
}

/**
 * Those of the instances just stored (`fresh`, in order) with which their series became complete. `expecting` are the
 * series, by id in hex, that say how many instances they expect.
 */
export async function completions(
  tx: Transaction,
  expecting: readonly { readonly id: string; readonly expected: string }[],
  fresh: readonly ReadStore[],
): Promise<ReadonlySet<ReadStore>> {
  const complete = new Set<ReadStore>();
  if (expecting.length === 0) return complete;
  const counts = await tx.rows<{ id: string; present: number }>(
    `SELECT encode(s.public_id, 'hex') AS id, (SELECT count(*) FROM instances i WHERE i.parent = s.id) AS present
     FROM series s WHERE s.public_id = ANY (ARRAY(SELECT decode(unnest($1::text[]), 'hex')))`,
    expecting.map(({ id }) => id),
  );
  const present = new Map(counts.map((row) => [row.id, row.present]));
  for (const { id, expected: written } of expecting) {
    const expected = Number(written);
    const mine = fresh.filter((operation) => hexOf(operation.summary.ids.Series) === id);
    const before = (present.get(id) ?? 0) - mine.length;
    // The one that brought their number to what is expected; those after it came too late to count.
    const decisive = mine[expected - before - 1];
    if (decisive === undefined) continue;
    const later = new Set(mine.slice(expected - before).map((operation) => hexOf(operation.summary.ids.Instance)));
    const rows = await tx.rows<Indexed>(INDEXES, id);
    if (
      isComplete(
        rows.filter((row) => !later.has(row.id)),
        expected,
      )
    ) {
      complete.add(decisive);
    }
  }
  return complete;
}

/** Whether a series (by id in hex) is complete as it is. */
export async function isSeriesComplete(tx: Transaction, id: string, expected: number): Promise<boolean> {
  const rows = await tx.rows<Indexed>(INDEXES, id);
  return rows.length === expected && isComplete(rows, expected);
}
