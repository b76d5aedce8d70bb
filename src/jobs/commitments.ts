/**
 * Owns the storage commitments that this server asked for and what it was told of them: the latest `StorageCommitmentReportsSize`, for
 * thirty days; and the job that answers those it was asked for.
 */

import { z } from 'zod';
import { DICOM_ATTACHMENT, type Database } from '../database/database.ts';
import {
  CLASS_CONFLICT,
  type Commitment,
  type FailedReference,
  NO_SUCH_INSTANCE,
  PROCESSING_FAILURE,
  type Reference,
} from '../dicom/commitment.ts';
import { IsenError } from '../errors.ts';
import { reportCommitment, REQUEST_CONTEXT, requestCommitment, RESULT_CONTEXT } from '../scu/commitment.ts';
import { type Callee, type CallOptions, type Dial, over } from '../scu/dial.ts';
import type { Modalities } from '../scu/modality.ts';
import type { Storage } from '../storage/storage.ts';
import type { WorkingKind } from './kinds.ts';
import type { Queue } from './queue.ts';
import { Shelf } from './shelf.ts';

/** What is known of a commitment that was asked for. */
export interface CommitmentReport {
  readonly remoteAet: string;
  readonly status: 'Pending' | 'Success' | 'Failure';
  readonly success: readonly Reference[];
  readonly failures: readonly FailedReference[];
}

/** The commitments asked for, by transaction. */
export interface Commitments {
  /** One was asked for. */
  expect(transactionUid: string, remoteAet: string): Promise<void>;
  /** One was not asked for after all. */
  forget(transactionUid: string): Promise<void>;
  /** What became of one; false for one that is not awaited from this AE title. */
  report(commitment: Commitment, remoteAet: string): Promise<boolean>;
  get(transactionUid: string): Promise<CommitmentReport | undefined>;
}

/** Instances of all reports together. */
const MAXIMUM_REFERENCES = 1_000_000;

/** Milliseconds: thirty days. A commitment may be answered when the tapes of the weekend are written. */
const AGE = 30 * 86_400_000;

/** Of all nodes: the oldest goes when there are more than `size` (0: one). */
export function createCommitments(queue: Queue, size: number): Commitments {
  const shelf = new Shelf<Pick<CommitmentReport, 'remoteAet' | 'status'>, Reference & Partial<FailedReference>>(queue, {
    name: 'commitments',
    size,
    items: MAXIMUM_REFERENCES,
    age: AGE,
  });
  return {
    expect: (transactionUid, remoteAet) => shelf.put(transactionUid, { remoteAet, status: 'Pending' }, []),
    forget: (transactionUid) => shelf.remove(transactionUid),
    async report({ transactionUid, references, failed }, remoteAet) {
      const known = (await shelf.get(transactionUid))?.head;
      if (known === undefined || known.remoteAet.toUpperCase() !== remoteAet.toUpperCase()) return false;
      const status = failed.length === 0 ? 'Success' : 'Failure';
      await shelf.put(transactionUid, { remoteAet: known.remoteAet, status }, [...references, ...failed]);
      return true;
    },
    async get(transactionUid) {
      const record = await shelf.get(transactionUid);
      if (record === undefined) return undefined;
      const success: Reference[] = [];
      const failures: FailedReference[] = [];
      for (const { reason, ...reference } of record.items) {
        if (reason === undefined) success.push(reference);
        else failures.push({ ...reference, reason });
      }
      return { ...record.head, success, failures };
    },
  };
}

/** Whom to ask for a commitment, and how. */
export interface CommitmentRequest extends Pick<CallOptions, 'localAet' | 'timeout'> {
  readonly modality: Callee;
  readonly transactionUid: string;
  readonly references: readonly Reference[];
}

