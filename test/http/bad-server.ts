/** Owns a scripted HTTP server for what no real one does on request: refuse, be silent, be slow, close in the middle. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What one request carried. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface BadServer {
  readonly url: string;
  readonly port: number;
  /** Whole requests, in order. */
  readonly asked: Asked[];
  /** Most requests under way at one time, and connections made. */
  readonly most: number;
  readonly connections: number;
  close(): Promise<void>;
}

/** Starts one; `answer` is called with the whole request, `early` before its body is read (answering true: it stays unread). */
export async function startBadServer(
  answer: (response: ServerResponse, asked: Asked, count: number) => void | Promise<void>,
  { early, port = 0 }: { readonly early?: (request: IncomingMessage) => boolean; readonly port?: number } = {},
): Promise<BadServer> {
  const asked: Asked[] = [];
  let [now, most, connections] = [0, 0, 0];
  const server = createServer((request, response) => {
    if (early?.(request) === true) return;
    void (async () => {
      now += 1;
      most = Math.max(most, now);
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
        const one: Asked = {
          method: request.method ?? '',
          path: request.url ?? '',
          headers: request.headers,
          body: Buffer.concat(chunks),
        };
        asked.push(one);
        await answer(response, one, asked.length);
      } catch {
        // The other side broke off.
        response.destroy();
      } finally {
        now -= 1;
      }
    })();
  });
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const at = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${at}/`,
    port: at,
    asked,
    get most() {
      return most;
    },
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
