/**
 * Owns the draining of one destination's queue: everything that waits for it goes over one line (or as many as it may have), kept
 * open for more. What fails waits and is tried again, and while the destination does not answer nothing else waits for it.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { recordAssociation, recordDelivery } from '../metrics.ts';
import { firstOf } from '../signals.ts';
import { untilOpen } from '../scu/modalities.ts';
import type { Sending } from '../scu/modality.ts';
import { afterFailure, afterSending, retryDelay } from './delivery.ts';
import { Feed, type FeedSource, type Ready } from './feed.ts';
import { type Line, type Outcome, type Target, unsent } from './line.ts';
import { type Destination, type Order, orderOf, queueOf } from './order.ts';
import type { Entry } from './queue.ts';
import { Settler } from './settler.ts';

/** Entries taken together at most; fewer where that would be more than {@link AHEAD} of work, so that priorities count. */
const MOST = 64;
const AHEAD = 500;

/** Entries that fail together when their destination does not answer. */
const MOST_FAILING = 1000;

/** Lines lost one after another, nothing sent, after which the destination counts as one that does not answer. */
const MOST_LOST = 3;

/** Milliseconds after which it is looked again at whether the queue may be drained, and how. */
const LOOK = 500;

/** Milliseconds until something of our own that failed is tried again. */
const RETRY = 1000;

/** Milliseconds that a timer sleeps at most: waking early only looks again. */
const LONGEST = 3_600_000;

export interface DrainOptions extends FeedSource {
  readonly destination: Destination;
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
  /** Attempts in a row at which the destination did not answer, and when the next one is. */
  #failures = 0;
  #next = 0;
  #lost = 0;
  /** Until when it is not asked again for a further line: other nodes have them. */
  #taken = 0;
  #lastError = '';
  /** Milliseconds that sending an instance takes, on average. */
  #pace = 10;
  /** When the next instance may go, by the rate. */
  #slot = 0;
  readonly #open = new Set<Line>();
  /** Instances sent in each of the last seconds. */
  readonly #sent = new Map<number, number>();
  /** Instances by entry, of what is about to be durable. */
  readonly #delivered = new Map<string, string>();

