/**
 * Owns the one room behind every door that takes images in or changes what is stored: the order
 * receive → parse and write → commit → keep → announce, and its undoing.
 */

import type { AttachmentOperation, Operation, Outcome, RevisedAttachment } from '../database/database.ts';
import type { Parsed } from '../dicom/parsing.ts';
import type { StoreContext } from '../dicom/store-requests.ts';
import type { Identifiers } from '../dicom/summary.ts';
import type { Returned } from '../scu/connection.ts';
import type { Compression } from '../storage/content.ts';

/**
 * A body being received, in memory out of the shared budget or, past that, on its way to storage. Whoever took it gives
 * it to `store` or releases it.
 */
export interface Slab {
  /**
   * Takes a chunk (copied before this returns). Answers a promise when the sender must pause until it resolves. Throws
   * as the storage does; `BadRequest` past the largest body (`MaximumRequestBodySizeMB`).
   */
  append(chunk: Uint8Array): Promise<void> | undefined;
  /** Shared memory for what comes next, which who fills it in place tells by `filled`; empty where that goes to storage. */
  room(): Uint8Array;
  /** Counts bytes at the beginning of `room` as appended. */
  filled(size: number): void;
  /** Others wait for the memory that this holds: a sender too slow to be worth it should lose it. */
  readonly wanted: boolean;
  /** Bytes appended so far. */
  readonly size: number;
  /** The first bytes, all of them unless {@link Slab.blob} is set; valid until the release. */
  readonly head: Uint8Array;
  /** The provisional blob that a body too large for memory goes to. */
  readonly blob: string | undefined;
  /** Ends a body that went to storage: durable, its MD5 known. Undefined for one in memory. */
  finish(): Promise<{ readonly uuid: string; readonly md5: string } | undefined>;
  /** Gives memory (and a blob nobody stored) back; harmless when done already. */
  release(): void;
}

/** Where an image came from; becomes the instance's metadata. */
export interface Reception {
  readonly origin: 'RestApi' | 'DicomProtocol' | 'WebDav' | 'Job';
  readonly remoteIp: string;
  /** Empty when not received by DICOM. */
  readonly remoteAet: string;
  readonly calledAet?: string;
  /** Empty when access is anonymous. */
  readonly username: string;
  /** More metadata of the instance: what it was made from. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Replaces one that is there already, whatever `OverwriteInstances` says. */
  readonly overwrite?: true;
}

/** What became of one image. It is durable and indexed by the time this is answered. */
export interface Stored {
  readonly status: 'Success' | 'AlreadyStored' | 'FilteredOut';
  readonly ids: Identifiers;
}

/** An association over which instances come, to be lent. */
export interface Borrowable {
  /** Of its TCP connection, which is not read from until it comes back. */
  readonly descriptor: number;
  /** Those on which instances may come. */
  readonly contexts: readonly StoreContext[];
  readonly callingAet: string;
  /** Largest PDU that was announced to the peer. */
  readonly maximumPdu: number;
}

export interface Ingest {
  /**
   * Waits for a turn and memory for one upload. Throws Busy when none came free in time, FullStorage (503) below the
   * disk watermark. `overdraw` is for a part of a body that holds memory already, which must not wait for more of it: the
   * caller bounds how many do.
   */
  receive(options?: { readonly overdraw: boolean }): Promise<Slab>;
  /** The same without waiting: undefined where there is a wait. */
  receiveNow(): Slab | undefined;
  /**
   * A whole file in memory of the caller's as if it had been received, and parsed by whoever made it: the memory stays as it is until the
   * slab is stored or released. Throws as `receive` does.
   */
  lend(bytes: Uint8Array, parsed: Parsed): Slab;
  /** Whether {@link borrow} may take an association now: to stop reading one costs as much as reading a command. */
  readonly borrows: boolean;
  /**
   * Has what comes over an association, on which nothing is under way, received, stored and answered without further ado, until something else
   * comes, or nothing, or other work has to be done: then it comes back. Undefined where nobody takes it. Rejects when nobody knows how far
   * it is.
   */
  borrow(association: Borrowable, reception: Reception): Promise<Returned> | undefined;
  /** Has everything that is borrowed come back soon; resolves when it has. */
  recall(): Promise<void>;
  /**
   * Stores a received image and releases its slab, whatever happens. Of one that is there already the stored file is replaced all
   * the same when it is gone, cut short or altered. `doubtful` is for what may well be something else than an image: a small one is
   * then parsed before it is written, not meanwhile. Throws BadFileFormat, FullStorage, Busy…
   */
  store(slab: Slab, reception: Reception, options?: { readonly doubtful: boolean }): Promise<Stored>;
  /**
   * Makes a received body an attachment, new or in the place of another, and releases its slab, whatever happens. Answers its
   * revision and MD5 ('' where none is computed). Throws UnknownResource, Revision, FullStorage…
   */
  attach(
    slab: Slab,
    target: Omit<AttachmentOperation, 'kind' | 'attachment'>,
  ): Promise<{ readonly revision: number; readonly md5: string }>;
  /**
   * Stores the content of an attachment in another form, a new revision; nothing happens where it has that form. Throws CorruptedFile
   * where storage holds another content, Revision where it was changed meanwhile.
   */
  recompress(
    target: Pick<AttachmentOperation, 'level' | 'id'>,
    attachment: RevisedAttachment,
    compression: Compression,
  ): Promise<void>;
  /**
   * Commits one change of the index through the same single writer. The deletion of many instances is several commits, between which
   * others have their turn: who looks meanwhile, or a crash, finds a part of them. Throws the IsenError of a refused outcome.
   */
  apply(operation: Operation): Promise<Exclude<Outcome, { kind: 'refused' }>>;
  /**
   * Commits several in one transaction: all of them are durable, or none. One that was refused changed nothing, and says so in
   * its outcome.
   */
  applyAll(operations: readonly Operation[]): Promise<readonly Outcome[]>;
  /** Takes nothing new, finishes what was accepted. */
  close(): Promise<void>;
}
