/**
 * Owns the sending of stored instances over one open association (PS3.4 §B, PS3.7 §9.1.1). What the peer accepts as it is stored goes
 * out byte by byte as it is stored: only File Meta Information is skipped, and no data set is decoded.
 */

import { COMMAND } from '../dicom/command.ts';
import { readFileMeta } from '../dicom/read.ts';
import { textOf } from '../dicom/value.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Association, PresentationContext } from './association.ts';
import { contextOf, type Kind, targetContexts } from './contexts.ts';

/** One stored instance. */
export interface Outgoing extends Kind {
  readonly sopInstanceUid: string;
  /** Bytes of the stored file. */
  readonly size: number;
  /** Bytes of the stored file from `start` up to `end`, in `memory` where it is large enough. Throws InexistentFile, CorruptedFile. */
  read(start: number, end: number, memory?: Uint8Array): Promise<Uint8Array>;
  /** The whole file in another transfer syntax. Throws NotImplemented and others of the codecs. */
  transcode(syntax: string): Promise<Uint8Array>;
  /** Where it does not go as it is stored, what goes in its place, in the same transfer syntax: then `size` and `read` say nothing. */
  changed?(): Promise<Uint8Array>;
  /** The transfer syntax that it should go in where the peer accepts that. */
  readonly wanted?: string | undefined;
}

/** Who moved an instance here (PS3.7 §9.1.1.1). */
export interface MoveOriginator {
  readonly aet: string;
  readonly messageId: number;
}

/** What became of one instance. */
export interface Sent {
  readonly status: 'success' | 'warning' | 'failure';
  /** As the peer answered; undefined when it was not asked, because the instance could not be read or put into an accepted syntax. */
  readonly dimseStatus: number | undefined;
  /** For people: what went wrong, or what the peer remarked; empty for a plain success. */
  readonly reason: string;
  /** Of a failure, and of no other: NetworkProtocol where the peer answered it. */
  readonly error?: IsenError;
  /** Bytes of the data set as it was sent. */
  readonly bytes: number;
}

/** What may be logged of what became of an instance: what the peer wrote may name a patient. */
export const remarkOf = ({ dimseStatus, reason }: Pick<Sent, 'dimseStatus' | 'reason'>): string =>
  dimseStatus === undefined ? reason : `status ${dimseStatus.toString(16)}H`;

/** An instance with its first bytes in memory, for the association that prepared it. */
export interface Prepared {
  readonly outgoing: Outgoing;
  /** What it was read into, the sender's again when it is sent. */
  readonly memory: Uint8Array | undefined;
  readonly way:
    | {
        readonly context: PresentationContext;
        readonly sopInstanceUid: string;
        readonly size: number;
        readonly parts: readonly Uint8Array[] | (() => AsyncIterable<Uint8Array>);
      }
    | { readonly error: IsenError };
}

/** Bytes up to which a file is read at once; a larger one goes in parts of this size, the next one read while one is sent. */
const PART = 1 << 20;

/** Statuses by which the peer says that it has the instance, with a remark (PS3.7 §C.4, PS3.4 §B.2.3). */
const WARNINGS: ReadonlySet<number> = new Set([0x0001, 0x0107, 0x0111, 0x0116]);

/** Failures that sending again does not mend: what the instance or the peer is, not what state the peer is in. */
const FINAL: ReadonlySet<number> = new Set([0x0117, 0x0118, 0x0119, 0x0122, 0x0124]);

/** What a status of a C-STORE response means. */
export function statusKind(status: number): Sent['status'] {
  if (status === 0) return 'success';
  return WARNINGS.has(status) || status >> 12 === 0xb ? 'warning' : 'failure';
}

/** Whether a failure with this status will be one again, however often it is tried. */
export function isFinal(status: number): boolean {
  // A9xx: the data set does not match its SOP class.
  return FINAL.has(status) || status >> 8 === 0xa9;
}

/** An instance that the peer was not asked to take. */
export const failed = (error: IsenError): Sent & { readonly error: IsenError } => ({
  status: 'failure',
  dimseStatus: undefined,
  reason: error.details ?? error.message,
  error,
  bytes: 0,
});

/** Sends over `association`, which stays the caller's to release. */
export class StoreSender {
  readonly association: Association;
  readonly #targets: readonly string[];
  /** Memory that nothing is read into. */
  readonly #free: Uint8Array[] = [];

