/** Owns how paths are read: what is left of doubled and trailing slashes, dots and percent signs. */

import { IsenError } from '../errors.ts';

/** What needs a closer look: an escape, an empty or dotted segment, a slash at the end. */
const UNUSUAL = /%|\/\/|\/\.|\/$|[^\x21-\x7e]/;

/** Scheme and authority of the absolute form (RFC 9112 §3.2.2), as a proxy's clients send it. */
const ABSOLUTE = /^https?:\/\/[^/?#]*/i;

/** Longest path and query that are looked at. */
const MAXIMUM_LENGTH = 16 * 1024;

/** Percent-decoded; what cannot be decoded stays as it is, as the reference takes it. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/**
 * `//instances/` as `/instances`: the request target in origin form, its path in one spelling, each segment escaped again
 * where it must be. Throws UnknownResource for segments that climb (`..`, however escaped) or hold a slash or NUL, which name nothing here.
 */
export function tidyUrl(target: string): string {
  if (target.length > MAXIMUM_LENGTH) throw new IsenError('UriSyntax', undefined, { http: 414 });
  const origin = target.startsWith('/') ? target : target.replace(ABSOLUTE, '');
  const url = origin.startsWith('/') ? origin : `/${origin}`;
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  if (!UNUSUAL.test(path)) return url;
  const segments = path.split('/').filter((segment) => segment !== '');
  const tidy = segments.map((segment) => {
    const plain = decoded(segment);
    if (plain === '.' || plain === '..' || /[/\0]/.test(plain)) throw new IsenError('UnknownResource');
    return encodeURIComponent(plain).replaceAll('%2C', ',');
  });
  return `/${tidy.join('/')}${mark < 0 ? '' : url.slice(mark)}`;
}

/** A path as errors show it: decoded, without the query. */
export function plainPath(path: string): string {
  return path.split('/').map(decoded).join('/');
}
