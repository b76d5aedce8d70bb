/**
 * Owns how readers learn of commits: a count in memory that the thread that writes shares with them. SQLite would tell as well
 * (`PRAGMA data_version`), for two locks of the file each time.
 */

/**
 * Whether a commit is under way and how many have ended; how many began to be readable, how many surely are, and how many are durable;
 * whether a sync of the log has failed. Numbers wrap.
 */
export type Commits = Int32Array<SharedArrayBuffer>;

const UNDER_WAY = 0;
const ENDED = 1;
const BEGUN = 2;
const READABLE = 3;
const DURABLE = 4;
const DOUBTFUL = 5;

export function newCommits(): Commits {
  return new Int32Array(new SharedArrayBuffer(6 * Int32Array.BYTES_PER_ELEMENT));
}

/** Counts what `commit` does. Of a thread that dies in it nobody knows what it has done: it is under way until the next one has ended. */
export function counted(commits: Commits, commit: () => void): void {
  Atomics.store(commits, UNDER_WAY, 1);
  try {
    commit();
  } finally {
    Atomics.add(commits, ENDED, 1);
    Atomics.store(commits, UNDER_WAY, 0);
  }
}

/** How many commits have ended; undefined while one is under way: some may read what it wrote, and others what was before. */
export function countOf(commits: Commits): number | undefined {
  return Atomics.load(commits, UNDER_WAY) === 1 ? undefined : Atomics.load(commits, ENDED);
}

/** Counts a commit that others can read from now on, or soon: before it is made. Each is followed by {@link countReadable}. */
export function countBegun(commits: Commits): void {
  Atomics.add(commits, BEGUN, 1);
}

/** Counts one that was made, or has failed. */
export function countReadable(commits: Commits): void {
  Atomics.add(commits, READABLE, 1);
}

/** How many commits a sync of the log that begins now makes durable at least. */
export const readableOf = (commits: Commits): number => Atomics.load(commits, READABLE);

/** Tells that they are, by what {@link readableOf} was before the sync began. */
export function tellDurable(commits: Commits, readable: number): void {
  if (((readable - Atomics.load(commits, DURABLE)) | 0) > 0) Atomics.store(commits, DURABLE, readable);
}

/** Whether everything that can be read by now is durable. */
export const areDurable = (commits: Commits): boolean =>
  Atomics.load(commits, BEGUN) === Atomics.load(commits, DURABLE);

/** A sync has failed: what the system took for written may be lost, and with it all that would come behind. No thread may forget it. */
export function distrust(commits: Commits): void {
  Atomics.store(commits, DOUBTFUL, 1);
}

/** Everything that was in doubt is durable. */
export function trust(commits: Commits): void {
  Atomics.store(commits, DOUBTFUL, 0);
}

export const isDoubtful = (commits: Commits): boolean => Atomics.load(commits, DOUBTFUL) === 1;
