/**
 * Owns the way to a modality: one association, whose presentation contexts carry what is at hand and, as far as there is room, all that was
 * ever sent to it.
 */

import type { Association } from '../scu/association.ts';
import { ContextSet, type Kind, transcodingTargets } from '../scu/contexts.ts';
import type { Dial } from '../scu/dial.ts';
import type { Modality } from '../scu/modality.ts';
import { isFinal, type Prepared, remarkOf, StoreSender } from '../scu/send.ts';
import type { Ready } from './feed.ts';
import { isPassing, type Line, type Outcome, type Target } from './line.ts';
import type { Order } from './order.ts';

export interface AssociationOptions {
  readonly dial: Dial;
  /** `DicomScuPreferredTransferSyntax`. */
  readonly preferred: string;
  /** `TranscodeDicomProtocol`. */
  readonly transcoding: boolean;
}

/** What is asked of a peer under one address. */
const addressOf = ({ localAet, calledAet, host, port, timeout }: Order): string =>
  JSON.stringify([localAet, calledAet, host, port, timeout]);

/** The associations with one modality, one after another or several at a time. */
export class AssociationLines {
  readonly #options: AssociationOptions;
  /** What associations must carry, remembered from one to the next; as it is for one `targets`. */
  #contexts: { readonly targets: string; readonly set: ContextSet } | undefined;

  constructor(options: AssociationOptions) {
    this.#options = options;
  }

  /** The modality as it is now. */
  target(modality: Modality): Target {
    const { sending, ...where } = modality;
    return { where: JSON.stringify(where), sending, open: (ready, ahead) => this.#open(modality, ready, ahead) };
  }

  async #open(modality: Modality, ready: Ready, ahead: readonly Ready[]): Promise<Line> {
    const targets =
      this.#options.transcoding && modality.allowTranscoding ? transcodingTargets(this.#options.preferred) : [];
    const contexts = this.#contextsFor(targets, [ready, ...ahead]);
    const { calledAet, host, port, localAet, timeout } = ready.order;
    const association = await this.#options.dial(
      { ...modality, aet: calledAet ?? modality.aet, host: host ?? modality.host, port: port ?? modality.port },
      contexts.proposals(),
      { localAet, timeout },
    );
    return new AssociationLine(association, targets, addressOf(ready.order), contexts);
  }

  /** All kinds that were ever sent, with those at hand; the first of these alone, when there is no room for all. */
  #contextsFor(targets: readonly string[], hand: readonly Ready[]): ContextSet {
    const known = this.#contexts?.targets === targets.join() ? this.#contexts.set.kinds() : [];
    const kinds = hand.flatMap(kindsOf);
    for (const some of [[...known, ...kinds], kinds]) {
      const set = new ContextSet(targets);
      const room = some.map((kind) => set.add(kind)).every(Boolean);
      if (!room && some !== kinds) continue;
      this.#contexts = { targets: targets.join(), set };
      return set;
    }
    return new ContextSet(targets);
  }
}

/** Instances that are read ahead: files that the system does not have in memory take longer to read than to send. */
const AHEAD = 3;

/** Bytes of those files together, the first whatever its size: one that is transcoded or changed is held whole. */
const AHEAD_BYTES = 32 << 20;

class AssociationLine implements Line {
  readonly #association: Association;
  readonly #sender: StoreSender;
  readonly #address: string;
  readonly #contexts: ContextSet;
  /** The instances that are read while others are sent. */
  readonly #prepared = new Map<Ready, Promise<Prepared>>();

  constructor(association: Association, targets: readonly string[], address: string, contexts: ContextSet) {
    this.#association = association;
    this.#sender = new StoreSender(association, targets);
    this.#address = address;
    this.#contexts = contexts;
  }

  get ended(): AbortSignal {
    return this.#association.ended;
  }

  carries(ready: Ready): boolean {
    return this.#isAt(ready) && kindsOf(ready).every((kind) => this.#contexts.has(kind));
  }

  async send(ready: Ready, ahead: readonly Ready[]): Promise<Outcome> {
    const prepared = this.#prepared.get(ready) ?? this.#prepare(ready);
    let bytesAhead = 0;
    const next = ahead.slice(0, AHEAD).filter((each, index) => {
      if (each.outgoing === undefined || !this.#isAt(each)) return false;
      bytesAhead += each.outgoing.size;
      return index === 0 || bytesAhead <= AHEAD_BYTES;
    });
    // Those that were called off are sent no more.
    for (const each of this.#prepared.keys()) if (!next.includes(each)) this.#prepared.delete(each);
    for (const each of next) if (!this.#prepared.has(each)) this.#prepared.set(each, this.#prepare(each));
    const current = await prepared;
    const sent = await this.#sender.send(current, ready.order.originator);
    const { status, reason, bytes, dimseStatus, error } = sent;
    return {
      status,
      reason,
      bytes,
      remark: remarkOf(sent),
      ...(error !== undefined && { error }),
      // What the peer was not asked about because of us passes, or says something of the instance.
      final: dimseStatus === undefined ? error !== undefined && !isPassing(error) : isFinal(dimseStatus),
    };
  }

  release(): Promise<void> {
    return this.#association.release();
  }

  abort(): void {
    this.#association.abort();
  }

  #isAt({ order }: Ready): boolean {
    return addressOf(order) === this.#address;
  }

  #prepare({ outgoing }: Ready): Promise<Prepared> {
    if (outgoing === undefined) throw new TypeError('there is nothing to be sent');
    return this.#sender.prepare(outgoing);
  }
}

/** The kinds that an instance may be sent as. */
function kindsOf({ outgoing }: Ready): readonly Kind[] {
  if (outgoing === undefined) return [];
  const { sopClassUid, transferSyntax, wanted } = outgoing;
  const stored = { sopClassUid, transferSyntax };
  return wanted === undefined ? [stored] : [{ sopClassUid, transferSyntax: wanted }, stored];
}
