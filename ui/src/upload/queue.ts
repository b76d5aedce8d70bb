/**
 * Owns the upload of this tab: what waits, what is under way, what became of it. It goes on whatever page is shown; a few files at a time,
 * slower when the server says so, and it stops by itself where going on would not help.
 */

import { signal } from '@preact/signals';
import { loginWanted, messageOf } from '../api.ts';
import { keepDocument } from '../router.ts';
import { t } from '../texts.ts';
import { kindOf, type Outcome, send } from './sending.ts';
import type { Found, Source } from './sources.ts';

/** Files under way at once: a browser opens six connections to a server, and the pages need some. */
const WIDTH = 4;
/** Bytes from which a file under way is broken off by a pause, to begin again; smaller ones are soon done. */
const LARGE = 8 << 20;
/** Names that are kept of files that failed (then it pauses) and of those that are no DICOM. */
const MOST_FAILED = 1000;
export const MOST_NAMED = 500;
/** Times in a row that nothing answered until it pauses, and the longest wait in between, in seconds. */
const MOST_LOST = 6;
const LONGEST_WAIT = 15;
/** Milliseconds between two publications of the state, and over how long the rate is taken. */
const TICK = 200;
const WINDOW = 10_000;

/** A file that could not be sent, and why. */
export interface Failure {
  readonly path: string;
  readonly reason: string;
  /** Absent where it could not even be read. */
  readonly found?: Found;
}

/** What became of the instances of one study. */
export interface StudyCount {
  readonly stored: number;
  readonly already: number;
}

/** The upload as it stands. */
export interface Upload {
  readonly state: 'running' | 'paused' | 'ended';
  /** Whether it was called off before everything was sent. */
  readonly cancelled: boolean;
  /** Why it paused by itself. */
  readonly reason: string | undefined;
  /** When a busy server is asked again (as `Date.now()`). */
  readonly busyUntil: number | undefined;
  /** Files that were found so far, and whether folders are still being looked through. */
  readonly found: number;
  readonly looking: boolean;
  /** Files that are settled, one way or another. */
  readonly settled: number;
  readonly bytes: number;
  /** From 0 to 1, with what is under way. */
  readonly progress: number;
  /** In the last seconds: files and bytes a second. */
  readonly rate: number;
  readonly byteRate: number;
  /** Seconds that are left; undefined where that cannot be told. */
  readonly left: number | undefined;
  /** Seconds that it has run. */
  readonly seconds: number;
  readonly underWay: readonly { readonly path: string; readonly part: number }[];
  readonly stored: number;
  readonly already: number;
  readonly filtered: number;
  readonly notDicom: number;
  readonly notDicomNames: readonly string[];
  readonly failures: readonly Failure[];
  readonly studies: ReadonlyMap<string, StudyCount>;
}

/** The upload; undefined before the first. */
export const upload = signal<Upload | undefined>(undefined);

interface Running {
  readonly found: Found;
  readonly stop: AbortController;
  sent: number;
}

const fresh = () => ({
  found: 0,
  settled: 0,
  bytes: 0,
  stored: 0,
  already: 0,
  filtered: 0,
  notDicom: 0,
  notDicomNames: [] as string[],
  failures: [] as Failure[],
  studies: new Map<string, StudyCount>(),
  milliseconds: 0,
});

let tally = fresh();
let sources: Source[] = [];
let files: AsyncGenerator<Found | { readonly path: string; readonly error: unknown }> | undefined;
let again: Found[] = [];
let ending = new AbortController();
let counting = 0;
let workers = 0;
let paused: { readonly reason: string | undefined } | undefined;
let busyUntil = 0;
let lost = 0;
let samples: { readonly at: number; readonly part: number; readonly settled: number; readonly bytes: number }[] = [];
let ticking: ReturnType<typeof setInterval> | undefined;
let ticked = 0;
const running = new Set<Running>();
const wakers = new Set<() => void>();

