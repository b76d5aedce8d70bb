/**
 * Owns the queries that were put to modalities and are still remembered with their answers (`/queries`): the latest `QueryRetrieveSize`
 * of them, for a day.
 */

import { randomUUID } from 'node:crypto';
import type { Identifier } from '../dicom/identifier.ts';
import type { Level } from '../dicom/levels.ts';
import type { FindAnswer } from '../scu/find.ts';
import type { Queue } from './queue.ts';
import { Shelf } from './shelf.ts';

/** One query and what was answered to it. */
export interface StoredQuery {
  /** Symbolic name. */
  readonly modality: string;
  readonly level: Level;
  /** As the client asked, without what was added to it. */
  readonly keys: Identifier;
  readonly answers: readonly FindAnswer[];
  /** Seconds that the client gave the modality, and the AE title it wanted us to have. */
  readonly timeout?: number | undefined;
  readonly localAet?: string | undefined;
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

/** Milliseconds: a day. */
const AGE = 86_400_000;

/** Of all nodes: the oldest query goes when there are more than `size` (0: one), or too many answers. */
export function createQueries(queue: Queue, size: number, answers: number = MAXIMUM_ANSWERS): Queries {
  const shelf = new Shelf<Omit<StoredQuery, 'answers'>, FindAnswer>(queue, {
    name: 'queries',
    size,
    items: answers,
    age: AGE,
  });
  return {
    async add({ answers: found, ...query }) {
      const id = randomUUID();
      await shelf.put(id, query, found);
      return id;
    },
    async get(id) {
      const record = await shelf.get(id);
      return record && { ...record.head, answers: record.items };
    },
    list: () => shelf.list(),
    remove: (id) => shelf.remove(id),
  };
}
