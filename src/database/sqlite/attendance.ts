/**
 * Owns serving the associations that are lent to the thread which commits: it waits for what comes over them, reads it, takes in what is whole,
 * and answers when that is durable; no other thread has to be woken for an instance. What is not stored plainly, and at once, goes back with
 * its association as it came.
 */

import { readSop } from '../../dicom/sop.ts';
import { syntaxOf } from '../../dicom/received-file.ts';
import {
  type Reached,
  responsePdu,
  StoreReader,
  type StoreRequest,
  storeResponse,
} from '../../dicom/store-requests.ts';
import { HashingBeside } from '../../md5-beside.ts';
import { Sockets } from '../../polling.ts';
import { nameIn, type PackRoom } from '../../storage/pack-thread.ts';
import { timestamp } from '../../timestamp.ts';
import type { Attended, Attending, LentAssociation, ReturnedAssociation } from '../attending.ts';
import type { Change, Taken } from '../database.ts';
import { asDatabaseError } from './connection.ts';
import { takeIn } from './intake.ts';
import type { Writer } from './writer.ts';

/** Milliseconds after which what was done is told, though more comes, and those without anything new after which it is as well. */
const TOLD = 40;
const QUIET = 4;

/**
 * Milliseconds that a request waits for others which may share its commit, and those since the last answer of their associations for which
 * that is likely.
 */
const GATHERED = 0.6;
const QUICK = 3;

/** Milliseconds of silence after which an association goes back, and those that one request may take. */
const SILENT = 100;
const LONGEST = 1000;

/** Bytes of one read at most. */
const LARGEST_READ = 256 << 10;

/** Bytes of a file for which another thread is woken to hash it, and others that come with it. */
const LEAST_BESIDE = 64 << 10;

/** An association that is lent. */
interface Lent {
  readonly association: LentAssociation;
  readonly reader: StoreReader;
  reached: Reached;
  /** When something came last, and when what is coming began to. */
  heard: number;
  begun: number;
}

/** A request on its way, and where it goes. */
interface Storing {
  readonly lent: Lent;
  readonly request: StoreRequest;
  readonly blob: { readonly uuid: string; readonly at: number };
}

/** What is told at the end. */
interface Told {
  readonly files: Attended['files'][number][];
  readonly returned: ReturnedAssociation[];
  readonly changes: Change[];
  readonly removals: string[];
  readonly commits: number[];
  isUnsure: boolean;
}

const nothing = (): Told => ({
  files: [],
  returned: [],
  changes: [],
  removals: [],
  commits: [],
  isUnsure: false,
});

export class AttendingThread {
  readonly #sockets: Sockets;
  /** What is read, before it is known what it is. */
  readonly #scratch = Buffer.allocUnsafeSlow(LARGEST_READ);
  #hashing: HashingBeside | undefined;
  readonly #lent = new Map<number, Lent>();
  #told = nothing();
  /** Where in the room the next file goes. */
  #at = 0;

  /** `bell` ends what is going on. Throws where the system has no such sockets. */
  constructor(bell: number) {
    this.#sockets = new Sockets(bell);
  }

  /** Waits for what was begun beside this thread; attends to nothing any more. */
  close(): void {
    this.#hashing?.close();
  }

