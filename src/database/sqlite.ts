/**
 * Owns the SQLite backend of the `database` port: writes go to a thread of their own, one task a transaction; reads are
 * answered here from a second connection, and see every commit that was acknowledged.
 */

import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { IsenError } from '../errors.ts';
import type { Committed, Database, DatabaseLimits, Operation } from './database.ts';
import { DICOM_ATTACHMENT } from './database.ts';
import { Reader } from './sqlite/reader.ts';
import { encodeOperations, type WriteAnswer, type WriterData, type WriteTask } from './sqlite/task.ts';

const WRITER = fileURLToPath(new URL('../../workers/write.js', import.meta.url));
/** Commits that may wait; the caller of the port gathers operations into few large ones. */
const WAITING_COMMITS = 1024;
/** Rows written between two checkpoints: some tens of megabytes of write-ahead log. */
const CHECKPOINT_ROWS = 8192;

export interface SqliteOptions {
  /** Of the file; `-wal` and `-shm` lie beside it. */
  readonly path: string;
  readonly limits: DatabaseLimits;
}

/** Opens (creating or migrating) the index. Throws `IncompatibleDatabaseVersion` when a newer program wrote it. */
export async function openSqlite({ path, limits }: SqliteOptions): Promise<Database> {
  const workerData: WriterData = { path, limits };
  const pool = new Piscina<WriteTask, WriteAnswer>({
    filename: WRITER,
    minThreads: 1,
    maxThreads: 1,
    maxQueue: WAITING_COMMITS,
    workerData,
  });
  // A thread that dies rejects its task; the pool starts another, which opens the file again.
  pool.on('error', () => undefined);
  const run = async (task: WriteTask): Promise<WriteAnswer> => {
    let answer: WriteAnswer;
    try {
      answer = await pool.run(task);
    } catch (error) {
      throw new IsenError('DatabaseUnavailable', undefined, { cause: error });
    }
    if (answer.kind === 'failed') throw new IsenError(answer.error.code, answer.error.details);
    return answer;
  };
  let reader: Reader;
  try {
    await run({ kind: 'open' });
    reader = new Reader(path);
  } catch (error) {
    await pool.destroy();
    throw error;
  }

  let rows = 0;
  let checkpoint: Promise<unknown> | undefined;
  const checkpointLater = (): void => {
    rows = 0;
    // Its failure is the next commit's to report.
    checkpoint ??= run({ kind: 'checkpoint' })
      .catch(() => undefined)
      .finally(() => {
        checkpoint = undefined;
      });
  };

  return {
    async commit(operations: readonly Operation[]): Promise<Committed> {
      for (const operation of operations) {
        if (operation.kind === 'attachment' && operation.contentType === DICOM_ATTACHMENT && !operation.attachment) {
          throw new IsenError('ForbiddenAccess', 'The DICOM file goes with its instance only');
        }
      }
      const answer = await run({ kind: 'commit', operations: encodeOperations(operations) });
      if (answer.kind !== 'committed') throw new IsenError('InternalError');
      rows += operations.length + answer.committed.changes.length;
      if (rows >= CHECKPOINT_ROWS) checkpointLater();
      return answer.committed;
    },
    find: async (request) => reader.find(request),
    lookup: async (value) => reader.lookup(value),
    statistics: async (of) => reader.statistics(of),
    changes: async (request) => reader.changes(request),
    lastSeq: async () => reader.lastSeq(),
    property: async (name) => reader.property(name),
    labels: async () => reader.labels(),
    removals: async (limit) => reader.removals(limit),
    attached: async (uuids) => reader.attached(uuids),
    nextStable: async () => reader.nextStable(),
    async close(): Promise<void> {
      await reader.close();
      try {
        await run({ kind: 'close' });
      } finally {
        await pool.destroy();
      }
    },
  };
}
