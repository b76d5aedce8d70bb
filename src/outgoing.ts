/**
 * Owns HTTP requests to other servers (peers, webhooks): TLS with client certificates, the proxy, patience, and where requests that clients
 * asked for may go. Redirections are not followed: they would lead past the list of what is allowed.
 */

import { readFileSync } from 'node:fs';
import { BlockList, isIP, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buildConnector, Client, type Dispatcher, ProxyAgent } from 'undici';
import type { Config } from './config.ts';
import { asError, IsenError } from './errors.ts';
import { log } from './log.ts';
import { firstOf } from './signals.ts';

/** Bytes of an answer that are read; a longer one is none of a server that we know. */
const LONGEST_ANSWER = 1 << 20;

/** Bytes that are written at once: the other side must take them within its patience. */
const PIECE = 1 << 16;

/** Milliseconds that a connection stays open between two requests, unless the other side says less. */
const IDLE = 4000;

/** Seconds that stand for no limit. */
const HOUR = 3600;

/** Errors of a connection that the other side had closed before our request reached it. */
const STALE: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Another server. */
export interface HttpTarget {
  /** Ends with a slash. */
  readonly url: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Seconds; 0 takes `HttpTimeout`. */
  readonly timeout: number;
  /** PEM files of our own. */
  readonly certificateFile?: string | undefined;
  readonly certificateKeyFile?: string | undefined;
  readonly certificateKeyPassword?: string | undefined;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  /** Below the URL of the target, without a slash before it. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Asked for again where a connection turns out to be stale. */
  readonly body?: () => AsyncIterable<Uint8Array>;
  /** Bytes of the body, where that is known before. */
  readonly size?: number;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  /** Media type. */
  readonly type: string;
  readonly body: string;
}

/** A connection that is kept alive, for one request at a time. */
export interface HttpConnection {
  /**
   * Asks, and answers whatever status came. The other side may be silent for its patience while it takes the body, and has it once more to
   * answer. Throws NetworkProtocol.
   */
  request(request: HttpRequest): Promise<HttpAnswer>;
  /** After what is under way. */
  close(): Promise<void>;
  /** At once. */
  abort(): void;
}

export interface HttpClient {
  /** Opens a connection. Throws NetworkProtocol; InexistentFile, BadFileFormat for certificates that are missing or none. */
  connect(target: HttpTarget): Promise<HttpConnection>;
  /** One request over a connection of its own. */
  ask(target: HttpTarget, request: HttpRequest): Promise<HttpAnswer>;
}

export type HttpClientOptions = Pick<
  Config,
  'HttpTimeout' | 'HttpProxy' | 'HttpVerbose' | 'HttpsVerifyPeers' | 'HttpsCACertificates'
>;

function pem(what: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new IsenError('InexistentFile', `${what}: cannot read ${path}: ${asError(thrown).message}`, {
      cause: thrown,
    });
  }
}

/** A proxy as `HttpProxy` says it: `host:port`, `user:password@host:port`, with `http://` before it or not. */
function proxyOf(option: string): { readonly origin: string; readonly authorization: string | undefined } | undefined {
  if (option === '') return undefined;
  const text = option.includes('://') ? option : `http://${option}`;
  if (!URL.canParse(text)) throw new IsenError('ParameterOutOfRange', 'HttpProxy: host:port is expected');
  const { origin, username, password } = new URL(text);
  return { origin, authorization: username === '' ? undefined : basic(username, password) };
}