  /** As the port promises. */
  attend(writer: Writer, { lent, held, room, hash }: Attending): Attended {
    this.#told = nothing();
    for (const id of this.#lent.keys()) if (!held.includes(id)) this.#lent.delete(id);
    for (const association of lent) this.#begin(association);
    if (room === undefined) for (const each of this.#lent.values()) this.#return(each, 'recalled');
    else this.#serve(writer, room, hash);
    return { ...this.#told, held: [...this.#lent.keys()] };
  }

  /** Until something is to be told, or nothing happens. */
  #serve(writer: Writer, room: PackRoom, hash: boolean): void {
    this.#at = room.at;
    /** When what was done is to be told at the latest, and when if nothing is new until then. */
    let latest = Number.POSITIVE_INFINITY;
    let quiet = latest;
    for (let isRung = false; ; ) {
      // Whoever rings has his turn after what is being stored, and what is whole by then after him.
      if (isRung && this.#told.commits.length > 0) break;
      const isStored = this.#store(writer, room, hash);
      if (isStored) {
        quiet = performance.now() + QUIET;
        latest = Math.min(latest, quiet - QUIET + TOLD);
      }
      const left = Math.min(latest, quiet) - performance.now();
      // Whole already are requests that came before the last was answered, or that do not fit into the room.
      const isWhole = this.#which('whole').length > 0;
      const isFull = isWhole && !isStored;
      if (isRung || isFull || left <= 0 || this.#told.returned.length > 0 || this.#lent.size === 0) break;
      if (!isWhole) isRung = this.#wait(Math.min(SILENT, left)) || this.#gather();
    }
  }

  #begin(association: LentAssociation): void {
    const { contexts, memory: given, maximumPdu, callingAet } = association;
    const memory = Buffer.from(given.buffer, given.byteOffset, given.length);
    const now = performance.now();
    this.#lent.set(association.id, {
      association,
      reader: new StoreReader({ contexts, memory, maximumPdu, callingAet }),
      reached: 'more',
      heard: now,
      begun: now,
    });
  }

  #which(reached: Lent['reached']): Lent[] {
    return [...this.#lent.values()].filter((lent) => lent.reached === reached);
  }

  /** Waits for what comes, and reads it. Whether the bell rang. */
  #wait(milliseconds: number): boolean {
    const waiting = this.#which('more');
    const descriptors = waiting.map(({ association }) => association.descriptor);
    const { rung, ready } = this.#sockets.wait(descriptors, milliseconds);
    if (rung && this.#told.commits.length > 0) return true;
    const now = performance.now();
    for (const place of ready) {
      const lent = waiting[place];
      if (lent === undefined) continue;
      if (!lent.reader.isBusy) lent.begun = now;
      lent.heard = now;
      const moved = this.#sockets.receive(lent.association.descriptor, this.#scratch);
      if (typeof moved === 'number') lent.reached = lent.reader.read(this.#scratch.subarray(0, moved));
      else if (moved === 'over') lent.reached = 'other';
    }
    for (const lent of waiting) {
      const { reader, reached, heard, begun } = lent;
      const isLate = now - heard >= SILENT || (reader.isBusy && now - begun >= LONGEST);
      if (reached === 'other') this.#return(lent, 'other');
      else if (reached === 'more' && isLate) this.#return(lent, 'silence');
    }
    return rung;
  }

  /** When a request came whole, waits for those that are likely to follow at once: together they cost little more. Whether the bell rang. */
  #gather(): boolean {
    const end = performance.now() + GATHERED;
    for (let now = performance.now(); now < end; now = performance.now()) {
      const isAwaited = this.#which('more').some(({ reader, begun }) => reader.isBusy || now - begun < QUICK);
      if (!isAwaited || this.#which('whole').length === 0) return false;
      if (this.#wait(end - now)) return true;
    }
    return false;
  }

  /** Stores the requests that came whole, as far as there is room, and answers those that are durable. Whether there were any. */
  #store(writer: Writer, room: PackRoom, hash: boolean): boolean {
    const stored: Storing[] = [];
    for (const lent of this.#which('whole')) {
      const { request } = lent.reader;
      if (!isWhatItSays(request)) {
        this.#return(lent, 'other');
        continue;
      }
      const named = nameIn(room, this.#at, request.bytes.length);
      if (named === undefined) continue;
      stored.push({ lent, request, blob: { uuid: named.uuid, at: this.#at } });
      this.#at = named.next;
    }
    if (stored.length === 0) return false;
    const began = performance.now();
    let taken: Taken | undefined;
    /** What becomes of the files that are not stored, or not surely: the usual way says what is wrong. */
    let failure: 'unwanted' | 'doubtful' | undefined;
    try {
      taken = this.#takeIn(writer, room, hash, stored);
      // Here, and not beside this thread: what comes meanwhile shares the next commit.
      writer.sync();
      this.#told.changes.push(...taken.changes);
      this.#told.removals.push(...taken.removals);
    } catch (thrown) {
      // On a full disk a transaction has no end.
      failure = asDatabaseError(thrown).code === 'FullStorage' ? 'unwanted' : 'doubtful';
      if (failure === 'doubtful') this.#told.isUnsure = true;
    }
    this.#told.commits.push((performance.now() - began) / 1000);
    for (const [index, { lent, request, blob }] of stored.entries()) {
      const outcome = taken?.files[index]?.outcome;
      const isStored = outcome?.kind === 'stored' && outcome.status === 'Success';
      const state = taken !== undefined && !isStored ? 'unwanted' : (failure ?? 'stored');
      this.#told.files.push({ blob: blob.uuid, size: request.bytes.length, state });
      if (state === 'stored') this.#answer(lent, request);
      else this.#return(lent, 'other');
    }
    return true;
  }

  #takeIn(writer: Writer, room: PackRoom, hash: boolean, stored: readonly Storing[]): Taken {
    const ReceptionDate = timestamp(Date.now());
    const isWorthIt = hash && stored.some(({ request: { bytes } }) => bytes.length >= LEAST_BESIDE);
    const digests = isWorthIt ? this.#hash(stored) : undefined;
    const files = stored.map(({ request: { bytes } }) => {
      return { bytes, size: bytes.length, hash, ...(digests && { md5: '' }) };
    });
    const put = { space: room.space, blobs: stored.map(({ blob }) => blob) };
    const arrivals = stored.map(({ lent: { association } }) => {
      const { metadata, overwrite } = association.arrival;
      return { metadata: { ...metadata, ReceptionDate }, overwrite };
    });
    return takeIn(writer, { files, put }, arrivals, digests);
  }

  /** Begins to hash beside this thread; undefined where there is no other. */
  #hash(stored: readonly Storing[]): (() => readonly string[]) | undefined {
    try {
      this.#hashing ??= new HashingBeside();
    } catch {
      // The system has no thread to give: here, then.
      return undefined;
    }
    return this.#hashing.begin(
      stored.map(({ lent: { association }, request: { bytes } }) => ({ memoryId: association.memoryId, bytes })),
    );
  }

  #answer(lent: Lent, { context, command }: StoreRequest): void {
    const { association, reader } = lent;
    const bytes = responsePdu(context.id, storeResponse(context.abstractSyntax, command, 0));
    const moved = this.#sockets.send(association.descriptor, bytes);
    const sent = typeof moved === 'number' ? moved : 0;
    lent.reached = reader.next();
    lent.heard = performance.now();
    lent.begun = lent.heard;
    if (sent < bytes.length) this.#return(lent, 'other', moved === 'over' ? undefined : bytes.subarray(sent));
    else if (lent.reached === 'other') this.#return(lent, 'other');
  }

  #return({ association: { id }, reader }: Lent, reason: ReturnedAssociation['reason'], unsent?: Buffer): void {
    this.#lent.delete(id);
    this.#told.returned.push({ id, reason, unread: reader.unread(), unsent: unsent ?? new Uint8Array() });
  }
}

/** What is told where nothing can be attended to: all come back as they are. */
export function attendNone({ lent }: Attending): Attended {
  const none = new Uint8Array();
  const returned = lent.map(({ id }) => ({ id, reason: 'recalled' as const, unread: none, unsent: none }));
  return { ...nothing(), returned, held: [] };
}

/** Whether the data set is of the instance that its command names. */
function isWhatItSays({ context, command, bytes, start }: StoreRequest): boolean {
  const sop = readSop(bytes, start, syntaxOf(context.transferSyntax), bytes.length);
  return (
    sop !== undefined &&
    sop.sopClassUid === command.AffectedSOPClassUID &&
    sop.sopInstanceUid === command.AffectedSOPInstanceUID
  );
}
