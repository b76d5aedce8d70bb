/**
 * Owns which UID becomes which when a set of instances is changed: the same for the same, at every place that names it, and the
 * same again when the work is done again, because new ones are made from a seed and the old ones (PS3.5 §B.2).
 */

import { createHash } from 'node:crypto';

/** The UIDs of one level of the set that is changed, and what becomes of them. Plain data, for other threads. */
export interface MappedLevel {
  /** {@link uidKey} of each, ascending; shared memory is read in place. */
  readonly uids: BigUint64Array;
  /** New ones, the same ones, or all of them this one. */
  readonly becomes: 'new' | 'same' | { readonly uid: string };
}

/** The first eight bytes of its SHA-1: two of a set are never alike. */
export function uidKey(uid: string): bigint {
  return createHash('sha1').update(uid).digest().readBigUInt64BE();
}

/** Keys in shared memory, to be searched by any thread. */
export function sharedKeys(keys: readonly bigint[]): BigUint64Array {
  const shared = new BigUint64Array(new SharedArrayBuffer(Math.max(8, keys.length * 8)));
  shared.set(keys);
  // A place for none: the memory may not be empty.
  return shared.subarray(0, keys.length).sort();
}

function has(keys: BigUint64Array, key: bigint): boolean {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = keys[middle] ?? 0n;
    if (at === key) return true;
    if (at < key) low = middle + 1;
    else high = middle;
  }
  return false;
}

/** The bytes of a UUID made from two texts (RFC 9562 §5.5). */
function nameBytes(seed: string, name: string): Buffer {
  const bytes = createHash('sha1').update(`${seed}\n${name}`).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes;
}

/** A UID made from a seed and the old one. */
export function derivedUid(seed: string, uid: string): string {
  return `2.25.${BigInt(`0x${nameBytes(seed, uid).toString('hex')}`)}`;
}

/** An identifier of a patient, as a UUID, made from a seed and the old one. */
export function derivedId(seed: string, id: string): string {
  return nameBytes(seed, id)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export class UidMap {
  readonly #seed: string;
  readonly #levels: readonly MappedLevel[];
  readonly #known = new Map<string, string | undefined>();

  constructor(seed: string, levels: readonly MappedLevel[]) {
    this.#seed = seed;
    this.#levels = levels;
  }

  /** What `uid` becomes: a new one as well where it is none of the set and `always` is set; undefined where it stays. */
  of(uid: string, always: boolean): string | undefined {
    const known = `${always} ${uid}`;
    if (this.#known.has(known)) return this.#known.get(known);
    const key = uidKey(uid);
    const level = this.#levels.find(({ uids }) => has(uids, key));
    const becomes = level?.becomes ?? (always ? 'new' : 'same');
    const mapped = becomes === 'same' ? undefined : becomes === 'new' ? derivedUid(this.#seed, uid) : becomes.uid;
    this.#known.set(known, mapped);
    return mapped;
  }

  /** The new identifier of a patient. */
  patientId(id: string): string {
    return derivedId(this.#seed, id);
  }
}
