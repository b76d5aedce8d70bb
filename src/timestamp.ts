/** Owns the one spelling of time in the REST API, the index and the log of changes. */

/** `YYYYMMDDTHHMMSS` in UTC, of milliseconds since the epoch. */
export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 19).replace(/[-:]/g, '');
}

/** Milliseconds since the epoch of a {@link timestamp}; NaN for what is none. */
export function fromTimestamp(text: string): number {
  return Date.parse(text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)$/, '$1-$2-$3T$4:$5:$6Z'));
}
