/**
 * Owns the listening socket: TLS, deadlines, keep-alive, and ending in good order. Idle connections cost a socket and
 * nothing else; a client that is silent in the middle of a request is cut off.
 */

import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Config } from '../config.ts';
import { asError, IsenError } from '../errors.ts';
import { log } from '../log.ts';

/** The HTTP door. */
export interface HttpServer {
  /** Opens the port of the configuration (0: a free one), and says which it is. Throws NetworkProtocol where it is taken. */
  listen(): Promise<{ readonly port: number }>;
  /** Takes nothing new, ends live streams, lets what was begun finish for `graceMs` milliseconds, then cuts it off. */
  close(graceMs: number): Promise<void>;
}

/** Oldest TLS version by its number in `SslMinimumProtocolVersion`; nothing older than 1.0 is left in OpenSSL. */
const TLS_VERSIONS = ['TLSv1', 'TLSv1', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3', 'TLSv1.3'] as const;

/** What OpenSSL needs to be told besides before it speaks a version older than 1.2. */
const OLD_CIPHERS = 'DEFAULT@SECLEVEL=0';

type Handle = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

async function pem(path: string, what: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (thrown) {
    throw new IsenError('InexistentFile', `${what}: cannot read ${path}: ${asError(thrown).message}`, {
      cause: thrown,
    });
  }
}

async function open(config: Config): Promise<Server> {
  const options = {
    keepAlive: true,
    noDelay: true,
    keepAliveTimeout: config.KeepAlive ? config.KeepAliveTimeout * 1000 : 1,
    headersTimeout: config.HttpRequestTimeout * 1000,
    // A large upload may take hours; what ends is silence, below.
    requestTimeout: 0,
    connectionsCheckingInterval: 5000,
  };
  if (!config.SslEnabled) return createHttpServer(options);
  // As Orthanc has it: certificate and private key in one file.
  const certificate = await pem(config.SslCertificate, 'SslCertificate');
  const clients = config.SslVerifyPeers
    ? {
        requestCert: true,
        rejectUnauthorized: true,
        ca: await pem(config.SslTrustedClientCertificates, 'SslTrustedClientCertificates'),
      }
    : {};
  const minVersion = TLS_VERSIONS[config.SslMinimumProtocolVersion] ?? 'TLSv1.2';
  const ciphers = config.SslCiphersAccepted.join(':') || (config.SslMinimumProtocolVersion < 4 ? OLD_CIPHERS : '');
  try {
    return createHttpsServer({
      ...options,
      ...clients,
      cert: certificate,
      key: certificate,
      minVersion,
      ...(ciphers !== '' && { ciphers }),
    });
  } catch (thrown) {
    const error: NodeJS.ErrnoException = asError(thrown);
    const option = error.code === 'ERR_SSL_NO_CIPHER_MATCH' ? 'SslCiphersAccepted' : 'SslCertificate';
    throw new IsenError('BadFileFormat', `${option}: ${error.message}`, { cause: thrown });
  }
}

/** Builds a server around `handle`; `ending` is called when it begins to close. */
export async function createServer(config: Config, handle: Handle, ending: () => void): Promise<HttpServer> {
  const server = await open(config);
  /** Requests under way on each connection. Node counts one that has not asked anything yet as busy; here it is idle. */
  const busy = new Map<Socket, number>();
  /** The last request on a connection, while it waits for its answer or gets it. */
  const latest = new WeakMap<Socket, { readonly request: IncomingMessage; readonly response: ServerResponse }>();
  let closing = false;
  server.on(config.SslEnabled ? 'secureConnection' : 'connection', (socket: Socket) => {
    busy.set(socket, 0);
    socket.once('close', () => busy.delete(socket));
  });
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    busy.set(socket, (busy.get(socket) ?? 0) + 1);
    latest.set(socket, { request, response });
    response.once('close', () => {
      const left = (busy.get(socket) ?? 1) - 1;
      if (!socket.destroyed) busy.set(socket, left);
      if (closing && left === 0) socket.end();
    });
    if (!config.KeepAlive) response.shouldKeepAlive = false;
    void handle(request, response);
  };
  server.on('request', listener);
  // The handler says "continue" itself, to those it lets in.
  server.on('checkContinue', listener);
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    if (request.headers.expect?.trim() === '') listener(request, response);
    else response.writeHead(417, { 'Content-Length': 0, Connection: 'close' }).end();
  });
  // Silence on a socket: keep-alive has its own shorter limit, live streams their heartbeat.
  const silence = config.HttpRequestTimeout * 1000;
  server.setTimeout(silence, (socket) => {
    const last = latest.get(socket);
    // It counts while the client is to act: not where it waits for us, having sent all and taken all there was.
    const isOurs =
      last?.request.complete === true &&
      !last.response.writableEnded &&
      socket.writableLength === 0 &&
      !socket.destroyed;
    if (isOurs) socket.setTimeout(silence);
    else socket.destroy();
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    log.http.debug({ code: error.code }, 'a request that is not HTTP');
    if (!socket.writable) return;
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  });

  return {
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', (error) =>
          reject(new IsenError('NetworkProtocol', `HttpPort ${config.HttpPort}: ${error.message}`, { cause: error })),
        );
        server.listen(config.HttpPort, () => {
          const address = server.address();
          resolve({ port: typeof address === 'object' && address !== null ? address.port : config.HttpPort });
        });
      }),
    close: (graceMs) =>
      new Promise((resolve) => {
        closing = true;
        const cut = setTimeout(() => {
          for (const socket of busy.keys()) socket.destroy();
        }, graceMs);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        ending();
        for (const [socket, requests] of busy) if (requests === 0) socket.destroy();
      }),
  };
}
