/**
 * Owns the recursive upload of `isen import`: sends every file to a server that speaks Orthanc's REST API, several at a
 * time, patiently (503 and lost connections are tried again), and counts what became of each.
 */

import { Agent as HttpAgent, type IncomingMessage, request as httpRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { asError, IsenError } from './errors.ts';
import { bytesOf, type Source, sourcesOf, type Unreadable } from './import-sources.ts';

/** What {@link importFiles} needs. */
export interface ImportOptions {
  readonly paths: readonly string[];
  /** Root of the server's REST API. */
  readonly url: URL;
  /** `name:password`. */
  readonly credentials?: string;
  /** Uploads at a time. */
  readonly concurrency: number;
  /** Accepts any certificate. */
  readonly insecure?: boolean;
  /** Stops after the uploads under way. */
  readonly signal?: AbortSignal;
  /** Called after each file. */
  readonly onProgress?: (report: ImportReport) => void;
  /** First pause before an upload is tried again, in ms; doubled each time. */
  readonly firstPause?: number;
}

/** What became of the files; a file that holds several instances (a ZIP inside a ZIP) counts for each. */
export interface ImportReport {
  /** Files that were read and sent, or could not be. */
  files: number;
  bytes: number;
  stored: number;
  alreadyStored: number;
  /** Refused by a filter of the server. */
  filteredOut: number;
  notDicom: number;
  failed: number;
  /** The first few failures. */
  readonly failures: Unreadable[];
  /** Why the import ended before its end. */
  stopped?: string;
}

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
}

const SHOWN_FAILURES = 10;
const ATTEMPTS = 8;
const LONGEST_PAUSE = 30_000;
/** A server that says nothing for so long, in ms, has lost the connection. */
const SILENCE = 120_000;
const LARGEST_ANSWER = 4 * 2 ** 20;
const TRY_AGAIN = new Set([429, 502, 503, 504]);
/** `OrthancStatus` of BadFileFormat. */
const BAD_FILE_FORMAT = 15;

/** A keep-alive connection pool to one server. */
class Target {
  readonly #url: URL;
  readonly #options: RequestOptions;
  readonly #request: typeof httpRequest;

  constructor({ url, credentials, concurrency, insecure }: ImportOptions) {
    this.#url = new URL(url);
    this.#url.pathname = `${url.pathname.replace(/\/$/, '')}/`;
    const secure = url.protocol === 'https:';
    const pool = { keepAlive: true, maxSockets: concurrency };
    this.#options = {
      agent: secure ? new HttpsAgent({ ...pool, rejectUnauthorized: insecure !== true }) : new HttpAgent(pool),
      ...(credentials === undefined ? {} : { auth: credentials }),
    };
    this.#request = secure ? httpsRequest : httpRequest;
  }

  /** One request. Throws what the source throws ({@link IsenError}), or the error of the connection. */
  send(path: string, source?: Source): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const options: RequestOptions = { ...this.#options, method: 'GET' };
      if (source) {
        options.method = 'POST';
        options.headers = {
          'Content-Type': 'application/octet-stream',
          'Content-Length': source.size,
          ...(source.gzipped ? { 'Content-Encoding': 'gzip' } : {}),
        };
      }
      const request = this.#request(new URL(path, this.#url), options, (response) => {
        collect(response).then((answer) => {
          resolve(answer);
          // An answer may come before the body is through, and refuse it: the rest is then not worth sending.
          if (!request.writableFinished) request.destroy();
        }, reject);
      });
      request.setTimeout(SILENCE, () => request.destroy(new Error('the server does not answer')));
      request.on('error', reject);
      if (source) pipeline(bytesOf(source), request, (error) => error && reject(error));
      else request.end();
    });
  }
}

async function collect(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > LARGEST_ANSWER) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  return {
    status: response.statusCode ?? 0,
    retryAfter: response.headers['retry-after'],
    body: Buffer.concat(chunks).toString(),
  };
}

/** Milliseconds that `Retry-After` (RFC 9110 §10.2.3: seconds or a date) asks for; `undefined` when it says nothing. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const pause = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(pause) ? undefined : Math.min(Math.max(pause, 0), LONGEST_PAUSE);
}

function parseBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;

/** The reason inside an error answer: Orthanc's JSON body, or the start of whatever else came. */
function reasonOf(answer: Answer): string {
  const body = parseBody(answer.body);
  const words = [field(body, 'Message'), field(body, 'Details')].filter(
    (word) => typeof word === 'string' && word !== '',
  );
  return `HTTP ${answer.status}: ${words.length > 0 ? words.join(': ') : answer.body.slice(0, 100)}`;
}

class Import {
  readonly report: ImportReport = {
    files: 0,
    bytes: 0,
    stored: 0,
    alreadyStored: 0,
    filteredOut: 0,
    notDicom: 0,
    failed: 0,
    failures: [],
  };
  readonly #options: ImportOptions;
  readonly #target: Target;
  /** Aborted when going on makes no sense: the caller's wish, wrong credentials, the server gone. */
  readonly #stop = new AbortController();

  constructor(options: ImportOptions) {
    this.#options = options;
    this.#target = new Target(options);
    const stop = () => this.#end('interrupted');
    if (options.signal?.aborted) stop();
    options.signal?.addEventListener('abort', stop, { once: true });
  }

