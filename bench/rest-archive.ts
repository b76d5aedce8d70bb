/** Owns the part of `rest` about archives: megabytes of a study a second that arrive at one client. */

import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { ImageSource } from './images.ts';
import { percentile, sendImages } from './sender.ts';
import { type Running, startServer } from './servers.ts';

const INSTANCES = 400;
/** The bar: Isen over the reference. */
const LEAST = 3;
const MB = 2 ** 20;

interface Downloaded {
  /** Milliseconds to the first byte of the archive. */
  readonly first: number;
  readonly seconds: number;
  /** Bytes of the archive. */
  readonly size: number;
}

async function download(port: number, path: string): Promise<Downloaded> {
  const started = performance.now();
  const request = get({ host: '127.0.0.1', port, path, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`the server answered ${response.statusCode}`);
  let first = 0;
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (first === 0) first = performance.now() - started;
    size += chunk.length;
  }
  return { first, seconds: (performance.now() - started) / 1000, size };
}

const median = (values: readonly number[]): number => percentile(values, 0.5);

/** Lines to print, the ratio first. */
export async function archive(rounds: number): Promise<readonly string[]> {
  const servers: Running[] = [];
  const seen = new Map<Running, (Downloaded & { readonly memory: number })[]>();
  let bytes = 0;
  try {
    for (const subject of ['isen', 'reference'] as const) {
      const server = await startServer(subject);
      servers.push(server);
      const source = new ImageSource({ rows: 512, columns: 512, instancesPerSeries: INSTANCES, seed: 4 });
      bytes = source.size * INSTANCES;
      const sent = await sendImages(server.port, source, 4, INSTANCES);
      if (sent.failures > 0) throw new Error(`${subject} refused ${sent.failures} uploads`);
    }
    for (let round = 0; round < rounds; round += 1) {
      for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
        const answer = await fetch(`http://127.0.0.1:${server.port}/studies`);
        const [study] = (await answer.json()) as string[];
        const got = await download(server.port, `/studies/${study}/archive`);
        seen.set(server, [...(seen.get(server) ?? []), { ...got, memory: server.memory() }]);
      }
    }
  } finally {
    for (const server of servers) await server.stop();
  }
  const rates = servers.map((server) => (seen.get(server) ?? []).map(({ seconds }) => bytes / MB / seconds));
  const [ours = [], theirs = []] = rates;
  const ratio = median(ours) / median(theirs);
  const lines = [
    `${ratio.toFixed(2)} archive of ${INSTANCES} slices of 512 KB (bar ${LEAST}: ${ratio >= LEAST ? 'met' : 'MISSED'})`,
  ];
  for (const [index, server] of servers.entries()) {
    const runs = seen.get(server) ?? [];
    const of = (pick: (run: (typeof runs)[number]) => number): number => median(runs.map(pick));
    const raw = (rates[index] ?? []).map((rate) => rate.toFixed(0)).join(' ');
    lines.push(
      `  ${server.subject}: ${median(rates[index] ?? []).toFixed(0)} MB/s [${raw}], first byte after ${of(({ first }) => first).toFixed(0)} ms, ${(of(({ size }) => size) / bytes).toFixed(2)} of the size, ${of(({ memory }) => memory).toFixed(0)} MB of memory`,
    );
  }
  return lines;
}
