/** Owns what is known of peers, other servers with the same REST API: how each is written down, shown and kept. */

import { existsSync } from 'node:fs';
import type { Config } from '../config.ts';
import type { Database } from '../database/database.ts';
import { IsenError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { type HttpTarget, isAllowed } from '../outgoing.ts';
import { checkName, describeSending, readSending, SENDING, SENDING_OPTIONS } from '../scu/modalities.ts';
import type { Sending } from '../scu/modality.ts';
import type { Queue } from './queue.ts';
import { type Notation, openRegister, type Register, type Source } from './register.ts';

/** One peer. */
export interface Peer extends HttpTarget {
  /** Its symbolic name, the key of the REST API. */
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Texts that the description holds besides, for whoever wrote them there. */
  readonly userProperties: Readonly<Record<string, string>>;
  readonly sending: Sending;
  /** Set over the REST API: only where `OutgoingHttpAllowed` says so. */
  readonly source: Source;
}

export type Peers = Register<Peer>;

/** How a peer's queue is drained unless it says otherwise: HTTP servers take several requests at a time. */
export const PEER_SENDING: Sending = { ...SENDING, maximumAssociations: 4 };

const badFormat = (details?: string): IsenError => new IsenError('BadFileFormat', details);

/** A header as it may be written (RFC 9110 §5.5): nothing that would begin another one. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]{0,8192}$/;

/** Fields that have a meaning; what else there is belongs to the user. */
const FIELDS: ReadonlySet<string> = new Set([
  'URL',
  'Url',
  'Username',
  'Password',
  'CertificateFile',
  'CertificateKeyFile',
  'CertificateKeyPassword',
  'Pkcs11',
  'HttpHeaders',
  'Timeout',
  ...Object.keys(SENDING_OPTIONS),
]);

/** An http or https URL with a slash at its end. Throws BadFileFormat. */
export function readUrl(value: unknown): string {
  if (value === undefined || value === '') throw badFormat('Empty URL');
  if (typeof value !== 'string') throw badFormat();
  if (!/^https?:\/\//i.test(value) || !URL.canParse(value)) throw badFormat(`Bad URL: ${value.slice(0, 256)}`);
  const { username, password, search, hash } = new URL(value);
  if (username !== '' || password !== '' || search !== '' || hash !== '')
    throw badFormat('Bad URL: without user, query and fragment');
  return value.endsWith('/') ? value : `${value}/`;
}

/** Headers by name. Throws BadFileFormat for what cannot be sent as one. */
export function readHeaders(value: unknown): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badFormat();
  const headers: [string, string][] = [];
  for (const [name, text] of Object.entries(value as Record<string, unknown>)) {
    if (typeof text !== 'string' || !HEADER_NAME.test(name) || !HEADER_VALUE.test(text)) throw badFormat();
    headers.push([name, text]);
  }
  return Object.fromEntries(headers);
}

/** Seconds. Throws BadFileFormat. */
export function readTimeout(value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 86_400)
    throw badFormat('Unsigned integer value expected in field: Timeout');
  return value;
}

function fieldsOf(description: unknown): Readonly<Record<string, unknown>> {
  if (Array.isArray(description)) {
    const [url, username, password] = description as readonly unknown[];
    if (description.length !== 1 && description.length !== 3) throw badFormat();
    return { Url: url, ...(description.length === 3 && { Username: username, Password: password }) };
  }
  if (typeof description !== 'object' || description === null) throw badFormat();
  return description as Readonly<Record<string, unknown>>;
}

/** Reads `[url]`, `[url, user, password]` or an object. Throws as the reference does for what is none. */
function readPeer(name: string, description: unknown, source: Source): Peer {
  checkName(name);
  const fields = fieldsOf(description);
  const text = (field: string): string | undefined => {
    const value = fields[field];
    if (value !== undefined && value !== null && typeof value !== 'string') throw badFormat();
    return value ?? undefined;
  };
  if (fields['Pkcs11'] === true) throw new IsenError('NotImplemented', 'Pkcs11');
  const username = text('Username') || undefined;
  const userProperties: [string, string][] = [];
  for (const [field, value] of Object.entries(fields)) {
    if (FIELDS.has(field)) continue;
    if (typeof value !== 'string') throw badFormat();
    userProperties.push([field, value]);
  }
  return {
    name,
    url: readUrl(fields['Url'] ?? fields['URL']),
    username,
    password: text('Password'),
    certificateFile: text('CertificateFile') || undefined,
    certificateKeyFile: text('CertificateKeyFile') || undefined,
    certificateKeyPassword: text('CertificateKeyPassword'),
    headers: readHeaders(fields['HttpHeaders']),
    timeout: readTimeout(fields['Timeout']),
    userProperties: Object.fromEntries(userProperties),
    sending: readSending(fields, PEER_SENDING),
    source,
  };
}

/** The whole description, secrets included: for the index. */
function describePeer(peer: Peer): Readonly<Record<string, unknown>> {
  return {
    ...peer.userProperties,
    Url: peer.url,
    Username: peer.username,
    Password: peer.password,
    CertificateFile: peer.certificateFile,
    CertificateKeyFile: peer.certificateKeyFile,
    CertificateKeyPassword: peer.certificateKeyPassword,
    HttpHeaders: peer.headers,
    Timeout: peer.timeout,
    ...Object.fromEntries(describeSending(peer.sending, PEER_SENDING)),
  };
}

