/**
 * Owns the load of benchmarks: HTTP/1.1 by hand on raw keep-alive sockets, so that making the load takes little of the
 * machine that the servers are measured on.
 */

import { connect, type Socket } from 'node:net';
import type { ImageSource } from './images.ts';

/** What one run saw. */
export interface Sent {
  readonly count: number;
  readonly seconds: number;
  /** Milliseconds of each request, in order of completion. */
  readonly latencies: readonly number[];
  /** Answers other than 200. */
  readonly failures: number;
  /** Share of one core that the sender itself took. */
  readonly share: number;
}

/** One client: sends a request, waits for the whole answer, then the next. */
class Client {
  readonly #socket: Socket;
  #buffered = '';
  #answered: ((status: number) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  constructor(port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#read(text));
    this.#socket.on('error', (error) => this.#failed?.(error));
    this.#socket.on('close', () => this.#failed?.(new Error('the server closed the connection')));
  }

  request(parts: readonly (string | Uint8Array)[]): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
      this.#socket.cork();
      for (const part of parts) this.#socket.write(part, 'latin1');
      this.#socket.uncork();
    });
  }

  end(): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#buffered += text;
    const head = this.#buffered.indexOf('\r\n\r\n');
    if (head < 0) return;
    const status = Number(this.#buffered.slice(9, 12));
    const length = /content-length: *(\d+)/i.exec(this.#buffered.slice(0, head))?.[1];
    const complete =
      length === undefined
        ? this.#buffered.endsWith('0\r\n\r\n') && this.#buffered.length > head + 4
        : this.#buffered.length >= head + 4 + Number(length);
    if (!complete) return;
    this.#buffered = '';
    this.#answered?.(status);
  }
}

/** Runs `clients` at once, each taking the next of `count` requests when its last is answered. */
async function run(
  port: number,
  clients: number,
  count: number,
  parts: (index: number) => readonly (string | Uint8Array)[],
): Promise<Sent> {
  const latencies: number[] = [];
  let next = 0;
  let failures = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      const client = new Client(port);
      while (next < count) {
        const index = next++;
        const sent = performance.now();
        if ((await client.request(parts(index))) !== 200) failures += 1;
        latencies.push(performance.now() - sent);
      }
      client.end();
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { count, seconds, latencies, failures, share: (user + system) / 1e6 / seconds };
}

/** Uploads `count` new instances of `source`. */
export function sendImages(port: number, source: ImageSource, clients: number, count: number): Promise<Sent> {
  const head = `POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/dicom\r\nContent-Length: ${source.size}\r\n\r\n`;
  return run(port, clients, count, () => {
    const image = source.next();
    // The head is reused by the source, and the socket may hold it until the kernel takes it.
    return [head, Buffer.from(image.head), image.tail];
  });
}

/** Gets each of `paths` in turn, `count` requests in all. */
export function getPaths(port: number, paths: readonly string[], clients: number, count: number): Promise<Sent> {
  return run(port, clients, count, (index) => [
    `GET ${paths[index % paths.length]} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
  ]);
}

/** The value below which `share` of `values` lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
