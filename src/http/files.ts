/** Owns how stored bytes go out: streamed at the pace of the client, whole or in a range (RFC 9110 §14). */

import type { Context } from 'hono';
import type { Attachment } from '../database/database.ts';
import { IsenError } from '../errors.ts';
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

/** The bytes of a stored file as the answer to `context`'s request, ranges and HEAD included. */
export async function sendFile(
  context: Context<Environment>,
  storage: Storage,
  attachment: Attachment,
  headers: Record<string, string>,
): Promise<Response> {
  if (attachment.compression !== 'none') throw new IsenError('NotImplemented', 'the file is stored compressed');
  const { uuid, uncompressedSize: size } = attachment;
  // Bytes missing or too many: not the file that was stored.
  if ((await storage.size(uuid)) !== size) throw new IsenError('CorruptedFile');
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
  const bytes = await storage.stream(uuid, { start, end });
  if (context.req.method === 'HEAD') {
    await bytes.cancel();
    return new Response(null, { status: range ? 206 : 200, headers: all });
  }
  return new Response(bytes, { status: range ? 206 : 200, headers: all });
}
