/** Owns the one spelling of time in the REST API, the index and the log of changes. */

/** `YYYYMMDDTHHMMSS` in UTC, of milliseconds since the epoch. */
export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 19).replace(/[-:]/g, '');
}
