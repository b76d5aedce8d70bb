/** Owns one program of the cluster that runs on this machine: starting it, knowing that it answers, ending it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds that a program has to listen, or to end. */
const PATIENCE = 120_000;

export interface ProgramOptions {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly folder: string;
  /** File that takes what it writes. */
  readonly log: string;
  /** Port of the loopback that it listens on once it works. */
  readonly port: number;
  /** Whom it runs as, where that is not the caller. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

export class Program {
  readonly #options: ProgramOptions;
  #child: ChildProcess | undefined;

  constructor(options: ProgramOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it and waits until it listens. Throws where it ends instead, or takes two minutes. */
  async start(): Promise<void> {
    const { name, command, env, folder, log, port, user } = this.#options;
    const [program = '', ...args] = command;
    const output = openSync(log, 'a');
    const child = spawn(program, args, {
      ...user,
      cwd: folder,
      env: { PATH: process.env['PATH'], HOME: folder, ...env },
      stdio: ['ignore', output, output],
    });
    let failure = '';
    child.once('error', (error) => (failure = error.message));
    this.#child = child;
    const deadline = Date.now() + PATIENCE;
    while (!(await listens(port))) {
      if (failure !== '' || !this.running || Date.now() > deadline)
        throw new Error(`${name} does not start: ${failure || readFileSync(log, 'utf8').slice(-1000)}`);
      await sleep(20);
    }
  }

  /** Signals it and waits for its end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const exited = once(child, 'exit', { signal: AbortSignal.timeout(PATIENCE) });
    child.kill(signal);
    await exited;
  }

  /** Signals it without waiting: the last thing that a process does. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child?.kill(signal);
  }
}

/** Whether a port of the loopback takes connections. */
async function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
    socket.setTimeout(1000, () => done(false));
  });
}
