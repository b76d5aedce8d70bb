/** Owns whole servers in processes of their own, for the suites that kill them. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './peer.ts';

/** Starts a server that keeps everything in `folder`, and waits, at most 15 seconds, until it answers. */
export async function startChild(folder: string, port: number, options: object = {}): Promise<ChildProcess> {
  const config = join(folder, 'config.json');
  const all = { HttpPort: port, StorageDirectory: folder, AuthenticationEnabled: false, DicomServerEnabled: false };
  writeFileSync(config, JSON.stringify({ ...all, ...options }));
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'src', 'cli.js'), 'serve', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  for (let tries = 0; tries < 600; tries += 1) {
    const answers = await fetch(`http://127.0.0.1:${port}/system`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (answers) return child;
    assert.equal(child.exitCode, null, 'the server ended at its start');
    await sleep(25);
  }
  child.kill('SIGKILL');
  throw new Error('the server did not start');
}
