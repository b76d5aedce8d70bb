/**
 * Owns the queries that were put to modalities and are still remembered with their answers (`/queries`): the latest `QueryRetrieveSize`
 * of them, and no more answers than fit in memory.
 */

import { randomUUID } from 'node:crypto';
import type { Identifier } from '../dicom/identifier.ts';
import type { Level } from '../dicom/levels.ts';
import type { FindAnswer } from '../scu/find.ts';

/** One query and what was answered to it. */
export interface StoredQuery {
  /** Symbolic name. */
  readonly modality: string;
  readonly level: Level;
  /** As the client asked, without what was added to it. */
  readonly keys: Identifier;
  readonly answers: readonly FindAnswer[];
  /** Seconds that the client gave the modality, and the AE title it wanted us to have. */
  readonly timeout: number | undefined;
  readonly localAet: string | undefined;
}

/** The remembered queries, by id. */
export interface Queries {
  /** Answers the id. */
  add(query: StoredQuery): Promise<string>;
  get(id: string): Promise<StoredQuery | undefined>;
  /** In the order of adding. */
  list(): Promise<readonly string[]>;
  remove(id: string): Promise<void>;
}

/** Answers of all queries together; one has about a kilobyte. */
const MAXIMUM_ANSWERS = 200_000;

/** In memory: the oldest query goes when there are more than `size` (0: one), or too many answers. */
export function createQueries(size: number): Queries {
  const queries = new Map<string, StoredQuery>();
  let answers = 0;
  const drop = (id: string): void => {
    answers -= queries.get(id)?.answers.length ?? 0;
    queries.delete(id);
  };
  return {
    async add(query) {
      const id = randomUUID();
      queries.set(id, query);
      answers += query.answers.length;
      for (const oldest of queries.keys()) {
        if (oldest === id || (queries.size <= Math.max(size, 1) && answers <= MAXIMUM_ANSWERS)) break;
        drop(oldest);
      }
      return id;
    },
    get: async (id) => queries.get(id),
    list: async () => [...queries.keys()],
    remove: async (id) => drop(id),
  };
}
