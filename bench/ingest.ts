/**
 * Owns `npm run bench -- ingest`: uploads per second of Isen, the reference server and the bare sink, in one run, fresh
 * processes each time, in alternating order, all three syncing every image to disk.
 */

import { execFileSync } from 'node:child_process';
import { ImageSource } from './images.ts';
import { percentile, sendImages } from './sender.ts';
import { clean, type Running, startServer, SUBJECTS, type Subject } from './servers.ts';

const SIZES = [
  { name: '512 KB', rows: 512, columns: 512, seconds: 4 },
  { name: '34 KB', rows: 128, columns: 128, seconds: 4 },
];

/**
 * Seconds of small images before each measurement, for all of them: what counts is a server that has run for a while, and
 * V8 has compiled everything only after some ten thousand images.
 */
const WARMING = 12;

const CLIENTS = [1, 4, 16];

/** The bars: Isen over the other, at a number of clients. */
const BARS: readonly { size: string; clients: number; over: Subject; least: number }[] = [
  { size: '512 KB', clients: 4, over: 'reference', least: 1.2 },
  { size: '512 KB', clients: 16, over: 'reference', least: 1.6 },
  { size: '512 KB', clients: 16, over: 'sink', least: 0.75 },
  { size: '34 KB', clients: 16, over: 'reference', least: 3 },
  { size: '34 KB', clients: 16, over: 'sink', least: 0.6 },
];

interface Row {
  readonly rates: number[];
  readonly p95: number[];
  readonly cpu: number[];
}

const median = (values: readonly number[]): number => percentile(values, 0.5);

/** Arguments: `--rounds N` (3), `--size "512 KB"`, `--clients 1,4,16`, `--subjects isen,reference,sink`. */
export async function run(args: readonly string[]): Promise<void> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? undefined : args[at + 1];
  };
  const rounds = Number(option('rounds') ?? 3);
  const clientsList = option('clients')?.split(',').map(Number) ?? CLIENTS;
  const subjects = SUBJECTS.filter((subject) => option('subjects')?.split(',').includes(subject) ?? true);
  for (const size of SIZES) {
    if (option('size') !== undefined && option('size') !== size.name) continue;
    const results = new Map<string, Row>();
    let share = 0;
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? subjects : [...subjects].reverse();
      for (const subject of order) {
        for (const clients of clientsList) {
          const server = await startServer(subject);
          try {
            const sent = await measure(server, size, clients, round);
            share = Math.max(share, sent.share);
            const key = `${subject} ${clients}`;
            const row = results.get(key) ?? { rates: [], p95: [], cpu: [] };
            row.rates.push(sent.rate);
            row.p95.push(sent.p95);
            row.cpu.push(sent.cpu);
            results.set(key, row);
          } finally {
            await server.stop();
          }
        }
      }
    }
    print(size.name, subjects, clientsList, results, share);
    // All rounds of slices are tens of gigabytes.
    if (option('size') === undefined && size !== SIZES.at(-1)) await clean();
  }
}

async function measure(
  server: Running,
  size: (typeof SIZES)[number],
  clients: number,
  round: number,
): Promise<{ rate: number; p95: number; cpu: number; share: number }> {
  const source = new ImageSource({
    rows: size.rows,
    columns: size.columns,
    instancesPerSeries: 200,
    seed: round * 100 + clients,
  });
  const small = new ImageSource({ rows: 128, columns: 128, instancesPerSeries: 200, seed: round * 100 + clients + 50 });
  let failures = 0;
  const warmed = performance.now() + WARMING * 1000;
  while (performance.now() < warmed) failures += (await sendImages(server.port, small, clients, 500)).failures;
  const warm = await sendImages(server.port, source, clients, 200);
  if (failures + warm.failures > 0) throw new Error(`${server.subject} refused uploads while warming`);
  const count = Math.max(300, Math.round((warm.count / warm.seconds) * size.seconds));
  // What the last run left for the disk must not be written during this one.
  execFileSync('sync');
  const before = server.cpu();
  const sent = await sendImages(server.port, source, clients, count);
  if (sent.failures > 0) throw new Error(`${server.subject} refused ${sent.failures} uploads`);
  return {
    rate: sent.count / sent.seconds,
    p95: percentile(sent.latencies, 0.95),
    cpu: ((server.cpu() - before) / sent.count) * 1000,
    share: sent.share,
  };
}

function print(
  size: string,
  subjects: readonly Subject[],
  clientsList: readonly number[],
  results: ReadonlyMap<string, Row>,
  share: number,
): void {
  const rate = (subject: Subject, clients: number): number => median(results.get(`${subject} ${clients}`)?.rates ?? []);
  const lines = [`\n${size} instances, uploads/s (the sender took at most ${Math.round(share * 100)} % of a core)`];
  for (const clients of clientsList) {
    for (const other of subjects) {
      if (other === 'isen') continue;
      const ratio = rate('isen', clients) / rate(other, clients);
      const bar = BARS.find((each) => each.size === size && each.clients === clients && each.over === other);
      const verdict = bar === undefined ? '' : ` (bar ${bar.least}: ${ratio >= bar.least ? 'met' : 'MISSED'})`;
      lines.push(`  isen : ${other}, ${clients} clients = ${ratio.toFixed(2)}${verdict}`);
    }
  }
  for (const clients of clientsList) {
    for (const subject of subjects) {
      const row = results.get(`${subject} ${clients}`);
      if (row === undefined) continue;
      const raw = row.rates.map((value) => value.toFixed(0)).join(' ');
      lines.push(
        `  ${subject.padEnd(9)} ${String(clients).padStart(2)} clients: ${median(row.rates).toFixed(0).padStart(5)}/s  p95 ${median(row.p95).toFixed(1)} ms  CPU ${median(row.cpu).toFixed(2)} ms/instance  [${raw}]`,
      );
    }
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
