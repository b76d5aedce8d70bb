/**
 * Owns the SQLite backend of the `database` port: writes go to a thread of their own, which serves lent associations as well; reads are
 * answered here from a second connection, and see every commit that was acknowledged.
 */

import { asIsenError, IsenError } from '../errors.ts';
import { newBell } from '../polling.ts';
import { createPool, type Pool } from '../pool.ts';
import type { Attendance, Attending } from './attending.ts';
import type { Arrival, Committed, Database, DatabaseLimits, Operation, Taking } from './database.ts';
import type { Batch } from '../storage/parse-and-put.ts';
import { DICOM_ATTACHMENT } from './database.ts';
import { areDurable, countOf, distrust, isDoubtful, newCommits, readableOf, tellDurable } from './sqlite/commits.ts';
import { readExports } from './sqlite/exports.ts';
import { unwritten } from './sqlite/log-file.ts';
import { LogSync } from './sqlite/log-sync.ts';
import { Reader } from './sqlite/reader.ts';
import { encodeOperations, type WriteAnswer, type WriterData, type WriteTask } from './sqlite/task.ts';
import { WorkReader } from './sqlite/work.ts';

/** Commits that may wait; the caller of the port gathers operations into few large ones. */
const WAITING_COMMITS = 1024;
/** Milliseconds after which a task's thread is ended: a disk that answers no more must not hold its callers for ever. */
const DEADLINE = 120_000;
/** Rows written between two checkpoints: some tens of megabytes of write-ahead log. */
const CHECKPOINT_ROWS = 16_384;

export interface SqliteOptions {
  /** Of the file; `-wal` and `-shm` lie beside it. */
  readonly path: string;
  readonly limits: DatabaseLimits;
  /** Main tags that are kept besides the built-in ones. */
  readonly kept?: WriterData['kept'];
}

/** Opens (creating or migrating) the index. Throws `IncompatibleDatabaseVersion` when a newer program wrote it. */
export async function openSqlite({ path, limits, kept = {} }: SqliteOptions): Promise<Database> {
  const commits = newCommits();
  const bell = newBell();
  // A thread that dies rejects its task; the pool starts another, which opens the file again.
  const thread = (): Pool<WriteTask, WriteAnswer> =>
    createPool({
      file: 'write',
      threads: 1,
      queue: WAITING_COMMITS,
      deadline: DEADLINE,
      workerData: { path, limits, commits, kept, bell: bell?.descriptor } satisfies WriterData,
    });
  const writer = thread();
  const checkpointer = thread();
  /** The thread attends to associations, and has not been asked to end that. */
  let isAttending = false;
  const endAttending = (): void => {
    if (isAttending) bell?.ring();
    isAttending = false;
  };
  const run = async (pool: typeof writer, task: WriteTask): Promise<WriteAnswer> => {
    if (pool === writer && task.kind !== 'attend') endAttending();
    try {
      return await pool.run(task);
    } catch (thrown) {
      const error = asIsenError(thrown);
      // The thread died or was ended: what it had written by then is unknown.
      if (error.code !== 'InternalError' && error.code !== 'Timeout') throw error;
      throw new IsenError('DatabaseUnavailable', undefined, { cause: thrown });
    }
  };
  const end = async (): Promise<void> => {
    await Promise.all([writer.close(), checkpointer.close()]);
    bell?.close();
  };
  let reader: Reader;
  let log: LogSync;
  try {
    await run(writer, { kind: 'open' });
    reader = new Reader(path);
    log = new LogSync(path, () => distrust(commits));
  } catch (error) {
    await end();
    throw error;
  }

  const work = new WorkReader(reader);
  let rows = 0;
  let checkpointing: Promise<void> | undefined;
  /** Beside the commits, and once more beside those that came meanwhile, so that what the writer must wait for is little. */
  const checkpoint = async (): Promise<void> => {
    rows = 0;
    try {
      for (const pool of [checkpointer, checkpointer, writer]) await run(pool, { kind: 'checkpoint' });
    } catch {
      // The log is only longer then; what ails the file is the next commit's to report.
    }
    checkpointing = undefined;
  };
  const written = (count: number): void => {
    rows += count;
    if (rows >= CHECKPOINT_ROWS) checkpointing ??= checkpoint();
  };

  /** Resolves when what was committed, and what anybody has read, is durable. */
  const synced = async (): Promise<void> => {
    if (!areDurable(commits)) {
      const readable = readableOf(commits);
      await log.synced();
      tellDurable(commits, readable);
    }
    // A commit, though of nothing, mends the log or says that it cannot.
    if (isDoubtful(commits)) await run(writer, { kind: 'commit', operations: encodeOperations([]) });
  };
  /** Throws where a sync has failed since `failures` were counted: what was committed since then comes behind what may be lost. */
  const check = (failures: number): void => {
    if (log.failures !== failures) throw unwritten();
  };

  const attend = (attending: Attending): Attendance => {
    isAttending = true;
    const ended = run(writer, { kind: 'attend', ...attending }).then((attended) => {
      if (attended === undefined || !('returned' in attended)) throw new IsenError('InternalError');
      written(attended.files.length + attended.changes.length);
      return attended;
    });
    const over = (): void => {
      isAttending = false;
    };
    ended.then(over, over);
    return { ended, end: endAttending };
  };

  return {
    shared: false,
    ...(bell && { attend }),
    async commit(operations: readonly Operation[]): Promise<Committed> {
      for (const operation of operations) {
        if (operation.kind === 'attachment' && operation.contentType === DICOM_ATTACHMENT && !operation.attachment) {
          throw new IsenError('ForbiddenAccess', 'The DICOM file goes with its instance only');
        }
      }
      const { failures } = log;
      const committed = await run(writer, { kind: 'commit', operations: encodeOperations(operations) });
      check(failures);
      if (committed === undefined || !('outcomes' in committed)) throw new IsenError('InternalError');
      written(operations.length + committed.changes.length);
      return committed;
    },
    async takeIn(batch: Batch, arrivals: readonly Arrival[]): Promise<Taking> {
      const { failures } = log;
      const taken = await run(writer, { kind: 'take-in', batch, arrivals });
      if (taken === undefined || !('files' in taken) || 'returned' in taken) throw new IsenError('InternalError');
      written(batch.files.length + taken.changes.length);
      return { ...taken, durable: synced().then(() => check(failures)) };
    },
    find: async (request) => reader.find(request),
    count: async (request) => reader.count(request),
    lookup: async (value) => reader.lookup(value),
    statistics: async (of) => reader.statistics(of),
    // A number of the log that somebody has seen is never given again, not even after a power cut.
    async changes(request) {
      const found = await reader.changes(request);
      await synced();
      return found;
    },
    async lastSeq() {
      const last = reader.lastSeq();
      await synced();
      return last;
    },
    property: async (name) => reader.property(name),
    work: async (request) => work.list(request),
    workCounts: async (of) => work.counts(of),
    nextWork: async (queue) => work.next(queue),
    exports: async (request) => readExports(reader, request),
    version: () => countOf(commits),
    labels: async () => reader.labels(),
    // What they were replaced by must outlive them.
    async removals(limit) {
      const found = reader.removals(limit);
      await synced();
      return found;
    },
    settled: synced,
    attached: async (uuids) => reader.attached(uuids),
    nextStable: async () => reader.nextStable(),
    async close(): Promise<void> {
      await reader.close();
      await checkpointing;
      await log.close();
      try {
        await run(checkpointer, { kind: 'close' });
        await run(writer, { kind: 'close' });
      } finally {
        await end();
      }
    },
  };
}
