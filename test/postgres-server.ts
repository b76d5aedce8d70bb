/** Owns a real PostgreSQL server for the suites: made in a temporary folder, on a free port, as an unprivileged user. */

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresConnection } from '../src/database/postgres/connection.ts';
import { freePort } from './peer.ts';

/** Milliseconds that the server has to start or stop. */
const PATIENCE = 30_000;

/** Debian keeps the programs of each version apart, off the search path. */
const FOLDERS = ['/usr/lib/postgresql', '/usr/local/pgsql', '/usr/pgsql']
  .flatMap((folder) => (existsSync(folder) ? readdirSync(folder).map((version) => join(folder, version, 'bin')) : []))
  .sort()
  .reverse();
const BIN = FOLDERS.find((folder) => existsSync(join(folder, 'initdb')));

/** Folder of the programs; empty where there are none. */
export const POSTGRES_PROGRAMS = BIN ?? '';

/** `false` when PostgreSQL is installed, else the reason to skip (a thrown error under CI=true). */
export function withoutPostgres(): string | false {
  if (BIN !== undefined) return false;
  const reason = 'PostgreSQL is not installed (npm run test:setup installs it)';
  if (process.env['CI'] === 'true') throw new Error(reason);
  return reason;
}

/** The server refuses to run as root: the user that its package made, when this is root. */
export function postgresUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** A server of a suite. */
export interface PostgresServer {
  readonly connection: PostgresConnection;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
  /** Starts it again after {@link kill}, with the same data. */
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

/** Starts a server. `settings` are over its own, as `name=value`. */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const bin = POSTGRES_PROGRAMS;
  const user = postgresUser();
  const folder = mkdtempSync(join(tmpdir(), 'isen-postgres-'));
  const data = join(folder, 'data');
  const secret = join(folder, 'password');
  const password = randomUUID();
  writeFileSync(secret, password);
  if (user !== undefined) for (const path of [folder, secret]) chownSync(path, user.uid, user.gid);
  execFileSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'isen', '-E', 'UTF8', '--locale=C', '-A', 'scram-sha-256', `--pwfile=${secret}`, '--no-sync'],
    { ...user, stdio: 'ignore', timeout: PATIENCE, cwd: folder },
  );
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
    const options = [
      `port=${port}`,
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'fsync=off',
      ...settings,
    ];
    child = spawn(join(bin, 'postgres'), ['-D', data, ...options.flatMap((option) => ['-c', option])], {
      ...user,
      cwd: folder,
      stdio: 'ignore',
    });
    const deadline = Date.now() + PATIENCE;
    while (!(await answers(bin, port))) {
      if (Date.now() > deadline || child.exitCode !== null) throw new Error('PostgreSQL does not start');
      await sleep(50);
    }
  };
  process.once('exit', () => {
    child?.kill('SIGQUIT');
    rmSync(folder, { recursive: true, force: true });
  });
  await start();
  return {
    connection: { host: '127.0.0.1', port, database: 'postgres', username: 'isen', password, schema: 'isen' },
    start,
    // The processes of its connections end with it.
    kill: () => end('SIGKILL'),
    async stop() {
      await end('SIGQUIT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Whether the server takes connections and no longer refuses them by message, as it does while it recovers. */
async function answers(bin: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const args = ['-q', '-t', '1', '-h', '127.0.0.1', '-p', String(port)];
    execFile(join(bin, 'pg_isready'), args, { timeout: 5000 }, (error) => resolve(error === null));
  });
}
