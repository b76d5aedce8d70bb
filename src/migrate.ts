/**
 * Owns moving a server from one configuration to another: its index, files and queues, from and to whichever engines the two name. What
 * is interrupted is taken up where it stopped, by comparing: rows that are the same stay, and a row stands in the target only once its
 * file does, durably, with the MD5 that was read back. In the end everything is compared once more.
 */

import { existsSync, realpathSync } from 'node:fs';
import { openRedis, openRows, openStorage } from './backends.ts';
import type { Config } from './config.ts';
import {
  compareKeys,
  differences,
  type IndexRows,
  MIGRATION,
  MOVED_FILES,
  type Row,
  rowsOf,
  type Table,
  TABLES,
} from './database/copy.ts';
import { IsenError } from './errors.ts';
import { openBullQueue, positionsIn } from './jobs/bullmq.ts';
import { copyQueues, isPosition, type QueueCopy, queueBehindPort, queueInRows } from './jobs/queue-copy.ts';
import { copyFile, hasFile, type StoredFile } from './storage/copy.ts';
import type { Storage } from './storage/storage.ts';

/** Rows committed together, with their files. */
const BATCH = 500;

/** Files copied at the same time. */
const FILES = 8;

/** Entries that a queue may have. */
const QUEUE_CAPACITY = 1_000_000;

type Phase = 'looking' | 'copying' | 'verifying';

export interface MigrationProgress {
  readonly phase: Phase;
  /** Rows of the phase: so far, and in all. */
  readonly rows: number;
  readonly total: number;
  /** Bytes of files that were copied. */
  readonly bytes: number;
}

export interface MigrateOptions {
  readonly from: Config;
  readonly to: Config;
  /** Ends after what is under way; the next call goes on from there. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: MigrationProgress) => void;
}

/** What was done; the sums are of this run. */
export interface MigrationReport {
  /** Whether it went on with what an earlier run had begun. */
  resumed: boolean;
  /** Rows that are in both indices now, and those that this run wrote. */
  rows: number;
  written: number;
  files: number;
  bytes: number;
  /** Entries of queues that went from one engine to another. */
  entries: number;
  /** UUIDs of files that the source does not have any more, or that are not as its index says: these were copied as they are. */
  readonly missing: string[];
  readonly altered: string[];
  /** It was told to stop. */
  stopped: boolean;
}

/** The file that a row describes. */
function fileOf(table: Table, row: Row): StoredFile | undefined {
  const at = Object.keys(table.columns).indexOf('md5');
  if (at < 0) return undefined;
  const [uuid, size, md5, compressedSize, compressedMd5] = row.slice(at - 2);
  return {
    uuid: String(uuid),
    size: Number(compressedSize ?? size),
    md5: String(compressedMd5 ?? (compressedSize === null ? md5 : null) ?? ''),
  };
}

/** Where files are, the same for the same place. */
function storageIdentity(config: Config): string {
  const bucket = config.S3 ?? config.AwsS3Storage;
  if (bucket !== null) return `S3 ${bucket.Endpoint ?? bucket.Region} ${bucket.Bucket} ${bucket.Prefix}`;
  const folder = config.StorageDirectory;
  return `files ${existsSync(folder) ? realpathSync(folder) : folder}`;
}

/** Where queues are. */
const queuesIdentity = ({ Redis: to }: Config): string =>
  to === null ? 'index' : `Redis ${to.SentinelName} ${new URL(to.Url).host}${new URL(to.Url).pathname} ${to.Prefix}`;

/** Where files and queues go. */
const placeOf = (config: Config): string => `${storageIdentity(config)} ${queuesIdentity(config)}`;

/** What others have in there would be forgotten. */
async function checkEmpty(queues: QueueCopy | undefined): Promise<void> {
  if (queues !== undefined && !(await queues.isEmpty()))
    throw new IsenError('Database', 'the queues of the target are not empty');
}

/** Copying a file removes what stands in its place first: that must not be the file itself, reached by another name. */
async function checkApart(from: Storage, to: Storage): Promise<void> {
  const uuid = to.name();
  const bytes = Buffer.from(uuid);
  await to.put(uuid, bytes);
  try {
    if (await hasFile(from, { uuid, size: bytes.length, md5: '' }))
      throw new IsenError('ParameterOutOfRange', 'both configurations name the same files, but not in the same words');
  } finally {
    await to.remove(uuid);
  }
}

class Migration {
  readonly #source: IndexRows;
  readonly #target: IndexRows;
  readonly #from: Storage;
  readonly #to: Storage;
  readonly #tables: readonly Table[];
  readonly #moves: { readonly index: boolean; readonly files: boolean };
  readonly #options: MigrateOptions;
  readonly report: MigrationReport = {
    resumed: false,
    rows: 0,
    written: 0,
    files: 0,
    bytes: 0,
    entries: 0,
    missing: [],
    altered: [],
    stopped: false,
  };
  #place = '';
  #after: Record<string, Row> = {};
  #progress: MigrationProgress = { phase: 'looking', rows: 0, total: 0, bytes: 0 };

