/** Owns how a queue's state is put into a word, and its numbers into text. */

import type { QueueStatus } from '../api/destinations.ts';
import { duration } from '../format.ts';
import { t } from '../texts.ts';

/** In which state a queue is, for people, and how loud that is. */
export interface QueueState {
  readonly key: keyof typeof t.queues.states;
  readonly badge: '' | 'good' | 'warn' | 'bad';
}

/** What is still to be sent. */
export const openOf = ({ Waiting, Active, Retrying, Held }: QueueStatus): number => Waiting + Active + Retrying + Held;

/** The state: what asks for people comes first. */
export function stateOf(queue: QueueStatus): QueueState {
  if (queue.Paused) return { key: 'paused', badge: 'warn' };
  if (queue.LastError !== '' && queue.Retrying + queue.Waiting > 0) return { key: 'failing', badge: 'bad' };
  if (queue.Active > 0 || queue.Rate > 0) return { key: 'sending', badge: 'good' };
  if (queue.Retrying > 0) return { key: 'failing', badge: 'bad' };
  if (queue.Failed > 0) return { key: 'failed', badge: 'bad' };
  if (openOf(queue) > 0) return { key: 'waiting', badge: 'warn' };
  return { key: 'idle', badge: '' };
}

/** How long until a time, in words. */
export function until(time: string | null): string {
  if (time === null) return t.common.none;
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  return seconds < 1 ? t.queues.now : t.queues.inSeconds(duration(seconds));
}

/** How long ago a time was (`2026-11-29T03:00:28.522Z`), in words. */
export function since(time: string): string {
  return duration((Date.now() - Date.parse(time)) / 1000);
}
