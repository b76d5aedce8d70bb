/**
 * Owns the composition: configuration → backends → ingest → doors, and closing them in reverse order. Only this file
 * knows which backend is which.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Answer } from './answer.ts';
import { createEmbeddedChanges } from './changes/embedded.ts';
import type { Config } from './config.ts';
import { lockIndex } from './database/sqlite/connection.ts';
import { openSqlite } from './database/sqlite.ts';
import type { Parsed, ParseTask } from './dicom/parsing.ts';
import { asError, IsenError } from './errors.ts';
import { makeFolder } from './folder.ts';
import { createHttp } from './http/app.ts';
import { createHeaders } from './ingest/header.ts';
import { createPictures } from './ingest/pictures.ts';
import { openIngest } from './ingest/reception.ts';
import { openEmbeddedQueue } from './jobs/embedded.ts';
import { createEngine } from './jobs/engine.ts';
import { createModifications } from './jobs/modify.ts';
import { setMetricsEnabled } from './metrics.ts';
import { createPool } from './pool.ts';
import { openFilesystem } from './storage/filesystem.ts';

/** Bytes of a megabyte, as the options count. */
const MB = 2 ** 20;

/** Entries of one queue at most: some gigabytes of disk. */
const LONGEST_QUEUE = 10_000_000;

/** Milliseconds that requests under way have to end when the server stops. */
const GRACE = 10_000;

export interface StartOptions {
  readonly config: Config;
}

/** A running server. */
export interface Server {
  /** Where the REST API answers; undefined when it is not served. */
  readonly url: string | undefined;
  /** Takes nothing new, finishes what was accepted, closes every file. */
  close(): Promise<void>;
}

/** Starts a server. Throws IsenError with what the operator can do about it; nothing runs then. */
export async function start({ config }: StartOptions): Promise<Server> {
  /** In order of opening. */
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) await closer();
  };
  try {
    try {
      makeFolder(config.IndexDirectory);
    } catch (thrown) {
      const details = `IndexDirectory ${config.IndexDirectory} cannot be made: ${asError(thrown).message}`;
      throw new IsenError('CannotWriteFile', details, { cause: thrown });
    }
    closers.push(lockIndex(join(config.IndexDirectory, 'lock')));
    const storage = await openFilesystem({ root: config.StorageDirectory, sync: config.SyncStorageArea });
    const database = await openSqlite({
      path: join(config.IndexDirectory, 'index'),
      limits: {
        maximumStorageSize: config.MaximumStorageSize * MB,
        maximumPatientCount: config.MaximumPatientCount,
        mode: config.MaximumStorageMode,
        stableAge: config.StableAge * 1000,
      },
    });
    closers.push(() => database.close());
    const changes = createEmbeddedChanges(database);
    const parsers = createPool<readonly ParseTask[], readonly Answer<Parsed>[]>({ file: 'parse', deadline: 60_000 });
    closers.push(() => parsers.close());
    const ingest = await openIngest({
      database,
      storage,
      changes,
      parsers,
      overwrite: config.OverwriteInstances,
      hash: config.StoreMD5ForAttachments,
      budget: config.MaximumInFlightMB * MB,
      largestBody: config.MaximumRequestBodySizeMB * MB || Number.POSITIVE_INFINITY,
      minimumFree: config.MinimumFreeDiskMB * MB,
    });
    closers.push(() => ingest.close());
    const queue = await openEmbeddedQueue({
      database,
      commit: (operations) => ingest.applyAll(operations),
      capacity: LONGEST_QUEUE,
    });
    closers.push(() => queue.close());
    const jobs = createEngine({
      queue,
      storage,
      concurrent: config.ConcurrentJobs,
      history: config.JobsHistorySize,
      save: config.SaveJobs,
      outputs: config.MediaArchiveSize,
    });
    const modifications = createModifications({ database, storage, ingest, jobs });
    closers.push(() => modifications.close());
    closers.push(() => jobs.close());
    await jobs.start();
    setMetricsEnabled(config.MetricsEnabled);
    if (!config.HttpServerEnabled) return { url: undefined, close };
    const headers = createHeaders(storage);
    closers.push(() => headers.close());
    const pictures = createPictures(headers);
    closers.push(() => pictures.close());
    const http = await createHttp({
      config,
      database,
      storage,
      changes,
      ingest,
      queue,
      jobs,
      modifications,
      headers,
      pictures,
      version: version(),
    });
    const { port } = await http.listen();
    closers.push(() => http.close(GRACE));
    return { url: `http${config.SslEnabled ? 's' : ''}://127.0.0.1:${port}`, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** Our own version, of package.json. */
function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}