function publish(): void {
  const now = performance.now();
  const isEnded = workers === 0 && counting === 0 && paused === undefined;
  if (!isEnded && paused === undefined) tally.milliseconds += now - ticked;
  ticked = now;
  const underWay = [...running].map(({ found, sent }) => ({
    path: found.path,
    part: found.file.size === 0 ? 0 : Math.min(1, sent / found.file.size),
  }));
  const part = tally.settled + underWay.reduce((sum, each) => sum + each.part, 0);
  const bytes = tally.bytes + [...running].reduce((sum, { sent }) => sum + sent, 0);
  samples.push({ at: now, part, settled: tally.settled, bytes });
  samples = samples.filter(({ at }) => at >= now - WINDOW);
  const [first] = samples;
  const seconds = first === undefined ? 0 : (now - first.at) / 1000;
  const rateOf = (value: number, before: number | undefined): number =>
    seconds < 0.5 || before === undefined ? 0 : Math.max(0, value - before) / seconds;
  const pace = rateOf(part, first?.part);
  const { milliseconds, ...counts } = tally;
  upload.value = {
    ...counts,
    notDicomNames: [...tally.notDicomNames],
    failures: [...tally.failures],
    studies: new Map(tally.studies),
    state: isEnded ? 'ended' : paused === undefined ? 'running' : 'paused',
    cancelled: ending.signal.aborted,
    reason: paused?.reason,
    busyUntil: busyUntil > Date.now() ? busyUntil : undefined,
    looking: counting > 0,
    bytes,
    progress: tally.found === 0 ? 0 : Math.min(1, part / tally.found),
    rate: rateOf(tally.settled, first?.settled),
    byteRate: rateOf(bytes, first?.bytes),
    left: counting > 0 || pace === 0 ? undefined : (tally.found - part) / pace,
    seconds: milliseconds / 1000,
    underWay,
  };
  keepDocument.value = !isEnded;
  if (isEnded || (paused !== undefined && running.size === 0)) {
    clearInterval(ticking);
    ticking = undefined;
    samples = [];
  }
}

function wake(): void {
  for (const each of wakers) each();
  wakers.clear();
}

