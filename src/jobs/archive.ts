/**
 * Owns archives of stored resources: streamed to a client while they are made, or made by a job that keeps them for download
 * (`Archive` and `Media`).
 */

import type { Database } from '../database/database.ts';
import type { Packed, PackTask } from '../dicom/packing.ts';
import { IsenError } from '../errors.ts';
import type { Transcoder } from '../ingest/transcoder.ts';
import { createPool, type Pool } from '../pool.ts';
import type { Storage } from '../storage/storage.ts';
import { archiveBytes, type ArchiveOrder, type ArchiveRoom, type ArchiveTally } from './archive-bytes.ts';
import { countInstances } from './archive-files.ts';
import type { Jobs } from './jobs.ts';
import type { Content, JobRun } from './kinds.ts';

/** A job that makes an archive. */
export interface ArchiveSubmission {
  readonly order: ArchiveOrder;
  /** Of the file, for whoever downloads it. */
  readonly filename: string;
  readonly priority: number;
  readonly userData?: unknown;
}

export interface Archives {
  /**
   * The bytes of an archive of resources that exist: nothing is read ahead of who takes them but for a bound. To be ended
   * (`return`) by who takes no more. Throws Busy where too many are under way already; its bytes throw what reading files throws.
   */
  stream(order: ArchiveOrder): AsyncGenerator<Uint8Array, void>;
  /** Queues a job whose output `archive` it will be. Answers its id. */
  submit(submission: ArchiveSubmission): Promise<string>;
  /** Ends the threads. */
  close(): Promise<void>;
}

export interface ArchivesOptions {
  readonly database: Database;
  readonly storage: Storage;
  readonly transcoder: Transcoder;
  readonly jobs: Jobs;
}

/** Archives that are streamed at the same time. */
const MOST = 64;
/** Milliseconds that packing one file may take. */
const FILE_DEADLINE = 60_000;
/** Milliseconds that one job may take: it may be of everything. */
const JOB_DEADLINE = 7 * 24 * 3600_000;
/** Bytes of a megabyte, as jobs count. */
const MB = 2 ** 20;

/** The durable state of a job. */
interface State extends ArchiveOrder {
  readonly filename: string;
}

/** Registers the kinds of jobs, before the start of `jobs`; the threads start with the first archive. */
export function createArchives({ database, storage, transcoder, jobs }: ArchivesOptions): Archives {
  let pool: Pool<PackTask, Packed> | undefined;
  let closed = false;
  const readAhead = { bytes: 0 };
  const room = (): ArchiveRoom => {
    if (closed) throw new IsenError('Busy', 'the server is stopping');
    pool ??= createPool({ file: 'pack', deadline: FILE_DEADLINE });
    return { database, storage, transcoder, pool, readAhead };
  };
  let streams = 0;

  const run = async (job: JobRun, signal: AbortSignal): Promise<Content> => {
    const { filename, ...order } = job.state as State;
    const tally: ArchiveTally = { instances: 0, size: 0 };
    const total = await countInstances(database, order.resources);
    const output = await job.output('archive', { type: 'application/zip', filename });
    let size = 0;
    try {
      for await (const bytes of archiveBytes(room(), order, tally)) {
        signal.throwIfAborted();
        await output.write(bytes);
        size += bytes.length;
        if (total > 0) job.progress(tally.instances / total);
      }
    } catch (thrown) {
      // What cannot be removed now goes with the run.
      await output.abort().catch(() => {});
      throw thrown;
    }
    await output.finish();
    return contentOf(order, tally, size);
  };
  for (const type of ['Archive', 'Media']) jobs.register({ type, deadline: JOB_DEADLINE, run });

  return {
    async *stream(order) {
      if (streams >= MOST) throw new IsenError('Busy', 'too many archives are being made');
      streams += 1;
      try {
        yield* archiveBytes(room(), order, { instances: 0, size: 0 });
      } finally {
        streams -= 1;
      }
    },
    submit: ({ order, filename, priority, userData }) =>
      jobs.submit({
        type: order.media ? 'Media' : 'Archive',
        content: contentOf(order, { instances: 0, size: 0 }, 0),
        state: { ...order, filename } satisfies State,
        priority,
        ...(userData !== undefined && { userData }),
      }),
    async close() {
      closed = true;
      await pool?.close();
    },
  };
}

/** What the job shows. */
function contentOf(order: ArchiveOrder, tally: ArchiveTally, size: number): Content {
  return {
    ArchiveSize: String(size),
    ArchiveSizeMB: Math.floor(size / MB),
    Description: 'REST API',
    InstancesCount: tally.instances,
    ...(order.quality !== undefined && { LossyQuality: order.quality }),
    ...(order.transcode !== undefined && { Transcode: order.transcode }),
    UncompressedSize: String(tally.size),
    UncompressedSizeMB: Math.floor(tally.size / MB),
    Utf8: order.utf8,
  };
}
