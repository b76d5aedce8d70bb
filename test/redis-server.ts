/** Owns a real Redis server for the suites: on a free port, with its append-only file in a temporary folder. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisTarget } from '../src/redis.ts';
import { freePort } from './peer.ts';

/** Milliseconds that the server has to start or stop. */
const PATIENCE = 20_000;

/** A server of a suite. */
export interface RedisServer {
  readonly target: RedisTarget;
  /** Of its data. */
  readonly folder: string;
  /** Ends it as a crash would: up to a second of what was written is lost. */
  kill(): Promise<void>;
  /** Stops it where it is, as a partition of the network would; {@link resume} lets it go on. */
  suspend(): void;
  resume(): void;
  /** Starts it again after {@link kill}, with the same data. */
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

/** Starts a server, with arguments over its own. */
export async function startRedis(more: readonly string[] = []): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'isen-redis-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    const exited = once(ending, 'exit', { signal: AbortSignal.timeout(PATIENCE) });
    ending.kill(signal);
    await exited;
  };
  const start = async (): Promise<void> => {
    const settings = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec'];
    child = spawn('redis-server', ['--port', String(port), '--dir', folder, ...settings, ...more], { stdio: 'ignore' });
    const deadline = Date.now() + PATIENCE;
    while (!(await answers(port))) {
      if (Date.now() > deadline || child.exitCode !== null) throw new Error('redis-server does not start');
      await sleep(20);
    }
  };
  process.once('exit', () => {
    child?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  await start();
  return {
    folder,
    target: { url: `redis://127.0.0.1:${port}`, prefix: '{isen}' },
    start,
    kill: () => end('SIGKILL'),
    suspend: () => child?.kill('SIGSTOP'),
    resume: () => child?.kill('SIGCONT'),
    async stop() {
      child?.kill('SIGCONT');
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Whether the server has loaded its data and takes commands. */
async function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('data', (data) => done(data.toString().startsWith('+PONG')));
    socket.once('error', () => done(false));
    socket.setTimeout(1000, () => done(false));
  });
}
