/** Owns the conditions on which metadata and attachments change: two clients must not overwrite each other unseen. */

import { createHash } from 'node:crypto';
import type { Expected } from './database.ts';

/** What is there now. */
export interface Current {
  readonly revision: number;
  /** Lower-case hex; '' where it is not known, which agrees with any. */
  readonly md5: string;
}

/** MD5 of a metadata, as an entity tag says it. */
export const valueMd5 = (value: string): string => createHash('md5').update(value).digest('hex');

/** Whether a change is refused: something is there, and it is not what the change expects. */
export function isRefused(expected: Expected | undefined, current: Current | undefined): boolean {
  if (expected === undefined || current === undefined) return false;
  if (expected === 'nothing') return true;
  const { revision, md5 = '' } = expected;
  return revision !== current.revision || (md5 !== '' && current.md5 !== '' && md5 !== current.md5);
}
