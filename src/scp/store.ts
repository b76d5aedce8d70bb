/** Owns the Storage service (PS3.4 §B, PS3.7 §9.1.1): which instances are taken, and what a C-STORE is answered. */

import type { Config } from '../config.ts';
import { COMMAND, type Command } from '../dicom/command.ts';
import { uidName } from '../dicom/dictionary.ts';
import { readSop } from '../dicom/sop.ts';
import { isAcceptedSopClass, isAcceptedTransferSyntax } from '../dicom/acceptance.ts';
import { EXPLICIT_LITTLE_ENDIAN, transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { writeFile } from '../dicom/write.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Ingest } from '../ingest/ingest.ts';
import { log } from '../log.ts';
import { recordOutOfResources } from '../metrics.ts';
import type { PresentationContext } from '../scu/association.ts';
import { Reception } from './receive.ts';
import { acceptFor, type Exchange, type Service } from './service.ts';

/** Statuses of C-STORE (PS3.4 table B.2-1); others come from the table of errors. */
const STATUS = { success: 0x0000, outOfResources: 0xa700, mismatch: 0xa900, cannotUnderstand: 0xc000 } as const;

/** Characters of an Error Comment (0000,0902). */
const COMMENT = 64;

export type StoreOptions = Pick<
  Config,
  'AcceptedTransferSyntaxes' | 'AcceptedSopClasses' | 'RejectedSopClasses' | 'UnknownSopClassAccepted' | 'ReadOnly'
>;

/** What the file begins with, before the data set (PS3.10 §7.1), of an instance that `callingAet` sends. */
function fileHead(
  context: PresentationContext,
  sopClassUid: string,
  sopInstanceUid: string,
  callingAet: string,
): Buffer {
  const { littleEndian, explicit } = syntaxOf(context);
  return writeFile({
    // The data set is appended as it comes, deflated where it is.
    transferSyntax: { uid: context.transferSyntax, littleEndian, explicit, deflated: false },
    sopClassUid,
    sopInstanceUid,
    dataSet: [],
    meta: [{ tag: '0002,0016', vr: 'AE', value: callingAet }],
  });
}

/** A head of which only the SOP Instance UID changes: making one costs as much as reading a command. */
interface Pattern {
  readonly head: Buffer;
  /** Where the UID stands. */
  readonly offset: number;
}

/** The header of Media Storage SOP Instance UID (0002,0003). */
const INSTANCE_UID = Buffer.from([2, 0, 3, 0, 0x55, 0x49]);

/** Patterns of the contexts of open associations, by the length of the UID, for the SOP class of the context. */
const patterns = new WeakMap<PresentationContext, Map<number, Pattern>>();

/** The same as {@link fileHead}, for a request. */
function headOf(context: PresentationContext, command: Command, callingAet: string): Buffer {
  const { AffectedSOPClassUID: sopClass = '', AffectedSOPInstanceUID: uid = '' } = command;
  if (sopClass !== context.abstractSyntax || !/^[\d.]{1,64}$/.test(uid))
    return fileHead(context, sopClass, uid, callingAet);
  const known = patterns.get(context) ?? new Map<number, Pattern>();
  patterns.set(context, known);
  let pattern = known.get(uid.length);
  if (pattern === undefined) {
    const head = fileHead(context, sopClass, uid, callingAet);
    pattern = { head, offset: head.indexOf(INSTANCE_UID) + 8 };
    known.set(uid.length, pattern);
  }
  const head = Buffer.from(pattern.head);
  head.write(uid, pattern.offset, 'latin1');
  return head;
}

/** A private transfer syntax is explicit VR little endian but for its pixels (PS3.5 §A.4). */
function syntaxOf({ transferSyntax: uid }: PresentationContext): {
  readonly littleEndian: boolean;
  readonly explicit: boolean;
  readonly deflated: boolean;
} {
  return (
    transferSyntax(uid) ??
    transferSyntax(EXPLICIT_LITTLE_ENDIAN) ?? { littleEndian: true, explicit: true, deflated: false }
  );
}

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
    const sop = readSop(bytes, sink.start, syntaxOf(context), slab.size);
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
    await ingest.store(slab, {
      origin: 'DicomProtocol',
      remoteIp: peer.remoteIp,
      remoteAet: peer.callingAet,
      calledAet: peer.calledAet,
      username: '',
    });
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
      await exchange.association.send(context, {
        CommandField: COMMAND['C-STORE-RSP'],
        MessageIDBeingRespondedTo: command.MessageID ?? 0,
        AffectedSOPClassUID: command.AffectedSOPClassUID ?? context.abstractSyntax,
        AffectedSOPInstanceUID: command.AffectedSOPInstanceUID ?? '',
        Status: status,
        ...(comment === undefined ? {} : { ErrorComment: comment.slice(0, COMMENT) }),
      });
    },
  };
}
