/** Owns the passwords of the registered users: their stored hashes, and comparing in constant time. */

import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { IsenError } from './errors.ts';

const derive = promisify<string, Buffer, number, object, Buffer>(scrypt);

/** Cost of new hashes: 16 MB and some 200 ms, one of the settings that OWASP's cheat sheet calls equal. */
const COST = { N: 2 ** 14, r: 8, p: 5 };
const HASH_BYTES = 32;
const SALT_BYTES = 16;

interface StoredHash {
  readonly N: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** `undefined` unless `stored` is a well-formed hash of bounded cost. */
function parseHash(stored: string): StoredHash | undefined {
  const match = /^scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([\w+/=-]{16,128})\$([\w+/=-]{22,128})$/.exec(stored);
  if (!match) return undefined;
  const [N, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (N < 2 || N > 2 ** 20 || (N & (N - 1)) !== 0 || r < 1 || r > 32 || p < 1 || p > 16) return undefined;
  return { N, r, p, salt: Buffer.from(match[4] ?? '', 'base64url'), hash: Buffer.from(match[5] ?? '', 'base64url') };
}

/** Whether a value of `RegisteredUsers` can be used: a plain password, or a well-formed hash. */
export function isUsablePassword(stored: string): boolean {
  return stored !== '' && (!stored.startsWith('scrypt$') || parseHash(stored) !== undefined);
}

/** What to store for a password: `scrypt$N$r$p$salt$hash`, salt and hash in base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, salt, HASH_BYTES, { ...COST, maxmem: 2 ** 26 });
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), hash.toString('base64url')].join('$');
}

/** Key of this process: what it digests is of equal length, and worth nothing elsewhere. */
const key = randomBytes(32);
const digest = (...parts: string[]): Buffer => {
  const hmac = createHmac('sha256', key);
  for (const part of parts) hmac.update(`${part.length}:${part}`);
  return hmac.digest();
};

/** Right passwords of hashed users, so that only their first request pays for scrypt. Wrong ones are not kept. */
const REMEMBERED = 1000;
const remembered = new Set<string>();

/** One derivation at a time: they run on the threads that also write files. */
const WAITING = 32;
let waiting = 0;
let last: Promise<unknown> = Promise.resolve();

async function verifyHash(stored: StoredHash, password: string): Promise<boolean> {
  if (waiting >= WAITING) throw new IsenError('Busy');
  waiting++;
  const { N, r, p, salt, hash } = stored;
  const turn = last.then(() => derive(password, salt, hash.length, { N, r, p, maxmem: 256 * N * r + 2 ** 20 }));
  last = turn.catch(() => undefined);
  try {
    return timingSafeEqual(await turn, hash);
  } finally {
    waiting--;
  }
}

/** Stands in for the password of a user who does not exist; nobody can type it. */
const NOBODY = randomBytes(32).toString('base64url');

/**
 * Whether `password` is the one registered for `user`. The time taken says neither how much of it is right nor whether
 * the user exists. Throws Busy while too many hashes are being computed already.
 */
export async function verifyPassword(
  users: Readonly<Record<string, string>>,
  user: string,
  password: string,
): Promise<boolean> {
  const known = Object.hasOwn(users, user);
  const stored = known ? (users[user] ?? NOBODY) : (Object.values(users).find((each) => parseHash(each)) ?? NOBODY);
  const hash = parseHash(stored);
  if (!hash) return timingSafeEqual(digest(stored), digest(password)) && known;
  const entry = digest(stored, password).toString('base64');
  if (remembered.has(entry)) return known;
  const right = await verifyHash(hash, password);
  if (right && known) {
    // The oldest goes first: a Set keeps the order of insertion.
    for (const oldest of remembered) {
      if (remembered.size < REMEMBERED) break;
      remembered.delete(oldest);
    }
    remembered.add(entry);
  }
  return right && known;
}
