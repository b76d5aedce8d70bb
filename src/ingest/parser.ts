/**
 * Owns the way of received files to the threads: small ones that come together go together, because under load waking a thread for each
 * would cost more than its parsing, and they are stored there together as well where the storage packs small ones. As long as few come, the
 * thread that commits does all of it.
 */

import { type Answer, errorOf } from '../answer.ts';
import type { Parsed, ParseTask } from '../dicom/parsing.ts';
import type { Arrival, TakenFile, Taking } from '../database/database.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { recordStage } from '../metrics.ts';
import type { Pool } from '../pool.ts';
import { isPageAligned } from '../storage/pages.ts';
import type { Batch, ParsedFile } from '../storage/parse-and-put.ts';
import type { PackedBatch, Storage } from '../storage/storage.ts';
import { isOutcomeUnknown } from './outcome.ts';

/** Files, and bytes, that go to a thread together; of larger files four do, up to a size. */
const MOST_FILES = 16;
const MOST_BYTES = 128 * 1024;
const MOST_LARGE = 4;
const LARGEST_OF_MANY = 2 << 20;

/** Files for which a further thread is woken: while one waits for the disk, another can go on. */
const WORTH_A_THREAD = 4;

/**
 * Files that are being stored at the same time up to which they are few: the thread that commits keeps up with them, and takes in together
 * what came while it was busy. Of more, threads beside each other do more.
 */
const FEW = 4;

/** Files that may wait; one more is refused. Memory bounds them far below. */
const CAPACITY = 10_000;

type Place = Omit<PackedBatch, 'blobs'> & { readonly blobs: readonly (PackedBatch['blobs'][number] | undefined)[] };

interface Waiting {
  readonly since: number;
  readonly task: ParseTask;
  /** Whether it is to be stored as well. */
  readonly put: boolean;
  /** Of one that may be taken in. */
  readonly arrival?: Arrival | undefined;
  readonly resolve: (parsed: ParsedFile | TakenFile) => void;
  readonly reject: (error: IsenError) => void;
}

/** Has received files taken in when nothing else is committed; `files` tells then which, if any are left. */
export type TakeIn = (
  files: () => { readonly batch: Batch; readonly arrivals: readonly Arrival[] } | undefined,
) => Promise<Taking | undefined>;

export class Parser {
  readonly #pool: Pool<Batch, readonly Answer<ParsedFile>[]>;
  readonly #storage: Pick<Storage, 'packing' | 'remove'>;
  readonly #takeIn: TakeIn | undefined;
  readonly #storing: () => number;
  readonly #queue: Waiting[] = [];
  #running = 0;
  #gathering = false;
  #taking = false;

  /** `storing`: files between their last byte and their answer. Without `takeIn` nothing is. */
  constructor(
    pool: Pool<Batch, readonly Answer<ParsedFile>[]>,
    storage: Pick<Storage, 'packing' | 'remove'>,
    storing: () => number,
    takeIn?: TakeIn,
  ) {
    this.#pool = pool;
    this.#storage = storage;
    this.#takeIn = takeIn;
    this.#storing = storing;
  }

  /** Files waiting for a thread. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Throws BadFileFormat for what is not DICOM, Busy, Timeout. */
  parse(task: ParseTask): Promise<Parsed> {
    return this.#add({ task, put: false });
  }

  /**
   * The same, and stores the file as it is (whole, uncompressed) where the storage packs small ones, it is one, and there is space: the answer
   * then has its blob, provisional. It may be committed as well, as `arrival` says: then the answer has the outcome. Throws as `parse`, the
   * storage and the index do, leaving nothing behind.
   */
  parseAndPut(task: ParseTask, arrival: Arrival): Promise<ParsedFile | TakenFile> {
    const { packing } = this.#storage;
    const put = packing !== undefined && task.size <= packing.largest && isPageAligned(task.bytes);
    return this.#add({ task, put, arrival: put ? arrival : undefined });
  }

