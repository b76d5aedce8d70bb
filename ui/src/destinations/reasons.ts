/**
 * Owns what the reasons of failures mean: the server's words name statuses by number, which are looked up in the tables of the Standard,
 * and each is followed by what to do about it.
 */

import { t } from '../texts.ts';

/** A reason in words. */
export interface Explained {
  /** What happened, and what to do. */
  readonly words: string;
  /** The server's own words; `''` where they say no more. */
  readonly said: string;
}

/** A family of statuses of which only the first digits count (PS3.7 Annex C). */
function statusWords(status: number): string | undefined {
  const exact: Readonly<Record<number, string>> = t.reasons.statuses;
  const families: Readonly<Record<string, string>> = t.reasons.families;
  const hex = status.toString(16).toUpperCase().padStart(4, '0');
  return exact[status] ?? families[hex.slice(0, 2)] ?? families[hex.slice(0, 1)];
}

const REJECTED = /association was rejected: result (\d+), source (\d+), reason (\d+)/;
const STATUS = /(?:status|warning) 0x([0-9A-Fa-f]{4})/;
const HTTP = /HTTP status (\d{3})/;

/** By what the words hold: the first that fits. */
const PATTERNS: readonly (readonly [RegExp, keyof typeof t.reasons.words])[] = [
  [/Connection refused|ECONNREFUSED/i, 'refused'],
  [/ENOTFOUND|EAI_AGAIN|getaddrinfo|not known/i, 'unknownHost'],
  [/EHOSTUNREACH|ENETUNREACH|No route to host|unreachable/i, 'unreachable'],
  [/ECONNRESET|ended by|connection was (lost|closed)|Connection reset|socket hang up/i, 'lost'],
  [/certificate|TLS|SSL|self.signed/i, 'tls'],
  [/does not answer|said nothing|does not take what is sent|no answer in time|Timeout|ETIMEDOUT/i, 'silent'],
  [/No valid presentation context|presentation context .* not accepted|NoPresentationContext/i, 'noContext'],
  [/Cannot transcode/i, 'transcode'],
  [/aborted/i, 'aborted'],
  [/job was canceled/i, 'canceled'],
  [/OutgoingHttpAllowed/i, 'notAllowed'],
  [/No (modality|peer|webhook)|no longer known|unknown destination/i, 'gone'],
];

/** What a reason of the server means. */
export function explain(reason: string): Explained {
  const rejected = REJECTED.exec(reason);
  if (rejected !== null) {
    const [, result, source, why] = rejected;
    const table: Readonly<Record<string, string>> = t.reasons.rejections;
    const words = table[`${source} ${why}`] ?? t.reasons.rejected;
    return { words: result === '2' ? `${words} ${t.reasons.transient}` : words, said: reason };
  }
  const status = STATUS.exec(reason);
  const known = status === null ? undefined : statusWords(Number.parseInt(status[1] ?? '', 16));
  if (known !== undefined) return { words: known, said: reason };
  const http = HTTP.exec(reason);
  if (http !== null) return { words: t.reasons.http(Number(http[1])), said: reason };
  const found = PATTERNS.find(([pattern]) => pattern.test(reason));
  return found === undefined ? { words: reason, said: '' } : { words: t.reasons.words[found[1]], said: reason };
}