  #end(reason: string): void {
    this.report.stopped ??= reason;
    this.#stop.abort();
  }

  #fail(failure: Unreadable, count = 1): void {
    this.report.failed += count;
    if (this.report.failures.length < SHOWN_FAILURES) this.report.failures.push(failure);
  }

  /** Why the server cannot be used at all; `undefined` when it answers. */
  async #unusable(): Promise<string | undefined> {
    try {
      const answer = await this.#target.send('system');
      return answer.status === 401 || answer.status === 403
        ? `the server refuses the credentials (${answer.status})`
        : undefined;
    } catch (error) {
      const code = String(field(error, 'code'));
      const advice = /CERT|LEAF_SIGNATURE/.test(code)
        ? '; to trust its certificate set NODE_EXTRA_CA_CERTS to the PEM file of it or of its issuer; --insecure accepts any'
        : '';
      return `the server cannot be reached: ${asError(error).message || code}${advice}`;
    }
  }

  async #pause(attempt: number, asked: number | undefined): Promise<void> {
    const backOff = Math.min((this.#options.firstPause ?? 250) * 2 ** attempt, LONGEST_PAUSE);
    // Scattered, so that parallel uploads do not come back as one.
    await sleep(asked ?? backOff * (0.5 + Math.random() / 2), undefined, { signal: this.#stop.signal });
  }

  async #upload(source: Source): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      let asked: number | undefined;
      let reason: string;
      try {
        const answer = await this.#target.send('instances', source);
        if (!TRY_AGAIN.has(answer.status)) {
          this.#count(source, answer);
          return;
        }
        asked = retryAfter(answer.retryAfter);
        reason = reasonOf(answer);
      } catch (error) {
        if (error instanceof IsenError) {
          this.#fail({ name: source.name, reason: error.details ?? error.message });
          return;
        }
        reason = `connection lost: ${asError(error).message}`;
      }
      if (attempt + 1 < ATTEMPTS) {
        await this.#pause(attempt, asked);
        continue;
      }
      this.#fail({ name: source.name, reason: `${reason} (${ATTEMPTS} attempts)` });
      // One file may be the server's trouble; a server that is gone is everybody's.
      const gone = await this.#unusable();
      if (gone !== undefined) this.#end(gone);
      return;
    }
  }

  #count(source: Source, answer: Answer): void {
    const { report } = this;
    const body = parseBody(answer.body);
    report.bytes += source.size;
    if (answer.status === 200) {
      const parts: unknown[] = Array.isArray(body) ? body : [body];
      for (const part of parts) {
        const status = field(part, 'Status');
        if (status === 'Success') report.stored++;
        else if (status === 'AlreadyStored') report.alreadyStored++;
        else if (status === 'FilteredOut') report.filteredOut++;
        else this.#fail({ name: source.name, reason: `the server answers Status ${JSON.stringify(status)}` });
      }
    } else if (answer.status === 400 && field(body, 'OrthancStatus') === BAD_FILE_FORMAT) {
      report.notDicom++;
    } else {
      if (answer.status === 401 || answer.status === 403)
        this.#end(`the server refuses the credentials (${answer.status})`);
      this.#fail({ name: source.name, reason: reasonOf(answer) });
    }
  }

  async #work(sources: AsyncGenerator<Source | Unreadable>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const next = await sources.next();
      if (next.done === true) return;
      const source = next.value;
      if ('reason' in source) {
        this.#fail(source);
      } else {
        try {
          // An empty body is not worth a request.
          if (source.size === 0) this.report.notDicom++;
          else await this.#upload(source);
        } catch (error) {
          if (!this.#stop.signal.aborted) throw error;
          this.#fail({ name: source.name, reason: 'not sent: the import was stopped' });
        } finally {
          source.release();
        }
      }
      this.report.files++;
      this.#options.onProgress?.(this.report);
    }
  }

  async run(): Promise<ImportReport> {
    const gone = await this.#unusable();
    if (gone !== undefined) this.#end(gone);
    const sources = sourcesOf(this.#options.paths);
    await Promise.all(Array.from({ length: this.#options.concurrency }, () => this.#work(sources)));
    await sources.return(undefined);
    return this.report;
  }
}

/** Uploads everything. Throws only for bugs: whatever happens to files or server is in the report. */
export async function importFiles(options: ImportOptions): Promise<ImportReport> {
  return new Import(options).run();
}

/** How much there is to send. */
export interface Survey {
  files: number;
  bytes: number;
  readonly unreadable: Unreadable[];
}

/** Lists everything without sending it; `onFound` sees the totals grow. */
export async function survey(
  paths: readonly string[],
  { signal, onFound }: { readonly signal?: AbortSignal; readonly onFound?: (found: Survey) => void } = {},
): Promise<Survey> {
  const found: Survey = { files: 0, bytes: 0, unreadable: [] };
  for await (const source of sourcesOf(paths)) {
    found.files++;
    if ('reason' in source) {
      if (found.unreadable.length < SHOWN_FAILURES) found.unreadable.push(source);
    } else {
      found.bytes += source.size;
      source.release();
    }
    onFound?.(found);
    if (signal?.aborted) break;
  }
  return found;
}
