/**
 * Owns lending associations to the thread that commits, while instances follow quickly over them: it reads, stores and answers what comes, and this
 * side hears of it afterwards. What it will not do comes back with its association.
 */

import type { Attendance, Attended, LentAssociation } from '../database/attending.ts';
import type { Arrival, Database } from '../database/database.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { duplicateOf } from '../polling.ts';
import type { Returned } from '../scu/connection.ts';
import type { LentRoom, Storage } from '../storage/storage.ts';
import type { Borrowable } from './ingest.ts';
import type { PooledSlab } from './slabs.ts';

/** Bytes of the room for what is stored until this side hears of it. */
const ROOM = 8 << 20;

interface Loan {
  readonly association: LentAssociation;
  /** The thread has it. */
  isLent: boolean;
  readonly back: (returned: Returned) => void;
  readonly lost: (error: IsenError) => void;
  /** Gives back what was taken for it. */
  readonly end: () => void;
}

export interface LendingOptions {
  readonly attend: NonNullable<Database['attend']>;
  readonly storage: Pick<Storage, 'packing'>;
  readonly hash: boolean;
  /** Associations that are lent at a time at most: each has the memory for a file. */
  readonly most: number;
  /** Hears of what was done, in order. */
  readonly hear: (attended: Attended) => void;
  /** Something may have been committed that nobody tells of. */
  readonly unheard: () => void;
}

export class Lending {
  readonly #options: LendingOptions;
  readonly #loans = new Map<number, Loan>();
  /** What memory is called between the threads, where each has an object of its own for it. */
  readonly #memories = new WeakMap<ArrayBufferLike, number>();
  #attendance: Attendance | undefined;
  #running: Promise<void> | undefined;
  #lastLoan = 0;
  #lastMemory = 0;
  #isRecalling = false;

  constructor(options: LendingOptions) {
    this.#options = options;
  }

  /**
   * Lends one, with memory for a file that it has from now on. Undefined where that cannot be. Rejects when the thread failed: how far
   * the association is nobody knows.
   */
  lend(borrowable: Borrowable, arrival: Arrival, slab: PooledSlab): Promise<Returned> | undefined {
    const { storage, most } = this.#options;
    const { packing } = storage;
    if (this.#isRecalling || this.#loans.size >= most || packing === undefined) return undefined;
    const own = duplicateOf(borrowable.descriptor);
    if (own === undefined) return undefined;
    const { contexts, callingAet, maximumPdu } = borrowable;
    const memory = slab.room().subarray(0, packing.largest);
    this.#lastLoan += 1;
    const association: LentAssociation = {
      id: this.#lastLoan,
      descriptor: own.descriptor,
      contexts,
      callingAet,
      maximumPdu,
      memory,
      memoryId: this.#idOf(memory.buffer),
      arrival,
    };
    const end = (): void => {
      own.close();
      slab.release();
    };
    return new Promise((back, lost) => {
      this.#loans.set(association.id, { association, isLent: false, back, lost, end });
      this.#attendance?.end();
      this.#running ??= this.#run();
    });
  }

  #idOf(memory: ArrayBufferLike): number {
    const known = this.#memories.get(memory);
    if (known !== undefined) return known;
    this.#lastMemory += 1;
    this.#memories.set(memory, this.#lastMemory);
    return this.#lastMemory;
  }

  /** Has all come back soon; resolves when they have. */
  async recall(): Promise<void> {
    if (this.#running === undefined) return;
    this.#isRecalling = true;
    this.#attendance?.end();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#loans.size > 0) await this.#attend();
    this.#running = undefined;
    this.#isRecalling = false;
  }

  async #attend(): Promise<void> {
    const { attend, storage, hash, hear, unheard } = this.#options;
    const loans = [...this.#loans.values()];
    const lent = loans.filter(({ isLent }) => !isLent).map(({ association }) => association);
    const held = loans.filter(({ isLent }) => isLent).map(({ association }) => association.id);
    for (const loan of loans) loan.isLent = true;
    let room: LentRoom | undefined;
    let attended: Attended | undefined;
    let failure: IsenError | undefined;
    try {
      room = this.#isRecalling ? undefined : storage.packing?.lend(ROOM);
      const place = room && { space: room.space, pack: room.pack, at: room.at, end: room.end };
      this.#attendance = attend({ lent, held, room: place, hash });
      attended = await this.#attendance.ended;
    } catch (thrown) {
      failure = asIsenError(thrown);
    }
    this.#attendance = undefined;
    try {
      if (attended === undefined) room?.abandon();
      else {
        room?.release(attended.files.map(({ blob }) => blob));
        hear(attended);
      }
    } catch (thrown) {
      log.generic.error({ err: thrown }, 'what was stored of lent associations could not be told of');
    }
    for (const { id, ...returned } of attended?.returned ?? []) this.#end(id)?.back(returned);
    // What a thread had that died meanwhile no other has. Those that came meanwhile are lent next.
    const lost = loans.filter(({ association: { id } }) => this.#loans.has(id) && attended?.held.includes(id) !== true);
    failure ??= new IsenError('DatabaseUnavailable', 'the thread that had an association is gone');
    for (const { association } of lost) this.#end(association.id)?.lost(failure);
    if (lost.length > 0 || attended?.isUnsure !== false) unheard();
  }

  #end(id: number): Loan | undefined {
    const loan = this.#loans.get(id);
    this.#loans.delete(id);
    loan?.end();
    return loan;
  }
}
