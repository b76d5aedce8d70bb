/** Owns the Storage service (PS3.4 §B, PS3.7 §9.1.1): which instances are taken, and what a C-STORE is answered. */

import type { Config } from '../config.ts';
import { COMMAND } from '../dicom/command.ts';
import { uidName } from '../dicom/dictionary.ts';
import { readSop } from '../dicom/sop.ts';
import { isAcceptedSopClass, isAcceptedTransferSyntax } from '../dicom/acceptance.ts';
import { headOf, syntaxOf } from '../dicom/received-file.ts';
import { storeResponse } from '../dicom/store-requests.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Ingest, Reception as Origin } from '../ingest/ingest.ts';
import { log } from '../log.ts';
import { recordOutOfResources } from '../metrics.ts';
import { Reception } from './receive.ts';
import { acceptFor, type Exchange, type Peer, type Service } from './service.ts';

/** Statuses of C-STORE (PS3.4 table B.2-1); others come from the table of errors. */
const STATUS = { success: 0x0000, outOfResources: 0xa700, mismatch: 0xa900, cannotUnderstand: 0xc000 } as const;

export type StoreOptions = Pick<
  Config,
  'AcceptedTransferSyntaxes' | 'AcceptedSopClasses' | 'RejectedSopClasses' | 'UnknownSopClassAccepted' | 'ReadOnly'
>;

const receptionFrom = ({ remoteIp, callingAet, calledAet }: Peer): Origin => ({
  origin: 'DicomProtocol',
  remoteIp,
  remoteAet: callingAet,
  calledAet,
  username: '',
});

/** A reception that knows where its data set begins. */
class Instance extends Reception {
  readonly start: number;

  constructor(ingest: Ingest, head: Uint8Array) {
    super(ingest, head);
    this.start = head.length;
  }
}

/** Takes instances in: a C-STORE is answered with success once its file is durable and indexed. */
export function createStore(ingest: Ingest, options: StoreOptions): Service {
  const isAcceptedSyntax = (uid: string): boolean => isAcceptedTransferSyntax(options.AcceptedTransferSyntaxes, uid);
  const isAcceptedClass = (uid: string): boolean =>
    isAcceptedSopClass(options, uid) ||
    (options.UnknownSopClassAccepted &&
      options.AcceptedSopClasses.length === 0 &&
      !options.RejectedSopClasses.includes(uid) &&
      uidName(uid) === undefined);

  /** The status of one C-STORE. */
  const store = async ({ peer, message: { context, command, sink } }: Exchange): Promise<number> => {
    if (!(sink instanceof Instance)) throw new IsenError('BadFileFormat', 'no data set');
    const slab = await sink.finish();
    const { head } = slab;
    const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
    const sop = readSop(bytes, sink.start, syntaxOf(context.transferSyntax), slab.size);
    // What cannot be read at all, ingest refuses.
    const status =
      sop === undefined
        ? STATUS.success
        : sop.sopClassUid === undefined || sop.sopInstanceUid === undefined
          ? STATUS.cannotUnderstand
          : sop.sopClassUid === command.AffectedSOPClassUID && sop.sopInstanceUid === command.AffectedSOPInstanceUID
            ? STATUS.success
            : STATUS.mismatch;
    if (status !== STATUS.success) {
      slab.release();
      return status;
    }
    await ingest.store(slab, receptionFrom(peer));
    return STATUS.success;
  };

  return {
    commands: [COMMAND['C-STORE-RQ']],
    accepts(peer, context) {
      if (!isAcceptedClass(context.abstractSyntax)) return undefined;
      return options.ReadOnly ? { refused: 'user rejection' } : acceptFor(peer, 'store', context, isAcceptedSyntax);
    },
    sink: (peer, context, command) =>
      command.CommandField === COMMAND['C-STORE-RQ']
        ? new Instance(ingest, headOf(context, command, peer.callingAet))
        : undefined,
    lend(peer, connection) {
      if (!ingest.borrows) return undefined;
      return connection.lend((lendable) => {
        const contexts = connection.contexts.filter(
          ({ abstractSyntax, transferSyntax, scu }) =>
            scu && isAcceptedClass(abstractSyntax) && !syntaxOf(transferSyntax).deflated,
        );
        return ingest.borrow({ ...lendable, contexts, callingAet: peer.callingAet }, receptionFrom(peer));
      });
    },
    recall: () => ingest.recall(),
    async serve(exchange) {
      const { context, command } = exchange.message;
      let status: number;
      let comment: string | undefined;
      try {
        status = await store(exchange);
      } catch (thrown) {
        const error = asIsenError(thrown);
        status = error.dimseStatus;
        comment = error.message;
        log.dicom[error.code === 'InternalError' ? 'error' : 'warn'](
          { err: error },
          `a C-STORE of ${exchange.peer.callingAet} failed`,
        );
      }
      if (status === STATUS.outOfResources) recordOutOfResources();
      await exchange.association.send(context, storeResponse(context.abstractSyntax, command, status, comment));
    },
  };
}
