/**
 * Owns the following of the log of changes from a stored position: what it leads to is queued together with the position, in one step,
 * so that no crash loses or doubles any. One node does it for all. The log is the buffer: whatever the queues cannot take yet is read again
 * later.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Changes } from '../changes/changes.ts';
import type { Change, Database } from '../database/database.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { log } from '../log.ts';
import { firstOf } from '../signals.ts';
import { LogFloor } from './log-floor.ts';
import type { Lease, NewEntry, Queue } from './queue.ts';

/** The stored position while nobody wants the log to be followed; else it is a Seq of it. */
const END = 'end';

/** Name of the Seq that some node waits for to be looked at: the one that follows stores its position when it is there. */
const wantedOf = (name: string): string => `${name} wanted`;

/** Changes looked at together. */
const PAGE = 1000;

/** Milliseconds in which changes gather: one question to the index and one commit serve them all. */
const GATHERING = 50;

/** Changes that led to nothing after which the position is stored all the same. */
const IDLE = 5000;

/** Entries added together. */
const BATCH = 5000;

/** Milliseconds that somebody waits for the following to catch up. */
const PATIENCE = 10_000;

/** Milliseconds until a failed step is tried again. */
const RETRY = 1000;

export interface LogFollowerOptions {
  /** Of the stored position, and of the lease of the node that follows. */
  readonly name: string;
  readonly changes: Changes;
  readonly queue: Queue;
  /** Where other nodes may share it (and so the queues), queues may lose what they took; the index then knows where to begin again. */
  readonly database: Pick<Database, 'property' | 'shared'>;
  readonly apply: Ingest['apply'];
  /** Whether there is anybody whom the log is followed for, on whichever node they were set. */
  readonly isWanted: () => Promise<boolean>;
  /** What some changes lead to, in parts. The same changes lead to the same names of entries. */
  readonly entries: (changes: readonly Change[]) => AsyncIterable<readonly NewEntry[]>;
}

export class LogFollower {
  readonly #options: LogFollowerOptions;
  readonly #stop = new AbortController();
  /** Undefined where the position is kept in the index itself. */
  readonly #floor: LogFloor | undefined;
  /** Seq up to which the log was looked at; undefined while nobody wants that, or another node does it. */
  #at: number | undefined;
  /** What the stored position says. */
  #stored: string | undefined;
  #lease: Lease | undefined;
  #running: Promise<void> = Promise.resolve();
  #turn: Promise<unknown> = Promise.resolve();
  /** Wakes the following when something changed. */
  #changed = new AbortController();

  constructor(options: LogFollowerOptions) {
    this.#options = options;
    this.#floor = options.database.shared ? new LogFloor(options) : undefined;
  }

  /** Starts following. */
  async open(): Promise<void> {
    await this.#leads();
    this.#running = this.#run();
  }