const basic = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`;

/** The one behind all requests to other servers. Throws InexistentFile, ParameterOutOfRange for options that are none. */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const ca = options.HttpsCACertificates === '' ? undefined : pem('HttpsCACertificates', options.HttpsCACertificates);
  const proxy = proxyOf(options.HttpProxy);

  const connect = async (target: HttpTarget): Promise<HttpConnection> => {
    const patience = (target.timeout || options.HttpTimeout || HOUR) * 1000;
    const tls = {
      ...(ca !== undefined && { ca }),
      rejectUnauthorized: options.HttpsVerifyPeers,
      ...(target.certificateFile !== undefined && { cert: pem('CertificateFile', target.certificateFile) }),
      ...(target.certificateKeyFile !== undefined && { key: pem('CertificateKeyFile', target.certificateKeyFile) }),
      ...(target.certificateKeyPassword !== undefined && { passphrase: target.certificateKeyPassword }),
    };
    const url = new URL(target.url);
    if (proxy !== undefined && url.protocol === 'https:') {
      const agent = new ProxyAgent({
        uri: proxy.origin,
        ...(proxy.authorization !== undefined && { token: proxy.authorization }),
        requestTls: { ...tls, timeout: patience },
        proxyTls: { timeout: patience },
        headersTimeout: 0,
        bodyTimeout: 0,
        keepAliveTimeout: IDLE,
        pipelining: 1,
        connections: 1,
      });
      return new Connection(agent, target, { patience, verbose: options.HttpVerbose });
    }
    const origin = proxy?.origin ?? url.origin;
    const { client, unused } = await connected(new URL(origin), { ...tls, timeout: patience });
    return new Connection(client, target, { patience, verbose: options.HttpVerbose, unused, proxy });
  };

  return {
    connect,
    async ask(target, request) {
      const connection = await connect(target);
      try {
        return await connection.request(request);
      } finally {
        connection.abort();
      }
    },
  };
}

/** A client whose first connection is open already, so that who does not answer at all is known before anything is sent. */
async function connected(
  to: URL,
  tls: buildConnector.BuildOptions,
): Promise<{ readonly client: Client; readonly unused: () => void }> {
  let connector: buildConnector.connector;
  try {
    connector = buildConnector({ ...tls, allowH2: false });
  } catch (thrown) {
    throw new IsenError('BadFileFormat', `certificates: ${asError(thrown).message}`, { cause: thrown });
  }
  const { hostname, host, protocol } = to;
  const port = to.port || (protocol === 'https:' ? '443' : '80');
  const opened = await new Promise<Socket>((resolve, reject) => {
    // Of a failure it says nothing of a socket, whatever its type promises.
    const done: buildConnector.Callback = (error, socket) => {
      if (error === null && socket) resolve(socket);
      else reject(unanswered(to.origin, error));
    };
    try {
      connector({ hostname, host, protocol, port }, done);
    } catch (thrown) {
      // A key that is none, or not the certificate's.
      reject(new IsenError('BadFileFormat', `${to.origin}: ${asError(thrown).message}`, { cause: thrown }));
    }
  });
  // Until it is taken over, nobody else hears of its end.
  opened.on('error', () => {});
  let first: Socket | undefined = opened;
  const client = new Client(to.origin, {
    connect: (options, callback) => {
      const socket = first;
      first = undefined;
      if (socket !== undefined && !socket.destroyed) callback(null, socket);
      else connector(options, callback);
    },
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: IDLE,
    pipelining: 1,
  });
  return { client, unused: () => first?.destroy() };
}

/** Undici wraps what happened on the way. */
function unanswered(origin: string, thrown: unknown): IsenError {
  let error = asError(thrown);
  while (error.cause instanceof Error) error = error.cause;
  const attempts = error instanceof AggregateError ? error.errors.map((each) => asError(each).message).join('; ') : '';
  return new IsenError('NetworkProtocol', `HTTP to ${origin}: ${attempts || error.message}`, { cause: thrown });
}

interface ConnectionOptions {
  /** Milliseconds. */
  readonly patience: number;
  readonly verbose: boolean;
  /** Ends what was opened and not used. */
  readonly unused?: () => void;
  /** Whom requests are written to, where that is not the target itself. */
  readonly proxy?: { readonly authorization: string | undefined } | undefined;
}

class Connection implements HttpConnection {
  readonly #dispatcher: Dispatcher;
  readonly #url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #options: ConnectionOptions;
  #used = false;

  constructor(dispatcher: Dispatcher, target: HttpTarget, options: ConnectionOptions) {
    this.#dispatcher = dispatcher;
    this.#url = new URL(target.url);
    this.#options = options;
    const { username, password = '', headers } = target;
    this.#headers = {
      ...headers,
      ...(username !== undefined && {
        authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
      }),
      ...(options.proxy?.authorization !== undefined && { 'proxy-authorization': options.proxy.authorization }),
    };
  }

  async request(request: HttpRequest): Promise<HttpAnswer> {
    const began = performance.now();
    const stale = this.#used;
    this.#used = true;
    let answer: HttpAnswer;
    try {
      answer = await this.#request(request);
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
      if (!stale || !STALE.has(code)) throw this.#failure(thrown);
      try {
        answer = await this.#request(request);
      } catch (again) {
        throw this.#failure(again);
      }
    }
    if (this.#options.verbose) {
      const milliseconds = Math.round(performance.now() - began);
      log.http.info({ method: request.method, status: answer.status, milliseconds }, `HTTP to ${this.#url.origin}`);
    }
    return answer;
  }

  async close(): Promise<void> {
    this.#options.unused?.();
    await this.#dispatcher.close();
  }

  abort(): void {
    this.#options.unused?.();
    void this.#dispatcher.destroy();
  }

  async #request({ method, path, headers, body, size, signal }: HttpRequest): Promise<HttpAnswer> {
    const { patience, proxy } = this.#options;
    const silent = new AbortController();
    const timer = setTimeout(
      () => silent.abort(new IsenError('NetworkProtocol', `HTTP to ${this.#url.origin}: no answer in time`)),
      patience,
    );
    const until = firstOf(signal === undefined ? [silent.signal] : [silent.signal, signal]);
    const url = new URL(path, this.#url);
    try {
      const answer = await this.#dispatcher.request({
        origin: url.origin,
        path: proxy === undefined ? url.pathname + url.search : url.href,
        method,
        headers: {
          ...this.#headers,
          ...(proxy !== undefined && { host: url.host }),
          ...headers,
          ...(size !== undefined && { 'content-length': String(size) }),
        },
        body:
          body === undefined
            ? null
            : Readable.from(
                pieces(body(), () => timer.refresh()),
                { objectMode: false },
              ),
        signal: until.signal,
      });
      const type = answer.headers['content-type'];
      return {
        status: answer.statusCode,
        type: typeof type === 'string' ? type : '',
        body: await bodyText(answer.body),
      };
    } catch (thrown) {
      throw silent.signal.aborted ? silent.signal.reason : thrown;
    } finally {
      clearTimeout(timer);
      until.end();
    }
  }

  #failure(thrown: unknown): IsenError {
    return thrown instanceof IsenError ? thrown : unanswered(this.#url.origin, thrown);
  }
}