  /** `targets`: what may be transcoded to, the best first; none where transcoding is not allowed. */
  constructor(association: Association, targets: readonly string[]) {
    this.association = association;
    this.#targets = targets;
  }

  /**
   * Reads the beginning of an instance, transcoded where it must be. Beside the sending of another one, so that neither waits. What
   * goes wrong is in the answer.
   */
  async prepare(outgoing: Outgoing): Promise<Prepared> {
    // Fresh memory costs a page fault for each of its pages, and some of it is enough for all that one association sends.
    const memory = this.#free.pop() ?? Buffer.allocUnsafeSlow(PART);
    try {
      return { outgoing, memory, way: (await this.#wanted(outgoing)) ?? (await this.#stored(outgoing, memory)) };
    } catch (thrown) {
      return { outgoing, memory, way: { error: asIsenError(thrown) } };
    }
  }

  /**
   * Sends one instance and waits for the answer. Throws NetworkProtocol or Timeout when the association is over, and then nothing is
   * known of the instance.
   */
  async send(prepared: Prepared, originator?: MoveOriginator): Promise<Sent> {
    try {
      return await this.#send(prepared, originator);
    } finally {
      if (prepared.memory !== undefined) this.#free.push(prepared.memory);
    }
  }

  async #send({ outgoing, way }: Prepared, originator?: MoveOriginator): Promise<Sent> {
    if ('error' in way) return failed(way.error);
    const { association } = this;
    const id = association.nextMessageId();
    let broken: IsenError | undefined;
    const parts = typeof way.parts === 'function' ? watched(way.parts, (error) => (broken = error)) : way.parts;
    try {
      await association.send(
        way.context,
        {
          CommandField: COMMAND['C-STORE-RQ'],
          AffectedSOPClassUID: outgoing.sopClassUid,
          MessageID: id,
          Priority: 0,
          AffectedSOPInstanceUID: way.sopInstanceUid,
          ...(originator && {
            MoveOriginatorApplicationEntityTitle: originator.aet,
            MoveOriginatorMessageID: originator.messageId,
          }),
        },
        parts,
      );
    } catch (thrown) {
      // Half a data set is on its way: nothing else can follow it.
      association.abort();
      if (broken === undefined) throw asIsenError(thrown);
      return failed(broken);
    }
    const answer = await association.receive();
    if (answer === undefined) throw new IsenError('NetworkProtocol', 'the peer released the association unanswered');
    const { CommandField, MessageIDBeingRespondedTo, Status, ErrorComment } = answer.command;
    if (CommandField !== COMMAND['C-STORE-RSP'] || MessageIDBeingRespondedTo !== id || Status === undefined) {
      association.abort();
      throw new IsenError('NetworkProtocol', 'the peer answered something else');
    }
    const status = statusKind(Status);
    const comment = ErrorComment ? ` (${ErrorComment})` : '';
    const number = `0x${Status.toString(16).toUpperCase().padStart(4, '0')}`;
    const aet = `C-STORE SCU to AET "${association.calledAet}"`;
    if (status === 'failure') {
      const error = new IsenError('NetworkProtocol', `${aet} has failed with DIMSE status ${number}${comment}`);
      return { ...failed(error), dimseStatus: Status };
    }
    const reason = status === 'warning' ? `${aet} was answered with the warning ${number}${comment}` : '';
    return { status, dimseStatus: Status, reason, bytes: way.size };
  }

  /** In the wanted transfer syntax, where that is possible. */
  async #wanted(outgoing: Outgoing): Promise<Prepared['way'] | undefined> {
    const { wanted, sopClassUid, transferSyntax } = outgoing;
    if (wanted === undefined || wanted === transferSyntax) return undefined;
    const context = contextOf(this.association.contexts, { sopClassUid, transferSyntax: wanted });
    if (context === undefined) return undefined;
    try {
      return await this.#transcoded(outgoing, context);
    } catch (thrown) {
      // It is better delivered as it is than not at all.
      if (['NotImplemented', 'IncompatibleImageFormat', 'NotEnoughMemory'].includes(asIsenError(thrown).code))
        return undefined;
      throw thrown;
    }
  }

