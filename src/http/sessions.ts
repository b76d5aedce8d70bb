/**
 * Owns the sessions of browsers: a cookie instead of the password, so that no script ever holds either. A session is a signed token, so
 * that it outlives a restart and every server of a cluster knows it; it ends with its time, or when the user's password changes.
 */

import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import type { Ingest } from '../ingest/ingest.ts';

/** Name of the property that holds the key; whoever reads the index could sign. */
const PROPERTY = 'sessions.key';
/** Milliseconds after which the key is read again: another server may have made it at the same time. */
const KEY_AGE = 10_000;

/** Seconds of a session that is remembered, and of one that ends with the browser. */
const REMEMBERED = 30 * 86_400;
const BRIEF = 12 * 3600;

/** Longest `Cookie` header that is looked at; cookies of other programs on this host come along. */
const MAXIMUM_COOKIES = 16 * 1024;

/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD']);

/** The sessions of one server. */
export interface Sessions {
  /**
   * The user of the session that a request carries, or undefined. A method that changes something counts only with the header
   * {@link isOfScript} looks for: a form of another site could send the cookie, but not that.
   */
  userOf(request: IncomingMessage): Promise<string | undefined>;
  /** Begins a session: the `Set-Cookie` to answer with. */
  begin(user: string, remember: boolean, request: IncomingMessage): Promise<string>;
  /** The `Set-Cookie` that prolongs a remembered session past its half, or undefined. */
  prolong(request: IncomingMessage): Promise<string | undefined>;
  /** The `Set-Cookie` that ends it in this browser. */
  end(request: IncomingMessage): Promise<string>;
}

/** Whether a script of our own pages sent this: other sites may not set the header. */
export function isOfScript(request: IncomingMessage): boolean {
  return request.headers['x-requested-with'] !== undefined;
}

/**
 * Whether a browser asks on behalf of a page of ours: then its own dialog for passwords would only stand in the way of the page's.
 */
export function isOfPage(request: IncomingMessage): boolean {
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode } = request.headers;
  return isOfScript(request) || (site === 'same-origin' && mode !== 'navigate');
}

interface Token {
  readonly user: string;
  /** Seconds since the epoch. */
  readonly ends: number;
  readonly remember: boolean;
}

/** Sessions whose key is kept in the index. */
export function createSessions(config: Config, database: Pick<Database, 'property'>, apply: Ingest['apply']): Sessions {
  let key: { readonly bytes: Buffer; readonly read: number } | undefined;

  const currentKey = async (): Promise<Buffer> => {
    if (key !== undefined && performance.now() - key.read < KEY_AGE) return key.bytes;
    let text = await database.property(PROPERTY);
    if (text === undefined) {
      await apply({ kind: 'property', name: PROPERTY, value: randomBytes(32).toString('base64url') });
      text = (await database.property(PROPERTY)) ?? '';
    }
    key = { bytes: Buffer.from(text, 'base64url'), read: performance.now() };
    return key.bytes;
  };

  /** Of this cluster: cookies do not tell ports of one host apart. */
  const nameOf = (bytes: Buffer): string => `isen-${createHash('sha256').update(bytes).digest('hex').slice(0, 8)}`;

  const sign = (bytes: Buffer, payload: string, user: string): Buffer =>
    createHmac('sha256', bytes)
      .update(`${payload}:${config.RegisteredUsers[user] ?? ''}`)
      .digest();

  const tokenOf = async (request: IncomingMessage): Promise<Token | undefined> => {
    const header = request.headers.cookie;
    if (header === undefined || header.length > MAXIMUM_COOKIES) return undefined;
    const bytes = await currentKey();
    const name = nameOf(bytes);
    const cookie = header
      .split(';')
      .map((each) => each.trim())
      .find((each) => each.startsWith(`${name}=`));
    const parts = /^([\w-]{1,2000}\.(\d{1,12})\.([01]))\.([\w-]{43})$/.exec(cookie?.slice(name.length + 1) ?? '');
    if (parts === null) return undefined;
    const [, payload = '', ends = '', remember, signature = ''] = parts;
    const user = Buffer.from(payload.split('.', 1)[0] ?? '', 'base64url').toString('utf8');
    const isOurs = timingSafeEqual(Buffer.from(signature, 'base64url'), sign(bytes, payload, user));
    if (!isOurs || !Object.hasOwn(config.RegisteredUsers, user)) return undefined;
    const token = { user, ends: Number(ends), remember: remember === '1' };
    return token.ends * 1000 > Date.now() ? token : undefined;
  };

  const cookie = (name: string, value: string, seconds: number | undefined, request: IncomingMessage): string => {
    const isSecure = config.SslEnabled || request.headers['x-forwarded-proto'] === 'https';
    const age = seconds === undefined ? '' : `; Max-Age=${seconds}`;
    return `${name}=${value}; Path=/${age}; HttpOnly; SameSite=Strict${isSecure ? '; Secure' : ''}`;
  };

  const begin: Sessions['begin'] = async (user, remember, request) => {
    const bytes = await currentKey();
    const ends = Math.floor(Date.now() / 1000) + (remember ? REMEMBERED : BRIEF);
    const payload = `${Buffer.from(user).toString('base64url')}.${ends}.${remember ? 1 : 0}`;
    const value = `${payload}.${sign(bytes, payload, user).toString('base64url')}`;
    return cookie(nameOf(bytes), value, remember ? REMEMBERED : undefined, request);
  };

  return {
    begin,
    async userOf(request) {
      if (!SAFE.has(request.method) && !isOfScript(request)) return undefined;
      return (await tokenOf(request))?.user;
    },
    async prolong(request) {
      const token = await tokenOf(request);
      if (token === undefined || !token.remember) return undefined;
      const left = token.ends - Date.now() / 1000;
      return left > REMEMBERED / 2 ? undefined : begin(token.user, true, request);
    },
    async end(request) {
      return cookie(nameOf(await currentKey()), '', 0, request);
    },
  };
}
