/**
 * Owns the proof that a blob still is what was stored, for whoever reads only a part of it, of which no MD5 is known. A blob that nobody
 * touched since it was received is taken at its word, which costs one look at its state; any other is read whole, once.
 */

import { createHash } from 'node:crypto';
import { asError, IsenError } from '../errors.ts';
import type { StoredContent } from './content.ts';
import type { Storage } from './storage.ts';

/** Milliseconds within which the time of reception, which is kept in seconds, and that of its blob can differ. */
const SETTLED = 1000;

/** Milliseconds from the making of a blob to its last byte. A blob that took longer is read once too often. */
const WRITING = 500;

/** Milliseconds by which a blob may seem to be older than its reception: that is told once it was parsed. */
const PARSING = 60_000;

/** Blobs of which is remembered what reading them has shown: some 10 MB. */
const REMEMBERED = 50_000;

/** What reading a blob has shown, when it was last touched at `changed`. */
interface Verdict {
  readonly changed: number;
  readonly intact: Promise<boolean>;
}

type Source = Pick<Storage, 'state' | 'stream'>;

/** By storage, so that no other one's blobs are meant; then by UUID, the one that was read longest ago first. */
const verdicts = new WeakMap<Source, Map<string, Verdict>>();

async function hasMD5(storage: Source, uuid: string, md5: string): Promise<boolean> {
  const hash = createHash('md5');
  for await (const chunk of await storage.stream(uuid)) hash.update(chunk);
  return hash.digest('hex') === md5;
}

/**
 * Whether the blob has the size and the bytes that were stored. `received`: when that was, in milliseconds since the epoch; NaN where
 * it is not known. Without an MD5 (`StoreMD5ForAttachments`) the size alone tells. Throws InexistentFile.
 */
export async function isIntact(
  storage: Source,
  { uuid, compressedSize, compressedMD5 }: Omit<StoredContent, 'compression'>,
  received: number,
): Promise<boolean> {
  const { size, changed, born = changed, md5, untouched } = await storage.state(uuid);
  if (size !== compressedSize) return false;
  if (compressedMD5 === '' || md5 === compressedMD5) return true;
  if (untouched ?? (changed <= received + SETTLED && changed >= received - PARSING && changed - born <= WRITING))
    return true;
  let known = verdicts.get(storage);
  if (known === undefined) {
    known = new Map();
    verdicts.set(storage, known);
  }
  const before = known.get(uuid);
  if (before?.changed === changed) return before.intact;
  const intact = hasMD5(storage, uuid, compressedMD5);
  const verdict = { changed, intact };
  known.delete(uuid);
  known.set(uuid, verdict);
  const [oldest] = known.keys();
  if (known.size > REMEMBERED && oldest !== undefined) known.delete(oldest);
  intact.catch(() => {
    // Nothing was shown.
    if (known.get(uuid) === verdict) known.delete(uuid);
  });
  return intact;
}

/** Throws CorruptedFile where {@link isIntact} is false, InexistentFile. */
export async function checkIntact(storage: Source, content: StoredContent, received: number): Promise<void> {
  if (!(await isIntact(storage, content, received)))
    throw new IsenError('CorruptedFile', `the stored file ${content.uuid} is not the one that was stored`);
}

/**
 * What was read beside the proof that it is what was stored. Throws what either does, when both have ended: until then the system may write
 * to the memory that is read into.
 */
export async function proven<Read>(reading: Promise<Read>, proof: Promise<void>): Promise<Read> {
  const [read, proved] = await Promise.allSettled([reading, proof]);
  if (proved.status === 'rejected') throw asError(proved.reason);
  if (read.status === 'rejected') throw asError(read.reason);
  return read.value;
}
