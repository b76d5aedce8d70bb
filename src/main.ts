/**
 * Owns the composition: configuration → backends → ingest → doors, and closing them in reverse order. Only this file
 * knows which backend is which.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Answer } from './answer.ts';
import type { Changes } from './changes/changes.ts';
import { createEmbeddedChanges } from './changes/embedded.ts';
import { openRedisChanges } from './changes/redis.ts';
import type { Config } from './config.ts';
import type { Database, DatabaseLimits } from './database/database.ts';
import { openPostgres } from './database/postgres.ts';
import { lockIndex } from './database/sqlite/connection.ts';
import { openSqlite } from './database/sqlite.ts';
import type { Parsed, ParseTask } from './dicom/parsing.ts';
import { asError, IsenError } from './errors.ts';
import { makeFolder } from './folder.ts';
import { createHttp } from './http/app.ts';
import { createHeaders } from './ingest/header.ts';
import { createPictures } from './ingest/pictures.ts';
import { openIngest } from './ingest/reception.ts';
import { openBullQueue } from './jobs/bullmq.ts';
import { openEmbeddedQueue } from './jobs/embedded.ts';
import { createEngine } from './jobs/engine.ts';
import { setMetricsEnabled } from './metrics.ts';
import { createPool } from './pool.ts';
import { connectRedis, type RedisConnection } from './redis.ts';
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
    const database = await openDatabase(config, closers);
    closers.push(() => database.close());
    const storage = await openFilesystem({ root: config.StorageDirectory, sync: config.SyncStorageArea });
    const redis = await openRedis(config, closers);
    const changes = await openChanges(redis, database, closers);
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
    const queue =
      redis === undefined
        ? await openEmbeddedQueue({
            database,
            commit: (operations) => ingest.applyAll(operations),
            capacity: LONGEST_QUEUE,
          })
        : await openBullQueue({ redis, capacity: LONGEST_QUEUE });
    closers.push(() => queue.close());
    const jobs = createEngine({
      queue,
      storage,
      concurrent: config.ConcurrentJobs,
      history: config.JobsHistorySize,
      // What one server starts with is what the others are doing.
      save: config.SaveJobs || redis !== undefined,
      outputs: config.MediaArchiveSize,
    });
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

/** The index, on the engine that the configuration names. */
async function openDatabase(config: Config, closers: (() => Promise<void>)[]): Promise<Database> {
  const limits: DatabaseLimits = {
    maximumStorageSize: config.MaximumStorageSize * MB,
    maximumPatientCount: config.MaximumPatientCount,
    mode: config.MaximumStorageMode,
    stableAge: config.StableAge * 1000,
  };
  const to = config.PostgreSQL;
  if (to?.EnableIndex === true) {
    const url = to.Url ?? to.ConnectionUri;
    return openPostgres({
      connection: {
        ...(url === undefined ? {} : { url }),
        host: to.Host,
        port: to.Port,
        database: to.Database,
        username: to.Username,
        password: to.Password,
        ssl: to.EnableSsl,
        schema: to.Schema,
      },
      limits,
      connections: to.IndexConnectionsCount,
      patience: { retries: to.MaximumConnectionRetries, interval: to.ConnectionRetryInterval * 1000 },
    });
  }
  try {
    makeFolder(config.IndexDirectory);
  } catch (thrown) {
    const details = `IndexDirectory ${config.IndexDirectory} cannot be made: ${asError(thrown).message}`;
    throw new IsenError('CannotWriteFile', details, { cause: thrown });
  }
  closers.push(lockIndex(join(config.IndexDirectory, 'lock')));
  return openSqlite({ path: join(config.IndexDirectory, 'index'), limits });
}

/** The connection to Redis, where the configuration names one. */
async function openRedis(config: Config, closers: (() => Promise<void>)[]): Promise<RedisConnection | undefined> {
  const to = config.Redis;
  if (to === null) return undefined;
  const redis = await connectRedis({
    url: to.Url,
    prefix: to.Prefix,
    tls: to.EnableTls,
    ...(to.Username !== undefined && { username: to.Username }),
    ...(to.Password !== undefined && { password: to.Password }),
    ...(to.TlsTrustedCertificates !== undefined && { trusted: readFileSync(to.TlsTrustedCertificates, 'utf8') }),
    sentinels: to.Sentinels.map((each) => {
      const colon = each.lastIndexOf(':');
      return { host: each.slice(0, colon), port: Number(each.slice(colon + 1)) };
    }),
    sentinelName: to.SentinelName,
    ...(to.SentinelPassword !== undefined && { sentinelPassword: to.SentinelPassword }),
  });
  closers.push(() => redis.close());
  return redis;
}

/** The log of changes: of all servers, or of this one. */
async function openChanges(
  redis: RedisConnection | undefined,
  database: Database,
  closers: (() => Promise<void>)[],
): Promise<Changes> {
  if (redis === undefined) return createEmbeddedChanges(database);
  const changes = await openRedisChanges(redis, database);
  closers.push(() => changes.close());
  return changes;
}

/** Our own version, of package.json. */
function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}
