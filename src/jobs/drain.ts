/**
 * Owns the draining of one queue: everything that waits for a modality goes over one association (or as many as it may have), kept open
 * for more, in its hours and at its rate.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { recordAssociation, recordDelivery } from '../metrics.ts';
import { firstOf } from '../signals.ts';
import type { Association } from '../scu/association.ts';
import { ContextSet, type Kind, transcodingTargets } from '../scu/contexts.ts';
import { untilOpen } from '../scu/modalities.ts';
import type { Modality } from '../scu/modality.ts';
import { failed, type Prepared, type Sent, StoreSender } from '../scu/send.ts';
import { Answering, MOST_FAILING } from './answering.ts';
import { afterSending, UNKNOWN_SENDING } from './delivery.ts';
import { Feed, type FeedSource, type Ready } from './feed.ts';
import type { Order } from './order.ts';
import { Pace } from './pace.ts';
import type { Entry } from './queue.ts';
import { Settler } from './settler.ts';

/** Milliseconds after which it is looked again at whether the queue may be drained, and how. */
const LOOK = 500;

/** Milliseconds until something of our own that failed is tried again. */
const RETRY = 1000;

/** Milliseconds after which a queue that may not be drained is looked at again: its modality, or a pause, may have changed anywhere. */
const LOOK_AGAIN = 2000;

/** Milliseconds after which a drain whose queue has nothing in it ends, where it may. */
const IDLE = 30_000;

