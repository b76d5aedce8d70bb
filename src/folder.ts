/** Owns the making of the folders that the configuration names. */

import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder and those above it, unless there. Throws the error of the system. (The recursive way of Node never ends
 * where a parent exists and yet says ENOENT, as /proc does.)
 */
export function makeFolder(path: string): void {
  if (isFolder(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    mkdirSync(path);
  } catch (thrown) {
    // Another process may have been faster.
    if (!isFolder(path)) throw thrown;
  }
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
