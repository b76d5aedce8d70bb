/**
 * Owns the cluster without containers: the services of docker-compose.yml as programs of this machine, in one temporary folder and on
 * ports of the loopback. What a service is told (command, environment, files) is what the file says, with the addresses and paths
 * of this machine in the place of those of the containers.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../test/peer.ts';
import { POSTGRES_PROGRAMS, postgresUser } from '../test/postgres-server.ts';
import { readServices, requiredVariables, type Service } from './compose.ts';
import { Program } from './program.ts';

export const COMPOSE_FILE = join(ROOT, 'docker-compose.yml');

/** Ports are looked for from here on: below those that the system gives to outgoing connections, which a restart could find taken. */
const FIRST_PORT = 20_000;
const LAST_PORT = 31_000;

/** What the image of a service runs, as this machine has it; undefined where the service runs once, before the others. */
const PROGRAMS: Readonly<Record<string, string | undefined>> = {
  'redis:': 'redis-server',
  'postgres:': 'postgres',
  'versity/versitygw:': 'versitygw',
  isen: 'isen',
  'haproxy:': 'haproxy',
  'prom/prometheus:': 'prometheus',
  'grafana/grafana:': 'grafana-server',
};

export interface NativeOptions {
  /** First of the ports; else some that are free. */
  readonly port?: number;
  /** Services to leave out. */
  readonly without?: readonly string[];
  /** Options of Isen (`ISEN__…`) over those of the file. */
  readonly env?: Readonly<Record<string, string>>;
  /** The folder stays when all is ended. */
  readonly keep?: boolean;
  /** Settings of PostgreSQL over those of the file, as `name=value`. */
  readonly postgres?: readonly string[];
}

/** The running cluster. */
export interface NativeCluster {
  readonly folder: string;
  readonly services: readonly Service[];
  /** Each service that runs, by its name. */
  readonly programs: ReadonlyMap<string, Program>;
  /** Services that were not started, and why. */
  readonly missing: ReadonlyMap<string, string>;
  readonly variables: Readonly<Record<string, string>>;
  /** `host:port` of this machine for a service's port. */
  address(service: string, port: number): string;
  /** `Authorization` of the REST API. */
  readonly authorization: string;
  /** Ends everything, and removes the folder unless it was to stay. */
  stop(): Promise<void>;
}

/** Starts all of it; whatever runs is ended with this process at the latest. Throws where a program does not start. */
export async function startCluster(options: NativeOptions = {}): Promise<NativeCluster> {
  const variables: Record<string, string> = { ISEN_USER: 'isen' };
  for (const name of requiredVariables(COMPOSE_FILE)) variables[name] = randomBytes(16).toString('hex');
  const services = readServices(COMPOSE_FILE, variables);
  const folder = mkdtempSync(join(tmpdir(), 'isen-cluster-'));
  const user = postgresUser();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  mkdirSync(join(folder, 'logs'));
  const machine = new Machine(
    folder,
    services,
    await freePorts(services.flatMap(({ ports }) => ports).length, options.port),
  );
  const programs = new Map<string, Program>();
  const missing = new Map<string, string>();
  const stop = async (): Promise<void> => {
    const all = [...programs.values()];
    const isNode = ({ name }: Program): boolean => name.startsWith('isen-');
    await Promise.all(all.filter(isNode).map(async (node) => node.end('SIGTERM').catch(() => node.end('SIGKILL'))));
    await Promise.all(all.map(async (program) => program.end('SIGKILL')));
    if (options.keep !== true) rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', () => {
    for (const program of programs.values()) program.signal('SIGKILL');
  });
  try {
    for (const service of services) {
      if (options.without?.includes(service.name) === true) continue;
      const program = programOf(service);
      if (program === undefined) {
        const [command = '', ...args] = machine.command(service);
        execFileSync(command, args);
        continue;
      }
      if (
        program !== 'isen' &&
        program !== 'postgres' &&
        spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0
      ) {
        missing.set(service.name, `${program} is not installed`);
        continue;
      }
      const running = machine.program(service, program, options, user);
      programs.set(service.name, running);
      await running.start();
    }
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  const credentials = `${variables['ISEN_USER']}:${variables['ISEN_PASSWORD']}`;
  return {
    folder,
    services,
    programs,
    missing,
    variables,
    address: (service, port) => machine.address(service, port),
    authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
    stop,
  };
}