export interface DrainOptions extends FeedSource {
  /** Of the modality. */
  readonly name: string;
  /** The queue that is drained: the modality's, or one of another address in its name. */
  readonly from: string;
  /** Ends once the queue has been empty for a while; hears of it before anything can be added that would be overlooked. */
  readonly idle?: () => void;
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

/** An open association. */
interface Line {
  readonly sender: StoreSender;
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
  /** Until when it is not asked again for a further association: other nodes have them. */
  #taken = 0;
  readonly #answering: Answering;
  readonly #pace = new Pace();
  readonly #feeds = new Set<Feed>();
  #open = 0;
  /** Instances by entry, of what is about to be durable. */
  readonly #delivered = new Map<string, string>();

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#queue = options.from;
    this.#settler = new Settler(options.queue, async (ids) => {
      const instances = ids.flatMap((id) => this.#delivered.get(id) ?? []);
      for (const id of ids) this.#delivered.delete(id);
      if (instances.length > 0) await options.delivered(instances);
    });
    this.#answering = new Answering(options, this.#settler);
  }

  /** Instances a second, over the last ten; associations open now; what keeps it from sending. */
  get status(): {
    readonly rate: number;
    readonly associations: number;
    readonly next: number;
    readonly error: string;
  } {
    return {
      rate: this.#pace.rate,
      associations: this.#open,
      next: this.#answering.down ? this.#answering.next : 0,
      error: this.#answering.error,
    };
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Something changed: configuration, pause, or that somebody waits. `atOnce` ends the wait for a modality that does not answer. */
  wake(atOnce: boolean): void {
    if (atOnce) this.#answering.hurry();
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** An entry was called off: unless it is just being sent, it stays here. */
  withdraw(id: string): void {
    for (const feed of this.#feeds) feed.withdraw(id);
  }

  /** Ends the instances under way, releases the associations. */
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
        const away = error.code === 'DatabaseUnavailable';
        log.jobs[away ? 'debug' : 'error']({ err: error }, `the queue of ${this.#options.name} is tried again`);
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
    const modality = await this.#options.modality();
    const hours = modality === undefined ? 0 : untilOpen(modality.sending.schedule, new Date());
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
        log.jobs.error({ err: asIsenError(thrown) }, `sending to ${this.#options.name} goes on later`);
        this.#answering.postpone(Date.now() + RETRY);
      })
      .finally(() => this.#workers.delete(worker));
    this.#workers.add(worker);
  }

  /** Works under one of as many leases as the modality may have associations, over all nodes. */
  async #work(): Promise<void> {
    const { queue } = this.#options;
    const most = (await this.#options.modality())?.sending.maximumAssociations ?? 1;
    // One that goes elsewhere has no part in how many the modality takes.
    const lease = await queue.lease(`associations:${this.#queue}`, most);
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
    const { name, closeDelay, queue } = this.#options;
    let modality = await this.#options.modality();
    const feed = new Feed(this.#options, this.#queue, () =>
      this.#answering.down ? MOST_FAILING : this.#pace.together(modality?.sending ?? UNKNOWN_SENDING),
    );
    this.#feeds.add(feed);
    let line: Line | undefined;
    let [looked, changed] = [performance.now(), this.#changed.signal];
    /** When the rate lets the next instance through. */
    let slot: number | undefined;
    try {
      for (;;) {
        if (this.#stop.signal.aborted || lost.aborted) return;
        if (performance.now() > looked + LOOK || changed.aborted) {
          if ((await this.#closedFor()) > 0) return;
          modality = await this.#options.modality();
          [looked, changed] = [performance.now(), this.#changed.signal];
        }
        // Before one is taken, so that it is nobody's while it waits.
        slot ??= Date.now() + this.#pace.reserve(modality?.sending ?? UNKNOWN_SENDING);
        const wait = slot - Date.now();
        if (wait > 0) {
          if (line !== undefined && wait > closeDelay) {
            await this.#release(line);
            line = undefined;
          }
          await this.#sleep(Math.min(wait, LOOK_AGAIN));
          continue;
        }
        const ready = await feed.next();
        if (ready === undefined) {
          if (line === undefined || !(await this.#more(line, closeDelay))) return;
          continue;
        }
        // There is more than this one can take: another one helps.
        const most = performance.now() < this.#taken ? 0 : (modality?.sending.maximumAssociations ?? 1);
        if (feed.ahead.length > 0 && this.#workers.size < most) this.#hire();
        if (modality === undefined) {
          const error = new IsenError('InexistentItem', `No modality with symbolic name: ${name}`);
          await this.#settle(ready, UNKNOWN_SENDING, failed(error));
          continue;
        }
        if (ready.outgoing === undefined) {
          await this.#settle(ready, modality.sending, failed(new IsenError('UnknownResource', ready.problem)));
          continue;
        }
        line = await this.#lineFor(modality, ready, feed, line);
        if (line === undefined) return;
        slot = undefined;
        if (!(await this.#deliver(modality, ready, feed, line))) line = undefined;
        if (this.#answering.down) return;
      }
    } finally {
      const left = await feed.end();
      this.#feeds.delete(feed);
      if (left.length > 0)
        await queue.settle(
          left.map(({ entry }) => ({ queue: this.#queue, id: entry.id, state: 'waiting', from: ['active'] })),
        );
      if (line !== undefined) await this.#release(line);
    }
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
    const kinds = kindsOf(ready);
    if (open !== undefined) {
      const { association } = open.sender;
      if (!association.ended.aborted && kinds.every((kind) => open.contexts.has(kind))) return open;
      await this.#release(open);
    }
    const contexts = this.#contextsFor(modality, ready, feed);
    try {
      const association = await this.#options.connect(modality, ready.order, contexts);
      this.#open += 1;
      recordAssociation(this.#options.name, 1);
      await this.#answering.answered();
      return { sender: new StoreSender(association, this.#targets(modality)), contexts, prepared: undefined };
    } catch (thrown) {
      await this.#answering.unanswered(modality.sending, [ready, ...(await feed.end())], asIsenError(thrown));
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

  /** Sends one instance; whether the association goes on. */
  async #deliver(modality: Modality, ready: Ready, feed: Feed, line: Line): Promise<boolean> {
    const { sender } = line;
    const began = performance.now();
    const prepared =
      line.prepared?.ready === ready ? line.prepared.result : ready.outgoing && sender.prepare(ready.outgoing);
    if (prepared === undefined) return true;
    const current = await prepared;
    const [next] = feed.ahead;
    line.prepared = next?.outgoing === undefined ? undefined : { ready: next, result: sender.prepare(next.outgoing) };
    try {
      const sent = await sender.send(current, ready.order.originator);
      const milliseconds = performance.now() - began;
      this.#pace.took(milliseconds);
      this.#answering.alive();
      recordDelivery(this.#options.name, sent.status, milliseconds / 1000, sent.bytes);
      // Who waits does so for the last one.
      await this.#settle(ready, modality.sending, sent, next === undefined);
      return !sender.association.ended.aborted;
    } catch (thrown) {
      this.#closed(line);
      await this.#answering.interrupted(modality.sending, ready, asIsenError(thrown));
      return false;
    }
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
    this.#pace.count();
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

/** The kinds that an instance may be sent as. */
function kindsOf({ outgoing }: Ready): readonly Kind[] {
  if (outgoing === undefined) return [];
  const { sopClassUid, transferSyntax, wanted } = outgoing;
  const stored = { sopClassUid, transferSyntax };
  return wanted === undefined ? [stored] : [{ sopClassUid, transferSyntax: wanted }, stored];
}
