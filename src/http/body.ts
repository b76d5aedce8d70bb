/** Owns the reading of small request bodies: everything but an upload. */

import { isUtf8 } from 'node:buffer';
import type { Context } from 'hono';
import { IsenError } from '../errors.ts';
import type { Environment } from './routes.ts';

/** The body as UTF-8 text. Throws BadRequest where it is none, and (413) past `limit` bytes. */
export async function bodyText(context: Context<Environment>, limit = 1024 * 1024): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of context.env.incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new IsenError('BadRequest', `The body exceeds ${limit} bytes`, { http: 413 });
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  if (!isUtf8(body)) throw new IsenError('BadRequest', 'The body is not UTF-8');
  return body.toString('utf8');
}

/** The body as one of Orthanc's booleans: `1`, `0`, `true`, `false`. Throws BadFileFormat. */
export async function bodyBoolean(context: Context<Environment>): Promise<boolean> {
  const text = (await bodyText(context, 64)).trim();
  if (text === '1' || text === 'true') return true;
  if (text === '0' || text === 'false') return false;
  throw new IsenError('BadFileFormat', 'Boolean value expected');
}
