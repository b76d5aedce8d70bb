/** Proves the ways to a Redis: its password, TLS, and Sentinels that say which of two is the master. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectRedis, type RedisConnection, RedisScript } from '../src/redis.ts';
import { freePort, temporaryFolder, without } from './peer.ts';
import { startRedis } from './redis-server.ts';
import { certificates } from './scp/certificates.ts';

const skip = without('redis-server');

test('a password, and TLS whose certificate must be of a trusted authority', { skip, timeout: 60_000 }, async () => {
  const { authority, server, stranger } = certificates(temporaryFolder());
  const port = await freePort();
  const redis = await startRedis([
    '--tls-port',
    `${port}`,
    '--tls-cert-file',
    server.certificate,
    '--tls-key-file',
    server.key,
    '--tls-ca-cert-file',
    authority,
    '--tls-auth-clients',
    'no',
  ]);
  const plain = await connectRedis(redis.target);
  await plain.client.config('SET', 'requirepass', 'secret');
  const target = { url: `rediss://:secret@localhost:${port}/2`, prefix: 'p', trusted: readFileSync(authority, 'utf8') };
  const secure = await connectRedis(target);
  assert.equal(await secure.client.ping(), 'PONG');
  // As after a restart: the server does not know the script.
  await plain.client.script('FLUSH');
  const lease = new RedisScript('jobs/bullmq/lease.lua');
  assert.equal(await lease.run(secure.client, ['key'], ['me', 1, 1000]), 1);
  assert.equal(await lease.run(secure.client, ['key'], ['you', 1, 1000]), 0);
  const refused = connectRedis({ ...target, trusted: readFileSync(stranger.certificate, 'utf8'), patience: 500 });
  await assert.rejects(refused, { code: 'DatabaseUnavailable' });
  await Promise.all([plain.close(), secure.close()]);
  await redis.stop();
});

test('Sentinels say who is the master, also after it died', { skip, timeout: 60_000 }, async () => {
  // A master waits five seconds for more replicas otherwise, as long as a command may take here.
  const [first, second] = await Promise.all([startRedis(['--repl-diskless-sync-delay', '0']), startRedis()]);
  const portOf = (url: string): string => new URL(url).port;
  const replica = await connectRedis(second.target);
  await replica.client.call('REPLICAOF', '127.0.0.1', portOf(first.target.url));
  const folder = temporaryFolder();
  const port = await freePort();
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor isen 127.0.0.1 ${portOf(first.target.url)} 1`,
    'sentinel down-after-milliseconds isen 500',
    'sentinel failover-timeout isen 3000',
  ];
  writeFileSync(join(folder, 'sentinel.conf'), `${lines.join('\n')}\n`);
  const sentinel = spawn('redis-server', [join(folder, 'sentinel.conf'), '--sentinel'], { stdio: 'ignore' });
  let connection: RedisConnection | undefined;
  try {
    connection = await connectRedis({
      url: 'redis://localhost',
      prefix: 'p',
      sentinels: [{ host: '127.0.0.1', port }],
      sentinelName: 'isen',
    });
    await connection.client.set('key', 'value');
    assert.equal(await connection.client.wait(1, 10_000), 1);
    // Until the Sentinel knows that there is another.
    await sleep(12_000);
    await first.kill();
    const end = Date.now() + 25_000;
    for (;;) {
      const set = await connection.client.set('key', 'again').catch(() => undefined);
      if (set === 'OK') break;
      assert.ok(Date.now() < end, 'the replica did not take over');
      await sleep(100);
    }
    assert.equal(await replica.client.get('key'), 'again');
  } finally {
    // Whatever failed: what stays open would keep this process, and with it the whole run, from ending.
    sentinel.kill('SIGKILL');
    await connection?.close();
    await replica.close();
    await Promise.all([first.stop(), second.stop()]);
  }
});
