/**
 * Owns `npm run bench -- store-scu`: instances per second that Isen, the reference server (both from their storage) and DCMTK's storescu
 * (from files) send to storescp, which receives and forgets; fresh processes each time, in alternating order. Nagle's algorithm is off
 * for all (TCP_NODELAY=1), but for the last rows, where everyone has their defaults.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../test/peer.ts';
import { ImageSource } from './images.ts';
import { percentile, sendImages } from './sender.ts';
import { startServer } from './servers.ts';

const SIZES = [
  { name: '512 KB', rows: 512, columns: 512, count: 1000 },
  { name: '134 KB', rows: 256, columns: 256, count: 3000 },
];
const SUBJECTS = ['isen', 'reference', 'storescu'] as const;
type Subject = (typeof SUBJECTS)[number];
const ASSOCIATIONS = [1, 4];

/** Small instances sent before each measurement, for the servers: V8 has compiled everything only after some ten thousand. */
const WARMING = 500;
const WARMING_ROUNDS = 12;

/** Whether Nagle's algorithm is off on both sides, or everyone has their defaults. */
const NAGLE = ['nodelay', 'default'] as const;
type Nagle = (typeof NAGLE)[number];

/** The bars: Isen over the others; and what it sends to a storescp with its defaults. */
const LEAST_OVER = 0.85;
const LEAST_TO_DEFAULTS = 400;

interface Row {
  readonly rates: number[];
  readonly cpu: number[];
}

const median = (values: readonly number[]): number => percentile(values, 0.5);
const key = (subject: Subject, associations: number, nagle: Nagle): string => `${subject} ${associations} ${nagle}`;

/** The environment of a DCMTK or reference process. */
function environment(nagle: Nagle): NodeJS.ProcessEnv {
  const { TCP_NODELAY: _, ...rest } = process.env;
  return nagle === 'nodelay' ? { ...rest, TCP_NODELAY: '1' } : rest;
}

/** Arguments: `--rounds N` (3), `--size "512 KB"`, `--associations 1,4`, `--subjects isen,reference,storescu`, `--nagle nodelay,default`. */
export async function run(args: readonly string[]): Promise<void> {
  const option = (name: string): readonly string[] | undefined => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? undefined : args[at + 1]?.split(',');
  };
  const rounds = Number(option('rounds')?.[0] ?? 3);
  const associations = option('associations')?.map(Number) ?? ASSOCIATIONS;
  const subjects = SUBJECTS.filter((subject) => option('subjects')?.includes(subject) ?? true);
  const nagles = NAGLE.filter((nagle) => option('nagle')?.includes(nagle) ?? true);
  for (const size of SIZES) {
    if (option('size') !== undefined && option('size')?.includes(size.name) !== true) continue;
    const results = new Map<string, Row>();
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? subjects : [...subjects].reverse();
      for (const nagle of nagles) {
        // With stalls of 40 ms an instance one association is the case.
        const counts = nagle === 'nodelay' ? associations : size.name === '512 KB' ? [1] : [];
        if (counts.length === 0) continue;
        for (const subject of order) {
          const stalls = nagle === 'default' && subject !== 'isen';
          const measured = await measure(subject, stalls ? { ...size, count: 100 } : size, counts, nagle, round);
          for (const [index, sent] of measured.entries()) {
            const row = results.get(key(subject, counts[index] ?? 0, nagle)) ?? { rates: [], cpu: [] };
            row.rates.push(sent.rate);
            row.cpu.push(sent.cpu);
            results.set(key(subject, counts[index] ?? 0, nagle), row);
          }
        }
      }
    }
    print(size.name, subjects, associations, results);
  }
}

/** A storescp that forgets what it gets, one process an association. */
async function startReceiver(nagle: Nagle): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const port = await freePort();
  const child = spawn('storescp', ['--ignore', '--fork', String(port)], { env: environment(nagle), stdio: 'ignore' });
  for (let tries = 0; ; tries++) {
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) break;
    if (tries > 100) throw new Error('storescp does not listen');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    port,
    async stop() {
      const gone = ended(child);
      child.kill();
      await gone;
    },
  };
}

const ended = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.once('close', resolve));

interface Sent {
  readonly rate: number;
  /** Milliseconds of the sender's process, an instance; of storescu it is not known. */
  readonly cpu: number;
}

/** Sends so many instances over each number of associations. */
async function measure(
  subject: Subject,
  size: (typeof SIZES)[number],
  associations: readonly number[],
  nagle: Nagle,
  seed: number,
): Promise<readonly Sent[]> {
  const receiver = await startReceiver(nagle);
  try {
    return subject === 'storescu'
      ? await sendFiles(size, associations, nagle, receiver.port, seed)
      : await sendStored(subject, size, associations, nagle, receiver.port, seed);
  } finally {
    await receiver.stop();
  }
}

