/**
 * Owns lending associations to the thread that commits, while few files are stored: it reads, stores and answers what comes over them, and this
 * side hears of it afterwards. What it will not do comes back with its association.
 */

import type { Attendance, Attended, LentAssociation } from '../database/attending.ts';
import type { Arrival, Database } from '../database/database.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { duplicateOf } from '../polling.ts';
import type { LentRoom, Storage } from '../storage/storage.ts';
import type { Borrowable, Returned } from './ingest.ts';
import type { PooledSlab } from './slabs.ts';

/** Associations that are lent at a time at most. */
const MOST = 4;

/** Bytes of the room for what is stored until this side hears of it. */
const ROOM = 8 << 20;

interface Loan {
  readonly association: LentAssociation;
  readonly back: (attended: Returned) => void;
  readonly lost: (error: IsenError) => void;
  /** Gives back what was taken for it. */
  readonly end: () => void;
}

export interface LendingOptions {
  readonly attend: NonNullable<Database['attend']>;
  readonly storage: Pick<Storage, 'packing'>;
  readonly hash: boolean;
  /** Hears of what was done, in order. */
  readonly hear: (attended: Attended) => void;
}

export class Lending {
  readonly #options: LendingOptions;
  readonly #loans = new Map<number, Loan>();
  #joining: LentAssociation[] = [];
  #attendance: Attendance | undefined;
  #running: Promise<void> | undefined;
  #next = 0;
  #isRecalling = false;

  constructor(options: LendingOptions) {
    this.#options = options;
  }

  /** How many are lent. */
  get count(): number {
    return this.#loans.size;
  }

  /**
   * Lends one, with memory for a file that it has from now on. Undefined where that cannot be. Rejects when the thread is gone: how far
   * the association is nobody knows.
   */
  lend(borrowable: Borrowable, arrival: Arrival, slab: PooledSlab): Promise<Returned> | undefined {
    const { packing } = this.#options.storage;
    if (this.#isRecalling || this.#loans.size >= MOST || packing === undefined) return undefined;
    const own = duplicateOf(borrowable.descriptor);
    if (own === undefined) return undefined;
    this.#next += 1;
    const { contexts, callingAet, maximumPdu } = borrowable;
    const association: LentAssociation = {
      id: this.#next,
      descriptor: own.descriptor,
      contexts,
      callingAet,
      maximumPdu,
      memory: slab.room().subarray(0, packing.largest),
      arrival,
    };
    const end = (): void => {
      own.close();
      slab.release();
    };
    return new Promise((resolve, reject) => {
      this.#loans.set(association.id, { association, back: resolve, lost: reject, end });
      this.#joining.push(association);
      this.#attendance?.end();
      this.#running ??= this.#run();
    });
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
    const { attend, storage, hash, hear } = this.#options;
    const lent = this.#joining;
    this.#joining = [];
    let room: LentRoom | undefined;
    try {
      room = this.#isRecalling ? undefined : storage.packing?.lend(ROOM);
      this.#attendance = attend({
        lent,
        room: room && { space: room.space, pack: room.pack, at: room.at, end: room.end },
        hash,
      });
      const attended = await this.#attendance.ended;
      room?.release(attended.files.map(({ blob }) => blob));
      hear(attended);
      for (const { id, ...returned } of attended.returned) this.#end(id)?.back(returned);
    } catch (thrown) {
      room?.abandon();
      const error = asIsenError(thrown);
      for (const id of this.#loans.keys()) this.#end(id)?.lost(error);
    } finally {
      this.#attendance = undefined;
    }
  }

  #end(id: number): Loan | undefined {
    const loan = this.#loans.get(id);
    this.#loans.delete(id);
    loan?.end();
    return loan;
  }
}
