/** Owns the jobs that send resources to a modality (`DicomModalityStore`) or a peer (`OrthancPeerStore`): their entries wait in its queue. */

import type { ErrorValue } from '../answer.ts';
import { type Database, MOST_IDS } from '../database/database.ts';
import { LEVELS, type Level } from '../dicom/levels.ts';
import { ERRORS, type ErrorName, IsenError } from '../errors.ts';
import type { Delivery } from './jobs.ts';
import type { Content, FollowingKind, Tally } from './kinds.ts';
import { type Destination, entryPriority, type Order, orderOf, queueOf } from './order.ts';
import type { Entry } from './queue.ts';

/** What to send, and how. */
export interface StoreRequest {
  readonly to: Destination;
  readonly priority: number;
  /** Somebody waits: every failure is final. */
  readonly synchronous: boolean;
  /** What is different for these. */
  readonly order: Partial<Omit<Order, 'instance' | 'once'>>;
}

/** A resource that is asked for. */
export interface Asked {
  readonly level: Level;
  readonly id: string;
}

/** `DicomModalityStore`. */
export const storeKind: FollowingKind = {
  type: 'DicomModalityStore',
  follow(content: Content, tally: Tally): Content {
    return { ...content, InstancesCount: tally.total, FailedInstancesCount: tally.failed };
  },
  failure(content: Content, first: Entry | undefined): ErrorValue | undefined {
    if (content['Permissive'] === true) return undefined;
    const failure = orderOf(first?.value)?.failure;
    const code = failure !== undefined && Object.hasOwn(ERRORS, failure.code) ? (failure.code as ErrorName) : undefined;
    return { code: code ?? 'NetworkProtocol', details: failure?.details ?? first?.reason };
  },
};

/** `OrthancPeerStore`. */
export const peerStoreKind: FollowingKind = { ...storeKind, type: 'OrthancPeerStore' };

/** The level of each resource, in the order of `ids`. Throws UnknownResource. */
export async function levelsOf(database: Pick<Database, 'find'>, ids: readonly string[]): Promise<readonly Asked[]> {
  const levels = new Map<string, Level>();
  // Most often they are instances.
  for (const level of [...LEVELS].reverse()) {
    const left = [...new Set(ids)].filter((id) => !levels.has(id));
    for (let at = 0; at < left.length; at += MOST_IDS) {
      const page = left.slice(at, at + MOST_IDS);
      for (const { id } of await database.find({ level, ids: page, idsOnly: true })) levels.set(id, level);
    }
  }
  return ids.map((id) => {
    const level = levels.get(id);
    if (level === undefined) throw new IsenError('UnknownResource');
    return { level, id };
  });
}

/** The entries that send all instances of `resources`. */
export async function* deliveriesOf(
  database: Pick<Database, 'find'>,
  resources: readonly Asked[],
  { to, priority, synchronous, order }: StoreRequest,
): AsyncGenerator<Delivery, void> {
  const delivery = (instance: string): Delivery => ({
    queue: queueOf(to, order),
    id: instance,
    priority: entryPriority(priority, synchronous),
    due: 0,
    value: { ...order, instance, ...(synchronous && { once: true }) } satisfies Order,
  });
  for (const { level, id } of resources) {
    if (level === 'Instance') {
      yield delivery(id);
      continue;
    }
    for (let after = ''; ; ) {
      const page = await database.find({
        level: 'Instance',
        of: { level, id },
        idsOnly: true,
        limit: MOST_IDS,
        ...(after !== '' && { after }),
      });
      for (const instance of page) yield delivery(instance.id);
      const last = page.at(-1);
      if (last === undefined || page.length < MOST_IDS) break;
      after = last.id;
    }
  }
}
