/** Owns sending one file: what it is by its first bytes, its progress, and what the answer means. */

import { OURS, url } from '../api.ts';
import { t } from '../texts.ts';

/** What the server says of each instance that it took. */
export interface Answer {
  readonly ID: string;
  readonly ParentStudy: string;
  readonly Status: 'Success' | 'AlreadyStored' | 'FilteredOut';
}

/** How a file ended. */
export type Outcome =
  | { readonly kind: 'taken'; readonly answers: readonly Answer[] }
  | { readonly kind: 'not-dicom' }
  | { readonly kind: 'failed'; readonly reason: string }
  /** The server is busy: again after so many seconds. */
  | { readonly kind: 'busy'; readonly seconds: number }
  /** There was no answer. */
  | { readonly kind: 'lost' }
  /** No other file would fare better: signed out, read-only, full. */
  | { readonly kind: 'stopped'; readonly status: number }
  | { readonly kind: 'aborted' };

/** `OrthancStatus` of a file that is no DICOM. */
const BAD_FILE_FORMAT = 15;
/** Milliseconds without a byte taken, and without an answer when all are taken: a ZIP of many images is long at it. */
const SILENCE = 60_000;
const ANSWER = 30 * 60_000;
/** Seconds until a busy server is asked again, where it names none; and at most. */
const BUSY = 2;
const LONGEST_BUSY = 60;

/** What a file is: worth sending as it is, in gzip, or not at all. Throws what reading throws. */
export async function kindOf(file: File): Promise<'dicom' | 'gzip' | 'other'> {
  const head = new Uint8Array(await file.slice(0, 132).arrayBuffer());
  const starts = (...bytes: readonly number[]): boolean => bytes.every((byte, at) => head[at] === byte);
  if (String.fromCharCode(...head.subarray(128)) === 'DICM') return 'dicom';
  if (starts(0x50, 0x4b, 3, 4)) return 'dicom';
  if (starts(0x1f, 0x8b)) return 'gzip';
  // Without preamble: a first element of group 0002 or 0008, in either order of bytes.
  const isBare = starts(2, 0) || starts(8, 0) || starts(0, 2, 0) || starts(0, 8, 0);
  return isBare && head.length > 8 ? 'dicom' : 'other';
}

function outcomeOf(status: number, text: string, retryAfter: string | null): Outcome {
  if (status === 0) return { kind: 'lost' };
  if (status === 401 || status === 403 || status === 507) return { kind: 'stopped', status };
  if (status === 503) {
    const seconds = Number(retryAfter ?? BUSY);
    return { kind: 'busy', seconds: Math.min(LONGEST_BUSY, Number.isFinite(seconds) ? seconds : BUSY) };
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (status >= 200 && status < 300 && typeof body === 'object' && body !== null) {
    return { kind: 'taken', answers: (Array.isArray(body) ? body : [body]) as readonly Answer[] };
  }
  const said = (body ?? {}) as {
    readonly OrthancStatus?: number;
    readonly Message?: string;
    readonly Details?: string;
  };
  if (said.OrthancStatus === BAD_FILE_FORMAT) return { kind: 'not-dicom' };
  const words = [said.Message, said.Details].filter((part) => part !== undefined && part !== '').join(': ');
  return { kind: 'failed', reason: t.errors.advice(status, words) };
}

/** Sends a file; `progress` is told how many bytes of it are taken. Never throws. */
export async function send(
  file: File,
  kind: 'dicom' | 'gzip',
  progress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  // fetch does not say how much of a body is sent.
  const request = new XMLHttpRequest();
  return new Promise((resolve) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const watch = (milliseconds: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => end({ kind: 'lost' }), milliseconds);
    };
    const leave = (): void => end({ kind: 'aborted' });
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
      resolve(outcome);
      request.abort();
    };
    if (signal.aborted) return resolve({ kind: 'aborted' });
    signal.addEventListener('abort', leave, { once: true });
    request.upload.addEventListener('progress', ({ loaded }) => {
      progress(loaded);
      watch(SILENCE);
    });
    request.upload.addEventListener('load', () => watch(ANSWER));
    request.addEventListener('error', () => end({ kind: 'lost' }));
    request.addEventListener('load', () =>
      end(outcomeOf(request.status, request.responseText, request.getResponseHeader('Retry-After'))),
    );
    request.open('POST', url('instances'));
    for (const [name, value] of Object.entries(OURS)) request.setRequestHeader(name, value);
    request.setRequestHeader('Content-Type', 'application/dicom');
    if (kind === 'gzip') request.setRequestHeader('Content-Encoding', 'gzip');
    watch(SILENCE);
    request.send(file);
  });
}
