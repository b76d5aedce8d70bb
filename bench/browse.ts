/**
 * Owns `npm run bench -- browse`: answers per second of the browse routes, Isen and the reference server holding the same
 * instances, in one run and alternating, what was never asked for apart from what was asked for before (Isen keeps
 * answers); and how much the REST API slows down under full ingest.
 */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ImageSource } from './images.ts';
import { getPaths, percentile, sendImages } from './sender.ts';
import { type Running, startServer } from './servers.ts';

const execute = promisify(execFile);
const LOAD = fileURLToPath(new URL('./load.js', import.meta.url));

/** Two a study: so that there are two thousand studies, one to warm the servers up with and one to measure. */
const INSTANCES = 4000;
const IDS = 1000;
const REQUESTS = 4000;
const CLIENTS = 4;

/** The bars: Isen over the reference. */
const ROUTES = [
  { name: 'GET /studies/{id}', kind: 'studies', suffix: '', least: 2 },
  { name: 'GET /instances/{id}/simplified-tags', kind: 'instances', suffix: '/simplified-tags', least: 2 },
  { name: 'GET /instances/{id}/tags', kind: 'instances', suffix: '/tags', least: 2 },
  { name: 'GET /changes?limit=100', kind: 'changes', suffix: '?limit=100', least: 2 },
] as const;

async function ids(port: number, kind: string): Promise<string[]> {
  return (await (await fetch(`http://127.0.0.1:${port}/${kind}`)).json()) as string[];
}

/** The same permutation for both servers. */
function shuffled(values: readonly string[]): string[] {
  const result = [...values].sort();
  let state = 42;
  for (let at = result.length - 1; at > 0; at--) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const other = state % (at + 1);
    [result[at], result[other]] = [result[other] ?? '', result[at] ?? ''];
  }
  return result;
}

/** What a route is asked for: a thousand paths to warm up with, then a thousand others. */
async function pathsOf(port: number, { kind, suffix }: (typeof ROUTES)[number]): Promise<[string[], string[]]> {
  const paths =
    kind === 'changes'
      ? Array.from({ length: 2 * IDS }, (_, index) => `/changes${suffix}&since=${2 * IDS - index}`)
      : shuffled(await ids(port, kind)).map((id) => `/${kind}/${id}${suffix}`);
  return [paths.slice(IDS, 2 * IDS), paths.slice(0, IDS)];
}

async function rate(server: Running, paths: readonly string[], count: number): Promise<number> {
  const got = await getPaths(server.port, paths, CLIENTS, count);
  if (got.failures > 0) throw new Error(`${server.subject} failed ${got.failures} of ${paths[0]}`);
  return got.count / got.seconds;
}

const median = (values: readonly number[]): number => percentile(values, 0.5);

/** Arguments: `--rounds N` (3). */
export async function run(args: readonly string[]): Promise<void> {
  const at = args.indexOf('--rounds');
  const rounds = at < 0 ? 3 : Number(args[at + 1]);
  const servers: Running[] = [];
  try {
    for (const subject of ['isen', 'reference'] as const) {
      const server = await startServer(subject);
      servers.push(server);
      const source = new ImageSource({ rows: 128, columns: 128, instancesPerSeries: 2, seed: 1 });
      const sent = await sendImages(server.port, source, 4, INSTANCES);
      if (sent.failures > 0) throw new Error(`${subject} refused ${sent.failures} uploads`);
    }
    const lines: string[] = [];
    for (const route of ROUTES) {
      const rates = new Map<string, number[]>();
      const first: string[] = [];
      for (const server of servers) {
        const [others, paths] = await pathsOf(server.port, route);
        await rate(server, others, IDS);
        first.push(`${server.subject} ${(await rate(server, paths, IDS)).toFixed(0)}/s`);
      }
      for (let round = 0; round < rounds; round++) {
        for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
          const [, paths] = await pathsOf(server.port, route);
          rates.set(server.subject, [...(rates.get(server.subject) ?? []), await rate(server, paths, REQUESTS)]);
        }
      }
      const ours = rates.get('isen') ?? [];
      const theirs = rates.get('reference') ?? [];
      const ratio = median(ours) / median(theirs);
      const raw = (values: readonly number[]): string => values.map((value) => value.toFixed(0)).join(' ');
      lines.push(
        `${ratio.toFixed(2)} ${route.name} (bar ${route.least}: ${ratio >= route.least ? 'met' : 'MISSED'})  isen ${median(ours).toFixed(0)}/s [${raw(ours)}]  reference ${median(theirs).toFixed(0)}/s [${raw(theirs)}]  never asked before: ${first.join(', ')}`,
      );
    }
    process.stdout.write(`isen : reference, ${CLIENTS} clients, over 1,000 random ids\n${lines.join('\n')}\n`);
    for (const server of servers) process.stdout.write(`${await underIngest(server)}\n`);
  } finally {
    for (const server of servers) await server.stop();
  }
}

/** Milliseconds below which 95 % of requests are answered alone, and while 16 clients of another process upload as fast as they can. */
interface Waits {
  readonly idle: number;
  readonly busy: number;
  readonly samples: number;
  /** Uploads a second meanwhile. */
  readonly rate: number;
}

/** Asks `asked` for `paths` while `loaded` takes in slices that no other `seed` makes. */
async function waits(asked: Running, paths: readonly string[], loaded: Running, seed: number): Promise<Waits> {
  const idle = percentile((await getPaths(asked.port, paths, 1, 2000)).latencies, 0.95);
  let done = false;
  const load = execute(process.execPath, [LOAD, String(loaded.port), '16', '4000', String(seed)]).finally(() => {
    done = true;
  });
  const busy: number[] = [];
  await new Promise((resolve) => setTimeout(resolve, 1000));
  while (!done) busy.push(...(await getPaths(asked.port, paths, 1, 50)).latencies);
  return { idle, busy: percentile(busy, 0.95), samples: busy.length, rate: Number((await load).stdout) };
}

/**
 * p95 of a browse request under ingest, and of a request to a bare node:http server beside, which has nothing else to do: what the load
 * leaves to any server on this machine.
 */
async function underIngest(server: Running): Promise<string> {
  const paths = shuffled(await ids(server.port, 'studies')).map((id) => `/studies/${id}`);
  const bystander = await startServer('sink');
  try {
    const own = await waits(server, paths, server, 7);
    await getPaths(bystander.port, paths, 1, 20_000);
    const bare = await waits(bystander, paths, server, 8);
    const line = (what: string, { idle, busy, samples, rate }: Waits): string =>
      `${what} ${idle.toFixed(2)} ms idle, ${busy.toFixed(2)} ms under ingest at ${rate.toFixed(0)} slices/s: ${(busy / idle).toFixed(1)}× (${samples} samples)`;
    return `${line(`${server.subject}: p95 of GET /studies/{id}`, own)}\n  ${line('a bare node:http server beside it:', bare)}`;
  } finally {
    await bystander.stop();
  }
}
