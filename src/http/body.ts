/** Owns the reading of small request bodies: everything but an upload. */

import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Context } from 'hono';
import { IsenError } from '../errors.ts';
import type { Environment } from './routes.ts';

/** The body as UTF-8 text. Throws BadRequest where it is none, and (413) past `limit` bytes. */
export function bodyText(context: Context<Environment>, limit?: number): Promise<string> {
  return textIn(context.env.incoming, limit);
}

/** A request whose body is read. */
type Incoming = Readable & { readonly headers: IncomingHttpHeaders };

/** The same of a request that comes past the framework. */
export async function textIn(incoming: Incoming, limit = 1024 * 1024): Promise<string> {
  const body = bytesAtHand(incoming, limit) ?? (await bytesIn(incoming, limit));
  if (!isUtf8(body)) throw new IsenError('BadRequest', 'The body is not UTF-8');
  return body.toString('utf8');
}

/** A body that came together with its head, as small ones do: to wait until its stream has told of its end takes as long as to search. */
function bytesAtHand(incoming: Incoming, limit: number): Buffer | undefined {
  const { headers, readableLength: size, readableFlowing, destroyed } = incoming;
  if (headers['content-length'] !== String(size) || size > limit || readableFlowing !== null || destroyed)
    return undefined;
  const body = incoming.read() as Buffer | null;
  incoming.resume();
  return body ?? undefined;
}

/** By hand: an iterator costs more than all else that a small body does. */
function bytesIn(incoming: Readable, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    const early = (): void => {
      if (!isOver) reject(new IsenError('BadRequest', 'The body ends early'));
    };
    // Of what is over already nothing is heard any more.
    if (incoming.readableEnded) resolve(Buffer.alloc(0));
    else if (incoming.destroyed) early();
    const chunks: Buffer[] = [];
    let size = 0;
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      // What is left is read and forgotten, or the client would not see the answer.
      else reject(new IsenError('BadRequest', `The body exceeds ${limit} bytes`, { http: 413 }));
    });
    incoming.once('end', () => {
      isOver = true;
      resolve(Buffer.concat(chunks));
    });
    incoming.once('error', reject);
    incoming.once('close', early);
  });
}

/** The body as one of Orthanc's booleans: `1`, `0`, `true`, `false`. Throws BadFileFormat. */
export async function bodyBoolean(context: Context<Environment>): Promise<boolean> {
  const text = (await bodyText(context, 64)).trim();
  if (text === '1' || text === 'true') return true;
  if (text === '0' || text === 'false') return false;
  throw new IsenError('BadFileFormat', 'Boolean value expected');
}

/** Arrays and objects within one another in a body. */
const DEEPEST = 256;
/** Values in a body: so many are read in a tenth of a second, and the largest list that is taken has fewer ids. */
const MOST_VALUES = 100_000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

/**
 * The value of a JSON text. Throws SyntaxError, at once for one that is nested without end, or has values without end: V8 takes a second
 * for every three million of them, in which nobody else is answered, and whoever looks at them longer.
 */
export function parseJson(text: string, most = MOST_VALUES): unknown {
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at + 1);
        break;
      case COMMA:
        values += 1;
        if (values > most) throw new SyntaxError('too many values');
        break;
      case OPENING_BRACKET:
      case OPENING_BRACE:
        depth += 1;
        if (depth > DEEPEST) throw new SyntaxError('nested too deeply');
        break;
      case CLOSING_BRACKET:
      case CLOSING_BRACE:
        depth -= 1;
        break;
    }
  }
  return JSON.parse(text);
}

/** Where the string ends whose content begins at `from`: the end of the text where it does not. */
function endOfString(text: string, from: number): number {
  for (let end = text.indexOf('"', from); end >= 0; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (end - 1 - escapes >= from && text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes += 1;
    if (escapes % 2 === 0) return end;
  }
  return text.length;
}
