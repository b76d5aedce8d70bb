/**
 * Owns the draining of one modality's queue: everything that waits for it goes over one association (or as many as it may have),
 * kept open for more. What fails waits and is tried again, and while the modality does not answer nothing else waits for it.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { asIsenError, IsenError, isAway } from '../errors.ts';
import { log } from '../log.ts';
import { recordAssociation, recordDelivery } from '../metrics.ts';
import { firstOf } from '../signals.ts';
import type { Association } from '../scu/association.ts';
import { ContextSet, type Kind, transcodingTargets } from '../scu/contexts.ts';
import { untilOpen } from '../scu/modalities.ts';
import type { Modality } from '../scu/modality.ts';
import { failed, type Prepared, type Sent, StoreSender } from '../scu/send.ts';
import { afterFailure, afterSending, retryDelay } from './delivery.ts';
import { Feed, type FeedSource, type Ready } from './feed.ts';
import { modalityQueue, type Order, orderOf } from './order.ts';
import type { Entry } from './queue.ts';
import { Settler } from './settler.ts';

/** Entries taken together at most; fewer where that would be more than {@link AHEAD} of work, so that priorities count. */
const MOST = 64;
const AHEAD = 500;

/** Entries that fail together when their modality does not answer. */
const MOST_FAILING = 1000;

/** Associations lost one after another, nothing sent, after which the modality counts as one that does not answer. */
const MOST_LOST = 3;

/** Milliseconds after which it is looked again at whether the queue may be drained, and how. */
const LOOK = 500;

/** Milliseconds until something of our own that failed is tried again. */
const RETRY = 1000;

/** Milliseconds that a timer sleeps at most: waking early only looks again. */
const LONGEST = 3_600_000;

export interface DrainOptions extends FeedSource {
  readonly name: string;
  readonly modality: () => Promise<Modality | undefined>;
  readonly paused: () => Promise<boolean>;
  /** Opens an association for these contexts. Throws NetworkProtocol, Timeout. */
  readonly connect: (modality: Modality, order: Order, contexts: ContextSet) => Promise<Association>;
  /** `DicomScuPreferredTransferSyntax`. */
  readonly preferred: string;
  /** `TranscodeDicomProtocol`. */
  readonly transcoding: boolean;
  /** `DicomAssociationCloseDelay`, in milliseconds. */
  readonly closeDelay: number;
  /** Hears of instances (public ids) that were sent, when that is durable. */
  readonly delivered: (instances: readonly string[]) => Promise<void>;
}

/** What is asked of a peer under one address. */
const addressOf = ({ localAet, calledAet, host, port, timeout }: Order): string =>
  JSON.stringify([localAet, calledAet, host, port, timeout]);