/** A body in pieces; `taken` hears of each when it is asked for. */
async function* pieces(body: AsyncIterable<Uint8Array>, taken: () => void): AsyncGenerator<Uint8Array, void> {
  for await (const part of body) {
    for (let at = 0; at < part.length; at += PIECE) {
      taken();
      yield part.subarray(at, at + PIECE);
    }
  }
  taken();
}

async function bodyText(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LONGEST_ANSWER) throw new IsenError('NetworkProtocol', 'the answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * Whether requests may go to a URL, by `OutgoingHttpAllowed`: `*`, the beginning of a URL, a host (`*.example.org` for all below it,
 * with a port or without), an address or a range of them.
 */
export function isAllowed(allowed: readonly string[], target: string): boolean {
  const url = new URL(target);
  const hostname = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const version = isIP(hostname);
  return allowed.some((each) => {
    if (each === '*') return true;
    if (each.includes('://')) {
      if (!URL.canParse(each)) return false;
      const prefix = new URL(each);
      const path = prefix.pathname.endsWith('/') ? prefix.pathname : `${prefix.pathname}/`;
      return url.origin === prefix.origin && `${url.pathname}/`.startsWith(path);
    }
    const [address = '', length] = each.split('/');
    const family = isIP(address);
    if (family !== 0) {
      const list = new BlockList();
      const most = family === 4 ? 32 : 128;
      const bits = Number(length ?? most);
      if (version !== family || !Number.isInteger(bits) || bits < 0 || bits > most) return false;
      list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6');
      return list.check(hostname, family === 4 ? 'ipv4' : 'ipv6');
    }
    const wanted = each.toLowerCase();
    if (wanted.startsWith('*.')) return hostname.endsWith(wanted.slice(1));
    return hostname === wanted || url.host.toLowerCase() === wanted;
  });
}
