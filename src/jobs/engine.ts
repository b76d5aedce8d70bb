/**
 * Owns the job engine: jobs are entries of the queue `jobs`, so that they survive any crash and cost no memory while they
 * wait. Those that work take one of a few slots (slots.ts); those that follow move as their entries do (following.ts). What is asked of a
 * job is settled in the queue first, and whoever runs it hears of it there.
 */

import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { IsenError } from '../errors.ts';
import { log } from '../log.ts';
import type { Storage } from '../storage/storage.ts';
import { Followings } from './following.ts';
import { Handover } from './handover.ts';
import { History } from './history.ts';
import {
  entryOfJob,
  FINISHED,
  JOB_STATES,
  type Job,
  JOBS,
  jobOf,
  NEVER,
  type Output,
  preciseNow,
  type StoredJob,
  storedJob,
  UNFINISHED,
  walkJobs,
} from './job.ts';
import type { Jobs, JobsRequest, Submission } from './jobs.ts';
import type { Content, FollowingKind, JobKind } from './kinds.ts';
import { CANCELED, type Entry, type EntryState, type NewEntry, type Queue } from './queue.ts';
import { Slots } from './slots.ts';

/** Milliseconds between two looks at what nobody may have said: an engine was away, or a node died before it told the others. */
const LOOK = 5000;

/** Jobs that are looked at then, the oldest first. */
const LOOKED_AT = 1000;

/** Jobs that ended last, for who begins to wait for one only then: the history may have forgotten it. */
const ENDED = 200;

export interface EngineOptions {
  readonly queue: Queue;
  readonly storage: Storage;
  /** Jobs that work at the same time (`ConcurrentJobs`); 0 is one a core. */
  readonly concurrent: number;
  /** Ended jobs that are remembered (`JobsHistorySize`). */
  readonly history: number;
  /** Whether jobs survive a restart (`SaveJobs`). */
  readonly save: boolean;
  /** Jobs whose outputs are kept (`MediaArchiveSize`). */
  readonly outputs: number;
}

