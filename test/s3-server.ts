/** Owns a real S3 engine for the suites: versitygw over a temporary folder, on a free port of the loopback. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, temporaryFolder } from './peer.ts';

/** The program, for `without`. */
export const S3_SERVER = 'versitygw';

export interface S3Server {
  readonly endpoint: string;
  readonly bucket: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Kills it; what it answered is on the disk. */
  kill(): Promise<void>;
  /** Starts it again on the same port and folder. */
  start(): Promise<void>;
}

/** Starts the engine with one empty bucket; it ends with this process at the latest. */
export async function startS3(): Promise<S3Server> {
  const folder = temporaryFolder();
  const bucket = 'images';
  mkdirSync(join(folder, bucket));
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const keys = { accessKey: 'isen', secretKey: 'isen-secret' };
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    const ended = child;
    child = undefined;
    if (ended === undefined || ended.exitCode !== null) return;
    await new Promise((resolve) => {
      ended.once('exit', resolve);
      ended.kill('SIGKILL');
    });
  };
  process.on('exit', () => child?.kill('SIGKILL'));
  const start = async (): Promise<void> => {
    const args = ['--port', `127.0.0.1:${port}`, '--access', keys.accessKey, '--secret', keys.secretKey, '--quiet'];
    child = spawn(S3_SERVER, [...args, 'posix', folder], { stdio: 'ignore' });
    const deadline = Date.now() + 10_000;
    while (Date.now() < deadline) {
      if (
        await fetch(endpoint)
          .then(() => true)
          .catch(() => false)
      )
        return;
      await sleep(50);
    }
    throw new Error(`${S3_SERVER} does not answer`);
  };
  await start();
  return { endpoint, bucket, ...keys, kill, start };
}
