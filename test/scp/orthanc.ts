/** Owns the reference server as a DICOM peer of the suites: on free ports, known by its name before anything is sent to it. */

import { randomUUID } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, temporaryFolder } from '../peer.ts';

/** A running reference server. */
export interface Orthanc {
  readonly url: string;
  readonly dicomPort: number;
  stop(): Promise<void>;
}

/** Starts it with these options over the suite's own. */
export async function startOrthanc(
  dicomPort: number,
  options: Readonly<Record<string, unknown>> = {},
): Promise<Orthanc> {
  const folder = temporaryFolder();
  const httpPort = await freePort();
  const name = randomUUID();
  mkdirSync(join(folder, 'storage'));
  const configuration = {
    Name: name,
    HttpPort: httpPort,
    DicomPort: dicomPort,
    StorageDirectory: join(folder, 'storage'),
    RemoteAccessAllowed: false,
    AuthenticationEnabled: false,
    DicomAet: 'ORTHANC',
    DicomAlwaysAllowFind: true,
    DicomAlwaysAllowGet: true,
    DicomAlwaysAllowMove: true,
    DicomScuTimeout: 5,
    ...options,
  };
  writeFileSync(join(folder, 'orthanc.json'), JSON.stringify(configuration));
  const command = process.env['PATH']?.split(':').includes('/usr/sbin') === false ? '/usr/sbin/Orthanc' : 'Orthanc';
  const env = { ...process.env, TCP_NODELAY: '1' };
  const child: ChildProcess = spawn(command, ['orthanc.json'], { cwd: folder, env, stdio: 'ignore' });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  };
  const url = `http://127.0.0.1:${httpPort}`;
  for (let waited = 0; waited < 15_000; waited += 100) {
    await sleep(100);
    const system: unknown = await fetch(`${url}/system`)
      .then((response) => response.json())
      .catch(() => undefined);
    if (typeof system === 'object' && system !== null && 'Name' in system && system.Name === name) {
      return { url, dicomPort, stop };
    }
  }
  await stop();
  throw new Error('the reference server does not start');
}
