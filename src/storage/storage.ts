/**
 * Owns the `storage` port: blobs by UUID, durable before they are promised, never half there.
 *
 * A blob is first *put* (durable, but provisional), then *kept* once the index has committed the row that refers to it.
 * A crash in between leaves a provisional blob, which {@link Storage.provisional} lists at the next start.
 */

import type { PackRoom, PackSpace } from './pack-thread.ts';

/** A range of bytes: `start` inclusive, `end` exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A blob being written, for bodies too large to hold. After a throw nothing is left behind. */
export interface BlobWriter {
  write(bytes: Uint8Array): Promise<void>;
  /** Resolves when the whole blob is durable (provisional, as by `put`). */
  finish(): Promise<void>;
  /** Gives the blob up. */
  abort(): Promise<void>;
}

/** A blob as its keeper knows it. Times are in milliseconds since the epoch. */
export interface BlobState {
  /** Bytes. */
  readonly size: number;
  /** When it (or what is known of it) was last touched. */
  readonly changed: number;
  /** When it was made, where that is known. */
  readonly born?: number;
  /** Nobody but this server has touched it, as far as the keeper can tell. */
  readonly untouched?: boolean;
  /** In lower-case hex, where the keeper vouches for it; it may be of something else than the bytes where it is not theirs. */
  readonly md5?: string;
}

/** Space for a batch of small blobs that a thread stores itself (storage/pack-thread). */
export interface PackedBatch {
  readonly space: PackSpace;
  /** The names of the blobs, and where they go. */
  readonly blobs: readonly { readonly uuid: string; readonly at: number }[];
  /** The thread is done: blobs that it has stored are provisional, as by {@link Storage.put}; others are to be removed. */
  release(): void;
}

/** The way of small blobs to the disk while they are parsed, many with one write. */
export interface Packing {
  /** Bytes of the largest blob. */
  readonly largest: number;
  /** Space for blobs of these sizes; undefined where there is none now: each is then to be put by itself. */
  reserve(sizes: readonly number[]): PackedBatch | undefined;
  /** Space of up to `most` bytes, and enough for one blob, for blobs that a thread names itself; undefined where there is none now. */
  lend(most: number): LentRoom | undefined;
}

/** Space that is lent. */
export interface LentRoom extends PackRoom {
  /** The thread is done: the blobs that it has named, in the order of their places, are provisional, and what is behind them is free again. */
  release(blobs: readonly string[]): void;
  /** Nobody knows what the thread has done: the next start looks. */
  abandon(): void;
}

/** The port. */
export interface Storage {
  /** Where threads can store small blobs together; undefined while there is none. */
  readonly packing?: Packing | undefined;
  /**
   * A new name, for a blob about to be put; one of `size` bytes, and no others, where that is given. Names given one after another lie near
   * each other.
   */
  name(size?: number): string;
  /**
   * Takes a name that another storage gave over, for a blob about to be put; what stands there goes. A crash leaves such a blob unlisted:
   * whoever copies knows what there is to be copied.
   */
  adopt(uuid: string): Promise<void>;
  /**
   * Writes a provisional blob; resolves when it would survive a power cut. `bytes` are not copied and must not change
   * until then. Throws IsenError `FullStorage` or `CannotWriteFile`, leaving nothing behind.
   */
  put(uuid: string, bytes: Uint8Array): Promise<void>;
  /** Begins a provisional blob piece by piece. */
  create(uuid: string): Promise<BlobWriter>;
  /** Ends the provisional state of committed blobs. Readers see no gap. */
  keep(uuid: string): Promise<void>;
  /**
   * A whole blob or a range of it, in memory: for headers and frames; in `memory` where that is given and large enough, whose
   * bytes behind it may change. Throws `InexistentFile`, `CorruptedFile` when shorter.
   */
  read(uuid: string, range?: ByteRange, memory?: Uint8Array): Promise<Uint8Array>;
  /** A whole blob or a range of it as a stream, never whole in memory. Throws `InexistentFile` before the first byte. */
  stream(uuid: string, range?: ByteRange): Promise<ReadableStream<Uint8Array>>;
  /** Removes blobs, provisional or kept; one that is not there is no error. */
  remove(uuid: string): Promise<void>;
  /**
   * Every blob put but not kept by an earlier run, among others that were kept: the caller keeps or removes each. Asked
   * once, at the start.
   */
  provisional(): Promise<readonly string[]>;
  /** Size of a blob in bytes. Throws `InexistentFile`, `CorruptedFile` for one that was cut off. */
  size(uuid: string): Promise<number>;
  /** What is known of a blob without reading it. Throws as `size` does. */
  state(uuid: string): Promise<BlobState>;
  /** Bytes free for new blobs. */
  free(): Promise<number>;
  /** Ends it, when nobody uses it any more: what is durable stays so, and nothing else than the blobs is left. Repeating it is no error. */
  close(): Promise<void>;
}
