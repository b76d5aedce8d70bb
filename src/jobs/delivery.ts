/** Owns what follows from one attempt at sending an instance: done, once more and when, or a case for people. */

import type { Sending } from '../scu/modality.ts';
import { isFinal, type Sent } from '../scu/send.ts';
import type { Order } from './order.ts';
import type { Entry, Settlement } from './queue.ts';

/** Errors of our own side that pass by themselves; any other says something about the instance. */
const PASSING: ReadonlySet<string> = new Set(['Busy', 'Timeout', 'DatabaseUnavailable', 'NetworkProtocol']);

/** Milliseconds before the next attempt after `tries` failed ones. */
export function retryDelay(sending: Sending, tries: number): number {
  const { retryDelay: first, retryDelayMultiplier, maximumRetryDelay } = sending;
  return 1000 * Math.min(maximumRetryDelay, first * retryDelayMultiplier ** Math.max(0, tries - 1));
}

/** What becomes of an entry whose attempt failed: once more while it may, else it stays for people. */
export function afterFailure(entry: Entry, order: Order, sending: Sending, reason: string, final: boolean): Settlement {
  const tries = (order.tries ?? 0) + 1;
  const { queue, id } = entry;
  const value: Order = { ...order, tries };
  if (final || order.once === true || tries > sending.maximumRetries) {
    return { queue, id, state: 'failed', reason, value, from: ['active'] };
  }
  return {
    queue,
    id,
    state: 'retrying',
    due: Date.now() + retryDelay(sending, tries),
    reason,
    value,
    from: ['active'],
  };
}

/** What becomes of an entry whose instance was sent, or could not be. */
export function afterSending(entry: Entry, order: Order, sending: Sending, sent: Sent): Settlement {
  const { queue, id, group } = entry;
  if (sent.status === 'failure') {
    // A context that the peer refused it will refuse again.
    const final = sent.dimseStatus !== undefined ? isFinal(sent.dimseStatus) : isLasting(sent);
    return afterFailure(entry, order, sending, sent.reason, final);
  }
  if (sent.status === 'warning' && sending.retryOnWarning) {
    return afterFailure(entry, order, sending, sent.reason, false);
  }
  const kept = group !== '' || order.remembered === true;
  return { queue, id, state: kept ? 'done' : 'removed', reason: sent.reason, from: ['active'] };
}

function isLasting({ error }: Sent): boolean {
  if (error?.code === 'NetworkProtocol') return true;
  return error === undefined || !PASSING.has(error.code);
}
