/** Owns the answering of C-GET requests (PS3.4 §C.4.3): the instances named go back over the association that asked. */

import type { Config } from '../config.ts';
import { COMMAND } from '../dicom/command.ts';
import { readIdentifier } from '../dicom/identifier.ts';
import { STORAGE_CLASSES } from '../dicom/storage-classes.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { outgoingOf } from '../jobs/feed.ts';
import { log } from '../log.ts';
import { transcodingTargets } from '../scu/contexts.ts';
import { type Outgoing, type Prepared, remarkOf, StoreSender } from '../scu/send.ts';
import { Selection, type SelectionRoom } from './selection.ts';
import { acceptFor, type Exchange, type Service } from './service.ts';
import { classesOf, isPlainSyntax } from './statuses.ts';
import { Suboperations } from './suboperations.ts';

export interface GetRoom extends SelectionRoom {
  readonly config: Config;
}

/** The service of C-GET. */
export function createGet(room: GetRoom): Service {
  const classes = classesOf('get');
  return {
    commands: [COMMAND['C-GET-RQ']],
    accepts(peer, context) {
      if (classes.includes(context.abstractSyntax)) return acceptFor(peer, 'get', context, isPlainSyntax);
      // Where it offers to be the SCP of a storage class, we send (PS3.7 §D.3.3.4).
      if (!context.scp || !peer.allows('get') || !STORAGE_CLASSES.has(context.abstractSyntax)) return undefined;
      return acceptFor(peer, 'get', context, (uid) => transferSyntax(uid) !== undefined, 'scp');
    },
    serve: (exchange) => serveGet(room, exchange),
  };
}

async function serveGet(room: GetRoom, exchange: Exchange): Promise<void> {
  const { config } = room;
  const { association, cancelled } = exchange;
  const { context, dataSet } = exchange.message;
  const operations = new Suboperations('C-GET', exchange);
  let selection: Selection;
  try {
    if (dataSet === undefined) throw new IsenError('BadRequest', 'C-GET without an identifier');
    selection = new Selection(room.database, readIdentifier(dataSet, context.transferSyntax).identifier);
    const { count } = await selection.survey([]);
    if (count === 0) throw new IsenError('UnknownResource', 'nothing here has these identifiers');
    operations.begin(count);
  } catch (thrown) {
    log.dicom.info({ reason: asIsenError(thrown).message }, 'a C-GET failed');
    return operations.refuse(thrown);
  }
  const targets = config.TranscodeDicomProtocol ? transcodingTargets(config.DicomScuPreferredTransferSyntax) : [];
  const contexts = association.contexts.filter(({ scp }) => scp);
  const sender = new StoreSender({ ...association, contexts }, targets);
  let waiting: { readonly outgoing: Outgoing; readonly prepared: Promise<Prepared> } | undefined;
  const settle = async (): Promise<void> => {
    if (waiting === undefined || cancelled.aborted) return;
    const sent = await sender.send(await waiting.prepared);
    if (sent.status === 'failure') log.dicom.info({ reason: remarkOf(sent) }, 'an instance of a C-GET was not sent');
    await operations.count(waiting.outgoing.sopInstanceUid, sent.status);
  };
  for await (const found of selection.instances()) {
    if (cancelled.aborted) break;
    const outgoing = outgoingOf(room, found);
    if (outgoing === undefined) {
      await operations.count(found.tags['0008,0018'] ?? '', 'failure');
      continue;
    }
    const prepared = sender.prepare(outgoing);
    await settle();
    waiting = { outgoing, prepared };
  }
  await settle();
  await operations.end();
}
