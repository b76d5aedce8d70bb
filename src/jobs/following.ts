/**
 * Owns the jobs that follow: whenever entries of their group move, what has become of them is counted again, so that a crash
 * in between loses nothing. Done entries leave their queues into the count of their job in one step.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { asError, isAway } from '../errors.ts';
import { log } from '../log.ts';
import { JOBS, preciseNow, type StoredJob, storedJob } from './job.ts';
import type { FollowingKind, Tally } from './kinds.ts';
import { alone } from './lease.ts';
import type { Count, Entry, EntryState, Queue, Settlement } from './queue.ts';

/** Entries that are moved together. */
const PAGE = 500;

/** Jobs that are looked at together. */
const JOBS_TOGETHER = 64;

/** Milliseconds after which jobs that could not be looked at are looked at again. */
const RETRY = 1000;

/** The queues that hold entries in one of the states. */
const queuesOf = (counts: readonly Count[], ...states: readonly EntryState[]): readonly string[] => [
  ...new Set(counts.filter(({ state }) => states.includes(state)).map(({ queue }) => queue)),
];

export class Followings {
  readonly #queue: Queue;
  readonly #kindOf: (type: string) => FollowingKind | undefined;
  /** Groups whose entries moved, to be looked at. */
  readonly #moved = new Set<string>();
  /** What looks at or acts on jobs does so one after the other: each reads, then settles. */
  #turn: Promise<unknown> = Promise.resolve();
  #looking = false;
  #closed = false;

  constructor(queue: Queue, kindOf: (type: string) => FollowingKind | undefined) {
    this.#queue = queue;
    this.#kindOf = kindOf;
  }

