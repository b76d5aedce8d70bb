/** Owns the choice of the engines that a configuration names: nothing else asks which one it has. */

import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Config } from './config.ts';
import type { IndexRows } from './database/copy.ts';
import type { Database, DatabaseLimits } from './database/database.ts';
import { openPostgres } from './database/postgres.ts';
import type { Patience, PostgresConnection } from './database/postgres/connection.ts';
import { postgresRows } from './database/postgres/copy.ts';
import { lockFile } from './database/sqlite/connection.ts';
import { sqliteRows } from './database/sqlite/copy.ts';
import { openSqlite } from './database/sqlite.ts';
import type { Level } from './dicom/levels.ts';
import { asError, IsenError } from './errors.ts';
import { makeFolder } from './folder.ts';
import { connectRedis, type RedisConnection } from './redis.ts';
import { log } from './log.ts';
import { openFilesystem, ownFolder } from './storage/filesystem.ts';
import type { Storage } from './storage/storage.ts';

/** Bytes of a megabyte, as the options count. */
const MB = 2 ** 20;

function postgresOf(to: NonNullable<Config['PostgreSQL']>): {
  readonly connection: PostgresConnection;
  readonly patience: Patience;
} {
  const url = to.Url ?? to.ConnectionUri;
  return {
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
    patience: { retries: to.MaximumConnectionRetries, interval: to.ConnectionRetryInterval * 1000 },
  };
}

/** The index, on the engine that the configuration names; `kept` are the main tags besides the built-in ones. */
export async function openDatabase(
  config: Config,
  closers: (() => Promise<void>)[],
  kept: Partial<Record<Level, readonly string[]>> = {},
): Promise<Database> {
  const limits: DatabaseLimits = {
    maximumStorageSize: config.MaximumStorageSize * MB,
    maximumPatientCount: config.MaximumPatientCount,
    mode: config.MaximumStorageMode,
    stableAge: config.StableAge * 1000,
  };
  const to = config.PostgreSQL;
  if (to?.EnableIndex === true) {
    return openPostgres({ ...postgresOf(to), limits, connections: to.IndexConnectionsCount });
  }
  try {
    makeFolder(config.IndexDirectory);
  } catch (thrown) {
    const details = `IndexDirectory ${config.IndexDirectory} cannot be made: ${asError(thrown).message}`;
    throw new IsenError('CannotWriteFile', details, { cause: thrown });
  }
  closers.push(lockFile(join(config.IndexDirectory, 'lock'), 'the index'));
  return openSqlite({ path: join(config.IndexDirectory, 'index'), limits, kept });
}

/** The index as rows, to be copied. */
export async function openRows(config: Config): Promise<IndexRows> {
  const to = config.PostgreSQL;
  if (to?.EnableIndex !== true) return sqliteRows(config.IndexDirectory);
  return postgresRows({ ...postgresOf(to), stableAge: config.StableAge * 1000 });
}

function addressOf(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

/** The connection to Redis, where the configuration names one. */
export async function openRedis(
  config: Config,
  closers: (() => Promise<void>)[],
): Promise<RedisConnection | undefined> {
  const to = config.Redis;
  if (to === null) return undefined;
  const redis = await connectRedis({
    url: to.Url,
    prefix: to.Prefix,
    tls: to.EnableTls,
    ...(to.Username !== undefined && { username: to.Username }),
    ...(to.Password !== undefined && { password: to.Password }),
    ...(to.TlsTrustedCertificates !== undefined && { trusted: readFileSync(to.TlsTrustedCertificates, 'utf8') }),
    sentinels: to.Sentinels.map(addressOf),
    nodes: to.Nodes.map(addressOf),
    sentinelName: to.SentinelName,
    ...(to.SentinelPassword !== undefined && { sentinelPassword: to.SentinelPassword }),
  });
  closers.push(() => redis.close());
  return redis;
}

/**
 * Where blobs are kept: the folder, or the bucket that the configuration names. Its closers end it. Throws as opening does, and `Database`
 * where another server has the folder under the same name: each would take the other's blobs for those that a crash left.
 */
export async function openStorage(config: Config, closers: (() => Promise<void>)[]): Promise<Storage> {
  const bucket = config.S3 ?? config.AwsS3Storage;
  const storage = await (bucket === null ? openFolder(config, closers) : openBucket(config, bucket));
  closers.push(() => storage.close());
  return storage;
}

async function openFolder(config: Config, closers: (() => Promise<void>)[]): Promise<Storage> {
  const options = {
    root: config.StorageDirectory,
    sync: config.SyncStorageArea,
    ...(config.NodeName !== '' && { node: config.NodeName }),
  };
  const folder = ownFolder(options);
  try {
    closers.push(lockFile(join(folder, 'lock'), 'the files (as the same NodeName)'));
  } catch (thrown) {
    // A file system of a network may have no locks.
    if ((asError(thrown).cause as { code?: unknown } | undefined)?.code === 'SQLITE_BUSY') throw thrown;
    log.generic.warn({ err: thrown }, 'whether another server uses the same files cannot be told');
  }
  return openFilesystem(options);
}

type Bucket = NonNullable<Config['S3']>;

async function openBucket(config: Config, bucket: Bucket): Promise<Storage> {
  const { AccessKey: accessKeyId, SecretKey: secretAccessKey, Prefix: prefix } = bucket;
  // Loading the client takes longer than starting the server: only who uses it waits.
  const { openS3 } = await import('./storage/s3.ts');
  return openS3({
    bucket: bucket.Bucket,
    endpoint: bucket.Endpoint,
    region: bucket.Region,
    credentials:
      accessKeyId === undefined || secretAccessKey === undefined ? undefined : { accessKeyId, secretAccessKey },
    virtualAddressing: bucket.VirtualAddressing,
    prefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`,
    node: config.NodeName || hostname(),
    connectionTimeout: bucket.ConnectionTimeout * 1000,
    requestTimeout: bucket.RequestTimeout * 1000,
  });
}