/** The engine; nothing runs before its start. */
export function createEngine({ queue, storage, ...options }: EngineOptions): Jobs {
  const kinds = new Map<string, JobKind>();
  const history = new History(queue, storage, options.history, options.outputs, (id) => followings.moved(id));
  /** Who waits for the end of a job. */
  const waiters = new Map<string, Set<(entry: Entry) => void>>();
  /** The jobs that ended last. */
  const lately = new Map<string, Entry>();
  const closing = new AbortController();

  const followings = new Followings(queue, (type): FollowingKind | undefined => {
    const kind = kinds.get(type);
    return kind !== undefined && 'follow' in kind ? kind : undefined;
  });
  const handover = new Handover(queue, followings);
  const slots = new Slots({
    queue,
    storage,
    count: options.concurrent > 0 ? options.concurrent : availableParallelism(),
    kindOf: (type) => kinds.get(type),
  });

  const unwatch = queue.watch((entry) => {
    if (entry.queue !== JOBS) {
      if (entry.group !== '') followings.moved(entry.group);
      return;
    }
    if (entry.state !== 'active') slots.of(entry.id)?.giveUp();
    if (!FINISHED.includes(entry.state)) return;
    for (const waiter of waiters.get(entry.id) ?? []) waiter(entry);
    lately.set(entry.id, entry);
    for (const id of lately.keys()) {
      if (lately.size <= ENDED) break;
      lately.delete(id);
    }
    history.trim(Object.keys(storedJob(entry).outputs).length > 0);
  });

  /** Looks at jobs whose entries may have moved, and whose end may have come, without a word of it. */
  const look = async (): Promise<void> => {
    const unfinished = await queue.list({ queue: JOBS, states: UNFINISHED, limit: LOOKED_AT });
    for (const entry of unfinished) {
      if (storedJob(entry).following?.total !== undefined) followings.moved(entry.id);
    }
    for (const [id, waiting] of waiters) {
      const [entry] = await queue.list({ queue: JOBS, id, limit: 1 });
      if (entry !== undefined && FINISHED.includes(entry.state)) for (const waiter of waiting) waiter(entry);
    }
  };
  let looking: Promise<void> = Promise.resolve();

  const view = (entry: Entry): Job => {
    const run = slots.of(entry.id);
    return jobOf(run !== undefined && entry.state === 'active' ? { ...entry, value: run.job } : entry);
  };

  const newJob = (
    submission: Submission,
    following?: StoredJob['following'],
  ): NewEntry & { readonly value: StoredJob } => ({
    queue: JOBS,
    id: randomUUID(),
    group: '',
    priority: submission.priority ?? 0,
    due: following === undefined ? 0 : NEVER,
    value: {
      type: submission.type,
      content: submission.content,
      state: submission.state ?? null,
      ...(submission.userData !== undefined && { userData: submission.userData }),
      created: preciseNow(),
      runtime: 0,
      progress: 0,
      outputs: {},
      ...(following && { following }),
    },
  });

  /** Acts on a job: one after the other with what moves jobs that follow. Throws BadRequest for an unknown one. */
  const act = async (id: string, action: (entry: Entry, job: StoredJob) => Promise<void>): Promise<void> =>
    followings.alone(async () => {
      const entry = await entryOfJob(queue, id).catch((thrown: unknown) => {
        throw thrown instanceof IsenError && thrown.code === 'UnknownResource' ? new IsenError('BadRequest') : thrown;
      });
      await action(entry, slots.of(id)?.job ?? storedJob(entry));
    });

  /** Settles one that is in one of the states `from` still: it may have moved since it was read. */
  const put = async (
    entry: Entry,
    from: readonly EntryState[],
    state: EntryState,
    value?: StoredJob,
  ): Promise<void> => {
    const due = storedJob(entry).following === undefined ? 0 : NEVER;
    await queue.settle([{ queue: JOBS, id: entry.id, state, due, from, ...(value !== undefined && { value }) }]);
  };

  return {
    register(kind) {
      kinds.set(kind.type, kind);
    },
    async start() {
      for await (const entry of walkJobs(queue, [...UNFINISHED, ...FINISHED])) {
        const { following } = storedJob(entry);
        if (!options.save) {
          await followings.move(entry.id, [...UNFINISHED, 'done'], { state: 'removed' });
          await history.forget(entry);
        } else if (following !== undefined) {
          if (following.total !== undefined) followings.moved(entry.id);
          else await handover.abandonLeft(entry.id);
        }
      }
      history.trim(false);
      slots.start();
      looking = (async () => {
        for (;;) {
          await sleep(LOOK, undefined, { signal: closing.signal, ref: false });
          await look().catch((thrown: unknown) => log.jobs.debug({ err: thrown }, 'jobs are looked at later'));
        }
      })().catch(() => {});
    },
    async submit(submission) {
      const job = newJob(submission);
      await queue.add([job]);
      return job.id;
    },
    async deliver(submission, entries) {
      const job = newJob(submission, { total: undefined, done: 0 });
      await handover.deliver(job, entries);
      return job.id;
    },
    wait(id, signal) {
      return new Promise<Content>((resolve, reject) => {
        const there = waiters.get(id) ?? new Set();
        waiters.set(id, there);
        const leave = (): void => {
          signal.removeEventListener('abort', abort);
          there.delete(ended);
          if (there.size === 0) waiters.delete(id);
        };
        const abort = (): void => {
          leave();
          reject(new IsenError('CanceledJob', 'nobody waits for it'));
        };
        const ended = (entry: Entry): void => {
          leave();
          const { content, error } = storedJob(entry);
          if (entry.state === 'done') resolve(content);
          else reject(new IsenError(error?.code ?? 'InternalError', error?.details));
        };
        there.add(ended);
        signal.addEventListener('abort', abort);
        if (signal.aborted) abort();
        entryOfJob(queue, id).then(
          (entry) => {
            if (FINISHED.includes(entry.state) && there.has(ended)) ended(entry);
          },
          (thrown: unknown) => {
            const entry = lately.get(id);
            if (entry !== undefined && there.has(ended)) return ended(entry);
            leave();
            reject(thrown instanceof IsenError ? thrown : new IsenError('InternalError', undefined, { cause: thrown }));
          },
        );
      });
    },
    async get(id) {
      const [entry] = await queue.list({ queue: JOBS, id, limit: 1 });
      return entry && view(entry);
    },
    async *list({ states, type, since, limit = Number.POSITIVE_INFINITY }: JobsRequest = {}) {
      const after = since === undefined ? undefined : (await entryOfJob(queue, since)).seq;
      const wanted = [...UNFINISHED, ...FINISHED].filter((state) => states?.includes(JOB_STATES[state]) !== false);
      let left = limit;
      if (left <= 0) return;
      for await (const entry of walkJobs(queue, wanted, after)) {
        if (type !== undefined && storedJob(entry).type !== type) continue;
        yield view(entry);
        if (--left <= 0) return;
      }
    },
    async count() {
      const counts = { Pending: 0, Running: 0, Retry: 0, Paused: 0, Failure: 0, Success: 0 };
      for (const { state, count } of await queue.count({ queue: JOBS })) counts[JOB_STATES[state]] += count;
      return counts;
    },
    cancel: (id) =>
      act(id, async (entry, job) => {
        if (FINISHED.includes(entry.state)) return;
        if (job.following !== undefined) await followings.move(id, UNFINISHED, { state: 'failed', reason: CANCELED });
        const error = { code: 'CanceledJob' as const, details: job.error?.details };
        // What it does in the end it does no more.
        const following = job.following && { following: { ...job.following, ending: 'failed' as const } };
        await put(entry, UNFINISHED, 'failed', { ...job, ...following, outputs: {}, error, completed: preciseNow() });
      }),
    pause: (id) =>
      act(id, async (entry, job) => {
        if (FINISHED.includes(entry.state) || entry.state === 'paused') return;
        if (job.following === undefined) await put(entry, UNFINISHED, 'paused', job);
        else await followings.move(id, ['waiting', 'retrying'], { state: 'paused' });
      }),
    resume: (id) =>
      act(id, async (entry, job) => {
        if (entry.state !== 'paused') throw new IsenError('BadRequest');
        await put(entry, ['paused'], 'waiting');
        if (job.following !== undefined) await followings.move(id, ['paused'], { state: 'waiting', due: 0 });
      }),
    resubmit: (id) =>
      act(id, async (entry, stored) => {
        if (entry.state !== 'failed') throw new IsenError('BadRequest');
        const { completed: _, ...job } = stored;
        const { following } = job;
        const again = following && { total: following.total, done: following.done };
        await put(entry, ['failed'], 'waiting', {
          ...job,
          runtime: 0,
          progress: 0,
          ...(again && { following: again }),
        });
        if (following === undefined) return;
        await followings.move(id, ['failed'], { state: 'waiting', due: 0 });
        // Perhaps only what it does in the end is to be done again.
        followings.moved(id);
      }),
    async remove(id) {
      const [entry] = await queue.list({ queue: JOBS, id, limit: 1 });
      if (entry === undefined) throw new IsenError('InexistentItem', `No job found with this id: ${id}`);
      if (!FINISHED.includes(entry.state)) throw new IsenError('BadSequenceOfCalls', 'The job has not ended');
      await history.forget(entry);
    },
    async output(id, key): Promise<Output> {
      return (await history.withOutput(id, key)).output;
    },
    removeOutput: (id, key) => history.removeOutput(id, key),
    async close() {
      closing.abort();
      await Promise.all([slots.close(), handover.close(), looking]);
      await followings.close();
      await history.close();
      unwatch();
    },
  };
}
