/** Owns which SOP classes are stored by C-STORE (PS3.4 §B.5, §GG, with the retired, draft, DICOS and DICONDE ones). */

import { UIDS } from './uids.generated.ts';

/** UIDs of the storage SOP classes. */
export const STORAGE_CLASSES: ReadonlySet<string> = new Set(
  UIDS.trim()
    .split('\n')
    .map((row) => row.split(' '))
    .filter(([, name = '']) => /Storage(ForPresentation|ForProcessing)?$/.test(name))
    // Of media, not of a network.
    .filter(([, name = '']) => name !== 'MediaStorageDirectoryStorage')
    .map(([uid = '']) => uid),
);
