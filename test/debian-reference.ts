/** Owns the reference server of Debian as a live judge: a fresh one in a temporary folder on a free port. */

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, temporaryFolder } from './peer.ts';

/** A running judge. */
export interface Reference {
  readonly url: string;
  close(): void;
}

/** Starts one, with these options over the judge's own, and waits, at most 20 seconds, until it answers. */
export async function startReference(options: Readonly<Record<string, unknown>> = {}): Promise<Reference> {
  const folder = temporaryFolder();
  const port = await freePort();
  const configuration = {
    Name: 'judge',
    HttpPort: port,
    StorageDirectory: join(folder, 'storage'),
    IndexDirectory: join(folder, 'storage'),
    DicomServerEnabled: false,
    AuthenticationEnabled: false,
    Plugins: [],
    ...options,
  };
  writeFileSync(join(folder, 'configuration.json'), JSON.stringify(configuration));
  const child = spawn('/usr/sbin/Orthanc', [join(folder, 'configuration.json')], { stdio: 'ignore' });
  const close = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', close);
  const url = `http://127.0.0.1:${port}`;
  for (const until = Date.now() + 20_000; Date.now() < until && child.exitCode === null; await sleep(50)) {
    try {
      const { Name } = (await (await fetch(`${url}/system`)).json()) as { Name: string };
      if (Name === 'judge') return { url, close };
    } catch {
      // Not listening yet.
    }
  }
  close();
  throw new Error('the reference server does not answer');
}