/** From the storage of a server, upon one request, or one an association where a server has one for each request. */
async function sendStored(
  subject: Exclude<Subject, 'storescu'>,
  size: (typeof SIZES)[number],
  associations: readonly number[],
  nagle: Nagle,
  port: number,
  seed: number,
): Promise<readonly Sent[]> {
  const server = await startServer(subject, { env: environment(nagle) });
  const ask = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${subject}: ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  const send = async (ids: readonly string[], parts: number): Promise<void> => {
    const share = Math.ceil(ids.length / parts);
    await Promise.all(
      Array.from({ length: parts }, (_, index) =>
        ask('POST', '/modalities/sink/store', ids.slice(index * share, (index + 1) * share)),
      ),
    );
  };
  const upload = async (rows: number, columns: number, count: number, number: number): Promise<string[]> => {
    const before = new Set((await ask('GET', '/instances')) as string[]);
    const source = new ImageSource({ rows, columns, instancesPerSeries: 200, seed: number });
    const { failures } = await sendImages(server.port, source, 4, count);
    if (failures > 0) throw new Error(`${subject} refused ${failures} uploads`);
    return ((await ask('GET', '/instances')) as string[]).filter((id) => !before.has(id));
  };
  try {
    const modality = { AET: 'SINK', Host: '127.0.0.1', Port: port };
    await ask('PUT', '/modalities/sink', modality);
    const small = await upload(64, 64, WARMING, 1000 + seed);
    const ids = await upload(size.rows, size.columns, size.count, seed);
    if (nagle === 'nodelay' || subject === 'isen')
      for (let round = 0; round < WARMING_ROUNDS; round++) await send(small, 1);
    const sent: Sent[] = [];
    for (const count of associations) {
      await ask('PUT', '/modalities/sink', { ...modality, MaximumAssociations: count });
      execFileSync('sync');
      const cpu = server.cpu();
      const began = performance.now();
      await send(ids, subject === 'isen' ? 1 : count);
      const seconds = (performance.now() - began) / 1000;
      sent.push({ rate: ids.length / seconds, cpu: ((server.cpu() - cpu) / ids.length) * 1000 });
    }
    return sent;
  } finally {
    await server.stop();
  }
}

/** From files by storescu; from the first response to the last, so that the start of the processes does not count. */
async function sendFiles(
  size: (typeof SIZES)[number],
  associations: readonly number[],
  nagle: Nagle,
  port: number,
  seed: number,
): Promise<readonly Sent[]> {
  const folder = mkdtempSync(join(process.env['ISEN_BENCH_FOLDER'] ?? tmpdir(), 'isen-bench-files-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(folder, { recursive: true });
  const source = new ImageSource({ rows: size.rows, columns: size.columns, instancesPerSeries: 200, seed });
  const files = Array.from({ length: size.count }, (_, index) => {
    const { head, tail } = source.next();
    const path = join(folder, `${index}.dcm`);
    writeFileSync(path, Buffer.concat([head, tail]));
    return path;
  });
  execFileSync('sync');
  const sent: Sent[] = [];
  for (const count of associations) {
    const share = Math.ceil(files.length / count);
    const times: number[] = [];
    await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const own = files.slice(index * share, (index + 1) * share);
        const child = spawn('storescu', ['--verbose', '127.0.0.1', String(port), ...own], {
          env: environment(nagle),
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        const read = (chunk: Buffer): void => {
          const now = performance.now();
          const responses = chunk.toString('latin1').split('Received Store Response (Success)').length - 1;
          for (let each = 0; each < responses; each++) times.push(now);
        };
        child.stdout.on('data', read);
        child.stderr.on('data', read);
        await ended(child);
      }),
    );
    if (times.length < files.length * 0.98) throw new Error(`storescu sent ${times.length} of ${files.length}`);
    times.sort((a, b) => a - b);
    const seconds = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000;
    sent.push({ rate: (times.length - 1) / seconds, cpu: Number.NaN });
  }
  return sent;
}

function print(
  size: string,
  subjects: readonly Subject[],
  associations: readonly number[],
  results: ReadonlyMap<string, Row>,
): void {
  const rate = (subject: Subject, count: number, nagle: Nagle): number =>
    median(results.get(key(subject, count, nagle))?.rates ?? []);
  const lines = [`\n${size} instances, sent to storescp, instances/s`];
  for (const count of associations) {
    for (const other of subjects) {
      const ratio = rate('isen', count, 'nodelay') / rate(other, count, 'nodelay');
      if (other === 'isen' || Number.isNaN(ratio)) continue;
      const verdict = ratio >= LEAST_OVER ? 'met' : 'MISSED';
      lines.push(`  isen : ${other}, ${count} associations = ${ratio.toFixed(2)} (bar ${LEAST_OVER}: ${verdict})`);
    }
  }
  const toDefaults = rate('isen', 1, 'default');
  if (!Number.isNaN(toDefaults)) {
    const verdict = toDefaults >= LEAST_TO_DEFAULTS ? 'met' : 'MISSED';
    lines.push(
      `  isen to a storescp with its defaults = ${toDefaults.toFixed(0)}/s (bar ${LEAST_TO_DEFAULTS}: ${verdict})`,
    );
  }
  for (const [name, row] of [...results].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [subject = '', count = '', nagle = ''] = name.split(' ');
    const raw = row.rates.map((value) => value.toFixed(0)).join(' ');
    const cpu = subject === 'storescu' ? '' : `  CPU ${median(row.cpu).toFixed(2)} ms/instance`;
    const how = nagle === 'nodelay' ? 'no Nagle' : 'defaults';
    lines.push(
      `  ${subject.padEnd(9)} ${count} associations, ${how}: ${median(row.rates).toFixed(0).padStart(5)}/s${cpu}  [${raw}]`,
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
