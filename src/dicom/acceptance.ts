/** Owns which transfer syntaxes and SOP classes are taken in, by the lists of the configuration. */

import { matchesWildcard } from './match.ts';
import { STORAGE_CLASSES } from './storage-classes.ts';
import { TRANSFER_SYNTAXES, transferSyntax } from './transfer-syntaxes.ts';

/**
 * Whether a transfer syntax is among patterns with `*` and `?` (`AcceptedTransferSyntaxes`). A pattern stands for what the Standard has; a
 * private one must be named.
 */
export function isAcceptedTransferSyntax(accepted: string | readonly string[], uid: string): boolean {
  const patterns = typeof accepted === 'string' ? [accepted] : accepted;
  return (
    patterns.includes(uid) ||
    (transferSyntax(uid) !== undefined && patterns.some((pattern) => matchesWildcard(uid, pattern)))
  );
}

/** Those that are accepted, as far as they can be named, sorted. */
export function acceptedTransferSyntaxes(accepted: string | readonly string[]): readonly string[] {
  return TRANSFER_SYNTAXES.map(({ uid }) => uid)
    .filter((uid) => isAcceptedTransferSyntax(accepted, uid))
    .sort();
}

export interface SopClassLists {
  readonly AcceptedSopClasses: readonly string[];
  readonly RejectedSopClasses: readonly string[];
}

/** Whether a SOP class is accepted: it is listed, or of storage where nothing is, and not rejected. */
export function isAcceptedSopClass({ AcceptedSopClasses, RejectedSopClasses }: SopClassLists, uid: string): boolean {
  if (RejectedSopClasses.includes(uid)) return false;
  return AcceptedSopClasses.length > 0 ? AcceptedSopClasses.includes(uid) : STORAGE_CLASSES.has(uid);
}

/** Those that are accepted, sorted. */
export function acceptedSopClasses(lists: SopClassLists): readonly string[] {
  const candidates = lists.AcceptedSopClasses.length > 0 ? lists.AcceptedSopClasses : [...STORAGE_CLASSES];
  return candidates.filter((uid) => isAcceptedSopClass(lists, uid)).sort();
}
