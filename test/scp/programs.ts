/** Owns the programs that suites drive as DICOM peers: run to their end, or started and stopped. Nagle's algorithm is off in them unless asked for. */

import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';

const env = { ...process.env, TCP_NODELAY: '1' };

/** Runs a program to its end; what it said goes to `output`. With `nagle` it has its defaults. */
export function run(
  program: string,
  args: readonly string[],
  { nagle }: { readonly nagle: boolean } = { nagle: false },
): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: nagle ? process.env : env, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
    child.once('error', reject);
    child.once('close', (status) => {
      clearTimeout(timer);
      resolve({ status, output });
    });
  });
}

const running: ChildProcess[] = [];

/** Starts a server program and waits until its port takes connections. */
export async function startProgram(program: string, args: readonly string[], port: number): Promise<void> {
  const child = spawn(program, args, { env, stdio: 'ignore' });
  running.push(child);
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`${program} ended with code ${child.exitCode}`);
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    );
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${program} does not listen`);
}

/** Ends what was started. */
export async function stopPrograms(): Promise<void> {
  await Promise.all(
    running.splice(0).map(async (child) => {
      if (child.exitCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }),
  );
}
