/** Owns how a modality is called: our AE title, its patience, TLS, and what it means when nothing that was asked for is accepted. */

import type { Association, AssociationRequest, PresentationContext, ProposedContext } from './association.ts';
import { asIsenError, type ErrorName, IsenError } from '../errors.ts';
import { EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN } from '../dicom/transfer-syntaxes.ts';
import type { Modality } from './modality.ts';

/** What is called. */
export type Callee = Pick<Modality, 'aet' | 'host' | 'port' | 'localAet' | 'timeout' | 'useDicomTls'>;

/** What one call has of its own. */
export interface CallOptions {
  /** Over the modality's and the server's own AE title. */
  readonly localAet?: string | undefined;
  /** Seconds, over the modality's and `DicomScuTimeout`. */
  readonly timeout?: number | undefined;
  readonly sink?: AssociationRequest['sink'];
}

/** Opens an association with a modality. Throws NetworkProtocol, Timeout. */
export type Dial = (
  modality: Callee,
  contexts: readonly ProposedContext[],
  options?: CallOptions,
) => Promise<Association>;

/** What every call of this server has in common. */
export interface DialOptions {
  readonly connect: (request: AssociationRequest) => Promise<Association>;
  readonly aet: string;
  /** Seconds; 0 is no limit, which is an hour here. */
  readonly timeout: number;
  readonly maximumPdu: number;
  readonly tls: AssociationRequest['tls'];
}

const HOUR = 3600;

/** The AE title that we take towards a modality. */
export function localAetOf(modality: Callee, aet: string, localAet?: string): string {
  return localAet ?? modality.localAet ?? aet;
}

/** How to call modalities. */
export function createDial({ connect, aet, timeout, maximumPdu, tls }: DialOptions): Dial {
  return async (modality, contexts, options = {}) => {
    const { host, port } = modality;
    const patience = (options.timeout || modality.timeout || timeout || HOUR) * 1000;
    const callingAet = localAetOf(modality, aet, options.localAet);
    try {
      return await connect({
        host,
        port,
        callingAet,
        calledAet: modality.aet,
        contexts,
        patience,
        maximumPdu,
        ...(modality.useDicomTls && { tls: tls ?? {} }),
        ...(options.sink && { sink: options.sink }),
      });
    } catch (thrown) {
      const error = asIsenError(thrown);
      const details = `DicomAssociation - connecting to AET "${modality.aet}": ${error.details ?? error.message}`;
      throw new IsenError(error.code, details, { cause: thrown });
    }
  };
}

/** A context in the transfer syntaxes that any identifier can be written in. */
export function plainContext(abstractSyntax: string): ProposedContext {
  return { abstractSyntax, transferSyntaxes: [EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN] };
}

/** The accepted context of a SOP class. Throws `missing` where the peer accepted none. */
export function acceptedContext(
  association: Association,
  abstractSyntax: string,
  missing: ErrorName,
): PresentationContext {
  const context = association.contexts.find((each) => each.abstractSyntax === abstractSyntax);
  if (context !== undefined) return context;
  throw new IsenError(missing, `Remote AET is ${association.calledAet}`);
}

/** Does `work` over an association, which is released then, or aborted where it failed. */
export async function over<Result>(
  opening: Promise<Association>,
  work: (association: Association) => Promise<Result>,
): Promise<Result> {
  const association = await opening;
  let done = false;
  try {
    const result = await work(association);
    done = true;
    return result;
  } finally {
    // A failure that the peer answered leaves the association in order; only one in the middle of a message does not.
    if (done || !association.ended.aborted) await association.release();
    else association.abort();
  }
}
