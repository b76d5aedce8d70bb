/**
 * Owns the jobs that follow: whenever entries of their group move, what has become of them is counted again, so that a crash
 * in between loses nothing. Done entries leave their queues into the count of their job in one step.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { asError, asIsenError, type IsenError, isAway } from '../errors.ts';
import { log } from '../log.ts';
import { JOBS, preciseNow, type StoredJob, storedJob, UNFINISHED } from './job.ts';
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
  /** Jobs that do what their kind does in the end. */
  readonly #ending = new Map<string, Promise<void>>();
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
    await Promise.all(this.#ending.values());
    await this.#turn;
  }

  async #look(groups: readonly string[]): Promise<void> {
    const settlements: Settlement[] = [];
    const jobs: Entry[] = [];
    for (const group of groups) {
      const [entry] = await this.#queue.list({ queue: JOBS, id: group, limit: 1 });
      const counts = await this.#queue.count({ group });
      // What is to be done in the end wants to know all that succeeded.
      const done = entry !== undefined && this.#isEnding(entry) ? [] : await this.#done(group, counts);
      if (entry === undefined) {
        // Its job is gone from the history, and nobody else waits for it.
        settlements.push(...done);
        if (done.length === PAGE) this.#moved.add(group);
        continue;
      }
      const job = await this.#counted(entry, counts, done.length);
      if (job === undefined || (done.length === 0 && isSame(entry, job))) continue;
      jobs.push(entry);
      settlements.push(...done, { queue: JOBS, id: group, ...job });
      if (done.length === PAGE) this.#moved.add(group);
    }
    const settled = await this.#queue.settle(settlements, jobs);
    // Redis may have forgotten that this node looks at them alone: what another one has counted meanwhile must not be counted again.
    if (settled.length === 0 && jobs.length > 0) for (const group of groups) this.#moved.add(group);
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
    // It has failed already, or was cancelled: the first reason stays.
    if (entry.state === 'failed' && (tally.failed > 0 || following.ending === 'failed'))
      return { state: 'failed', value: { ...next, ...(completed !== undefined && { completed }) } };
    const failure =
      tally.failed === 0 ? undefined : kind.failure(next.content, await this.#firstFailed(entry.id, counts));
    if (failure !== undefined) return { state: 'failed', value: { ...next, error: failure, completed: preciseNow() } };
    if (this.#endingOf(entry) === undefined) return { state: 'done', value: ended(next, completed) };
    this.#end(entry.id);
    return { state: 'active', value: next };
  }

  /** Whether a job has something to do in the end that did not succeed yet: it may be resubmitted. */
  #isEnding(entry: Entry): boolean {
    const { type, state, following } = storedJob(entry);
    return following?.ending !== 'done' && this.#kindOf(type)?.ending?.(state) !== undefined;
  }

  /** What a job does in the end, as long as that is not over. */
  #endingOf(entry: Entry): ReturnType<NonNullable<FollowingKind['ending']>> {
    const { type, state, following } = storedJob(entry);
    return following?.ending === undefined ? this.#kindOf(type)?.ending?.(state) : undefined;
  }

  /** Begins what a job does in the end, unless it is under way here or on another node. */
  #end(id: string): void {
    if (this.#closed || this.#ending.has(id)) return;
    const end = this.#ended(id)
      .catch((thrown: unknown) => {
        // It is looked at again.
        log.jobs[isAway(thrown) ? 'debug' : 'error']({ err: asError(thrown) }, `job ${id} does not end yet`);
      })
      .finally(() => this.#ending.delete(id));
    this.#ending.set(id, end);
  }

  async #ended(id: string): Promise<void> {
    const lease = await this.#queue.lease(`ending:${id}`, 1);
    if (lease === undefined) return;
    try {
      const [entry] = await this.#queue.list({ queue: JOBS, id, limit: 1 });
      const ending = entry && this.#endingOf(entry);
      if (entry === undefined || ending === undefined || !UNFINISHED.includes(entry.state)) return;
      let error: IsenError | undefined;
      try {
        await ending(this.#sent(id));
      } catch (thrown) {
        // That says nothing of the job: it is looked at again.
        if (isAway(thrown)) throw thrown;
        error = asIsenError(thrown);
      }
      await this.alone(async () => {
        const [now] = await this.#queue.list({ queue: JOBS, id, limit: 1 });
        if (now === undefined) return;
        const job = storedJob(now);
        const following = { total: undefined, done: 0, ...job.following, ending: error ? 'failed' : 'done' } as const;
        const value: StoredJob = {
          ...job,
          following,
          ...(error && { error: { code: error.code, details: error.details }, completed: preciseNow() }),
        };
        const state = error ? 'failed' : 'active';
        await this.#queue.settle([{ queue: JOBS, id, state, value, from: UNFINISHED }]);
      });
      this.moved(id);
    } finally {
      await lease.release();
    }
  }

  /** The values of the entries of a group that succeeded. */
  async *#sent(group: string): AsyncGenerator<unknown, void> {
    for (const queue of queuesOf(await this.#queue.count({ group }), 'done')) {
      for (let after = 0; ; ) {
        const entries = await this.#queue.list({ queue, group, states: ['done'], after, limit: PAGE });
        for (const { value } of entries) yield value;
        const last = entries.at(-1);
        if (last === undefined) break;
        after = last.seq;
      }
    }
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
