/** Owns what follows from one attempt at sending something: done, once more and when, or a case for people. */

import { IsenError } from '../errors.ts';
import type { Sending } from '../scu/modality.ts';
import type { Outcome } from './line.ts';
import type { Order } from './order.ts';
import type { Entry, Settlement } from './queue.ts';

/** How a queue is treated whose destination is gone. */
export const UNKNOWN_SENDING: Sending = {
  maximumAssociations: 1,
  maximumRetries: 0,
  retryDelay: 0,
  retryDelayMultiplier: 1,
  maximumRetryDelay: 0,
  retryOnWarning: false,
  rateLimit: 0,
  schedule: [],
};

/** Milliseconds before the next attempt after `tries` failed ones. */
export function retryDelay(sending: Sending, tries: number): number {
  const { retryDelay: first, retryDelayMultiplier, maximumRetryDelay } = sending;
  return 1000 * Math.min(maximumRetryDelay, first * retryDelayMultiplier ** Math.max(0, tries - 1));
}

/** What becomes of an entry whose attempt failed: once more while it may, else it stays for people. */
export function afterFailure(
  entry: Entry,
  order: Order,
  sending: Sending,
  { code, details, message }: IsenError,
  final: boolean,
): Settlement {
  const tries = (order.tries ?? 0) + 1;
  const { queue, id } = entry;
  const value: Order = { ...order, tries, failure: { code, details } };
  const common = { queue, id, reason: details ?? message, value, from: ['active'] as const };
  if (final || order.once === true || tries > sending.maximumRetries) return { ...common, state: 'failed' };
  return { ...common, state: 'retrying', due: Date.now() + retryDelay(sending, tries) };
}

/** What becomes of an entry whose instance (or change) was sent, or could not be. */
export function afterSending(entry: Entry, order: Order, sending: Sending, outcome: Outcome): Settlement {
  const { queue, id, group } = entry;
  const { status, error, final, reason } = outcome;
  if (error !== undefined) return afterFailure(entry, order, sending, error, final);
  if (status === 'warning' && sending.retryOnWarning) {
    return afterFailure(entry, order, sending, new IsenError('NetworkProtocol', reason), false);
  }
  const kept = group !== '' || order.remembered === true;
  return { queue, id, state: kept ? 'done' : 'removed', reason: reason, from: ['active'] };
}
