/**
 * Owns the processes that benchmarks compare: Isen, the Debian reference server, and the bare sink that shows the limit
 * of the machine. Each starts fresh in its own temporary folder on a free port of the loopback, with writes synced.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../test/peer.ts';

process.setMaxListeners(0);

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export const SUBJECTS = ['isen', 'reference', 'sink'] as const;
/** `storescp`: DCMTK's, writing what it receives to disk, without index and without sync. */
export type Subject = (typeof SUBJECTS)[number] | 'storescp';

/** A server under measurement. */
export interface Running {
  readonly subject: Subject;
  readonly port: number;
  /** Of DICOM. */
  readonly dicomPort: number;
  /** User and system CPU seconds that the process has used. */
  cpu(): number;
  /** Resident memory in MB. */
  memory(): number;
  readonly folder: string;
  /** Ends it. Its folder goes at the end of the process. */
  stop(): Promise<void>;
}

function command(
  subject: Subject,
  port: number,
  dicomPort: number,
  folder: string,
  options: object,
): [string, string[]] {
  switch (subject) {
    case 'isen': {
      const config = {
        Name: 'bench',
        HttpPort: port,
        DicomPort: dicomPort,
        StorageDirectory: join(folder, 'storage'),
        ...options,
      };
      writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
      return [process.execPath, [join(ROOT, 'bin', 'isen.cjs'), 'serve', join(folder, 'config.json')]];
    }
    case 'reference': {
      const config = {
        Name: 'bench',
        HttpPort: port,
        StorageDirectory: join(folder, 'storage'),
        IndexDirectory: join(folder, 'storage'),
        DicomPort: dicomPort,
        AuthenticationEnabled: false,
        SyncStorageArea: true,
        OverwriteInstances: false,
        HttpThreadsCount: 50,
        Plugins: [],
        ...options,
      };
      writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
      return ['/usr/sbin/Orthanc', [join(folder, 'config.json')]];
    }
    case 'sink':
      return [process.execPath, [join(ROOT, 'dist', 'bench', 'sink.js'), String(port), folder]];
    case 'storescp':
      return ['storescp', ['--output-directory', folder, String(dicomPort)]];
    default:
      return subject satisfies never;
  }
}

/** Folders of servers that have run. */
const folders: string[] = [];

const remove = (): void => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
};
process.once('exit', remove);

/**
 * Removes what the servers that have run have stored, and waits: ext4 looks around every inode deleted in the last 35
 * seconds when it makes a file, so that whoever is measured next would pay for the cleaning.
 */
export async function clean(): Promise<void> {
  remove();
  await new Promise((resolve) => setTimeout(resolve, 40_000));
}

function newFolder(subject: Subject): string {
  const folder = mkdtempSync(join(process.env['ISEN_BENCH_FOLDER'] ?? tmpdir(), `isen-bench-${subject}-`));
  folders.push(folder);
  return folder;
}

/**
 * Starts a server (in `env`, by default without Nagle's algorithm) and waits until it answers. The folder is a new one on the
 * file system of `ISEN_BENCH_FOLDER`, by default the temporary one, or that of a server which has stopped; `options` are over the others
 * of its configuration.
 */
export async function startServer(
  subject: Subject,
  {
    folder = newFolder(subject),
    env,
    options = {},
  }: { readonly folder?: string; readonly env?: NodeJS.ProcessEnv; readonly options?: object } = {},
): Promise<Running> {
  const port = await freePort();
  const dicomPort = await freePort();
  const [program, args] = command(subject, port, dicomPort, folder, options);
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', process.env['ISEN_BENCH_VERBOSE'] ? 'inherit' : 'ignore'],
    env: { ...(env ?? { ...process.env, TCP_NODELAY: '1' }), UV_THREADPOOL_SIZE: '16' },
  });
  if (subject === 'storescp') await listening(dicomPort, child);
  else await answering(port, child);
  const pid = child.pid ?? 0;
  return {
    subject,
    port,
    folder,
    dicomPort,
    cpu: () => {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) / 100;
    },
    memory: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024,
    async stop() {
      if (child.exitCode === null) {
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGTERM');
        const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
        await ended;
        clearTimeout(timer);
      }
    },
  };
}

/** Waits until a port takes connections. */
async function listening(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode}`);
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the server did not listen within ten seconds');
}

async function answering(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode}`);
    try {
      const answer = await fetch(`http://127.0.0.1:${port}/system`);
      await answer.arrayBuffer();
      if (answer.status < 500) return;
    } catch {
      // Not listening yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the server did not answer within a minute');
}
