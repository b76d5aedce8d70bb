/**
 * Owns `npm run bench -- store-scp`: instances per second that DCMTK's storescu gets rid of, to Isen (indexed, every file synced), to the
 * reference server and to storescp, which writes files and nothing else; fresh processes each time, in alternating order. Nagle's
 * algorithm is off for all (TCP_NODELAY=1), but for the last rows, where the sender has its defaults.
 */

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageSource } from './images.ts';
import { percentile } from './sender.ts';
import { type Running, startServer, type Subject } from './servers.ts';

const SIZES = [
  { name: '512 KB', rows: 512, columns: 512, count: 1600 },
  { name: '134 KB', rows: 256, columns: 256, count: 3400 },
];
const SUBJECTS = ['isen', 'reference', 'storescp'] as const satisfies readonly Subject[];
const ASSOCIATIONS = [1, 4];

/**
 * Small instances before each measurement: what counts is a server that has run for a while, and V8 has compiled everything only after
 * some ten thousand. The others have nothing to compile, and the reference is the slower the more it holds: they get a few. Then all get
 * some of the size that is measured.
 */
const WARMING = { isen: 16_000, reference: 400, storescp: 400 } as const satisfies Partial<Record<Subject, number>>;
const WARMING_OF_SIZE = 400;

/** Whether the sender leaves Nagle's algorithm on. */
type Sender = 'nodelay' | 'default';

/** The bars: Isen over another; and what it must take from a sender with its defaults. */
const BARS: readonly { size: string; over: Subject; least: number }[] = [
  { size: '512 KB', over: 'reference', least: 1.5 },
  { size: '512 KB', over: 'storescp', least: 0.5 },
  { size: '134 KB', over: 'reference', least: 2 },
];
const LEAST_FROM_DEFAULTS = 400;

interface Row {
  readonly rates: number[];
  readonly cpu: number[];
}

const median = (values: readonly number[]): number => percentile(values, 0.5);
const key = (subject: Subject, associations: number, sender: Sender): string => `${subject} ${associations} ${sender}`;

/** Arguments: `--rounds N` (3), `--size "512 KB"`, `--associations 1,4`, `--subjects isen,reference,storescp`, `--sender nodelay,default`. */
export async function run(args: readonly string[]): Promise<void> {
  const option = (name: string): readonly string[] | undefined => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? undefined : args[at + 1]?.split(',');
  };
  const rounds = Number(option('rounds')?.[0] ?? 3);
  const associations = option('associations')?.map(Number) ?? ASSOCIATIONS;
  const subjects = SUBJECTS.filter((subject) => option('subjects')?.includes(subject) ?? true);
  const senders = (['nodelay', 'default'] as const).filter((sender) => option('sender')?.includes(sender) ?? true);
  const folder = mkdtempSync(join(process.env['ISEN_BENCH_FOLDER'] ?? tmpdir(), 'isen-bench-files-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const warming = writeImages(join(folder, 'warming'), 64, 64, WARMING.isen, 1);
  for (const size of SIZES) {
    if (option('size') !== undefined && option('size')?.includes(size.name) !== true) continue;
    const files = writeImages(join(folder, size.name), size.rows, size.columns, size.count, 2);
    const results = new Map<string, Row>();
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? subjects : [...subjects].reverse();
      for (const sender of senders) {
        for (const subject of order) {
          for (const count of associations) {
            // With a sender that stalls 40 ms an instance, fewer tell as much, and one association is the case.
            const stalls = sender === 'default' && subject !== 'isen';
            if (sender === 'default' && (count !== 1 || size.name !== '512 KB')) continue;
            const sent = await measure(
              subject,
              warming,
              stalls ? files.slice(0, WARMING_OF_SIZE + 100) : files,
              count,
              sender,
            );
            const row = results.get(key(subject, count, sender)) ?? { rates: [], cpu: [] };
            row.rates.push(sent.rate);
            row.cpu.push(sent.cpu);
            results.set(key(subject, count, sender), row);
          }
        }
      }
    }
    print(size.name, subjects, associations, results);
  }
}

/** Writes instances to files, and answers their paths. */
function writeImages(folder: string, rows: number, columns: number, count: number, seed: number): string[] {
  mkdirSync(folder);
  const source = new ImageSource({ rows, columns, instancesPerSeries: 200, seed });
  return Array.from({ length: count }, (_, index) => {
    const { head, tail } = source.next();
    const path = join(folder, `${index}.dcm`);
    writeFileSync(path, Buffer.concat([head, tail]));
    return path;
  });
}

