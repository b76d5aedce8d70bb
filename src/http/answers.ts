/**
 * Owns the shape of what clients read back: JSON answers, plain text, empty bodies, and the error body that Orthanc's
 * clients parse.
 */

import { STATUS_CODES } from 'node:http';
import type { Database } from '../database/database.ts';
import { ERRORS, type IsenError } from '../errors.ts';
import { Kept } from '../kept.ts';

export const JSON_TYPE = 'application/json; charset=utf-8';

/** A value as the JSON text of an answer: indented by three spaces, in the order of its keys. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 3)}\n`;
}

/** 200 with a JSON body. */
export function json(value: unknown, headers: Record<string, string> = {}): Response {
  return jsonOf(jsonText(value), headers);
}

/** JSON text, whole or in the pace of the client. */
export type JsonBody = string | ReadableStream<Uint8Array>;

/** 200 with JSON text made elsewhere. */
export function jsonOf(text: JsonBody, headers: Record<string, string> = {}): Response {
  return new Response(text, { headers: { 'Content-Type': JSON_TYPE, ...headers } });
}

/** Characters of answers that are kept. */
const KEPT = 32 * 2 ** 20;

/** JSON texts by key: of a plain answer, its URL from the path on. */
export interface KeptAnswers {
  /** The text that is kept, else what `make` reads from the index; undefined (never kept) where there is none. */
  of<Text extends string | undefined>(key: string, make: () => Promise<Text>): Promise<Text>;
  /** The text, when it is kept. */
  known(key: string): string | undefined;
}

/**
 * Keeps answers that follow from the index alone for as long as nothing is committed: between uploads clients ask for the
 * same pages and resources again and again. None is older than what reading the index would give.
 */
export function keepAnswers(database: Database): KeptAnswers {
  const texts = new Kept<string>(KEPT);
  let version: number | undefined;
  const known = (key: string): string | undefined => {
    const current = database.version();
    if (current !== version) texts.clear();
    version = current;
    return texts.get(key);
  };
  return {
    known,
    async of(key, make) {
      const kept = known(key);
      if (kept !== undefined) return kept as Awaited<ReturnType<typeof make>>;
      const read = version;
      const text = await make();
      // Of another version when someone asked meanwhile: it may have been read before that.
      if (text !== undefined && read !== undefined && read === version) texts.add(key, text);
      return text;
    },
  };
}

/** The key of a plain answer: what follows the host in an absolute URL. */
export function keyOf(url: string): string {
  return url.slice(url.indexOf('/', 'https://'.length));
}

/** 200 with a body of `type`. */
export function text(body: string, headers: Record<string, string> = {}, type = 'text/plain'): Response {
  return new Response(body, { headers: { 'Content-Type': type, ...headers } });
}

/** The answer of a successful POST that has nothing to say. */
export function emptyObject(headers: Record<string, string> = {}): Response {
  return new Response('{}\n', { headers: { 'Content-Type': 'application/json', ...headers } });
}

/** A status with no body: what the reference answers for an unknown resource, a wrong method, a refused change or what cannot be shown. */
export function empty(status: 304 | 400 | 403 | 404 | 405 | 415, headers: Record<string, string> = {}): Response {
  return new Response(null, { status, headers });
}

/** What an error answers, for either kind of server API. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** The reference's error body; none at all where errors are not described (HttpDescribeErrors). */
export function errorAnswer(error: IsenError, method: string, uri: string, describe: boolean): ErrorAnswer {
  const retry: Record<string, string> = error.http === 503 ? { 'Retry-After': '1' } : {};
  if (!describe) return { status: error.http, headers: retry, body: '' };
  const { orthanc, message } = ERRORS[error.code];
  const fields: [string, string | number][] = [
    ['HttpError', STATUS_CODES[error.http] ?? 'Unknown'],
    ['HttpStatus', error.http],
    ['Message', message],
    ['Method', method],
    ['OrthancError', message],
    ['OrthancStatus', orthanc],
    ['Uri', uri],
  ];
  if (error.details !== undefined) fields.unshift(['Details', error.details]);
  const lines = fields.map(([key, value]) => `\t"${key}" : ${JSON.stringify(value)}`);
  return {
    status: error.http,
    headers: { 'Content-Type': 'text/plain', ...retry },
    body: `{\n${lines.join(',\n')}\n}\n`,
  };
}
