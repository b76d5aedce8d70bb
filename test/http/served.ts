/** Owns whole servers for the suites: a free port, temporary folders, every room as main wires it. */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { loadConfig } from '../../src/config.ts';
import { start } from '../../src/main.ts';
import { temporaryFolder } from '../peer.ts';

/** A running server of a suite. */
export interface Served {
  readonly url: string;
  readonly port: number;
  /** Of DICOM; 0 where `DicomServerEnabled` was not given. */
  readonly dicomPort: number;
  /** Folder of its blobs. */
  readonly storage: string;
  close(): Promise<void>;
}

/**
 * The option of PostgreSQL for a server, where the environment (`ISEN_TEST_POSTGRESQL`, the option as JSON) asks for it: tables belong
 * to a folder, as SQLite's file does, so that a server that is started again finds its own.
 */
function engine(folder: string): Readonly<Record<string, unknown>> {
  const option = process.env['ISEN_TEST_POSTGRESQL'];
  if (option === undefined) return {};
  const Schema = `suite_${createHash('md5').update(folder).digest('hex')}`;
  return { PostgreSQL: { ...(JSON.parse(option) as Record<string, unknown>), Schema } };
}

/** The option of Redis for a server, where the environment (`ISEN_TEST_REDIS`, its URL) asks for it: keys belong to a folder as well. */
function cluster(folder: string): Readonly<Record<string, unknown>> {
  const Url = process.env['ISEN_TEST_REDIS'];
  if (Url === undefined) return {};
  return { Redis: { Url, Prefix: `{suite${createHash('md5').update(folder).digest('hex')}}` } };
}

/** Starts a server with these options over the suite's own. */
export async function serve(options: Readonly<Record<string, unknown>> = {}): Promise<Served> {
  const storage = typeof options['StorageDirectory'] === 'string' ? options['StorageDirectory'] : temporaryFolder();
  const all: Record<string, unknown> = {
    HttpPort: 0,
    StorageDirectory: storage,
    AuthenticationEnabled: false,
    DicomServerEnabled: false,
    ...engine(storage),
    ...cluster(storage),
    ...options,
  };
  const env = Object.fromEntries(
    Object.entries(all).map(([name, value]) => [
      `ISEN__${name.toUpperCase()}`,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
  const { config } = loadConfig({ env });
  const server = await start({ config });
  const { port, protocol } = new URL(server.url ?? 'http:');
  return {
    url: `${protocol}//127.0.0.1:${port}`,
    port: Number(port),
    dicomPort: server.dicomPort ?? 0,
    storage,
    close: () => server.close(),
  };
}

/** An answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** One request whose path is sent as it is, without the tidying of `fetch`. */
export async function raw(
  port: number,
  path: string,
  options: RequestOptions = {},
  body?: string | Uint8Array,
): Promise<RawAnswer> {
  const request = httpRequest({ host: '127.0.0.1', port, path, agent: false, ...options });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
}
