/**
 * Owns the one room behind every door that takes images in or changes what is stored: the order
 * receive → parse and write → commit → keep → announce, and its undoing.
 */

import type { Operation, Outcome } from '../database/database.ts';
import type { Identifiers } from '../dicom/summary.ts';

/** Bytes being received: memory out of the shared budget. Whoever took it gives it to `store` or releases it. */
export interface Slab {
  /** Copies a chunk behind what is there, growing as needed. Throws NotEnoughMemory past the largest upload. */
  append(chunk: Uint8Array): Promise<void>;
  /** What was appended so far; valid until the release. */
  readonly bytes: Uint8Array;
  /** Gives the memory back; harmless when done already. */
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
}

/** What became of one image. It is durable and indexed by the time this is answered. */
export interface Stored {
  readonly status: 'Success' | 'AlreadyStored' | 'FilteredOut';
  readonly ids: Identifiers;
}

export interface Ingest {
  /**
   * Waits for memory for an upload of `size` bytes (as announced: a lie is no harm) and a turn. Throws Busy when none
   * came free in time, FullStorage below the disk watermark.
   */
  receive(size: number | undefined, signal?: AbortSignal): Promise<Slab>;
  /** Stores a received image and releases its slab, whatever happens. Throws BadFileFormat, FullStorage, Busy… */
  store(slab: Slab, reception: Reception): Promise<Stored>;
  /** Commits one change of the index through the same single writer. Throws the IsenError of a refused outcome. */
  apply(operation: Operation): Promise<Exclude<Outcome, { kind: 'refused' }>>;
  /** Takes nothing new, finishes what was accepted. */
  close(): Promise<void>;
}
