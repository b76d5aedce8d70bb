/**
 * Owns how the stored bytes of a frame go out, as they are or compressed by gzip: a small one from memory, a larger one piece by
 * piece at the pace of the client, so that no number of slow clients fills the memory.
 */

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip, gzip } from 'node:zlib';
import type { Context } from 'hono';
import { log } from '../log.ts';
import { PIECE, type RawFrame } from '../ingest/header.ts';
import type { Environment } from './routes.ts';

const zip = promisify(gzip);

/** Bytes of small frames that may be in memory together for clients that are slow to take them; the next go piece by piece. */
const SMALL_TOGETHER = 64 << 20;
let held = 0;

/** Calls `left` when the answer has left, or the client has. */
function whenLeft({ env }: Context<Environment>, left: () => void): void {
  // Whoever left already has no event left to tell so.
  if (env.outgoing.closed) left();
  else env.outgoing.once('close', left);
}

/** A frame that is in memory already: one that a worker made. */
export function frameOf(bytes: Uint8Array<ArrayBuffer>): RawFrame {
  return {
    type: 'application/octet-stream',
    size: bytes.length,
    bytes: async () => bytes,
    async *pieces() {
      for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
    },
    release() {},
  };
}

/** The answer of a frame, which is released with it. */
export async function sendFrame(context: Context<Environment>, raw: RawFrame, zipped: boolean): Promise<Response> {
  whenLeft(context, raw.release);
  const type = { 'Content-Type': zipped ? 'application/gzip' : raw.type };
  const isHead = context.req.method === 'HEAD';
  if (raw.size <= PIECE && held + raw.size <= SMALL_TOGETHER) {
    held += raw.size;
    whenLeft(context, () => {
      held -= raw.size;
    });
    const bytes = zipped ? ((await zip(await raw.bytes())) as Uint8Array<ArrayBuffer>) : await raw.bytes();
    return new Response(isHead ? null : bytes, { headers: { ...type, 'Content-Length': String(bytes.length) } });
  }
  const headers = zipped ? type : { ...type, 'Content-Length': String(raw.size) };
  if (isHead) return new Response(null, { headers });
  const pieces = Readable.from(raw.pieces(), { objectMode: false, highWaterMark: 0 });
  const body = zipped ? createGzip() : pieces;
  const breakOff = (error: unknown): void => {
    if (context.env.outgoing.closed) return;
    // The status has left: all that can be told is that it does not end well.
    log.http.error({ err: error }, 'a frame was broken off');
    context.env.outgoing.destroy();
  };
  if (body === pieces) body.once('error', breakOff);
  else pipeline(pieces, body as ReturnType<typeof createGzip>).catch(breakOff);
  return new Response(Readable.toWeb(body) as ReadableStream, { headers });
}
