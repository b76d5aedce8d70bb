/** Owns who may speak to the HTTP door, who does, and what they may do: peers of the loopback, registered users, those who only read. */

import type { IncomingMessage } from 'node:http';
import { isIPv4 } from 'node:net';
import type { Config } from '../config.ts';
import type { Reception } from '../ingest/ingest.ts';
import { verifyPassword } from '../password.ts';
import type { Sessions } from './sessions.ts';

/** Whether a socket's peer is this machine; IPv4 addresses mapped into IPv6 count as what they are. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  return plain === '::1' || (isIPv4(plain) && plain.startsWith('127.'));
}

/** User and password of a Basic `Authorization` header (RFC 7617), or undefined. */
export function basicCredentials(header: string | undefined): { user: string; password: string } | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const decoded = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon < 0 ? undefined : { user: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

/** Who asks, where it is known; `''` where access is anonymous. */
const users = new WeakMap<IncomingMessage, string>();

/** Who asks: `''` where access is anonymous, undefined for a stranger at a page that strangers may see. */
export function userOf(request: IncomingMessage | undefined): string | undefined {
  return request && users.get(request);
}

/** Whether whoever asks may only look: a user of `ReadOnlyUsers`. */
export function onlyReads(config: Config, request: IncomingMessage | undefined): boolean {
  const user = userOf(request);
  return user !== undefined && user !== '' && config.ReadOnlyUsers.includes(user);
}

/** What {@link admit} decides: the user (`''` where access is anonymous), or why not. */
export type Admission = { readonly user: string } | { readonly refused: 401 | 403 };

/** Decides on one request. Throws Busy while too many passwords are being checked. */
export async function admit(config: Config, sessions: Sessions, request: IncomingMessage): Promise<Admission> {
  if (!config.RemoteAccessAllowed && !isLoopback(request.socket.remoteAddress)) return { refused: 403 };
  const user = config.AuthenticationEnabled ? await known(config, sessions, request) : '';
  if (user === undefined) return { refused: 401 };
  users.set(request, user);
  return { user };
}

/** The registered user who asks: by name and password, else by the session of a browser. */
async function known(config: Config, sessions: Sessions, request: IncomingMessage): Promise<string | undefined> {
  if (request.headers.authorization === undefined) return sessions.userOf(request);
  const given = basicCredentials(request.headers.authorization);
  if (given === undefined) return undefined;
  return (await verifyPassword(config.RegisteredUsers, given.user, given.password)) ? given.user : undefined;
}

/** Where an image comes from that an admitted request brings, or has made. */
export function receptionOf(request: IncomingMessage): Reception {
  const address = request.socket.remoteAddress ?? '';
  return {
    origin: 'RestApi',
    remoteIp: address.startsWith('::ffff:') ? address.slice(7) : address,
    remoteAet: '',
    username: users.get(request) ?? '',
  };
}
