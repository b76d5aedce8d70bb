/** Owns a real Redis Cluster for the suites: three masters that share the slots. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort } from './peer.ts';
import { type RedisServer, startRedis } from './redis-server.ts';

export interface RedisCluster {
  /** One address of the cluster, by which the others are found. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  stop(): Promise<void>;
}

const SLOTS = 16_384;

export async function startRedisCluster(): Promise<RedisCluster> {
  const buses = [await freePort(), await freePort(), await freePort()];
  const servers: RedisServer[] = await Promise.all(
    buses.map(async (bus) =>
      startRedis(['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-port', `${bus}`]),
    ),
  );
  const ports = servers.map(({ target }) => Number(new URL(target.url).port));
  const clients = ports.map((port) => new Redis({ host: '127.0.0.1', port }));
  for (const [at, client] of clients.entries()) {
    const [from, to] = [Math.ceil((SLOTS * at) / 3), Math.ceil((SLOTS * (at + 1)) / 3) - 1];
    await client.call('CLUSTER', 'ADDSLOTSRANGE', from, to);
    if (at > 0) await client.call('CLUSTER', 'MEET', '127.0.0.1', ports[0] ?? 0, buses[0] ?? 0);
  }
  const end = Date.now() + 20_000;
  for (const client of clients) {
    while (!String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) {
      if (Date.now() > end) throw new Error('the Redis Cluster does not come together');
      await sleep(50);
    }
    client.disconnect();
  }
  return {
    nodes: [{ host: '127.0.0.1', port: ports[0] ?? 0 }],
    async stop() {
      await Promise.all(servers.map(async (server) => server.stop()));
    },
  };
}