/** Waits until it may go on: not paused, and the server not busy. */
async function turn(): Promise<void> {
  while (!ending.signal.aborted && (paused !== undefined || busyUntil > Date.now())) {
    await new Promise<void>((resolve) => {
      const timer = paused === undefined ? setTimeout(resolve, Math.max(0, busyUntil - Date.now())) : undefined;
      wakers.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function fail(failure: Failure): void {
  tally.failures.push(failure);
  tally.settled += 1;
  if (tally.failures.length >= MOST_FAILED) pause(t.upload.tooManyFailures(MOST_FAILED));
}

async function nextFile(): Promise<Found | undefined> {
  for (;;) {
    const waiting = again.shift();
    if (waiting !== undefined) return waiting;
    files ??= sources.shift()?.files(ending.signal);
    if (files === undefined || ending.signal.aborted) return undefined;
    const from = files;
    const next = await from.next();
    if (next.done === true) {
      // Others may have gone on to the next source meanwhile.
      if (files === from) files = undefined;
    } else if ('error' in next.value) {
      fail({ path: next.value.path, reason: t.upload.unreadable(messageOf(next.value.error)) });
    } else return next.value;
  }
}

/** Whether a file can still be read: one that was moved away looks like a server that does not answer. */
async function isReadable(file: File): Promise<boolean> {
  return file
    .slice(-1)
    .arrayBuffer()
    .then(
      () => true,
      () => false,
    );
}

function take(found: Found, outcome: Outcome & { kind: 'taken' }): void {
  tally.settled += 1;
  tally.bytes += found.file.size;
  for (const { ParentStudy, Status } of outcome.answers) {
    if (Status === 'FilteredOut') {
      tally.filtered += 1;
      continue;
    }
    const before = tally.studies.get(ParentStudy) ?? { stored: 0, already: 0 };
    const isNew = Status === 'Success';
    if (isNew) tally.stored += 1;
    else tally.already += 1;
    tally.studies.set(ParentStudy, {
      stored: before.stored + (isNew ? 1 : 0),
      already: before.already + (isNew ? 0 : 1),
    });
  }
  if (outcome.answers.length === 0) refuse(found.path);
}

function refuse(path: string): void {
  tally.notDicom += 1;
  if (tally.notDicomNames.length < MOST_NAMED) tally.notDicomNames.push(path);
}

async function settle(found: Found, outcome: Outcome): Promise<void> {
  if (outcome.kind !== 'lost') lost = 0;
  switch (outcome.kind) {
    case 'taken':
      take(found, outcome);
      return;
    case 'not-dicom':
      tally.settled += 1;
      refuse(found.path);
      return;
    case 'failed':
      fail({ path: found.path, reason: outcome.reason, found });
      return;
    case 'busy':
      again.push(found);
      busyUntil = Math.max(busyUntil, Date.now() + outcome.seconds * 1000);
      return;
    case 'stopped':
      again.push(found);
      if (outcome.status === 401) loginWanted.value = true;
      pause(t.errors.advice(outcome.status, ''));
      return;
    case 'lost':
      if (!(await isReadable(found.file))) {
        fail({ path: found.path, reason: t.upload.unreadable('') });
        return;
      }
      again.push(found);
      lost += 1;
      if (lost >= MOST_LOST) pause(t.errors.advice(0, ''));
      else busyUntil = Math.max(busyUntil, Date.now() + Math.min(LONGEST_WAIT, 2 ** lost) * 1000);
      return;
    case 'aborted':
      if (!ending.signal.aborted) again.push(found);
  }
}

async function one(found: Found): Promise<void> {
  const each: Running = { found, stop: new AbortController(), sent: 0 };
  running.add(each);
  try {
    const kind = await kindOf(found.file);
    const progress = (bytes: number): void => {
      each.sent = Math.min(bytes, found.file.size);
    };
    const outcome: Outcome =
      kind === 'other'
        ? { kind: 'not-dicom' }
        : await send(found.file, kind, progress, AbortSignal.any([each.stop.signal, ending.signal]));
    running.delete(each);
    await settle(found, outcome);
  } catch (error) {
    fail({ path: found.path, reason: t.upload.unreadable(messageOf(error)) });
  } finally {
    running.delete(each);
  }
}

async function work(): Promise<void> {
  workers += 1;
  try {
    for (;;) {
      await turn();
      const next = await nextFile();
      if (next === undefined) return;
      await turn();
      if (ending.signal.aborted) return;
      await one(next);
    }
  } finally {
    workers -= 1;
    if (workers === 0) publish();
  }
}

function go(): void {
  ticked = performance.now();
  ticking ??= setInterval(publish, TICK);
  wake();
  for (let width = workers; width < WIDTH; width++) void work();
  publish();
}

/** Adds what was dropped or chosen, and begins. One that has ended begins anew. */
export function addUpload(source: Source): void {
  if (upload.value === undefined || upload.value.state === 'ended') {
    tally = fresh();
    ending = new AbortController();
    again = [];
    lost = 0;
  }
  sources.push(source);
  counting += 1;
  const { signal: left } = ending;
  const mine = tally;
  const count = source.count((more) => {
    mine.found += more;
  }, left);
  void count.finally(() => {
    counting -= 1;
    if (workers === 0) publish();
  });
  go();
}

/** Takes no more files until it is resumed; what is under way and small is ended. */
export function pause(reason?: string): void {
  paused = { reason };
  for (const { found, stop } of running) if (found.file.size > LARGE) stop.abort();
  publish();
}

/** Goes on. */
export function resume(): void {
  paused = undefined;
  busyUntil = 0;
  lost = 0;
  go();
}

/** Leaves what is not sent yet. */
export function cancel(): void {
  ending.abort();
  paused = undefined;
  busyUntil = 0;
  sources = [];
  files = undefined;
  again = [];
  wake();
  publish();
}

/** Sends what failed once more. */
export function retryFailed(): void {
  const retried = tally.failures.filter(({ found }) => found !== undefined);
  tally.failures = tally.failures.filter(({ found }) => found === undefined);
  tally.settled -= retried.length;
  again.push(...retried.map(({ found }) => found).filter((found) => found !== undefined));
  if (ending.signal.aborted) ending = new AbortController();
  resume();
}

addEventListener('beforeunload', (event) => {
  if (upload.value !== undefined && upload.value.state !== 'ended') event.preventDefault();
});
