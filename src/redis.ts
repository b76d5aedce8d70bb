/**
 * Owns the connections to Redis: how they are made, that no command waits for ever, and the Lua scripts that run there. While Redis
 * is away a command fails at once (DatabaseUnavailable) instead of waiting for it.
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { asError, IsenError } from './errors.ts';
import { log } from './log.ts';

/** Milliseconds that a command may take; those that block are given less. */
const COMMAND = 5000;

/** Milliseconds between attempts to connect again, at most. */
const RECONNECT = 1000;

const PATIENCE = 30_000;

/** Replies of a server that will take the command later: it loads its data, is a replica now, is full or cannot write its disk. */
const LATER = /^(LOADING|READONLY|OOM|MISCONF|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|NOREPLICAS|UNKILLABLE|EXECABORT) /;

/** Which server. What is given beside `url` is over what it says. */
export interface RedisTarget {
  /** `redis://user:password@host:port/database`, `rediss://` for TLS. */
  readonly url: string;
  /** Begins every key. With a hash tag (`{isen}`) all keys are of one slot, as a Redis Cluster needs it. */
  readonly prefix: string;
  readonly username?: string;
  readonly password?: string;
  readonly tls?: boolean;
  /** PEM of the authorities that the server's certificate may come from. */
  readonly trusted?: string;
  /** When there are some, they say where the server is that `sentinelName` stands for. */
  readonly sentinels?: readonly { readonly host: string; readonly port: number }[];
  readonly sentinelName?: string;
  readonly sentinelPassword?: string;
  /** When there are some, `url` stands for a Redis Cluster to which they know the way. */
  readonly nodes?: readonly { readonly host: string; readonly port: number }[];
  /** Milliseconds that the first connection may take, over all attempts: half a minute. */
  readonly patience?: number;
}

/** A server, or a cluster of them. */
export type RedisClient = Redis | Cluster;

/** One connection: commands go out in the order in which they are given. */
export interface RedisConnection {
  readonly client: RedisClient;
  readonly prefix: string;
  /** A further connection to the same server, for what blocks or listens. */
  another(): Promise<RedisConnection>;
  close(): Promise<void>;
}

function optionsOf(target: RedisTarget): RedisOptions & { readonly replyMapping: 'legacy' } {
  const { username, password, tls = false, trusted, sentinels = [], sentinelName, sentinelPassword } = target;
  const secure = tls || target.url.startsWith('rediss:');
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(secure && { tls: trusted === undefined ? {} : { ca: trusted } }),
    ...(sentinels.length > 0 && {
      sentinels: [...sentinels],
      name: sentinelName ?? 'mymaster',
      ...(sentinelPassword !== undefined && { sentinelPassword }),
      ...(secure && { enableTLSForSentinelMode: true, sentinelTLS: trusted === undefined ? {} : { ca: trusted } }),
    }),
    // Replies look the same in either protocol.
    replyMapping: 'legacy',
    lazyConnect: true,
    connectTimeout: COMMAND,
    commandTimeout: COMMAND,
    // A connection whose other end is gone without a word.
    socketTimeout: 2 * COMMAND,
    // Nothing is kept to be sent later: whoever asked was told by then that it failed.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Nobody waits for what it would send by itself, and its failure would end the process: who listens subscribes again.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), RECONNECT),
    // A server that became a replica will not take what is written: ask again who is the master.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  };
}

/** Whether the server answered, and refused; otherwise it is not known what became of the command. */
const isRefusal = (thrown: unknown): thrown is Error => thrown instanceof Error && thrown.name === 'ReplyError';

/** Throws ParameterOutOfRange for a Redis Cluster over whose slots the keys would be scattered. */
function clientOf(target: RedisTarget): RedisClient {
  const { nodes = [], prefix, url } = target;
  const options = optionsOf(target);
  if (nodes.length === 0) return new Redis(url, options);
  if (!/\{[^}]+\}/.test(prefix))
    throw new IsenError('ParameterOutOfRange', `the Prefix of a Redis Cluster needs a hash tag, as in {${prefix}}`);
  const { username, password } = new URL(url);
  const { lazyConnect: _, ...redisOptions } = options;
  return new Cluster([...nodes], {
    redisOptions: {
      ...(username !== '' && { username: decodeURIComponent(username) }),
      ...(password !== '' && { password: decodeURIComponent(password) }),
      ...redisOptions,
    },
    lazyConnect: true,
    enableOfflineQueue: false,
    slotsRefreshTimeout: COMMAND,
    clusterRetryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), RECONNECT),
  });
}

/** Connects, trying until it is there. Throws DatabaseUnavailable when patience is at its end. */
export async function connectRedis(target: RedisTarget): Promise<RedisConnection> {
  const client = clientOf(target);
  let away = false;
  client.on('error', (error: Error) => {
    if (!away) log.generic.warn(`Redis is away: ${error.message}`);
    away = true;
  });
  client.on('ready', () => {
    if (away) log.generic.info('Redis answers again');
    away = false;
  });
  await ready(client, target.patience ?? PATIENCE);
  return {
    client,
    prefix: target.prefix,
    another: () => connectRedis(target),
    async close() {
      client.disconnect();
    },
  };
}

/** Resolves once the server takes commands. */
async function ready(client: RedisClient, patience: number): Promise<void> {
  const reached = new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => {
      client.disconnect();
      reject(new IsenError('DatabaseUnavailable', 'Redis does not answer'));
    }, patience);
    client.once('ready', () => {
      clearTimeout(late);
      resolve();
    });
  });
  // A first attempt that fails is followed by others.
  client.connect().catch(() => {});
  await reached;
}

/** What a failed command means to those who asked: DatabaseUnavailable, or Database where trying again is no use. */
export function asRedisError(thrown: unknown): IsenError {
  if (thrown instanceof IsenError) return thrown;
  const error = asError(thrown);
  const code = isRefusal(error) && !LATER.test(error.message) ? 'Database' : 'DatabaseUnavailable';
  return new IsenError(code, code === 'Database' ? `Redis: ${error.message}` : 'Redis does not answer', {
    cause: error,
  });
}

/** Awaits a command. Throws what {@link asRedisError} says. */
export async function asked<Reply>(command: Promise<Reply>): Promise<Reply> {
  try {
    return await command;
  } catch (thrown) {
    throw asRedisError(thrown);
  }
}

/** A Lua script of `src`, run by the server in one step. */
export class RedisScript {
  readonly text: string;
  readonly #hash: string;

  /** Files, from `src`, that make it up one after the other: they stay there, the compiled program runs from dist/src. */
  constructor(...paths: readonly string[]) {
    const texts = paths.map((path) =>
      readFileSync(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)), 'utf8'),
    );
    this.text = texts.join('\n');
    this.#hash = createHash('sha1').update(this.text).digest('hex');
  }

  /** `keys` say where it runs, in a Redis Cluster. Throws what {@link asRedisError} says. */
  async run(client: RedisClient, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await client.evalsha(this.#hash, keys.length, ...keys, ...args);
    } catch (thrown) {
      // A server that was restarted has forgotten it.
      if (!isRefusal(thrown) || !thrown.message.startsWith('NOSCRIPT')) throw asRedisError(thrown);
      return asked(client.eval(this.text, keys.length, ...keys, ...args));
    }
  }
}