function programOf({ name, image }: Service): string | undefined {
  const known = Object.entries(PROGRAMS).find(([prefix]) => image.startsWith(prefix));
  if (known !== undefined) return known[1];
  if (image.startsWith('busybox:')) return undefined;
  throw new Error(`docker-compose.yml: how to run ${name} (${image}) on this machine is not known`);
}

/** Translates what a container is told into what a program of this machine is. */
class Machine {
  readonly #folder: string;
  /** `service:port` of the containers → port of this machine. */
  readonly #ports = new Map<string, number>();
  readonly #services: readonly Service[];

  constructor(folder: string, services: readonly Service[], ports: readonly number[]) {
    this.#folder = folder;
    this.#services = services;
    const free = ports[Symbol.iterator]();
    for (const { name, ports: own } of services) {
      for (const port of own) this.#ports.set(`${name}:${port}`, free.next().value ?? 0);
    }
  }

  address(service: string, port: number): string {
    const found = this.#ports.get(`${service}:${port}`);
    if (found === undefined) throw new Error(`${service} has no port ${port}`);
    return `127.0.0.1:${found}`;
  }

  command(service: Service): readonly string[] {
    return service.command.map((each) => this.#translate(each, service));
  }

  /** The program of a service with its files, not started. */
  program(service: Service, program: string, options: NativeOptions, user: ReturnType<typeof postgresUser>): Program {
    const { name } = service;
    this.#mount(service);
    const [port = 0] = service.ports.map((each) => this.#ports.get(`${name}:${each}`) ?? 0);
    const environment = Object.fromEntries(
      Object.entries(service.environment).map(([key, value]) => [key, this.#translate(value, service)]),
    );
    const entrypoint = service.entrypoint.map((each) => this.#translate(each, service));
    const given = this.command(service);
    const common = { name, folder: this.#folder, log: join(this.#folder, 'logs', `${name}.log`), port };
    switch (program) {
      case 'isen': {
        const own = { ISEN__REMOTE_ACCESS_ALLOWED: 'false', UV_THREADPOOL_SIZE: '16', ISEN_BUILT: 'yes' };
        const env = { ...environment, ...own, ...options.env };
        return new Program({ ...common, env, command: [process.execPath, join(ROOT, 'bin', 'isen.cjs'), ...given] });
      }
      case 'redis-server':
        return new Program({
          ...common,
          env: environment,
          command: [...given, '--port', `${port}`, '--bind', '127.0.0.1', '--dir', this.#path(service, '/data')],
        });
      case 'postgres':
        return this.#postgres(service, { ...common, env: {}, command: given }, options.postgres ?? [], user);
      default:
        return new Program({
          ...common,
          env: environment,
          command:
            entrypoint.length > 0 ? [...entrypoint, ...given] : given[0] === program ? given : [program, ...given],
        });
    }
  }

  /** With a new folder of data, which the image makes at its first start. */
  #postgres(
    service: Service,
    of: ConstructorParameters<typeof Program>[0],
    settings: readonly string[],
    user: ReturnType<typeof postgresUser>,
  ): Program {
    const {
      POSTGRES_USER = '',
      POSTGRES_PASSWORD = '',
      POSTGRES_DB = '',
      POSTGRES_INITDB_ARGS = '',
    } = service.environment;
    const data = join(this.#path(service, '/var/lib/postgresql/data'), 'data');
    const secret = join(this.#folder, 'postgres-password');
    writeFileSync(secret, POSTGRES_PASSWORD, { mode: 0o600 });
    if (user !== undefined) for (const path of [secret, join(data, '..')]) chownSync(path, user.uid, user.gid);
    const run = { ...user, cwd: this.#folder, stdio: ['pipe', 'ignore', 'ignore'] as ['pipe', 'ignore', 'ignore'] };
    const initdb = [
      '-D',
      data,
      '-U',
      POSTGRES_USER,
      `--pwfile=${secret}`,
      ...POSTGRES_INITDB_ARGS.split(' '),
      '--no-sync',
    ];
    execFileSync(join(POSTGRES_PROGRAMS, 'initdb'), initdb, run);
    execFileSync(join(POSTGRES_PROGRAMS, 'postgres'), ['--single', '-D', data, 'postgres'], {
      ...run,
      input: `CREATE DATABASE "${POSTGRES_DB}"\n`,
    });
    const own = [`port=${of.port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings];
    const [, ...given] = of.command;
    return new Program({
      ...of,
      ...(user !== undefined && { user }),
      command: [join(POSTGRES_PROGRAMS, 'postgres'), '-D', data, ...given, ...own.flatMap((each) => ['-c', each])],
    });
  }

  /** Where a path of the container is here. */
  #path(service: Service, target: string): string {
    const mount = service.mounts.find((each) => each.target === target);
    if (mount === undefined) throw new Error(`${service.name} has nothing at ${target}`);
    const path = mount.source.startsWith('./')
      ? join(this.#folder, 'files', service.name, mount.source)
      : join(this.#folder, 'volumes', mount.source);
    if (!mount.source.startsWith('./')) mkdirSync(path, { recursive: true });
    return path;
  }

  /** Files of the checkout are copied, with the addresses and paths of this machine in them. */
  #mount(service: Service): void {
    for (const { source, target } of service.mounts) {
      const path = this.#path(service, target);
      if (!source.startsWith('./')) continue;
      cpSync(join(ROOT, source), path, { recursive: true });
      const files = statSync(path).isDirectory()
        ? readdirSync(path, { recursive: true }).map((each) => join(path, String(each)))
        : [path];
      for (const file of files) {
        if (statSync(file).isFile()) writeFileSync(file, this.#translate(readFileSync(file, 'utf8'), service));
      }
    }
  }

  #translate(text: string, service: Service): string {
    let result = text;
    for (const { name, ports } of this.#services) {
      for (const port of ports) result = result.replaceAll(`${name}:${port}`, this.address(name, port));
    }
    for (const port of service.ports) {
      const own = this.#ports.get(`${service.name}:${port}`);
      // Of itself: all of a text, or after an option's sign.
      if (result === `${port}`) result = `${own}`;
      result = result.replace(new RegExp(`(^|=):${port}$`), `$1127.0.0.1:${own}`);
    }
    const targets = service.mounts.map(({ target }) => target).sort((a, b) => b.length - a.length);
    if (targets.length === 0) return result;
    // At once: what stands there afterwards is no path of the container.
    const paths = new RegExp(`(?<![\\w./-])(${targets.join('|')})(?![\\w.-])`, 'g');
    return result.replace(paths, (target) => this.#path(service, target));
  }
}

/** So many ports of the loopback that follow each other and are free, from `first` on where it is given. */
async function freePorts(count: number, first?: number): Promise<readonly number[]> {
  const spread = LAST_PORT - FIRST_PORT - count;
  for (let attempt = 0; attempt < 100; attempt++) {
    const start = first ?? FIRST_PORT + Math.floor(Math.random() * spread);
    const ports = Array.from({ length: count }, (_, index) => start + index);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return ports;
    if (first !== undefined) throw new Error(`the ports from ${first} to ${first + count - 1} are not all free`);
  }
  throw new Error('there are no free ports');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
