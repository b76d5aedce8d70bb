/**
 * Owns the answering of C-MOVE requests (PS3.4 §C.4.2): the instances named go to a known modality, over associations of their own, or
 * (`SynchronousCMove` false) into its queue.
 */

import { randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import { COMMAND } from '../dicom/command.ts';
import { readIdentifier } from '../dicom/identifier.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { outgoingOf } from '../jobs/feed.ts';
import { modalityQueue, type Order } from '../jobs/order.ts';
import type { NewEntry, Queue } from '../jobs/queue.ts';
import { log } from '../log.ts';
import type { Association } from '../scu/association.ts';
import { ContextSet, transcodingTargets } from '../scu/contexts.ts';
import type { Dial } from '../scu/dial.ts';
import type { Modalities, Modality } from '../scu/modality.ts';
import { type MoveOriginator, type Outgoing, type Prepared, remarkOf, type Sent, StoreSender } from '../scu/send.ts';
import { isSameAet } from './peer.ts';
import { Selection, type SelectionRoom } from './selection.ts';
import { acceptFor, type Exchange, type Service } from './service.ts';
import { classesOf, isPlainSyntax, STATUS } from './statuses.ts';
import { Suboperations } from './suboperations.ts';

/** Associations lost or refused one after another, nothing sent, after which the rest counts as failed. */
const MOST_LOST = 2;

export interface MoveRoom extends SelectionRoom {
  readonly config: Config;
  readonly modalities: Pick<Modalities, 'list'>;
  readonly dial: Dial;
  readonly queue: Pick<Queue, 'add'>;
}

/** The service of C-MOVE. */
export function createMove(room: MoveRoom): Service {
  const classes = classesOf('move');
  return {
    commands: [COMMAND['C-MOVE-RQ']],
    accepts: (peer, context) =>
      classes.includes(context.abstractSyntax) ? acceptFor(peer, 'move', context, isPlainSyntax) : undefined,
    serve: (exchange) => serveMove(room, exchange),
  };
}

async function serveMove(room: MoveRoom, exchange: Exchange): Promise<void> {
  const { config, modalities } = room;
  const { command, context, dataSet } = exchange.message;
  const operations = new Suboperations('C-MOVE', exchange);
  const aet = command.MoveDestination ?? '';
  let modality: Modality | undefined;
  let selection: Selection;
  let count: number;
  let sets: readonly ContextSet[];
  let targets: readonly string[];
  try {
    modality = (await modalities.list()).find((each) => isSameAet(each.aet, aet, config));
    if (modality === undefined) throw new IsenError('InexistentItem', 'the move destination is not known');
    if (dataSet === undefined) throw new IsenError('BadRequest', 'C-MOVE without an identifier');
    selection = new Selection(room.database, readIdentifier(dataSet, context.transferSyntax).identifier);
    const transcodes = modality.allowTranscoding && config.TranscodeDicomProtocol;
    targets = transcodes ? transcodingTargets(config.DicomScuPreferredTransferSyntax) : [];
    ({ count, sets } = await selection.survey(targets));
    if (count === 0) throw new IsenError('UnknownResource', 'nothing here has these identifiers');
  } catch (thrown) {
    log.dicom.info({ reason: asIsenError(thrown).message }, 'a C-MOVE failed');
    return operations.refuse(thrown, modality === undefined ? STATUS.unknownDestination : undefined);
  }
  const originator = { aet: exchange.association.callingAet, messageId: command.MessageID ?? 0 };
  operations.begin(count);
  if (!config.SynchronousCMove) {
    try {
      await enqueue(room.queue, modality, selection, originator);
    } catch (thrown) {
      return operations.refuse(thrown);
    }
    return operations.end();
  }
  const delivery = new Delivery(room, modality, exchange, operations, originator, targets);
  const carried = sets.length > 0 ? sets : [new ContextSet(targets)];
  for (const [index, set] of carried.entries()) await delivery.send(selection, set, index === 0);
  await operations.end();
}

/** Puts the instances into the queue of the modality, durably: they are its own affair from here on. */
async function enqueue(
  queue: MoveRoom['queue'],
  modality: Modality,
  selection: Selection,
  originator: MoveOriginator,
): Promise<void> {
  const name = modalityQueue(modality.name);
  const move = randomUUID();
  for await (const page of selection.pages()) {
    const entries = page.map(({ id: instance }): NewEntry => {
      const value: Order = { instance, originator };
      return { queue: name, id: `${move} ${instance}`, group: '', priority: 0, due: 0, value };
    });
    await queue.add(entries);
  }
}

/** The sending of one C-MOVE's instances. */
class Delivery {
  readonly #room: MoveRoom;
  readonly #modality: Modality;
  readonly #exchange: Exchange;
  readonly #operations: Suboperations;
  readonly #originator: MoveOriginator;
  readonly #targets: readonly string[];
  #sender: StoreSender | undefined;
  #lost = 0;

  constructor(
    room: MoveRoom,
    modality: Modality,
    exchange: Exchange,
    operations: Suboperations,
    originator: MoveOriginator,
    targets: readonly string[],
  ) {
    this.#room = room;
    this.#modality = modality;
    this.#exchange = exchange;
    this.#operations = operations;
    this.#originator = originator;
    this.#targets = targets;
  }

  /** Sends those of the instances that the contexts are for, the next one read while one is sent. */
  async send(selection: Selection, contexts: ContextSet, first: boolean): Promise<void> {
    const { cancelled } = this.#exchange;
    let waiting: { readonly outgoing: Outgoing; readonly prepared: Promise<Prepared> | undefined } | undefined;
    const settle = async (): Promise<void> => {
      if (waiting === undefined || cancelled.aborted) return;
      const { outgoing, prepared } = waiting;
      const sent = await this.#deliver(outgoing, prepared);
      if (sent.status === 'failure') log.dicom.info({ reason: remarkOf(sent) }, 'an instance of a C-MOVE was not sent');
      await this.#operations.count(outgoing.sopInstanceUid, sent.status);
    };
    try {
      for await (const found of selection.instances()) {
        if (cancelled.aborted) break;
        const outgoing = outgoingOf(this.#room, found);
        if (outgoing === undefined) {
          // Of no SOP class that could be negotiated, in any of the sets.
          if (first) await this.#operations.count(found.tags['0008,0018'] ?? '', 'failure');
          continue;
        }
        if (!contexts.has(outgoing)) continue;
        const sender = await this.#open(contexts);
        const prepared = sender?.prepare(outgoing);
        await settle();
        waiting = { outgoing, prepared: sender === this.#sender ? prepared : undefined };
      }
      await settle();
    } finally {
      const sender = this.#sender;
      this.#sender = undefined;
      await sender?.association.release();
    }
  }

  /** The association that is open, or a new one; undefined when the modality does not answer. */
  async #open(contexts: ContextSet): Promise<StoreSender | undefined> {
    if (this.#sender !== undefined && !this.#sender.association.ended.aborted) return this.#sender;
    this.#sender = undefined;
    if (this.#lost >= MOST_LOST) return undefined;
    try {
      const association: Association = await this.#room.dial(this.#modality, contexts.proposals());
      this.#sender = new StoreSender(association, this.#targets);
    } catch (thrown) {
      this.#lost += 1;
      log.dicom.warn({ reason: asIsenError(thrown).message }, 'the destination of a C-MOVE does not answer');
    }
    return this.#sender;
  }

  async #deliver(outgoing: Outgoing, prepared: Promise<Prepared> | undefined): Promise<Sent> {
    const sender = this.#sender;
    const lost = (reason: string): Sent => ({ status: 'failure', dimseStatus: undefined, reason, bytes: 0 });
    if (sender === undefined) return lost('the destination does not answer');
    try {
      const sent = await sender.send(await (prepared ?? sender.prepare(outgoing)), this.#originator);
      if (sent.dimseStatus !== undefined) this.#lost = 0;
      return sent;
    } catch (thrown) {
      this.#lost += 1;
      return lost(asIsenError(thrown).message);
    }
  }
}