/** What clients are shown: no password, and of headers their names. Of its queue's options those that are not the default. */
export function showPeer(peer: Peer): Readonly<Record<string, unknown>> {
  const fields: [string, unknown][] = [
    ['HttpHeaders', Object.keys(peer.headers)],
    ['Pkcs11', false],
    ['Timeout', peer.timeout],
    ['Url', peer.url],
    ...(peer.username === undefined
      ? []
      : ([
          ['Username', peer.username],
          ['Password', null],
        ] as [string, unknown][])),
    ...(peer.certificateFile === undefined
      ? []
      : ([
          ['CertificateFile', peer.certificateFile],
          ['CertificateKeyFile', peer.certificateKeyFile ?? ''],
          ['CertificateKeyPassword', null],
        ] as [string, unknown][])),
    ...describeSending(peer.sending, PEER_SENDING),
    ...Object.entries(peer.userProperties),
  ];
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** `Peer` of a job: the short form, where there is nothing else to say. */
export function peerContent(peer: Peer): unknown {
  const { url, username, certificateFile, headers, timeout, userProperties } = peer;
  const isPlain =
    certificateFile === undefined &&
    timeout === 0 &&
    Object.keys(headers).length === 0 &&
    Object.keys(userProperties).length === 0;
  if (!isPlain) return showPeer(peer);
  return username === undefined ? [url] : [url, username, ''];
}

/** Throws ForbiddenAccess for a target that was set over the REST API, and that requests may not go to. */
export function checkAllowed(
  { url, source }: { readonly url: string; readonly source: Source },
  allowed: readonly string[],
): void {
  if (source === 'rest' && !isAllowed(allowed, url))
    throw new IsenError('ForbiddenAccess', 'OutgoingHttpAllowed does not allow this URL');
}

/** Throws InexistentFile for certificates that are not there. */
function checkFiles({ certificateFile, certificateKeyFile }: Peer): void {
  const files = [
    ['certificate', certificateFile],
    ['key', certificateKeyFile],
  ] as const;
  for (const [what, path] of files) {
    if (path !== undefined && !existsSync(path))
      throw new IsenError('InexistentFile', `Cannot open ${what} file: ${path}`);
  }
}

/** Whether two URLs are of one server: what was secret between it and us may be sent there again. */
export function isSameServer(url: unknown, other: string | undefined): boolean {
  if (typeof url !== 'string' || other === undefined || !URL.canParse(url)) return false;
  return new URL(url).origin === new URL(other).origin;
}

/** Headers of which those with null, or of which only the name is given, have the value that they had `before`. */
export function keptHeaders(value: unknown, before: Readonly<Record<string, string>>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const given: [string, unknown][] = Array.isArray(value)
    ? value.map((name: unknown) => [String(name), null])
    : Object.entries(value);
  return Object.fromEntries(given.map(([name, text]) => [name, text ?? before[name] ?? null]));
}

/** A description as it was shown, and is put again: the secrets that were not shown stay, as long as they go to the same server. */
function withSecrets(description: unknown, known: Peer | undefined): unknown {
  if (typeof description !== 'object' || description === null || Array.isArray(description)) return description;
  const fields = description as Readonly<Record<string, unknown>>;
  if (known === undefined || !isSameServer(fields['Url'] ?? fields['URL'], known.url)) return description;
  const sameUser = (fields['Username'] ?? '') === (known.username ?? '');
  const sameKey = (fields['CertificateKeyFile'] ?? '') === (known.certificateKeyFile ?? '');
  return {
    ...fields,
    ...(fields['Password'] === null && sameUser && { Password: known.password }),
    ...(fields['CertificateKeyPassword'] === null &&
      sameKey && { CertificateKeyPassword: known.certificateKeyPassword }),
    ...('HttpHeaders' in fields && { HttpHeaders: keptHeaders(fields['HttpHeaders'], known.headers) }),
  };
}

const NOTATION: Notation<Peer> = {
  read(name, description, source) {
    const peer = readPeer(name, description, source);
    // One that was stored must not hide the others.
    if (source === 'configuration') checkFiles(peer);
    return peer;
  },
  describe: describePeer,
};

export interface PeersOptions {
  readonly config: Pick<Config, 'OrthancPeers' | 'OrthancPeersInDatabase' | 'OutgoingHttpAllowed'>;
  readonly database: Pick<Database, 'property' | 'shared'>;
  readonly apply: Ingest['apply'];
  readonly queue: Pick<Queue, 'lease'>;
}

/** Those of `OrthancPeers`, or (`OrthancPeersInDatabase`) of the index. Throws for a configured one that is none. */
export function openPeers({ config, ...stored }: PeersOptions): Peers {
  const register = openRegister({
    ...stored,
    property: 'OrthancPeers',
    notation: NOTATION,
    configured: config.OrthancPeers,
    inDatabase: config.OrthancPeersInDatabase,
  });
  return {
    ...register,
    async put(name, given) {
      const description = withSecrets(given, await register.get(name));
      const peer = readPeer(name, description, 'rest');
      checkFiles(peer);
      checkAllowed(peer, config.OutgoingHttpAllowed);
      await register.put(name, description);
    },
  };
}
