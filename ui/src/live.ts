/**
 * Owns the one connection over which the server says what changes, shared by every page of this tab. While the tab is hidden it is
 * closed; where events cannot be had (a proxy that buffers them), the log is asked every few seconds instead.
 */

import { signal } from '@preact/signals';
import { get, url } from './api.ts';

/** One row of the log of changes. */
export interface Change {
  readonly ChangeType: string;
  readonly Date: string;
  readonly ID: string;
  readonly Path: string;
  readonly ResourceType: 'Patient' | 'Study' | 'Series' | 'Instance';
  readonly Seq: number;
}

/** A page of the log. */
export interface ChangePage {
  readonly Changes: readonly Change[];
  readonly Done: boolean;
  readonly Last: number;
}

type Listener = (change: Change) => void;

/** How changes come in just now. */
export const liveState = signal<'off' | 'live' | 'polling'>('off');

/** Milliseconds between looks at the log where there are no events, and until events are tried again. */
const POLL = 3000;
const RETRY = 60_000;
/** Events that did not come this often are given up. */
const MOST_FAILURES = 3;
/** Rows of the log asked for at once. */
const PAGE = 1000;

const listeners = new Set<Listener>();
let events: EventSource | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let failures = 0;
/** The last Seq that was seen; undefined before the first connection. */
let last: number | undefined;

function announce(change: Change): void {
  last = Math.max(last ?? 0, change.Seq);
  for (const listener of listeners) listener(change);
}

function stop(): void {
  events?.close();
  events = undefined;
  clearTimeout(timer);
  liveState.value = 'off';
}

async function poll(until: number): Promise<void> {
  try {
    last ??= (await get<ChangePage>('changes', { query: { last: true } })).Last;
    const page = await get<ChangePage>('changes', { query: { since: last, limit: PAGE } });
    for (const change of page.Changes) announce(change);
    last = Math.max(last, page.Last);
    liveState.value = 'polling';
  } catch {
    liveState.value = 'off';
  }
  if (listeners.size === 0 || document.hidden) return stop();
  timer = setTimeout(() => {
    if (performance.now() > until) start();
    else void poll(until);
  }, POLL);
}

function start(): void {
  clearTimeout(timer);
  if (listeners.size === 0 || document.hidden) return stop();
  events?.close();
  const source = new EventSource(`${url('changes')}${last === undefined ? '' : `?since=${last}`}`);
  events = source;
  source.addEventListener('open', () => {
    failures = 0;
    liveState.value = 'live';
  });
  source.addEventListener('message', (event: MessageEvent<string>) => announce(JSON.parse(event.data) as Change));
  source.addEventListener('error', () => {
    liveState.value = 'off';
    failures += 1;
    if (source.readyState !== EventSource.CLOSED && failures < MOST_FAILURES) return;
    source.close();
    void poll(performance.now() + RETRY);
  });
}

document.addEventListener('visibilitychange', () => (document.hidden ? stop() : start()));

/** Calls `listener` for every change from now on; what is returned ends that. */
export function onChange(listener: Listener): () => void {
  listeners.add(listener);
  if (listeners.size === 1) start();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) stop();
  };
}
