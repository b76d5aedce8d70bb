/**
 * Owns the draining of one queue: everything that waits for a destination goes over one line (or as many as it may have), kept open for
 * more, in its hours and at its rate.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { asIsenError, IsenError, isAway } from '../errors.ts';
import { log } from '../log.ts';
import { recordAssociation, recordDelivery } from '../metrics.ts';
import { firstOf } from '../signals.ts';
import { untilOpen } from '../scu/modalities.ts';
import type { Sending } from '../scu/modality.ts';
import { Answering, MOST_FAILING } from './answering.ts';
import { afterSending, UNKNOWN_SENDING } from './delivery.ts';
import { Feed, type FeedSource, type Ready } from './feed.ts';
import { type Line, type Outcome, type Target, unsent } from './line.ts';
import type { Destination, Order } from './order.ts';
import { Pace } from './pace.ts';
import type { Entry } from './queue.ts';
import { Settler } from './settler.ts';

/** Milliseconds after which it is looked again at whether the queue may be drained, and how. */
const LOOK = 500;

/** Milliseconds until something of our own that failed is tried again. */
const RETRY = 1000;

/** Milliseconds after which a queue that may not be drained is looked at again: its destination, or a pause, may have changed anywhere. */
const LOOK_AGAIN = 2000;

/** Milliseconds after which a drain whose queue has nothing in it ends, where it may. */
const IDLE = 30_000;

export interface DrainOptions extends FeedSource {
  readonly destination: Destination;
  /** The queue that is drained: the destination's, or one of another address in its name. */
  readonly from: string;
  /** Ends once the queue has been empty for a while; hears of it before anything can be added that would be overlooked. */
  readonly idle?: () => void;
  /** As it is now, or undefined for one that nobody knows any more. */
  readonly target: () => Promise<Target | undefined>;
  readonly paused: () => Promise<boolean>;
  /** Milliseconds that a line stays open for more. */
  readonly closeDelay: number;
  /** Hears of instances (public ids) that were sent, when that is durable. */
  readonly delivered: (instances: readonly string[]) => Promise<void>;
}