  constructor(
    rows: readonly [IndexRows, IndexRows],
    storages: readonly [Storage, Storage],
    moves: { readonly index: boolean; readonly files: boolean; readonly work: boolean },
    options: MigrateOptions,
  ) {
    [this.#source, this.#target] = rows;
    [this.#from, this.#to] = storages;
    this.#moves = moves;
    // What is in Redis on one of both sides goes from queue to queue.
    this.#tables = TABLES.filter(({ name }) => moves.work || !name.startsWith('work'));
    this.#options = options;
  }

  /**
   * Takes the target as its own, with its queues: empty ones, or those that it has begun. Throws `Database` for any other, having changed
   * nothing.
   */
  async claim(queues: QueueCopy | undefined): Promise<void> {
    // Rows that an earlier run has brought have their files where that run brought them.
    const identity = `${this.#source.identity} to ${placeOf(this.#options.to)}`;
    const marker = await this.#target.property(MIGRATION);
    this.report.resumed = marker !== undefined;
    if (marker === undefined) {
      const held: string[] = [];
      for (const table of TABLES) {
        const count = await this.#target.count(table);
        if (count > 0) held.push(`${table.name} ${count}`);
      }
      if (held.length > 0) throw new IsenError('Database', `the target is not empty: it has ${held.join(', ')}`);
      await checkEmpty(queues);
      await this.#target.setProperty(MIGRATION, identity);
    } else if (marker !== identity)
      throw new IsenError(
        'Database',
        `the target is half of a migration from another index, or to other files (${marker})`,
      );
  }

  /** Everything; false where it was told to stop. */
  async index(): Promise<boolean> {
    const source = await Promise.all(this.#tables.map(async (table) => this.#source.count(table)));
    const total = source.reduce((sum, count) => sum + count, 0);
    if (this.report.resumed) {
      this.#begin('looking', total);
      for (const table of [...this.#tables].reverse()) if (!(await this.#tidy(table))) return false;
    }
    this.#begin('copying', total);
    for (const table of this.#tables) if (!(await this.#copy(table))) return false;
    return true;
  }

  /** Compares everything, and lets servers start on the target. */
  async finish(): Promise<void> {
    const { counters, given } = await this.#source.totals();
    const { given: there } = await this.#target.totals();
    const { work = 0 } = this.#tables.some(({ name }) => name === 'work') ? given : there;
    await this.#target.setTotals({ counters, given: { ...given, work } });
    this.#begin('verifying', this.#progress.total);
    for (const table of this.#tables) {
      for await (const { source, target } of differences(this.#source, this.#target, table, () => this.#count(1))) {
        const key = (source ?? target ?? []).slice(0, table.key).join();
        if (!this.#isOwn(table, key))
          throw new IsenError('Database', `the row ${key} of ${table.name} is not the same in both`);
      }
    }
    this.report.rows = this.#progress.rows;
    const found = await this.#target.totals();
    if (JSON.stringify(found.counters) !== JSON.stringify(counters))
      throw new IsenError('Database', 'the sums of both are not the same');
    await this.#target.setProperty(MIGRATION, undefined);
  }

  /** A property that the target has for itself: the positions of queues that are in Redis otherwise. */
  #isOwn(table: Table, key: string): boolean {
    return table.name === 'properties' && !this.#tables.some(({ name }) => name === 'work') && isPosition(key);
  }

  /**
   * Whether an earlier run began to move files or queues of this index, which stays, to the same place: up to which rows it came. Throws
   * `Database`, having changed nothing, where it did not and the queues there are not empty.
   */
  async claimIndex(queues: QueueCopy | undefined): Promise<void> {
    const stored = JSON.parse((await this.#source.property(MOVED_FILES)) ?? '{}') as {
      place?: string;
      after?: Record<string, Row>;
    };
    this.#place = placeOf(this.#options.to);
    this.report.resumed = stored.place === this.#place;
    if (!this.report.resumed) await checkEmpty(queues);
    this.#after = this.report.resumed ? { ...stored.after } : {};
    await this.#note();
  }

  async #note(): Promise<void> {
    await this.#source.setProperty(MOVED_FILES, JSON.stringify({ place: this.#place, after: this.#after }));
  }

  /** The end of what {@link claimIndex} began. */
  async finishIndex(): Promise<void> {
    await this.#source.setProperty(MOVED_FILES, undefined);
    this.report.rows = this.#progress.rows;
  }

  /** The files alone; false where it was told to stop. */
  async files(): Promise<boolean> {
    const tables = TABLES.filter(({ columns }) => 'md5' in columns);
    let total = 0;
    for (const table of tables) total += await this.#source.count(table);
    this.#begin('copying', total);
    for (const table of tables) {
      const seen = this.#after[table.name];
      const isBefore = (row: Row): boolean => seen !== undefined && compareKeys(table, row, seen) <= 0;
      const whole = await this.#inBatches(rowsOf(this.#source, table), async (rows) => {
        // Between two runs a server may have stored files in rows that were seen.
        await this.#files(table, rows, (file, row) => isBefore(row) && hasFile(this.#to, file));
        const last = rows.at(-1) ?? [];
        if (isBefore(last)) return;
        this.#after[table.name] = last.slice(0, table.key);
        await this.#note();
      });
      if (!whole) return false;
    }
    return true;
  }

  /** Takes out of the target what the source has no more, or has another way. */
  async #tidy(table: Table): Promise<boolean> {
    const [target, to] = [this.#target, this.#to];
    const stale = async function* (found: AsyncIterable<{ readonly target: Row | undefined }>): AsyncGenerator<Row> {
      for await (const { target: row } of found) if (row !== undefined) yield row;
    };
    const found = differences(this.#source, target, table, () => this.#count(1));
    return this.#inBatches(stale(found), async (rows) => {
      await target.write(table, rows, []);
      for (const row of rows) {
        const file = fileOf(table, row);
        if (this.#moves.files && file !== undefined) await to.remove(file.uuid);
      }
    });
  }

  /** Brings what the target lacks of a table: files first. */
  async #copy(table: Table): Promise<boolean> {
    const lacking = async function* (found: AsyncIterable<{ readonly source: Row | undefined }>): AsyncGenerator<Row> {
      for await (const { source: row } of found) if (row !== undefined) yield row;
    };
    const found = differences(this.#source, this.#target, table, () => this.#count(1));
    return this.#inBatches(lacking(found), async (rows) => {
      if (this.#moves.files) await this.#files(table, rows, () => false);
      await this.#target.write(table, [], rows);
      this.report.written += rows.length;
      this.#count(rows.length);
    });
  }

  /** Hands rows on in batches; false where it was told to stop. */
  async #inBatches(rows: AsyncIterable<Row>, step: (batch: readonly Row[]) => Promise<void>): Promise<boolean> {
    let batch: Row[] = [];
    for await (const row of rows) {
      if (batch.push(row) < BATCH) continue;
      await step(batch);
      batch = [];
      if (this.#options.signal?.aborted === true) {
        this.report.stopped = true;
        return false;
      }
    }
    if (batch.length > 0) await step(batch);
    return true;
  }

  /** Copies the files of some rows, but those of which `isThere` knows that they are there. */
  async #files(
    table: Table,
    rows: readonly Row[],
    isThere: (file: StoredFile, row: Row) => boolean | Promise<boolean>,
  ): Promise<void> {
    const waiting = [...rows];
    const worker = async (): Promise<void> => {
      for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) {
        const file = fileOf(table, row);
        if (file !== undefined && !(await isThere(file, row))) await this.#file(file);
        if (!this.#moves.index) this.#count(1);
      }
    };
    // One that fails leaves the others nothing to begin.
    const failed = (thrown: unknown): never => {
      waiting.length = 0;
      throw thrown;
    };
    const settled = await Promise.allSettled(Array.from({ length: FILES }, async () => worker().catch(failed)));
    for (const each of settled) if (each.status === 'rejected') throw each.reason;
  }

  async #file(file: StoredFile): Promise<void> {
    const { state, size } = await copyFile(this.#from, this.#to, file);
    if (state !== 'copied') this.report[state].push(file.uuid);
    if (state !== 'missing') this.report.files += 1;
    this.report.bytes += size;
    this.#count(0);
  }

  #begin(phase: Phase, total: number): void {
    this.#progress = { phase, rows: 0, total, bytes: this.report.bytes };
    this.#count(0);
  }

  #count(rows: number): void {
    this.#progress = { ...this.#progress, rows: this.#progress.rows + rows, bytes: this.report.bytes };
    this.#options.onProgress?.(this.#progress);
  }
}

/** Opens the queues that are in Redis; undefined where they are in the index. */
async function openQueue(config: Config, closers: (() => Promise<void>)[]): Promise<QueueCopy | undefined> {
  const redis = await openRedis(config, closers);
  if (redis === undefined) return undefined;
  const queue = await openBullQueue({ redis, capacity: QUEUE_CAPACITY });
  closers.push(() => queue.close());
  return queueBehindPort(queue, () => positionsIn(redis));
}

/**
 * Moves everything from one configuration to another; neither has a server then. The source stays as it is. Throws IsenError with what is in
 * the way: a server that runs, a target that is not empty, an engine that fails; what was done until then is not done again by
 * the next call.
 */
export async function migrate(options: MigrateOptions): Promise<MigrationReport> {
  const { from, to } = options;
  const closers: (() => Promise<void>)[] = [];
  try {
    const source = await openRows(from);
    closers.push(() => source.close());
    let target = await openRows(to);
    const index = source.identity !== target.identity;
    if (index) {
      const { close } = target;
      closers.push(() => close.call(target));
    } else {
      await target.close();
      target = source;
    }
    const files = storageIdentity(from) !== storageIdentity(to);
    const queues = queuesIdentity(from) !== queuesIdentity(to);
    if (!index && !files && !queues)
      throw new IsenError('ParameterOutOfRange', 'both configurations name the same index, files and queues');
    await source.lock('source');
    if (index) await target.lock('target');
    const held = await openStorage(from, closers);
    const storages = [held, files ? await openStorage({ ...to, NodeName: '' }, closers) : held] as const;
    if (files) await checkApart(...storages);
    const work = from.Redis === null && to.Redis === null;
    const migration = new Migration([source, target], storages, { index, files, work }, options);
    const { report } = migration;
    // Those of an index are among its rows.
    const ends =
      queues && !work
        ? ([
            (await openQueue(from, closers)) ?? queueInRows(source),
            (await openQueue(to, closers)) ?? queueInRows(target),
          ] as const)
        : undefined;
    await (index ? migration.claim(ends?.[1]) : migration.claimIndex(ends?.[1]));
    if (index && !(await migration.index())) return report;
    if (!index && files && !(await migration.files())) return report;
    if (ends !== undefined) report.entries = await copyQueues(...ends);
    await (index ? migration.finish() : migration.finishIndex());
    return report;
  } finally {
    for (const close of closers.reverse()) await close();
  }
}