  async #stored(outgoing: Outgoing, memory: Uint8Array): Promise<Prepared['way']> {
    const { contexts, calledAet } = this.association;
    const context = contextOf(contexts, outgoing);
    if (context !== undefined)
      return outgoing.changed === undefined
        ? asStored(outgoing, context, memory)
        : asMade(outgoing, context, await outgoing.changed());
    const { sopClassUid, transferSyntax } = outgoing;
    const targets = targetContexts(contexts, sopClassUid, this.#targets);
    if (targets.length === 0 || this.#targets.length === 0) {
      const details = `No valid presentation context was negotiated for SOP class UID [${sopClassUid}] and transfer syntax [${transferSyntax}] while sending to modality [${calledAet}]`;
      return { error: new IsenError('NetworkProtocol', details) };
    }
    let failure: IsenError | undefined;
    for (const target of targets) {
      try {
        return await this.#transcoded(outgoing, target);
      } catch (thrown) {
        failure ??= asIsenError(thrown);
        if (failure.code !== 'NotImplemented') throw failure;
      }
    }
    const accepted = targets.map((target) => target.transferSyntax).join(' ');
    const details = `Cannot transcode from ${transferSyntax} to one of [ ${accepted} ]`;
    return { error: new IsenError('NotImplemented', details, { cause: failure }) };
  }

  async #transcoded(outgoing: Outgoing, context: PresentationContext): Promise<Prepared['way']> {
    return asMade(outgoing, context, await outgoing.transcode(context.transferSyntax));
  }
}

/** The data set of a file that was made of the stored one. */
function asMade(outgoing: Outgoing, context: PresentationContext, file: Uint8Array): Prepared['way'] {
  const { meta, end } = readFileMeta(file);
  const dataSet = file.subarray(end);
  const syntax = meta.elements.get('0002,0010');
  // Another file took the place of the one that was agreed upon.
  if (syntax !== undefined && textOf(meta, syntax).trim() !== context.transferSyntax)
    throw new IsenError('Busy', 'the instance is stored in another transfer syntax now');
  // Lossy compression and modification make another instance of it.
  const uid = meta.elements.get('0002,0003');
  const sopInstanceUid = uid === undefined ? outgoing.sopInstanceUid : textOf(meta, uid).trim();
  return { context, sopInstanceUid, size: dataSet.length, parts: even([dataSet], dataSet.length) };
}

/** The bytes behind File Meta Information. */
async function asStored(
  outgoing: Outgoing,
  context: PresentationContext,
  memory: Uint8Array,
): Promise<Prepared['way']> {
  const { size, sopInstanceUid } = outgoing;
  const first = await outgoing.read(0, Math.min(size, PART), memory);
  const offset = readFileMeta(first).end;
  const begin = first.subarray(offset);
  const length = size - offset;
  if (first.length === size) return { context, sopInstanceUid, size: length, parts: even([begin], length) };
  return { context, sopInstanceUid, size: length, parts: () => parts(outgoing, begin, first.length, length) };
}

/** The parts of a large file, one read ahead. */
async function* parts(
  outgoing: Outgoing,
  begin: Uint8Array,
  from: number,
  length: number,
): AsyncGenerator<Uint8Array, void> {
  const read = (at: number): Promise<Uint8Array> | undefined => {
    if (at >= outgoing.size) return undefined;
    const part = outgoing.read(at, Math.min(at + PART, outgoing.size));
    // Awaited below, unless the association ends before.
    part.catch(() => {});
    return part;
  };
  let next = read(from);
  yield begin;
  for (let at = from; next !== undefined; ) {
    const part = await next;
    at += part.length;
    next = read(at);
    yield part;
  }
  yield* even([], length);
}

/** A data set has an even length (PS3.5 §7.1.1); of a deflated one the last byte may be missing (PS3.5 §A.5). */
function even(dataSet: readonly Uint8Array[], length: number): readonly Uint8Array[] {
  return length % 2 === 0 ? dataSet : [...dataSet, new Uint8Array(1)];
}

/** The same parts; `failed` hears when reading them fails, as the one who sends them cannot tell. */
async function* watched(
  source: () => AsyncIterable<Uint8Array>,
  failed: (error: IsenError) => void,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* source();
  } catch (thrown) {
    const error = asIsenError(thrown);
    failed(error);
    throw error;
  }
}