/** An open association and whom it is with. */
interface Line {
  readonly sender: StoreSender;
  readonly address: string;
  readonly contexts: ContextSet;
  /** The instance that is read while the last one is sent. */
  prepared: { readonly ready: Ready; readonly result: Promise<Prepared> } | undefined;
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
  /** What associations must carry, remembered from one to the next; as it is for one `targets`. */
  #contexts: { readonly targets: string; readonly set: ContextSet } | undefined;
  /** Attempts in a row at which the modality did not answer, and when the next one is. */
  #failures = 0;
  #next = 0;
  #lost = 0;
  /** Until when it is not asked again for a further association: other nodes have them. */
  #taken = 0;
  #lastError = '';
  /** Milliseconds that sending an instance takes, on average. */
  #pace = 10;
  /** When the next instance may go, by the rate. */
  #slot = 0;
  #open = 0;
  /** Instances sent in each of the last seconds. */
  readonly #sent = new Map<number, number>();
  /** Instances by entry, of what is about to be durable. */
  readonly #delivered = new Map<string, string>();

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#queue = modalityQueue(options.name);
    this.#settler = new Settler(options.queue, async (ids) => {
      const instances = ids.flatMap((id) => this.#delivered.get(id) ?? []);
      for (const id of ids) this.#delivered.delete(id);
      if (instances.length > 0) await options.delivered(instances);
    });
  }

  /** Instances a second, over the last ten; associations open now; what keeps it from sending. */
  get status(): {
    readonly rate: number;
    readonly associations: number;
    readonly next: number;
    readonly error: string;
  } {
    const now = Math.floor(Date.now() / 1000);
    let count = 0;
    for (const [second, sent] of this.#sent) if (second >= now - 10 && second < now) count += sent;
    return {
      rate: count / 10,
      associations: this.#open,
      next: this.#failures > 0 ? this.#next : 0,
      error: this.#lastError,
    };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Something changed: configuration, pause, or that somebody waits. `atOnce` ends the wait for a modality that does not answer. */
  wake(atOnce: boolean): void {
    if (atOnce) this.#next = 0;
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Ends the instances under way, releases the associations. */
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
        log.jobs[isAway(error) ? 'debug' : 'error'](
          { err: error },
          `the queue of ${this.#options.name} is tried again`,
        );
        await this.#sleep(RETRY);
      }
    }
  }

  /** Milliseconds until sending may go on, 0 now. */
  async #closedFor(): Promise<number> {
    if (await this.#options.paused()) return LONGEST;
    const modality = await this.#options.modality();
    const hours = modality === undefined ? 0 : untilOpen(modality.sending.schedule, new Date());
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
        const error = asIsenError(thrown);
        log.jobs[isAway(error) ? 'debug' : 'error']({ err: error }, `sending to ${this.#options.name} goes on later`);
        this.#next = Math.max(this.#next, Date.now() + RETRY);
      })
      .finally(() => this.#workers.delete(worker));
    this.#workers.add(worker);
  }

  /** Entries to take at once. */
  #limit(sending: Modality['sending']): number {
    if (this.#failures > 0) return MOST_FAILING;
    const pace = sending.rateLimit > 0 ? Math.max(this.#pace, 1000 / sending.rateLimit) : this.#pace;
    // Shared among those that work on it.
    return Math.max(1, Math.min(MOST, Math.floor(AHEAD / pace / sending.maximumAssociations)));
  }

  /** Works under one of as many leases as the modality may have associations, over all nodes. */
  async #work(): Promise<void> {
    const { name, queue } = this.#options;
    const most = (await this.#options.modality())?.sending.maximumAssociations ?? 1;
    const lease = await queue.lease(`associations:${name}`, most);
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

  /** One association after another, until nothing is left to send or `lost` aborts. */
  async #send(lost: AbortSignal): Promise<void> {
    const { name, closeDelay } = this.#options;
    let modality = await this.#options.modality();
    const feed = new Feed(
      this.#options,
      this.#queue,
      () => this.#limit(modality?.sending ?? NONE),
      async (entries) => this.#giveBack(entries),
    );
    let line: Line | undefined;
    let ready: Ready | undefined;
    let [looked, changed] = [performance.now(), this.#changed.signal];
    try {
      for (;;) {
        if (this.#stop.signal.aborted || lost.aborted) return;
        if (performance.now() > looked + LOOK || changed.aborted) {
          if ((await this.#closedFor()) > 0) return;
          modality = await this.#options.modality();
          [looked, changed] = [performance.now(), this.#changed.signal];
        }
        ready = await feed.next();
        if (ready === undefined) {
          if (line === undefined || !(await this.#more(line, closeDelay))) return;
          continue;
        }
        // There is more than this one can take: another one helps.
        const most = performance.now() < this.#taken ? 0 : (modality?.sending.maximumAssociations ?? 1);
        if (feed.ahead.length > 0 && this.#workers.size < most) this.#hire();
        if (modality === undefined) {
          const error = new IsenError('InexistentItem', `No modality with symbolic name: ${name}`);
          await this.#settle(ready, NONE, failed(error));
          continue;
        }
        if (ready.outgoing === undefined) {
          await this.#settle(ready, modality.sending, failed(new IsenError('UnknownResource', ready.problem)));
          continue;
        }
        line = await this.#lineFor(modality, ready, feed, line);
        if (line === undefined) return;
        await this.#paced(modality);
        if (!(await this.#deliver(modality, ready, feed, line))) line = undefined;
        if (this.#failures > 0) return;
      }
    } finally {
      // The one at hand is settled before, unless something failed: then it waits again like those behind it.
      const left = [...(ready === undefined ? [] : [ready]), ...(await feed.end())];
      await this.#giveBack(left.map(({ entry }) => entry));
      if (line !== undefined) await this.#release(line);
    }
  }

  /** Lets entries wait again that were taken, and not sent. */
  async #giveBack(entries: readonly Entry[]): Promise<void> {
    for (const { id } of entries)
      await this.#settler.add({ queue: this.#queue, id, state: 'waiting', from: ['active'] }, true);
  }

  /** Waits for more to send on an open association; false when it is to be released. */
  async #more(line: Line, patience: number): Promise<boolean> {
    if (patience === 0) return false;
    await this.#settler.drain();
    const { ended } = line.sender.association;
    const { signal, end } = firstOf([this.#stop.signal, this.#changed.signal, ended], patience);
    await this.#options.queue.wait(this.#queue, signal);
    end();
    return !signal.aborted;
  }

  /** An association that carries `ready`: the one that is open, or a further one. Undefined where none can be had. */
  async #lineFor(modality: Modality, ready: Ready, feed: Feed, open: Line | undefined): Promise<Line | undefined> {
    const address = addressOf(ready.order);
    const kinds = kindsOf(ready);
    if (open !== undefined) {
      const { association } = open.sender;
      if (open.address === address && !association.ended.aborted && kinds.every((kind) => open.contexts.has(kind)))
        return open;
      await this.#release(open);
    }
    const contexts = this.#contextsFor(modality, ready, feed);
    try {
      const association = await this.#options.connect(modality, ready.order, contexts);
      this.#open += 1;
      recordAssociation(this.#options.name, 1);
      await this.#answers();
      return { sender: new StoreSender(association, this.#targets(modality)), address, contexts, prepared: undefined };
    } catch (thrown) {
      await this.#unanswered(modality, [ready, ...(await feed.end())], asIsenError(thrown));
      return undefined;
    }
  }

  #targets({ allowTranscoding }: Modality): readonly string[] {
    return this.#options.transcoding && allowTranscoding ? transcodingTargets(this.#options.preferred) : [];
  }

  /** All kinds that were ever sent, with those at hand; these alone, when there is no room for all. */
  #contextsFor(modality: Modality, ready: Ready, feed: Feed): ContextSet {
    const targets = this.#targets(modality);
    const known = this.#contexts?.targets === targets.join() ? this.#contexts.set.kinds() : [];
    const hand = [ready, ...feed.ahead].flatMap(kindsOf);
    for (const kinds of [[...known, ...hand], hand]) {
      const set = new ContextSet(targets);
      const room = kinds.map((kind) => set.add(kind)).every(Boolean);
      if (!room && kinds !== hand) continue;
      this.#contexts = { targets: targets.join(), set };
      return set;
    }
    return new ContextSet(targets);
  }

  /** The modality answered: what waits because it did not is due at once. */
  async #answers(): Promise<void> {
    this.#lastError = '';
    if (this.#failures === 0) return;
    log.jobs.info(`${this.#options.name} answers again`);
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
  async #unanswered(modality: Modality, taken: readonly Ready[], error: IsenError): Promise<void> {
    this.#failures += 1;
    this.#lost = 0;
    this.#lastError = error.details ?? error.message;
    this.#next = Date.now() + retryDelay(modality.sending, this.#failures);
    const many = taken.length > 1 ? `, ${taken.length} instances wait` : '';
    log.jobs.warn(`${this.#options.name} does not answer (attempt ${this.#failures}${many}): ${this.#lastError}`);
    for (const { entry, order } of taken) {
      recordDelivery(this.#options.name, 'unanswered', 0, 0);
      await this.#settler.add(afterFailure(entry, order, modality.sending, error, false), order.once === true);
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
  async #paced({ sending }: Modality): Promise<void> {
    if (sending.rateLimit <= 0) return;
    const now = Date.now();
    const at = Math.max(now, this.#slot);
    this.#slot = at + 1000 / sending.rateLimit;
    if (at > now) await sleep(at - now);
  }

  /** Sends one instance; whether the association goes on. */
  async #deliver(modality: Modality, ready: Ready, feed: Feed, line: Line): Promise<boolean> {
    const { sender } = line;
    const began = performance.now();
    const prepared =
      line.prepared?.ready === ready ? line.prepared.result : ready.outgoing && sender.prepare(ready.outgoing);
    if (prepared === undefined) return true;
    const current = await prepared;
    const [next] = feed.ahead;
    line.prepared =
      next?.outgoing !== undefined && addressOf(next.order) === line.address
        ? { ready: next, result: sender.prepare(next.outgoing) }
        : undefined;
    try {
      const sent = await sender.send(current, ready.order.originator);
      const milliseconds = performance.now() - began;
      this.#pace += (milliseconds - this.#pace) / 8;
      this.#lost = 0;
      recordDelivery(this.#options.name, sent.status, milliseconds / 1000, sent.bytes);
      // Who waits does so for the last one.
      await this.#settle(ready, modality.sending, sent, next === undefined);
      return !sender.association.ended.aborted;
    } catch (thrown) {
      await this.#interrupted(modality, ready, line, asIsenError(thrown));
      return false;
    }
  }

  /** The association is over in the middle of an instance, of which nothing is known then. */
  async #interrupted(modality: Modality, ready: Ready, line: Line, error: IsenError): Promise<void> {
    this.#closed(line);
    this.#lost += 1;
    if (this.#lost >= MOST_LOST) {
      await this.#unanswered(modality, [ready], error);
      return;
    }
    this.#lastError = error.details ?? error.message;
    log.jobs.warn(`the association with ${this.#options.name} ended: ${this.#lastError}`);
    recordDelivery(this.#options.name, 'interrupted', 0, 0);
    await this.#settler.add(
      afterFailure(ready.entry, ready.order, modality.sending, error, false),
      ready.order.once === true,
    );
  }

  async #settle({ entry, order }: Ready, sending: Modality['sending'], sent: Sent, last = true): Promise<void> {
    const settlement = afterSending(entry, order, sending, sent);
    if (sent.status !== 'failure') this.#count(entry, order);
    else {
      // What the peer wrote about it may name a patient.
      const what = sent.dimseStatus === undefined ? sent.reason : `status ${sent.dimseStatus.toString(16)}H`;
      log.jobs.warn(`an instance was not sent to ${this.#options.name}: ${what}`);
    }
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
    if (!line.sender.association.ended.aborted) await line.sender.association.release();
    this.#closed(line);
  }

  readonly #gone = new WeakSet<Line>();

  #closed(line: Line): void {
    if (this.#gone.has(line)) return;
    this.#gone.add(line);
    this.#open -= 1;
    recordAssociation(this.#options.name, -1);
  }
}

const NOTHING: Order = { instance: '' };

/** How a queue is treated whose modality is gone. */
const NONE: Modality['sending'] = {
  maximumAssociations: 1,
  maximumRetries: 0,
  retryDelay: 0,
  retryDelayMultiplier: 1,
  maximumRetryDelay: 0,
  retryOnWarning: false,
  rateLimit: 0,
  schedule: [],
};

/** The kinds that an instance may be sent as. */
function kindsOf({ outgoing }: Ready): readonly Kind[] {
  if (outgoing === undefined) return [];
  const { sopClassUid, transferSyntax, wanted } = outgoing;
  const stored = { sopClassUid, transferSyntax };
  return wanted === undefined ? [stored] : [{ sopClassUid, transferSyntax: wanted }, stored];
}
