/** Owns making all of a file system durable at once, where the system does it in earnest and tells when it failed. */

import { closeSync, constants, openSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { IsenError } from '../errors.ts';
import { libc } from '../libc.ts';

/** Linux before this one kept to itself that writing a page had failed. */
const LEAST_LINUX = [5, 8] as const;

/**
 * Local file systems by their numbers of statfs(2): ext2 to 4, XFS, btrfs, F2FS, ZFS, bcachefs, overlay, tmpfs. Those of a network, or of a
 * program, write a file when it is closed, or need not have theirs written when syncfs(2) is over.
 */
const KNOWN = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0xca451a4e, 0x794c7630, 0x01021994]);

/** The whole of a file system. */
export interface WholeSync {
  /** What was written before is durable. A failure is told once: by the first call after it, whatever it befell. */
  sync(): Promise<void>;
  close(): void;
}

function tellsOfFailures(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > LEAST_LINUX[0] || (major === LEAST_LINUX[0] && minor >= LEAST_LINUX[1]);
}

/** The file system of the folder at `path`; undefined where nothing could be built on its sync. */
export function wholeSync(path: string): WholeSync | undefined {
  if (!tellsOfFailures() || !KNOWN.has(statfsSync(path).type)) return undefined;
  const syncfs = libc('int syncfs(int)', 'a journal of small files');
  if (syncfs === undefined) return undefined;
  // The same for good: a descriptor opened later would not hear of a failure that somebody else was told.
  const fd = openSync(path, constants.O_RDONLY);
  return {
    sync: () =>
      new Promise((resolve, reject) => {
        syncfs.async(fd, (error, result) => {
          if (error === null && result === 0) resolve();
          else reject(new IsenError('CannotWriteFile', `syncing the file system of ${path} failed`, { cause: error }));
        });
      }),
    close: () => closeSync(fd),
  };
}