/** Asks a modality to commit to instances; the result comes later. Throws NetworkProtocol, … */
export async function askCommitment(
  { dial, commitments }: { readonly dial: Dial; readonly commitments: Commitments },
  { modality, transactionUid, references, localAet, timeout }: CommitmentRequest,
): Promise<void> {
  // Before it is asked: the result may be here first.
  await commitments.expect(transactionUid, modality.aet);
  try {
    await over(dial(modality, [REQUEST_CONTEXT], { localAet, timeout }), (association) =>
      requestCommitment(association, { transactionUid, references, failed: [] }),
    );
  } catch (thrown) {
    await commitments.forget(transactionUid);
    throw thrown;
  }
}

/** Instances asked about at once. */
const PAGE = 500;

/** Milliseconds that answering one request may take. */
const DEADLINE = 3600 * 1000;

const StateSchema = z.object({
  transactionUid: z.string(),
  modality: z.string(),
  localAet: z.string(),
  /** SOP Class and Instance UID of each. */
  references: z.array(z.tuple([z.string(), z.string()])),
});

/** The state with which the job is submitted. */
export type CommitmentState = z.output<typeof StateSchema>;

export interface CommitmentRoom {
  readonly database: Pick<Database, 'find' | 'settled'>;
  readonly storage: Pick<Storage, 'size'>;
  readonly dial: Dial;
  readonly modalities: Pick<Modalities, 'get'>;
}

/** Which instances are stored: in the index, of the class that was named, and with their file whole. */
export async function verify(
  { database, storage }: Pick<CommitmentRoom, 'database' | 'storage'>,
  references: readonly Reference[],
): Promise<Pick<Commitment, 'references' | 'failed'>> {
  const stored: Reference[] = [];
  const failed: FailedReference[] = [];
  for (let at = 0; at < references.length; at += PAGE) {
    const page = references.slice(at, at + PAGE);
    const values = page.map(({ sopInstanceUid }) => sopInstanceUid);
    const found = await database.find({
      level: 'Instance',
      where: [{ tag: '0008,0018', caseSensitive: false, match: 'list', values }],
    });
    // Who hears that they are stored may delete them.
    await database.settled();
    const reasons = new Map<string, number>();
    for (const { tags, metadata, attachments } of found) {
      const uid = tags['0008,0018']?.trim() ?? '';
      const wanted = page.find(({ sopInstanceUid }) => sopInstanceUid === uid);
      const file = attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
      const matching = metadata['SopClassUid']?.value === wanted?.sopClassUid;
      const whole = file !== undefined && (await storage.size(file.uuid).catch(() => -1)) === file.compressedSize;
      const reason = !whole ? PROCESSING_FAILURE : matching ? 0 : CLASS_CONFLICT;
      // The same instance of another patient may be the one that is meant.
      reasons.set(uid, Math.min(reason, reasons.get(uid) ?? reason));
    }
    for (const reference of page) {
      const reason = reasons.get(reference.sopInstanceUid) ?? NO_SUCH_INSTANCE;
      if (reason === 0) stored.push(reference);
      else failed.push({ ...reference, reason });
    }
  }
  return { references: stored, failed };
}

/** The kind `StorageCommitmentScp`: looks whether the instances are here, and tells the modality that asked. */
export function commitmentKind(room: CommitmentRoom): WorkingKind {
  return {
    type: 'StorageCommitmentScp',
    deadline: DEADLINE,
    async run(job) {
      const parsed = StateSchema.safeParse(job.state);
      if (!parsed.success) throw new IsenError('BadFileFormat', 'the job is of another version');
      const { transactionUid, modality: name, localAet, references } = parsed.data;
      const modality = await room.modalities.get(name);
      if (modality === undefined) throw new IsenError('InexistentItem', `No modality with symbolic name: ${name}`);
      const asked = references.map(([sopClassUid, sopInstanceUid]) => ({ sopClassUid, sopInstanceUid }));
      const verified = await verify(room, asked);
      job.progress(0.5);
      await over(room.dial(modality, [RESULT_CONTEXT], { localAet }), (association) =>
        reportCommitment(association, { transactionUid, ...verified }),
      );
      return job.content;
    },
  };
}
