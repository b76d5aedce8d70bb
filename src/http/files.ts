/**
 * Owns how stored bytes go out: whole or in a range (RFC 9110 §14), and never altered ones as if they were right. A small file
 * is read and compared with its MD5 before the answer begins. A larger one must not have been touched since it was stored, or is
 * compared once (storage/intact); it is streamed at the pace of the client and hashed on its way, its end held back until the MD5
 * is known to be right.
 */

import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import type { Attachment } from '../database/database.ts';
import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { readContent, streamContent } from '../storage/content.ts';
import { checkIntact } from '../storage/intact.ts';
import type { Storage } from '../storage/storage.ts';
import type { Environment } from './routes.ts';

/**
 * The range that a `Range` header asks of `size` bytes; undefined for the whole (no header, another unit, several ranges).
 * Throws BadRange (416) for one that begins behind the end.
 */
export function rangeOf(header: string | undefined, size: number): { start: number; end: number } | undefined {
  const match = /^\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*$/.exec(header ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (start >= size || end <= start) throw new IsenError('BadRange');
  return { start, end };
}

/** A `Content-Disposition` value for a file name that may hold anything (RFC 6266). */
export function disposition(name: string): string {
  const plain = name.replaceAll(/[^\x20-\x7e]|["\\]/g, '_');
  const encoded = encodeURIComponent(name.replaceAll(/\p{Cc}/gu, '_')).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return plain === name ? `filename="${plain}"` : `filename="${plain}"; filename*=UTF-8''${encoded}`;
}

/** Bytes of the largest file that is verified before its answer begins: one slice. */
const SMALL = 1 << 20;

/** Bytes of small files that may be in memory together for clients that are slow to take them; the next are streamed. */
const SMALL_TOGETHER = 64 << 20;
let held = 0;

/** The bytes of a small file, verified. They count as held until the answer has left. Throws CorruptedFile. */
async function readVerified(
  context: Context<Environment>,
  storage: Storage,
  attachment: Attachment,
): Promise<Uint8Array> {
  const { uuid, uncompressedSize: size, uncompressedMD5: md5 } = attachment;
  held += size;
  context.env.outgoing.once('close', () => {
    held -= size;
  });
  const bytes = await readContent(storage, attachment, { start: 0, end: size });
  if (md5 !== '' && createHash('md5').update(bytes).digest('hex') !== md5) throw altered(uuid);
  return bytes;
}

/** `source` as it comes, but for the last chunk, which follows when the MD5 of all is `md5`; else `breakOff` ends the answer. */
async function* verified(
  source: AsyncIterable<Uint8Array>,
  md5: string,
  breakOff: () => void,
): AsyncGenerator<Uint8Array, void> {
  const hash = createHash('md5');
  let last: Uint8Array | undefined;
  for await (const chunk of source) {
    hash.update(chunk);
    if (last !== undefined) yield last;
    last = chunk;
  }
  if (hash.digest('hex') !== md5) breakOff();
  else if (last !== undefined) yield last;
}

const altered = (uuid: string): IsenError =>
  new IsenError('CorruptedFile', `the stored file ${uuid} is not the one that was stored`);

/**
 * The bytes of a stored file, of which `received` says when it was (see {@link checkIntact}), as the answer to `context`'s request,
 * ranges and HEAD included. Throws CorruptedFile where its size or MD5 is not the indexed one. A large file that is altered while it
 * goes out breaks the connection off before its end, since its status has left by then. Not found: what was altered in a file
 * without MD5 (`StoreMD5ForAttachments`).
 */
export async function sendFile(
  context: Context<Environment>,
  storage: Storage,
  attachment: Attachment,
  headers: Record<string, string>,
  received = Number.NaN,
): Promise<Response> {
  const { uuid, uncompressedSize: size, uncompressedMD5: md5 } = attachment;
  const isSmall = size <= SMALL && held + size <= SMALL_TOGETHER;
  // Of a small one its size: its bytes are compared when they are read.
  if (!isSmall) await checkIntact(storage, attachment, received);
  else if ((await storage.size(uuid)) !== attachment.compressedSize) throw altered(uuid);
  const condition = context.req.header('if-range');
  let range: { start: number; end: number } | undefined;
  try {
    const usable = condition === undefined || condition === headers['ETag'];
    range = usable ? rangeOf(context.req.header('range'), size) : undefined;
  } catch {
    return new Response(null, { status: 416, headers: { 'Content-Range': `bytes */${size}` } });
  }
  const { start, end } = range ?? { start: 0, end: size };
  const all = {
    ...headers,
    'Accept-Ranges': 'bytes',
    'Content-Length': String(end - start),
    ...(range && { 'Content-Range': `bytes ${start}-${end - 1}/${size}` }),
  };
  const status = range ? 206 : 200;
  if (context.req.method === 'HEAD') return new Response(null, { status, headers: all });
  if (isSmall) {
    const bytes = await readVerified(context, storage, attachment);
    return new Response((bytes as Uint8Array<ArrayBuffer>).subarray(start, end), { status, headers: all });
  }
  const source = await streamContent(storage, attachment, { start, end });
  if (md5 === '' || end - start < size) return new Response(source, { status, headers: all });
  const breakOff = (): void => {
    log.http.error({ err: altered(uuid) }, 'a download was broken off');
    context.env.outgoing.destroy();
  };
  return new Response(ReadableStream.from(verified(source, md5, breakOff)), { status, headers: all });
}
