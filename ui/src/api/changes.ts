/** Owns what is asked about the log of changes that has been written already; what comes is live.ts's. */

import { get } from '../api.ts';
import type { Change, ChangePage } from '../live.ts';

/** The number of the last change. */
export async function lastChange(signal?: AbortSignal): Promise<number> {
  return (await get<ChangePage>('changes', { signal, query: { last: true } })).Last;
}

/** A page of the log that ends with a number, the latest first; of these types only, or of all. */
export async function changesUpTo(
  to: number,
  limit: number,
  types: readonly string[],
  signal?: AbortSignal,
): Promise<readonly Change[]> {
  const type = types.length === 0 ? undefined : types.join(';');
  const { Changes } = await get<ChangePage>('changes', { signal, query: { to, limit, type } });
  return Changes.toSorted((a, b) => b.Seq - a.Seq);
}
