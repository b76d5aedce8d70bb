/** Owns who may speak to the HTTP door (peers of the loopback, registered users), and who does. */

import type { IncomingMessage } from 'node:http';
import { isIPv4 } from 'node:net';
import type { Config } from '../config.ts';
import type { Reception } from '../ingest/ingest.ts';
import { verifyPassword } from '../password.ts';

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

/** What {@link admit} decides: the user (`''` where access is anonymous), or why not. */
export type Admission = { readonly user: string } | { readonly refused: 401 | 403 };

/** Users of the requests that were admitted; none where access is anonymous. */
const users = new WeakMap<IncomingMessage, string>();

/** Decides on one request. Throws Busy while too many passwords are being checked. */
export async function admit(config: Config, request: IncomingMessage): Promise<Admission> {
  if (!config.RemoteAccessAllowed && !isLoopback(request.socket.remoteAddress)) return { refused: 403 };
  if (!config.AuthenticationEnabled) return { user: '' };
  const given = basicCredentials(request.headers.authorization);
  if (given === undefined) return { refused: 401 };
  if (!(await verifyPassword(config.RegisteredUsers, given.user, given.password))) return { refused: 401 };
  users.set(request, given.user);
  return { user: given.user };
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
