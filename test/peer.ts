/**
 * Owns what the suites share around real peers: temporary folders, free ports, whether a program is installed, and the
 * sample files. A missing program skips a test by name with the reason; under CI=true it is a failure instead.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const SHARED = join(ROOT, '..', 'shared');

const folders: string[] = [];

/** A new folder, removed at the end of the process. */
export function temporaryFolder(): string {
  if (folders.length === 0)
    process.on('exit', () => {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    });
  const folder = mkdtempSync(join(tmpdir(), 'isen-test-'));
  folders.push(folder);
  return folder;
}

/** A TCP port of the loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no port'));
        else resolve(address.port);
      });
    });
  });
}

/** `false` when `program` is installed, else the reason to skip (a thrown error under CI=true). For `{ skip: … }`. */
export function without(program: string): string | false {
  const found = spawnSync('sh', ['-c', `command -v ${program} || test -x /usr/sbin/${program}`]).status === 0;
  if (found) return false;
  const reason = `${program} is not installed (npm run test:setup installs it)`;
  if (process.env['CI'] === 'true') throw new Error(reason);
  return reason;
}

/** Path of a file or folder of the reference material, or undefined where the clone has none beside it. */
export function shared(path: string): string | undefined {
  const full = join(SHARED, path);
  return existsSync(full) ? full : undefined;
}

/** The reason for `{ skip: … }` when the reference material is not beside the clone, else `false`. */
export const withoutShared: string | false = existsSync(join(SHARED, 'samples'))
  ? false
  : 'the reference material (../shared) is not beside this clone';