export class Drain {
  readonly #options: DrainOptions;
  readonly #queue: string;
  readonly #settler: Settler;
  readonly #stop = new AbortController();
  /** Aborted and replaced when something changed that a sleeper should look at. */
  #changed = new AbortController();
  readonly #workers = new Set<Promise<void>>();
  #running: Promise<void> | undefined;
  /** What people and metrics call the destination. */
  readonly #name: string;
  /** Until when it is not asked again for a further line: other nodes have them. */
  #taken = 0;
  readonly #answering: Answering;
  readonly #pace = new Pace();
  readonly #feeds = new Set<Feed>();
  readonly #open = new Set<Line>();
  /** Instances by entry, of what is about to be durable. */
  readonly #delivered = new Map<string, string>();

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#queue = options.from;
    const { kind, name } = options.destination;
    this.#name = kind === 'modality' ? name : `${kind}:${name}`;
    this.#settler = new Settler(options.queue, async (ids) => {
      const instances = ids.flatMap((id) => this.#delivered.get(id) ?? []);
      for (const id of ids) this.#delivered.delete(id);
      if (instances.length > 0) await options.delivered(instances);
    });
    this.#answering = new Answering({ name: this.#name, from: options.from, queue: options.queue }, this.#settler);
  }

  /** Instances a second, over the last ten; lines open now; what keeps it from sending. */
  get status(): {
    readonly rate: number;
    readonly lines: number;
    readonly next: number;
    readonly error: string;
  } {
    return {
      rate: this.#pace.rate,
      lines: this.#open.size,
      next: this.#answering.down ? this.#answering.next : 0,
      error: this.#answering.error,
    };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Something changed: configuration, pause, or that somebody waits. `atOnce` ends the wait for a destination that does not answer. */
  wake(atOnce: boolean): void {
    if (atOnce) this.#answering.hurry();
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** An entry was called off: unless it is just being sent, it stays here. */
  withdraw(id: string): void {
    for (const feed of this.#feeds) void feed.withdraw(id);
  }

  /** Ends what is under way, releases the lines. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#settler.close();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        if (!(await this.#due())) return;
        await this.#gate();
        if (this.#stop.signal.aborted) break;
        this.#hire();
        while (this.#workers.size > 0) await Promise.race(this.#workers);
        await this.#settler.drain();
      } catch (thrown) {
        const error = asIsenError(thrown);
        log.jobs[isAway(error) ? 'debug' : 'error']({ err: error }, `the queue of ${this.#name} is tried again`);
        await this.#sleep(RETRY);
      }
    }
  }

  /** Waits for something to be due; false where the drain is to end, its queue empty. */
  async #due(): Promise<boolean> {
    const { idle, queue } = this.#options;
    const { signal, end } = firstOf([this.#stop.signal], idle && IDLE);
    await queue.wait(this.#queue, signal);
    end();
    if (idle === undefined || !signal.aborted || this.#stop.signal.aborted) return true;
    const counts = await queue.count({ queue: this.#queue });
    if (counts.some(({ state }) => state === 'waiting' || state === 'retrying' || state === 'active')) return true;
    idle();
    return false;
  }

  /** Milliseconds until sending may go on, 0 now. */
  async #closedFor(): Promise<number> {
    if (await this.#options.paused()) return LOOK_AGAIN;
    const target = await this.#options.target();
    const hours = target === undefined ? 0 : untilOpen(target.sending.schedule, new Date());
    return Math.max(hours, this.#answering.next - Date.now(), 0);
  }

  async #gate(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const { signal } = this.#changed;
      const wait = await this.#closedFor();
      if (wait <= 0) return;
      await this.#sleep(Math.min(wait, LOOK_AGAIN), signal);
    }
  }

  async #sleep(milliseconds: number, changed = this.#changed.signal): Promise<void> {
    const { signal, end } = firstOf([this.#stop.signal, changed]);
    await sleep(milliseconds, undefined, { signal }).catch(() => {});
    end();
  }

  #hire(): void {
    const worker = this.#work()
      .catch((thrown: unknown) => {
        const error = asIsenError(thrown);
        log.jobs[isAway(error) ? 'debug' : 'error']({ err: error }, `sending to ${this.#name} goes on later`);
        this.#answering.postpone(Date.now() + RETRY);
      })
      .finally(() => this.#workers.delete(worker));
    this.#workers.add(worker);
  }

  /** Works under one of as many leases as the destination may have lines, over all nodes. */
  async #work(): Promise<void> {
    const { queue } = this.#options;
    const most = (await this.#options.target())?.sending.maximumAssociations ?? 1;
    // What goes elsewhere has no part in how many the modality takes.
    const lease = await queue.lease(`lines:${this.#queue}`, most);
    if (lease === undefined) {
      // Other nodes have them all; the first worker here goes on looking.
      this.#taken = performance.now() + LOOK;
      if (this.#workers.size <= 1) await this.#sleep(LOOK);
      return;
    }
    try {
      await this.#send(lease.lost);
    } finally {
      await lease.release();
    }
  }

  /** One line after another, until nothing is left to send or `lost` aborts. */
  async #send(lost: AbortSignal): Promise<void> {
    const { destination, closeDelay } = this.#options;
    let target = await this.#options.target();
    const feed = new Feed(
      this.#options,
      this.#queue,
      () => (this.#answering.down ? MOST_FAILING : this.#pace.together(target?.sending ?? UNKNOWN_SENDING)),
      async (entries) => this.#giveBack(entries),
    );
    this.#feeds.add(feed);
    let line: Line | undefined;
    /** Where it leads. */
    let where: string | undefined;
    let ready: Ready | undefined;
    let [looked, changed] = [performance.now(), this.#changed.signal];
    /** When the rate lets the next instance through. */
    let slot: number | undefined;
    try {
      for (;;) {
        if (this.#stop.signal.aborted || lost.aborted) return;
        if (performance.now() > looked + LOOK || changed.aborted) {
          if ((await this.#closedFor()) > 0) return;
          target = await this.#options.target();
          [looked, changed] = [performance.now(), this.#changed.signal];
        }
        // Before one is taken, so that it is nobody's while it waits.
        slot ??= Date.now() + this.#pace.reserve(target?.sending ?? UNKNOWN_SENDING);
        const wait = slot - Date.now();
        if (wait > 0) {
          if (line !== undefined && wait > closeDelay) {
            await this.#release(line);
            line = undefined;
          }
          await this.#sleep(Math.min(wait, LOOK_AGAIN));
          continue;
        }
        ready = await feed.next();
        if (ready === undefined) {
          if (line === undefined || !(await this.#more(line, closeDelay))) return;
          // Meanwhile the destination may have become another one.
          looked = Number.NEGATIVE_INFINITY;
          continue;
        }
        // There is more than this one can take: another one helps.
        const most = performance.now() < this.#taken ? 0 : (target?.sending.maximumAssociations ?? 1);
        if (feed.ahead.length > 0 && this.#workers.size < most) this.#hire();
        if (target === undefined) {
          const { kind, name } = destination;
          const error = new IsenError('InexistentItem', `No ${kind} with symbolic name: ${name}`);
          await this.#settle(ready, UNKNOWN_SENDING, unsent(error, true));
          continue;
        }
        if (ready.problem !== '') {
          await this.#settle(ready, target.sending, unsent(new IsenError('UnknownResource', ready.problem), true));
          continue;
        }
        if (line !== undefined && where !== target.where) {
          await this.#release(line);
          line = undefined;
        }
        line = await this.#lineFor(target, ready, feed, line);
        if (line === undefined) return;
        where = target.where;
        slot = undefined;
        if (!(await this.#deliver(target, ready, feed, line))) line = undefined;
        if (this.#answering.down) return;
      }
    } finally {
      // The one at hand is settled before, unless something failed: then it waits again like those behind it.
      const left = [...(ready === undefined ? [] : [ready]), ...(await feed.end())];
      this.#feeds.delete(feed);
      await this.#giveBack(left.map(({ entry }) => entry));
      if (line !== undefined) await this.#release(line);
    }
  }

  /** Lets entries wait again that were taken, and not sent. */
  async #giveBack(entries: readonly Entry[]): Promise<void> {
    for (const { id } of entries)
      await this.#settler.add({ queue: this.#queue, id, state: 'waiting', from: ['active'] }, true);
  }

  /** Waits for more to send over an open line; false when it is to be released. */
  async #more(line: Line, patience: number): Promise<boolean> {
    if (patience === 0) return false;
    await this.#settler.drain();
    const { ended } = line;
    const { signal, end } = firstOf([this.#stop.signal, this.#changed.signal, ended], patience);
    await this.#options.queue.wait(this.#queue, signal);
    end();
    return !signal.aborted;
  }

  /** A line that carries `ready`: the one that is open, or a further one. Undefined where none can be had. */
  async #lineFor(target: Target, ready: Ready, feed: Feed, open: Line | undefined): Promise<Line | undefined> {
    if (open !== undefined) {
      if (!open.ended.aborted && open.carries(ready)) return open;
      await this.#release(open);
    }
    try {
      const line = await target.open(ready, feed.ahead);
      this.#open.add(line);
      recordAssociation(this.#name, 1);
      return line;
    } catch (thrown) {
      await this.#answering.unanswered(target.sending, [ready, ...(await feed.end())], asIsenError(thrown));
      return undefined;
    }
  }

  /** Sends one thing; whether the line goes on. */
  async #deliver(target: Target, ready: Ready, feed: Feed, line: Line): Promise<boolean> {
    const began = performance.now();
    const { ahead } = feed;
    // Who waits does so for the last one.
    const last = ahead.length === 0;
    try {
      const outcome = await line.send(ready, ahead);
      const milliseconds = performance.now() - began;
      await this.#answering.answered();
      this.#pace.took(milliseconds);
      recordDelivery(this.#name, outcome.status, milliseconds / 1000, outcome.bytes);
      await this.#settle(ready, target.sending, outcome, last);
      if (!line.ended.aborted) return true;
      this.#closed(line);
    } catch (thrown) {
      if (!line.ended.aborted) line.abort();
      this.#closed(line);
      await this.#answering.interrupted(target.sending, ready, asIsenError(thrown));
    }
    return false;
  }

  async #settle({ entry, order }: Ready, sending: Sending, outcome: Outcome, last = true): Promise<void> {
    const settlement = afterSending(entry, order, sending, outcome);
    if (outcome.status === 'failure') log.jobs.warn(`something was not sent to ${this.#name}: ${outcome.remark}`);
    else this.#count(entry, order);
    await this.#settler.add(settlement, last && order.once === true);
  }

  #count(entry: Entry, order: Order): void {
    // What a job sends was logged when it was asked for.
    if (entry.group === '') this.#delivered.set(entry.id, order.instance);
    this.#pace.count();
  }

  async #release(line: Line): Promise<void> {
    if (!line.ended.aborted) await line.release();
    this.#closed(line);
  }

  #closed(line: Line): void {
    if (this.#open.delete(line)) recordAssociation(this.#name, -1);
  }
}
