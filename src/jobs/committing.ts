/** Owns what a store job does in the end that was told to (`StorageCommitment`): it asks for the commitment of what it has sent. */

import { z } from 'zod';
import type { Database } from '../database/database.ts';
import type { Reference } from '../dicom/commitment.ts';
import { IsenError } from '../errors.ts';
import type { Dial } from '../scu/dial.ts';
import type { Modalities } from '../scu/modality.ts';
import { askCommitment, type Commitments } from './commitments.ts';
import type { FollowingKind } from './kinds.ts';
import { orderOf } from './order.ts';
import { storeKind } from './storing.ts';

const StateSchema = z.object({
  commitment: z.object({
    modality: z.string(),
    transactionUid: z.string(),
    localAet: z.string().optional(),
    calledAet: z.string().optional(),
    host: z.string().optional(),
    port: z.number().optional(),
    /** Seconds. */
    timeout: z.number().optional(),
  }),
});

/** The state of a store job that asks for a commitment. */
export type CommittingState = z.output<typeof StateSchema>;

/** Instances asked about at once. */
const PAGE = 500;

export interface CommittingRoom {
  readonly database: Pick<Database, 'find'>;
  readonly dial: Dial;
  readonly modalities: Pick<Modalities, 'get'>;
  readonly commitments: Commitments;
}

/** `DicomModalityStore`, with what it does in the end. */
export function committingStoreKind(room: CommittingRoom): FollowingKind {
  return {
    ...storeKind,
    ending(state) {
      const asked = StateSchema.safeParse(state).data?.commitment;
      return asked && (async (sent) => commit(room, asked, sent));
    },
  };
}

async function commit(
  room: CommittingRoom,
  asked: CommittingState['commitment'],
  sent: AsyncIterable<unknown>,
): Promise<void> {
  const { modality: name, transactionUid, localAet, calledAet, host, port, timeout } = asked;
  const modality = await room.modalities.get(name);
  if (modality === undefined) throw new IsenError('InexistentItem', `No modality with symbolic name: ${name}`);
  const ids = new Set<string>();
  for await (const value of sent) {
    const instance = orderOf(value)?.instance;
    if (instance !== undefined) ids.add(instance);
  }
  if (ids.size === 0) return;
  await askCommitment(room, {
    modality: { ...modality, aet: calledAet ?? modality.aet, host: host ?? modality.host, port: port ?? modality.port },
    transactionUid,
    references: await referencesTo(room.database, [...ids]),
    localAet,
    timeout,
  });
}

/** What the index knows of instances; one that was deleted since is left out. */
async function referencesTo(database: Pick<Database, 'find'>, all: readonly string[]): Promise<Reference[]> {
  const references: Reference[] = [];
  for (let at = 0; at < all.length; at += PAGE) {
    for (const { tags, metadata } of await database.find({ level: 'Instance', ids: all.slice(at, at + PAGE) })) {
      const sopInstanceUid = tags['0008,0018']?.trim() ?? '';
      references.push({ sopClassUid: metadata['SopClassUid']?.value ?? '', sopInstanceUid });
    }
  }
  return references;
}
