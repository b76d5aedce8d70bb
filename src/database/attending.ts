/** Owns what goes to and fro between who lends associations to the thread that commits, and that thread: see `attend` of the database port. */

import type { StoreContext } from '../dicom/store-requests.ts';
import type { PackRoom } from '../storage/pack-thread.ts';
import type { Arrival, Committed } from './database.ts';

/** An association that is lent to the thread which commits, for it to read, store and answer what comes. */
export interface LentAssociation {
  /** Its number among those that are lent. */
  readonly id: number;
  /** Of its TCP connection, which nobody else reads from. */
  readonly descriptor: number;
  /** Those on which instances may come. */
  readonly contexts: readonly StoreContext[];
  readonly callingAet: string;
  /** Largest PDU that was announced to the peer. */
  readonly maximumPdu: number;
  /** Pages of shared memory, for one file, and the number of all that memory: it is another object in each thread. */
  readonly memory: Uint8Array;
  readonly memoryId: number;
  /** But for `ReceptionDate`. */
  readonly arrival: Arrival;
}

/** What `attend` of the database port is to do. */
export interface Attending {
  /** Associations that come to those which are lent already. */
  readonly lent: readonly LentAssociation[];
  /** Numbers of the latter: others are nobody's any more. */
  readonly held: readonly number[];
  /** Where files go; without it all that are lent come back at once. */
  readonly room: PackRoom | undefined;
  /** Whether files are hashed. */
  readonly hash: boolean;
}

/** An association that comes back, and what its owner goes on from. */
export interface ReturnedAssociation {
  readonly id: number;
  /** What was read of it and not answered: to be taken for what comes first. */
  readonly unread: Uint8Array;
  /** To be sent before anything else. */
  readonly unsent: Uint8Array;
  /** Why: its peer was silent, something came that is not stored plainly, or it was asked for. */
  readonly reason: 'silence' | 'other' | 'recalled';
}

/** What was done for associations that are lent. */
export interface Attended extends Omit<Committed, 'outcomes'> {
  /** Files that went to the room: `stored` are durable and committed; nobody refers to others, or (`doubtful`) nobody knows. */
  readonly files: readonly {
    readonly blob: string;
    readonly size: number;
    readonly state: 'stored' | 'unwanted' | 'doubtful';
  }[];
  readonly returned: readonly ReturnedAssociation[];
  /** Numbers of those that are lent further on. */
  readonly held: readonly number[];
  /** Something was committed, or may have been, that is not told of, since nobody knows whether it is durable. */
  readonly isUnsure: boolean;
  /** Seconds of each commit. */
  readonly commits: readonly number[];
}

/** Attending that has begun. */
export interface Attendance {
  /** Resolves when something is to be told, or nothing happens. Rejects when the thread failed, or is gone: nobody knows what it has done then. */
  readonly ended: Promise<Attended>;
  /** Has it end soon. */
  end(): void;
}
