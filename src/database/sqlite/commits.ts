/**
 * Owns how readers learn of commits: a count in memory that the thread that writes shares with them. SQLite would tell as well
 * (`PRAGMA data_version`), for two locks of the file each time.
 */

/** Whether a commit is under way, how many have ended, how many were begun without a sync of the log, and whether
 * a sync has failed. */
export type Commits = Int32Array<SharedArrayBuffer>;

const UNDER_WAY = 0;
const ENDED = 1;
const UNSYNCED = 2;
const DOUBTFUL = 3;

export function newCommits(): Commits {
  return new Int32Array(new SharedArrayBuffer(4 * Int32Array.BYTES_PER_ELEMENT));
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

/** Counts a commit that is about to be made without a sync of the log. */
export function countUnsynced(commits: Commits): void {
  Atomics.add(commits, UNSYNCED, 1);
}

/** How many were counted: what can be read of them may not be durable until a sync that begins now has ended. */
export const unsyncedOf = (commits: Commits): number => Atomics.load(commits, UNSYNCED);

/** A sync has failed: what the system took for written may be lost, and with it all that would come behind. No thread may forget it. */
export function distrust(commits: Commits): void {
  Atomics.store(commits, DOUBTFUL, 1);
}

/** Everything that was in doubt is durable. */
export function trust(commits: Commits): void {
  Atomics.store(commits, DOUBTFUL, 0);
}

export const isDoubtful = (commits: Commits): boolean => Atomics.load(commits, DOUBTFUL) === 1;
