/** Owns what a failed commit says about what it would have committed. */

import { IsenError } from '../errors.ts';

/**
 * Whether a failed commit may turn out durable after all, when it was cut between its last write and its answer: the blob then
 * stays provisional, and the next start keeps or removes it by what the index says. One that found the disk full never wrote its end.
 */
export function isOutcomeUnknown(thrown: unknown): boolean {
  return thrown instanceof IsenError && (thrown.code === 'Database' || thrown.code === 'DatabaseUnavailable');
}
