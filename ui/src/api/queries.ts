/** Owns what is asked of remote modalities: queries with their answers, and retrievals. */

import { get, post, url } from '../api.ts';
import type { Begun } from './actions.ts';
import type { Level, Tags } from './resources.ts';

/** A query that the server remembers. */
export interface Remembered {
  readonly ID: string;
}

/** The answers of a query. */
export interface Answers {
  readonly id: string;
  readonly level: Level;
  /** Values by keyword, in the order that the modality gave them. */
  readonly rows: readonly Tags[];
}

/** Milliseconds that a modality has to answer. */
const DEADLINE = 180_000;

async function answersOf(id: string, level: Level, signal?: AbortSignal): Promise<Answers> {
  const rows = await get<readonly Tags[]>(url('queries', id, 'answers'), {
    signal,
    query: { expand: true, simplify: true },
  });
  return { id, level, rows };
}

/** Asks a modality. */
export async function ask(modality: string, level: Level, Query: Tags, signal?: AbortSignal): Promise<Answers> {
  const options = { signal, deadline: DEADLINE };
  const { ID } = await post<Remembered>(url('modalities', modality, 'query'), { Level: level, Query }, options);
  return answersOf(ID, level, signal);
}

/** The route of what is below an answer. */
const BELOW = { Study: 'query-studies', Series: 'query-series', Instance: 'query-instances' } as const;

/** Asks for what is below one answer. */
export async function askBelow(
  query: string,
  answer: number,
  level: keyof typeof BELOW,
  Query: Tags,
  signal?: AbortSignal,
): Promise<Answers> {
  const address = url('queries', query, 'answers', String(answer), BELOW[level]);
  const { ID } = await post<Remembered>(address, { Query }, { signal, deadline: DEADLINE });
  return answersOf(ID, level, signal);
}

/** How something is retrieved: by C-MOVE to an AE title (ours where none is given), by C-GET, or as the modality prefers. */
export interface Manner {
  readonly RetrieveMethod: 'C-MOVE' | 'C-GET' | 'SystemDefault';
  readonly TargetAet?: string;
}

/** Begins to retrieve one answer. */
export async function retrieve(query: string, answer: number, manner: Manner): Promise<Begun> {
  return post(url('queries', query, 'answers', String(answer), 'retrieve'), { ...manner, Asynchronous: true });
}
