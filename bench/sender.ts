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

/** What a server answered. */
export interface Answered {
  readonly status: number;
  /** '' where it was not to be gathered. */
  readonly body: string;
}

/** One client: sends a request, waits for the whole answer, then the next. */
export class Client {
  readonly #socket: Socket;
  /** Of the answer: its head, as long as that is not whole; afterwards the bytes that its body lacks. */
  #head = '';
  #status = 0;
  #lacking = 0;
  #chunked = false;
  #body: Buffer[] = [];
  #answered: ((answer: Answered) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;
  readonly #gathers: boolean;

  /** `gathers`: whether bodies are wanted (with a Content-Length), as text; pictures would take the sender longer than the servers. */
  constructor(port: number, gathers = false) {
    this.#gathers = gathers;
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.on('data', (bytes: Buffer) => this.#read(bytes));
    this.#socket.on('error', (error) => this.#failed?.(error));
    this.#socket.on('close', () => this.#failed?.(new Error('the server closed the connection')));
  }

  request(parts: readonly (string | Uint8Array)[]): Promise<Answered> {
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

  #read(bytes: Buffer): void {
    let body = bytes;
    if (this.#status === 0) {
      const before = this.#head.length;
      this.#head += bytes.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n') + 4;
      if (end < 4) return;
      const length = /content-length: *(\d+)/i.exec(this.#head.slice(0, end))?.[1];
      this.#status = Number(this.#head.slice(9, 12));
      this.#lacking = Number(length ?? 0);
      this.#chunked = length === undefined;
      body = bytes.subarray(end - before);
    }
    this.#lacking -= body.length;
    if (this.#gathers) this.#body.push(body);
    const complete = this.#chunked ? bytes.subarray(-5).toString('latin1') === '0\r\n\r\n' : this.#lacking <= 0;
    if (!complete) return;
    const answer = { status: this.#status, body: this.#gathers ? Buffer.concat(this.#body).toString('utf8') : '' };
    this.#status = 0;
    this.#head = '';
    if (this.#gathers) this.#body = [];
    this.#answered?.(answer);
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
        if ((await client.request(parts(index))).status !== 200) failures += 1;
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
