/**
 * Owns how the REST API is spoken to: addresses, how many requests are under way, aborting, and errors that say what to do. What is
 * asked of which route stands in api/, one file a subject.
 */

import { signal } from '@preact/signals';
import { API } from './base.ts';
import { t } from './texts.ts';

/** What a request may carry besides its path. */
export interface RequestOptions {
  /** Of the query; `undefined` is left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as JSON, unless it is a string or binary, which are sent as they are. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until it is given up. */
  readonly deadline?: number;
}

/** The error body that the server sends, as far as it is read. */
interface ErrorBody {
  readonly Details?: string;
  readonly Message?: string;
  readonly OrthancStatus?: number;
}

/** A request that failed. `message` is for people: what happened and what to do. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** `OrthancStatus` of the answer; 0 where it said none. */
  readonly code: number;
  /** What the server said, in its own words; `''` where it said nothing. */
  readonly said: string;

  constructor(status: number, body: ErrorBody = {}) {
    const said = [body.Message, body.Details].filter((part) => part !== undefined && part !== '').join(': ');
    super(t.errors.advice(status, said));
    this.status = status;
    this.code = body.OrthancStatus ?? 0;
    this.said = said;
  }
}

/** Whether a thrown thing only says that nobody wants the answer any more. */
export function isAborted(thrown: unknown): boolean {
  return thrown instanceof DOMException && thrown.name === 'AbortError';
}

/** What any thrown thing says to people. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Becomes true when the server asks who we are: the frame shows the login over the page. */
export const loginWanted = signal(false);

/** Requests under way at once: browsers open six connections to a server, and the live changes hold one. */
const MOST = 5;
const DEADLINE = 60_000;
let running = 0;
const waiting: (() => void)[] = [];

async function turn(signal: AbortSignal): Promise<void> {
  if (running < MOST) {
    running += 1;
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const begin = (): void => {
      signal.removeEventListener('abort', leave);
      resolve();
    };
    const leave = (): void => {
      waiting.splice(waiting.indexOf(begin), 1);
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', leave, { once: true });
    waiting.push(begin);
  });
}

function ended(): void {
  const next = waiting.shift();
  if (next === undefined) running -= 1;
  else next();
}

/** Address of a route of the REST API: `url('studies', id, 'archive')`. Every part is escaped. */
export function url(...parts: readonly string[]): string {
  return new URL(parts.map(encodeURIComponent).join('/'), API).href;
}

/** Headers that every request of ours carries: the server shows no dialog to those who send it, and no form can send it. */
export const OURS = { 'X-Requested-With': 'Explorer' } as const;

function bodyOf(body: unknown): { body?: BodyInit; type?: string } {
  if (body === undefined) return {};
  if (typeof body === 'string') return { body, type: 'text/plain' };
  if (body instanceof Blob || body instanceof ArrayBuffer) return { body };
  return { body: JSON.stringify(body), type: 'application/json' };
}

/** The error of an answer that is not a success. */
async function failure(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  try {
    return new ApiError(response.status, JSON.parse(text) as ErrorBody);
  } catch {
    return new ApiError(response.status);
  }
}

/** One request. Throws ApiError where it fails, AbortError where it was called off. */
export async function request(method: string, address: string, options: RequestOptions = {}): Promise<Response> {
  const target = new URL(address, API);
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined) target.searchParams.set(name, String(value));
  }
  const tooLong = AbortSignal.timeout(options.deadline ?? DEADLINE);
  const signal = options.signal === undefined ? tooLong : AbortSignal.any([options.signal, tooLong]);
  signal.throwIfAborted();
  const { body, type } = bodyOf(options.body);
  let response: Response;
  await turn(signal);
  try {
    response = await fetch(target, {
      method,
      signal,
      headers: { ...OURS, ...(type !== undefined && { 'Content-Type': type }), ...options.headers },
      ...(body !== undefined && { body }),
    });
  } catch (thrown) {
    if (isAborted(thrown)) throw thrown;
    throw new ApiError(0);
  } finally {
    ended();
  }
  if (response.ok) return response;
  if (response.status === 401) loginWanted.value = true;
  throw await failure(response);
}

/** What a GET of a JSON answer says. The caller names its shape, which the server promises. */
export async function get<T>(address: string, options?: RequestOptions): Promise<T> {
  return (await (await request('GET', address, options)).json()) as T;
}

/** What a GET of a text answer says. */
export async function getText(address: string, options?: RequestOptions): Promise<string> {
  return (await request('GET', address, options)).text();
}

/** What a POST answers. */
export async function post<T>(address: string, body: unknown, options?: RequestOptions): Promise<T> {
  const text = await (await request('POST', address, { ...options, body })).text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** A PUT whose answer says nothing. */
export async function put(address: string, body: unknown, options?: RequestOptions): Promise<void> {
  await request('PUT', address, { ...options, body });
}

/** A DELETE whose answer says nothing. */
export async function remove(address: string, options?: RequestOptions): Promise<void> {
  await request('DELETE', address, options);
}