async function measure(
  subject: keyof typeof WARMING,
  warming: readonly string[],
  files: readonly string[],
  associations: number,
  sender: Sender,
): Promise<{ rate: number; cpu: number }> {
  const server = await startServer(subject);
  try {
    await send(server, warming.slice(0, WARMING[subject]), 4, 'nodelay');
    await send(server, files.slice(0, WARMING_OF_SIZE), 4, 'nodelay');
    // What came before must not be written to the disk during this.
    execFileSync('sync');
    const before = server.cpu();
    const measured = files.slice(WARMING_OF_SIZE);
    const rate = await send(server, measured, associations, sender);
    return { rate, cpu: ((server.cpu() - before) / measured.length) * 1000 };
  } finally {
    await server.stop();
  }
}

/**
 * Sends files over so many associations of storescu; answers instances per second between the first and the last response, so that the
 * start of the processes does not count. What storescu says goes to a file with its times: a pipe would take a third more of the
 * processors, which the receiver needs, and this process as much again.
 */
async function send(server: Running, files: readonly string[], associations: number, sender: Sender): Promise<number> {
  const { TCP_NODELAY: _, ...environment } = process.env;
  const env = sender === 'nodelay' ? { ...environment, TCP_NODELAY: '1' } : environment;
  const share = Math.ceil(files.length / associations);
  const times: number[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'isen-bench-log-'));
  try {
    await Promise.all(
      Array.from({ length: associations }, async (_each, index) => {
        const own = files.slice(index * share, (index + 1) * share);
        const [config, said] = [join(folder, `${index}.cfg`), join(folder, `${index}.log`)];
        writeFileSync(config, logging(said));
        const child = spawn('storescu', ['--log-config', config, '127.0.0.1', String(server.dicomPort), ...own], {
          env,
          stdio: 'ignore',
        });
        await new Promise((resolve) => child.once('close', resolve));
        const stored = [...readFileSync(said, 'utf8').matchAll(/^(\S+) Received Store Response \(Success\)$/gm)];
        if (stored.length !== own.length)
          throw new Error(`${server.subject} stored ${stored.length} of ${own.length} files`);
        times.push(...stored.map(([, seconds]) => Number(seconds)));
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
  times.sort((a, b) => a - b);
  return (times.length - 1) / ((times.at(-1) ?? 0) - (times[0] ?? 0));
}

/** A configuration of DCMTK's log: each message with its seconds, in a file. */
const logging = (file: string): string =>
  [
    'log4cplus.rootLogger = INFO, file',
    'log4cplus.appender.file = log4cplus::FileAppender',
    `log4cplus.appender.file.File = ${file}`,
    'log4cplus.appender.file.ImmediateFlush = false',
    'log4cplus.appender.file.layout = log4cplus::PatternLayout',
    'log4cplus.appender.file.layout.ConversionPattern = %D{%s.%q} %m%n',
    '',
  ].join('\n');

function print(
  size: string,
  subjects: readonly Subject[],
  associations: readonly number[],
  results: ReadonlyMap<string, Row>,
): void {
  const rate = (subject: Subject, count: number, sender: Sender): number =>
    median(results.get(key(subject, count, sender))?.rates ?? []);
  const lines = [`\n${size} instances received from storescu, instances/s`];
  for (const count of associations) {
    for (const other of subjects) {
      if (other === 'isen') continue;
      const ratio = rate('isen', count, 'nodelay') / rate(other, count, 'nodelay');
      if (Number.isNaN(ratio)) continue;
      const bar = BARS.find((each) => each.size === size && each.over === other);
      const verdict = bar === undefined ? '' : ` (bar ${bar.least}: ${ratio >= bar.least ? 'met' : 'MISSED'})`;
      lines.push(`  isen : ${other}, ${count} associations = ${ratio.toFixed(2)}${verdict}`);
    }
  }
  const defaults = rate('isen', 1, 'default');
  if (!Number.isNaN(defaults)) {
    const verdict = defaults >= LEAST_FROM_DEFAULTS ? 'met' : 'MISSED';
    lines.push(`  isen, sender with its defaults = ${defaults.toFixed(0)}/s (bar ${LEAST_FROM_DEFAULTS}: ${verdict})`);
  }
  for (const [name, row] of results) {
    const [subject = '', count = '', sender = ''] = name.split(' ');
    const raw = row.rates.map((value) => value.toFixed(0)).join(' ');
    const from = sender === 'default' ? ' (sender with its defaults)' : '';
    lines.push(
      `  ${subject.padEnd(9)} ${count} associations: ${median(row.rates).toFixed(0).padStart(5)}/s  CPU ${median(row.cpu).toFixed(2)} ms/instance  [${raw}]${from}`,
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