  /** Entries of a group moved. */
  moved(group: string): void {
    if (this.#closed) return;
    this.#moved.add(group);
    if (this.#looking) return;
    this.#looking = true;
    this.#lookAtMoved()
      .catch(async (thrown: unknown) => {
        log.jobs[isAway(thrown) ? 'debug' : 'error']({ err: asError(thrown) }, 'jobs are followed again later');
        await sleep(RETRY);
      })
      .finally(() => {
        this.#looking = false;
        const [next] = this.#moved;
        if (next !== undefined) this.moved(next);
      });
  }

  async #lookAtMoved(): Promise<void> {
    await this.alone(async () => {
      while (this.#moved.size > 0) {
        const some = [...this.#moved].slice(0, JOBS_TOGETHER);
        for (const each of some) this.#moved.delete(each);
        try {
          await this.#look(some);
        } catch (thrown) {
          for (const each of some) this.#moved.add(each);
          throw thrown;
        }
      }
    });
  }

  /** Does `work` while nothing else, on any node, looks at or acts on jobs that follow. Throws Busy after half a minute. */
  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#turn.then(async () => alone(this.#queue, 'followings', work));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Moves every entry of a group that is in one of the states. */
  async move(
    group: string,
    from: readonly EntryState[],
    settlement: Pick<Settlement, 'state' | 'due' | 'reason'>,
  ): Promise<void> {
    for (const queue of queuesOf(await this.#queue.count({ group }), ...from)) {
      for (;;) {
        const entries = await this.#queue.list({ queue, group, states: from, limit: PAGE });
        if (entries.length === 0) break;
        await this.#queue.settle(entries.map(({ id }) => ({ queue, id, from, ...settlement })));
      }
    }
  }

  /** What is durable stays; the next start looks again. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#moved.clear();
    await this.#turn;
  }

  async #look(groups: readonly string[]): Promise<void> {
    const settlements: Settlement[] = [];
    for (const group of groups) {
      const [entry] = await this.#queue.list({ queue: JOBS, id: group, limit: 1 });
      const counts = await this.#queue.count({ group });
      const done = await this.#done(group, counts);
      if (entry === undefined) {
        // Its job is gone from the history, and nobody else waits for it.
        settlements.push(...done);
        if (done.length === PAGE) this.#moved.add(group);
        continue;
      }
      const job = await this.#counted(entry, counts, done.length);
      if (job === undefined || (done.length === 0 && isSame(entry, job))) continue;
      settlements.push(...done, { queue: JOBS, id: group, ...job });
      if (done.length === PAGE) this.#moved.add(group);
    }
    await this.#queue.settle(settlements);
  }

  /** The removal of some entries that succeeded. */
  async #done(group: string, counts: readonly Count[]): Promise<Settlement[]> {
    const settlements: Settlement[] = [];
    for (const queue of queuesOf(counts, 'done')) {
      const limit = PAGE - settlements.length;
      const entries = await this.#queue.list({ queue, group, states: ['done'], limit });
      for (const { id } of entries) settlements.push({ queue, id, state: 'removed' });
    }
    return settlements;
  }

  /** What a job becomes by its entries, `leaving` of them going over into its own count; undefined while it cannot be said. */
  async #counted(
    entry: Entry,
    counts: readonly Count[],
    leaving: number,
  ): Promise<Pick<Settlement, 'state' | 'value'> | undefined> {
    const job = storedJob(entry);
    const { following } = job;
    const kind = this.#kindOf(job.type);
    if (following?.total === undefined || kind === undefined) return undefined;
    const sum = (state: EntryState): number =>
      counts.reduce((all, each) => all + (each.state === state ? each.count : 0), 0);
    const done = following.done + sum('done');
    const under = { waiting: sum('waiting'), active: sum('active'), retrying: sum('retrying'), paused: sum('paused') };
    const open = under.waiting + under.active + under.retrying + under.paused;
    // One that is nowhere was taken out of its queue by somebody.
    const tally: Tally = { ...under, total: following.total, done, failed: following.total - done - open };
    const started = following.started ?? (done + under.active + under.retrying > 0 ? preciseNow() : undefined);
    const { error, completed, ...others } = job;
    const next: StoredJob = {
      ...others,
      ...(error !== undefined && { error }),
      content: kind.follow(job.content, tally),
      progress: tally.total === 0 ? 1 : done / tally.total,
      following: { ...following, done: following.done + leaving, ...(started !== undefined && { started }) },
    };
    if (open > 0) return { state: stateOf(tally), value: next };
    if (tally.failed === 0) return { state: 'done', value: ended(next, completed) };
    // It has failed already, or was cancelled: the first reason stays.
    if (entry.state === 'failed')
      return { state: 'failed', value: { ...next, ...(completed !== undefined && { completed }) } };
    const failure = kind.failure(next.content, await this.#firstFailed(entry.id, counts));
    if (failure === undefined) return { state: 'done', value: ended(next, completed) };
    return { state: 'failed', value: { ...next, error: failure, completed: preciseNow() } };
  }

  async #firstFailed(group: string, counts: readonly Count[]): Promise<Entry | undefined> {
    const [queue] = queuesOf(counts, 'failed');
    if (queue === undefined) return undefined;
    const [first] = await this.#queue.list({ queue, group, states: ['failed'], limit: 1 });
    return first;
  }
}

function isSame(entry: Entry, { state, value }: Pick<Settlement, 'state' | 'value'>): boolean {
  return entry.state === state && JSON.stringify(entry.value) === JSON.stringify(value);
}

/** The state of a job with entries that are not ended. */
function stateOf({ waiting, active, retrying, paused, total, done, failed }: Tally): EntryState {
  if (active > 0) return 'active';
  if (retrying > 0) return 'retrying';
  if (waiting > 0) return waiting === total ? 'waiting' : 'active';
  return paused > 0 && done + failed + paused === total ? 'paused' : 'active';
}

function ended(stored: StoredJob, completed: number | undefined): StoredJob {
  const { error: _, ...job } = stored;
  return { ...job, progress: 1, completed: completed ?? preciseNow() };
}