  /**
   * Brings somebody who wants the log where nobody was, by `set`: it begins at the end of the log as it is now, and from this moment on
   * changes count. Throws what `set` throws.
   */
  begin(set: () => Promise<void>): Promise<void> {
    return this.#alone(async () => {
      const last = await this.#options.changes.last();
      await this.#floor?.set(String(last));
      await this.#store(String(last));
      if (this.#isLeading()) this.#at = last;
      await set();
    });
  }

  /** Runs one after the other what begins and what asks whether the log is wanted: an answer of before must not end what began meanwhile. */
  #alone<T>(does: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(does);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** To be told whenever {@link LogFollowerOptions.isWanted} may answer something else. */
  wake(): void {
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Resolves when all that is in the log now was looked at. Throws Busy where that takes long. */
  async caughtUp(): Promise<void> {
    const last = await this.#options.changes.last();
    for (const end = Date.now() + PATIENCE; !(await this.#hasSeen(last)); await sleep(GATHERING)) {
      if (Date.now() > end) throw new IsenError('Busy', `${this.#options.name} is behind with the log`);
    }
  }

  /** Whether the node that follows has looked at the log up to `seq`; another one is asked to store how far it is. */
  async #hasSeen(seq: number): Promise<boolean> {
    const { name, queue } = this.#options;
    if (this.#isLeading()) return this.#at === undefined || this.#at >= seq;
    const position = await queue.position(name);
    if (position === undefined || position === END || Number(position) >= seq) return true;
    if (Number((await queue.position(wantedOf(name))) ?? 0) < seq)
      await queue.add([], { name: wantedOf(name), value: String(seq) });
    return false;
  }

  #isLeading(): boolean {
    return this.#lease !== undefined && !this.#lease.lost.aborted;
  }

  /** Stores the position. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    if (this.#isLeading() && this.#at !== undefined && this.#stored !== String(this.#at))
      await this.#advance(String(this.#at), []).catch(() => {});
    await this.#lease?.release();
  }

  /** Begins to follow at the end of the log when there is somebody to follow it for, and leaves it when there is nobody. */
  async #turnOver(wanted: boolean): Promise<void> {
    if (!wanted) {
      this.#at = undefined;
      if (this.#stored === END) return;
      // In this order: what is behind the floor must not come back when somebody wants the log again.
      await this.#floor?.set(END);
      await this.#advance(END, []);
      // Moved by another node that begins, which the next look finds wanted; or lost by the queues.
      if (this.#stored !== END) this.#stored = await this.#options.queue.position(this.#options.name);
      return;
    }
    if (this.#at !== undefined) return;
    const kept = await this.#floor?.read();
    const isKept = kept !== undefined && kept !== END;
    if (this.#stored !== undefined && this.#stored !== END) {
      if (!isKept) await this.#floor?.set(this.#stored);
    } else if (isKept) {
      log.jobs.warn(`${this.#options.name} goes back to change ${kept}: the queues lost how far it was`);
      await this.#store(kept);
    } else {
      const last = String(await this.#options.changes.last());
      await this.#floor?.set(last);
      await this.#store(last);
    }
    this.#at = Number(this.#stored);
  }

  async #store(value: string): Promise<void> {
    await this.#options.queue.add([], { name: this.#options.name, value });
    this.#stored = value;
  }

  /**
   * Goes on to a position, with what led to it. Where the queues lost what came before, the position stays theirs, and the next look at it
   * goes back (see {@link #checkStored}).
   */
  async #advance(value: string, entries: readonly NewEntry[]): Promise<void> {
    const { name, queue } = this.#options;
    const since = this.#stored;
    if (await queue.add(entries, { name, value, ...(since !== undefined && { since }) })) this.#stored = value;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (!(await this.#leads())) {
          await sleep(RETRY, undefined, { signal }).catch(() => {});
          continue;
        }
        await this.#checkStored();
        await this.#alone(async () => {
          const wanted = await this.#options.isWanted();
          // Another node may have brought the first who wants it.
          if (wanted && this.#at === undefined) this.#stored = await this.#options.queue.position(this.#options.name);
          await this.#turnOver(wanted);
        });
        if (this.#stored !== undefined && this.#at !== undefined) await this.#floor?.raise(this.#stored);
        if (this.#at === undefined) await this.#sleep();
        else if (!(await this.#step(this.#at))) {
          await this.#storeWanted(this.#at);
          await this.#news(this.#at);
        }
      } catch (thrown) {
        const error = asIsenError(thrown);
        if (error.code !== 'Busy' && error.code !== 'DatabaseUnavailable')
          log.jobs.error({ err: error }, `${this.#options.name} is behind and tries again`);
        await sleep(RETRY, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** An engine that lost its last second has lost the last entries with their position: these are queued again. */
  async #checkStored(): Promise<void> {
    const { name, queue, database } = this.#options;
    if (!database.shared || this.#at === undefined) return;
    const position = await queue.position(name);
    if (position === this.#stored) return;
    if (position !== undefined)
      log.jobs.warn(`${name} goes back from change ${this.#stored} to ${position}: the queues lost what came after`);
    this.#at = undefined;
  }

  /** Stores the position where another node waits for it. */
  async #storeWanted(at: number): Promise<void> {
    const { name, queue, database } = this.#options;
    if (!database.shared || this.#stored === String(at)) return;
    const wanted = Number((await queue.position(wantedOf(name))) ?? 0);
    if (wanted > Number(this.#stored)) await this.#advance(String(at), []);
  }

  /** Whether this is the node that follows the log for all of them: from the position that the last one stored. */
  async #leads(): Promise<boolean> {
    if (this.#isLeading()) return true;
    this.#lease = await this.#options.queue.lease(this.#options.name, 1);
    if (this.#lease === undefined) {
      this.#at = undefined;
      return false;
    }
    this.#stored = await this.#options.queue.position(this.#options.name);
    this.#at = undefined;
    await this.#alone(async () => this.#turnOver(await this.#options.isWanted()));
    return true;
  }

  /** Until something changed (of another node's changes nothing is heard: for a moment only) or it is closed. */
  async #sleep(): Promise<void> {
    const { signal, end } = firstOf([this.#stop.signal, this.#changed.signal], RETRY);
    if (!signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    end();
  }

  /** Until there are changes after `since`, gathered for a moment; or as {@link #sleep}. */
  async #news(since: number): Promise<void> {
    const patience = this.#options.database.shared ? RETRY : undefined;
    const { signal, end } = firstOf([this.#stop.signal, this.#changed.signal], patience);
    const changes = this.#options.changes.follow(since, signal)[Symbol.asyncIterator]();
    await changes.next();
    await changes.return?.();
    await sleep(GATHERING, undefined, { signal }).catch(() => {});
    end();
  }

  /** One page of the log; whether there was one. */
  async #step(since: number): Promise<boolean> {
    const { changes } = await this.#options.changes.since({ since, limit: PAGE });
    const last = changes.at(-1);
    if (last === undefined) return false;
    const entries: NewEntry[] = [];
    for await (const more of this.#options.entries(changes)) {
      entries.push(...more);
      // What was added before a crash is added again after it: the names of the entries are the same.
      while (entries.length > BATCH) await this.#options.queue.add(entries.splice(0, BATCH));
    }
    if (entries.length > 0 || last.seq - Number(this.#stored) >= IDLE) await this.#advance(String(last.seq), entries);
    // Unless nobody wants it any more.
    if (this.#at === since) this.#at = last.seq;
    return true;
  }
}