  #add(file: Pick<Waiting, 'task' | 'put' | 'arrival'>): Promise<ParsedFile | TakenFile> {
    if (this.#queue.length >= CAPACITY) return Promise.reject(new IsenError('Busy', 'too many files wait for parsing'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ since: performance.now(), ...file, resolve, reject });
      if (this.#gathering) return;
      this.#gathering = true;
      // Files whose last bytes came in the same turn of the event loop go together.
      setImmediate(() => {
        this.#gathering = false;
        this.#dispatch();
      });
    });
  }

  /** A second thread is woken for what is worth it only: while the first works, the next batch gathers. */
  #dispatch(): void {
    if (this.#queue.length > 0 && this.#areForOne()) {
      if (!this.#taking) void this.#take();
      return;
    }
    while (this.#running < this.#pool.threads) {
      const { count, full } = this.#batch();
      if (count === 0 || (this.#running > 0 && !full && count < WORTH_A_THREAD)) return;
      void this.#run(this.#queue.splice(0, count));
    }
  }

  /** Whether the thread that commits takes in what waits. */
  #areForOne(): boolean {
    return (
      this.#takeIn !== undefined &&
      this.#running === 0 &&
      this.#storing() <= FEW &&
      this.#queue.every(({ arrival }) => arrival !== undefined)
    );
  }

  async #take(): Promise<void> {
    this.#taking = true;
    let files: readonly Waiting[] = [];
    let place: Place | undefined;
    let failure: IsenError | undefined;
    let taken: Taking | undefined;
    try {
      taken = await this.#takeIn?.(() => {
        // What comes from now on has a turn of its own.
        this.#taking = false;
        if (!this.#areForOne()) return undefined;
        files = this.#queue.splice(0);
        place = this.#reserve(files);
        if (place === undefined) return undefined;
        const batch = { files: files.map(({ task }) => task), put: { space: place.space, blobs: place.blobs } };
        return { batch, arrivals: files.flatMap(({ arrival }) => arrival ?? []) };
      });
    } catch (thrown) {
      failure = asIsenError(thrown);
    }
    place?.release();
    for (const [index, waiting] of files.entries()) {
      const file = taken?.files[index];
      if (file !== undefined) {
        waiting.resolve(file);
        continue;
      }
      // Of a commit that may turn out durable the next start keeps or removes the files.
      if (!isOutcomeUnknown(failure)) this.#revoke(place?.blobs[index]?.uuid);
      if (failure?.code === 'DatabaseUnavailable') waiting.reject(failure);
      // The usual way says what is wrong with it.
      else this.#queue.unshift({ ...waiting, arrival: undefined });
    }
    this.#dispatch();
  }

  /** How many of the files that wait go together, and whether no more could. */
  #batch(): { readonly count: number; readonly full: boolean } {
    // As long as each can have a thread of its own they are done sooner.
    const isLast = this.#running === this.#pool.threads - 1;
    const front = this.#queue.slice(0, isLast ? MOST_LARGE : 0).map(isLarge);
    const large = front.includes(false) ? front.indexOf(false) : front.length;
    if (large > 1) return { count: large, full: true };
    let bytes = 0;
    let count = 0;
    for (const { task } of this.#queue) {
      bytes += task.bytes.length;
      if (count > 0 && bytes > MOST_BYTES) return { count, full: true };
      count += 1;
      if (count === MOST_FILES || bytes >= MOST_BYTES) return { count, full: true };
    }
    return { count, full: false };
  }

  async #run(batch: readonly Waiting[]): Promise<void> {
    this.#running += 1;
    const began = performance.now();
    let place: Place | undefined;
    try {
      place = this.#reserve(batch);
      const answers = await this.#pool.run({
        files: batch.map(({ task }) => task),
        ...(place && { put: { space: place.space, blobs: place.blobs } }),
      });
      place?.release();
      recordStage('parse', (performance.now() - began) / 1000, (began - (batch[0]?.since ?? began)) / 1000);
      for (const [index, { resolve, reject }] of batch.entries()) {
        const answer = answers[index];
        if (answer !== undefined && 'ok' in answer) {
          if (answer.ok.blob === undefined) this.#revoke(place?.blobs[index]?.uuid);
          resolve(answer.ok);
        } else {
          this.#revoke(place?.blobs[index]?.uuid);
          reject(
            answer === undefined
              ? new IsenError('InternalError', 'an answer of the parser is missing')
              : errorOf(answer.error),
          );
        }
      }
    } catch (thrown) {
      place?.release();
      for (const blob of place?.blobs ?? []) this.#revoke(blob?.uuid);
      await this.#failed(batch, asIsenError(thrown));
    } finally {
      this.#running -= 1;
      this.#dispatch();
    }
  }

  /** Space for those of a batch that are to be stored, at their places in it. */
  #reserve(batch: readonly Waiting[]): Place | undefined {
    const sizes = batch.flatMap(({ put, task }) => (put ? task.size : []));
    const place = sizes.length === 0 ? undefined : this.#storage.packing?.reserve(sizes);
    if (place === undefined) return undefined;
    let next = 0;
    return { ...place, blobs: batch.map(({ put }) => (put ? place.blobs[next++] : undefined)) };
  }

  /** Of a blob that was not stored some may be there. */
  #revoke(uuid: string | undefined): void {
    if (uuid === undefined) return;
    this.#storage.remove(uuid).catch((thrown: unknown) => {
      log.generic.error({ err: thrown }, 'removing a file that was not stored failed; the next start repeats it');
    });
  }

  /** A thread died or took too long: of several files only the culprit may suffer. */
  async #failed(batch: readonly Waiting[], error: IsenError): Promise<void> {
    if (batch.length === 1) {
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const each of batch) {
      try {
        const [answer] = await this.#pool.run({ files: [each.task] });
        if (answer === undefined) each.reject(error);
        else if ('error' in answer) each.reject(errorOf(answer.error));
        else each.resolve(answer.ok);
      } catch (thrown) {
        each.reject(asIsenError(thrown));
      }
    }
  }
}

const isLarge = ({ task: { bytes } }: Waiting): boolean =>
  bytes.length >= MOST_BYTES && bytes.length <= LARGEST_OF_MANY;
