/** Owns file systems that are mounted for a test, where the machine lets. */

import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { temporaryFolder } from '../peer.ts';

/** A folder on which something is mounted until the end of the test that asks, by options of mount(8); undefined where that is not allowed. */
export function mounted(...options: readonly string[]): string | undefined {
  const folder = join(temporaryFolder(), 'mounted');
  mkdirSync(folder);
  if (spawnSync('mount', [...options, folder]).status !== 0) return undefined;
  // What is open there still goes with the process.
  after(() => spawnSync('umount', ['--lazy', folder]));
  return folder;
}