  constructor(options: DrainOptions) {
    this.#options = options;
    const { kind, name } = options.destination;
    this.#queue = queueOf(options.destination);
    this.#name = kind === 'modality' ? name : this.#queue;
    this.#settler = new Settler(options.queue, async (ids) => {
      const instances = ids.flatMap((id) => this.#delivered.get(id) ?? []);
      for (const id of ids) this.#delivered.delete(id);
      if (instances.length > 0) await options.delivered(instances);
    });
  }

  /** Instances a second, over the last ten; lines open now; what keeps it from sending. */
  get status(): {
    readonly rate: number;
    readonly lines: number;
    readonly next: number;
    readonly error: string;
  } {
    const now = Math.floor(Date.now() / 1000);
    let count = 0;
    for (const [second, sent] of this.#sent) if (second >= now - 10 && second < now) count += sent;
    return {
      rate: count / 10,
      lines: this.#open.size,
      next: this.#failures > 0 ? this.#next : 0,
      error: this.#lastError,
    };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Something changed: configuration, pause, or that somebody waits. `atOnce` ends the wait for a destination that does not answer. */
  wake(atOnce: boolean): void {
    if (atOnce) this.#next = 0;
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Ends what is under way, releases the lines. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#settler.close();
  }

  async #run(): Promise<void> {
    const { queue } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        await queue.wait(this.#queue, this.#stop.signal);
        await this.#gate();
        if (this.#stop.signal.aborted) break;
        this.#hire();
        while (this.#workers.size > 0) await Promise.race(this.#workers);
        await this.#settler.drain();
      } catch (thrown) {
        const error = asIsenError(thrown);
        const away = error.code === 'DatabaseUnavailable';
        log.jobs[away ? 'debug' : 'error']({ err: error }, `the queue of ${this.#name} is tried again`);
        await this.#sleep(RETRY);
      }
    }
  }

  /** Milliseconds until sending may go on, 0 now. */
  async #closedFor(): Promise<number> {
    if (await this.#options.paused()) return LONGEST;
    const target = await this.#options.target();
    const hours = target === undefined ? 0 : untilOpen(target.sending.schedule, new Date());
    return Math.max(hours, this.#next - Date.now(), 0);
  }

  async #gate(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const { signal } = this.#changed;
      const wait = await this.#closedFor();
      if (wait <= 0) return;
      await this.#sleep(wait, signal);
    }
  }

  async #sleep(milliseconds: number, changed = this.#changed.signal): Promise<void> {
    const { signal, end } = firstOf([this.#stop.signal, changed]);
    await sleep(Math.min(milliseconds, LONGEST), undefined, { signal }).catch(() => {});
    end();
  }

  #hire(): void {
    const worker = this.#work()
      .catch((thrown: unknown) => {
        log.jobs.error({ err: asIsenError(thrown) }, `sending to ${this.#name} goes on later`);
        this.#next = Math.max(this.#next, Date.now() + RETRY);
      })
      .finally(() => this.#workers.delete(worker));
    this.#workers.add(worker);
  }

  /** Entries to take at once. */
  #limit(sending: Sending): number {
    if (this.#failures > 0) return MOST_FAILING;
    const pace = sending.rateLimit > 0 ? Math.max(this.#pace, 1000 / sending.rateLimit) : this.#pace;
    // Shared among those that work on it.
    return Math.max(1, Math.min(MOST, Math.floor(AHEAD / pace / sending.maximumAssociations)));
  }

  /** Works under one of as many leases as the destination may have lines, over all nodes. */
  async #work(): Promise<void> {
    const most = (await this.#options.target())?.sending.maximumAssociations ?? 1;
    const lease = await this.#options.queue.lease(`lines:${this.#queue}`, most);
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
    const { destination, closeDelay, queue } = this.#options;
    let target = await this.#options.target();
    const feed = new Feed(this.#options, this.#queue, () => this.#limit(target?.sending ?? NONE));
    let line: Line | undefined;
    let [looked, changed] = [performance.now(), this.#changed.signal];
    try {
      for (;;) {
        if (this.#stop.signal.aborted || lost.aborted) return;
        if (performance.now() > looked + LOOK || changed.aborted) {
          if ((await this.#closedFor()) > 0) return;
          target = await this.#options.target();
          [looked, changed] = [performance.now(), this.#changed.signal];
        }
        const ready = await feed.next();
        if (ready === undefined) {
          if (line === undefined || !(await this.#more(line, closeDelay))) return;
          continue;
        }
        // There is more than this one can take: another one helps.
        const most = performance.now() < this.#taken ? 0 : (target?.sending.maximumAssociations ?? 1);
        if (feed.ahead.length > 0 && this.#workers.size < most) this.#hire();
        if (target === undefined) {
          const { kind, name } = destination;
          const error = new IsenError('InexistentItem', `No ${kind} with symbolic name: ${name}`);
          await this.#settle(ready, NONE, unsent(error, true));
          continue;
        }
        if (ready.problem !== '') {
          await this.#settle(ready, target.sending, unsent(new IsenError('UnknownResource', ready.problem), true));
          continue;
        }
        line = await this.#lineFor(target, ready, feed, line);
        if (line === undefined) return;
        await this.#paced(target);
        if (!(await this.#deliver(target, ready, feed, line))) line = undefined;
        if (this.#failures > 0) return;
      }
    } finally {
      const left = await feed.end();
      if (left.length > 0)
        await queue.settle(
          left.map(({ entry }) => ({ queue: this.#queue, id: entry.id, state: 'waiting', from: ['active'] })),
        );
      if (line !== undefined) await this.#release(line);
    }
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
      await this.#unanswered(target, [ready, ...(await feed.end())], asIsenError(thrown));
      return undefined;
    }
  }

  /** The destination answered: what waits because it did not is due at once. */
  async #answers(): Promise<void> {
    this.#lastError = '';
    if (this.#failures === 0) return;
    log.jobs.info(`${this.#name} answers again`);
    this.#failures = 0;
    this.#next = 0;
    const { queue } = this.#options;
    for (let after = 0; ; ) {
      const page = await queue.list({ queue: this.#queue, states: ['retrying'], after, limit: MOST_FAILING });
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.seq;
      await queue.settle(
        page.map(({ id }) => ({ queue: this.#queue, id, state: 'waiting', due: 0, from: ['retrying'] })),
      );
    }
  }

  /** It does not answer: what was taken failed once, the others wait. */
  async #unanswered({ sending }: Target, taken: readonly Ready[], error: IsenError): Promise<void> {
    this.#failures += 1;
    this.#lost = 0;
    this.#lastError = error.details ?? error.message;
    this.#next = Date.now() + retryDelay(sending, this.#failures);
    const many = taken.length > 1 ? `, ${taken.length} instances wait` : '';
    log.jobs.warn(`${this.#name} does not answer (attempt ${this.#failures}${many}): ${this.#lastError}`);
    for (const { entry, order } of taken) {
      recordDelivery(this.#name, 'unanswered', 0, 0);
      await this.#settler.add(afterFailure(entry, order, sending, error, false), order.once === true);
    }
    await this.#giveUp(taken, error);
  }

  /** What somebody waits for fails whole, not only as far as it was taken. */
  async #giveUp(taken: readonly Ready[], error: IsenError): Promise<void> {
    const { queue } = this.#options;
    const groups = new Set(taken.flatMap(({ entry, order }) => (order.once === true ? [entry.group] : [])));
    for (const group of groups) {
      for (;;) {
        const page = await queue.list({ queue: this.#queue, group, states: ['waiting'], limit: MOST_FAILING });
        if (page.length === 0) break;
        await queue.settle(
          page.map((entry) => ({
            ...afterFailure(entry, { ...(orderOf(entry.value) ?? NOTHING), once: true }, NONE, error, true),
            from: ['waiting'],
          })),
        );
      }
    }
  }

  /** Until the rate lets the next one through. */
  async #paced({ sending }: Target): Promise<void> {
    if (sending.rateLimit <= 0) return;
    const now = Date.now();
    const at = Math.max(now, this.#slot);
    this.#slot = at + 1000 / sending.rateLimit;
    if (at > now) await sleep(at - now);
  }

  /** Sends one thing; whether the line goes on. */
  async #deliver(target: Target, ready: Ready, feed: Feed, line: Line): Promise<boolean> {
    const began = performance.now();
    const [next] = feed.ahead;
    try {
      const outcome = await line.send(ready, next);
      const milliseconds = performance.now() - began;
      await this.#answers();
      this.#pace += (milliseconds - this.#pace) / 8;
      this.#lost = 0;
      recordDelivery(this.#name, outcome.status, milliseconds / 1000, outcome.bytes);
      // Who waits does so for the last one.
      await this.#settle(ready, target.sending, outcome, next === undefined);
      if (!line.ended.aborted) return true;
      this.#closed(line);
    } catch (thrown) {
      if (!line.ended.aborted) line.abort();
      this.#closed(line);
      await this.#interrupted(target, ready, asIsenError(thrown));
    }
    return false;
  }

  /** The line is over in the middle of something, of which nothing is known then. */
  async #interrupted(target: Target, ready: Ready, error: IsenError): Promise<void> {
    this.#lost += 1;
    if (this.#lost >= MOST_LOST) {
      await this.#unanswered(target, [ready], error);
      return;
    }
    this.#lastError = error.details ?? error.message;
    log.jobs.warn(`the connection to ${this.#name} ended: ${this.#lastError}`);
    recordDelivery(this.#name, 'interrupted', 0, 0);
    await this.#settler.add(
      afterFailure(ready.entry, ready.order, target.sending, error, false),
      ready.order.once === true,
    );
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
    const second = Math.floor(Date.now() / 1000);
    this.#sent.set(second, (this.#sent.get(second) ?? 0) + 1);
    for (const old of this.#sent.keys()) {
      if (old >= second - 10) break;
      this.#sent.delete(old);
    }
  }

  async #release(line: Line): Promise<void> {
    if (!line.ended.aborted) await line.release();
    this.#closed(line);
  }

  #closed(line: Line): void {
    if (this.#open.delete(line)) recordAssociation(this.#name, -1);
  }
}

const NOTHING: Order = { instance: '' };

/** How a queue is treated whose destination is gone. */
const NONE: Sending = {
  maximumAssociations: 1,
  maximumRetries: 0,
  retryDelay: 0,
  retryDelayMultiplier: 1,
  maximumRetryDelay: 0,
  retryOnWarning: false,
  rateLimit: 0,
  schedule: [],
};
