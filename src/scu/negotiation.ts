/**
 * Owns the negotiation of an association (PS3.8 §9.3.2, §9.3.3, PS3.7 §D.3): what A-ASSOCIATE-RQ and -AC say, read and written by
 * dcmjs-dimse. Only PDUs whose structure was checked reach it; its sockets, timers and messages never run.
 */

import { Socket } from 'node:net';
import dimse from 'dcmjs-dimse';
import { type CheckedAssociate, checkAssociate, PduFault } from '../dicom/pdu.ts';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '../dicom/write.ts';
import { asError, IsenError } from '../errors.ts';
import type { PresentationContext, ProposedContext } from './association.ts';

dimse.log.setLevel('silent');
dimse.Implementation.setImplementationClassUid(IMPLEMENTATION_CLASS_UID);
dimse.Implementation.setImplementationVersion(IMPLEMENTATION_VERSION_NAME);

// It describes each association for its log, silent or not, which takes 10 ms for what storescu asks.
dimse.association.Association.prototype.toString = () => '';

type DimseAssociation = InstanceType<typeof dimse.association.Association>;

/** Results of a presentation context (PS3.8 table 9-18). */
export const CONTEXT_RESULT = {
  accepted: 0,
  'user rejection': 1,
  'abstract syntax not supported': 3,
  'transfer syntaxes not supported': 4,
} as const;

/** An AE title (PS3.5 §6.2). */
const TITLE = /^(?=.*[^ ])[\x20-\x5b\x5d-\x7e]{1,16}$/;

/** A presentation context that a peer asks for. */
export interface OfferedContext {
  readonly id: number;
  readonly abstractSyntax: string;
  readonly transferSyntaxes: readonly string[];
  /** The roles that the peer wants; SCU alone unless it says otherwise (PS3.7 §D.3.3.4). */
  readonly scu: boolean;
  readonly scp: boolean;
}

/** An association that a peer asks for. */
export interface Offer {
  readonly callingAet: string;
  readonly calledAet: string;
  /** Largest PDU that the peer receives, bytes; 0 is no limit. */
  readonly maximumPdu: number;
  readonly contexts: readonly OfferedContext[];
}

/** The answer to one offered context: what was accepted, or why it was not. */
export type ContextAnswer =
  | { readonly result: 'accepted'; readonly transferSyntax: string; readonly scu: boolean; readonly scp: boolean }
  | { readonly result: Exclude<keyof typeof CONTEXT_RESULT, 'accepted'> };

/** dcmjs-dimse's network, without a network: PDUs in and out as bytes. Uses names that are its own (0.3.3, pinned). */
class Codec extends dimse.Scp {
  #written: Buffer = Buffer.alloc(0);
  #failure: unknown;

  constructor() {
    super(new Socket());
  }

  /** Would listen to the socket and start timers. */
  protected _wrapSocket(): void {}

  protected _sendPdu(pdu: { writePdu(): Buffer }): void {
    this.#written = pdu.writePdu();
  }

  /** Its events arrive here and go no further. */
  override emit(event: string | symbol, ...values: unknown[]): boolean {
    if (event === 'networkError') this.#failure = values[0];
    return true;
  }

  /** Reads a checked A-ASSOCIATE-RQ, or the -AC to what was written. Throws PduFault. */
  read(pdu: Buffer): DimseAssociation {
    const own = this as unknown as { _processPdu(pdu: Buffer): Promise<void>; association: DimseAssociation };
    // It runs to its end at once for these PDUs, and reports by events instead of rejecting.
    void own._processPdu(pdu);
    if (this.#failure !== undefined) throw new PduFault('invalid parameter value', asError(this.#failure).message);
    return own.association;
  }

  writeRequest(association: DimseAssociation): Buffer {
    this.sendAssociationRequest(association);
    return this.#written;
  }

  writeAccept(): Buffer {
    this.sendAssociationAccept();
    return this.#written;
  }
}

/** The side that is asked. */
export class AcceptorNegotiation {
  readonly offer: Offer;
  /** Why the offer must be refused, whatever it holds. */
  readonly refused: CheckedAssociate['refused'];
  readonly #codec = new Codec();
  readonly #association: DimseAssociation;

  /** Reads an A-ASSOCIATE-RQ. Throws PduFault. */
  constructor(request: Buffer) {
    const { pdu, refused } = checkAssociate(request);
    this.refused = refused;
    this.#association = this.#codec.read(pdu);
    const contexts = contextsOf(this.#association);
    this.offer = {
      callingAet: this.#association.getCallingAeTitle(),
      calledAet: this.#association.getCalledAeTitle(),
      maximumPdu: this.#association.getMaxPduLength(),
      contexts: contexts.map((context) => ({
        id: context.getPresentationContextId(),
        abstractSyntax: context.getAbstractSyntaxUid(),
        // A copy: the answer empties the list.
        transferSyntaxes: [...context.getTransferSyntaxUids()],
        ...rolesOf(contexts, context.getAbstractSyntaxUid()),
      })),
    };
  }

  /** The A-ASSOCIATE-AC with these answers, one a context in the offer's order, and what is accepted by it. */
  accept(
    answers: readonly ContextAnswer[],
    maximumPdu: number,
  ): { readonly pdu: Buffer; readonly contexts: readonly PresentationContext[] } {
    const accepted: PresentationContext[] = [];
    for (const [index, context] of contextsOf(this.#association).entries()) {
      const answer = answers[index] ?? { result: 'abstract syntax not supported' };
      const result = CONTEXT_RESULT[answer.result];
      if (answer.result !== 'accepted') {
        context.setResult(result);
        continue;
      }
      const { transferSyntax, scu, scp } = answer;
      context.setResult(result, transferSyntax);
      // The answer to a role selection, where one was asked for.
      if (context.getUserRole() !== undefined) {
        context.setUserRole(scu);
        context.setProviderRole(scp);
      }
      const { id, abstractSyntax } = this.offer.contexts[index] ?? { id: 0, abstractSyntax: '' };
      accepted.push({ id, abstractSyntax, transferSyntax, scu, scp });
    }
    this.#association.setMaxPduLength(maximumPdu);
    // It would echo what was asked for, but messages are answered one after the other here.
    this.#association.setNegotiateAsyncOps(false);
    this.#association.setNegotiateUserIdentityServerResponse(false);
    return { pdu: this.#codec.writeAccept(), contexts: accepted };
  }
}

/** The side that asks. */
export class RequestorNegotiation {
  /** The A-ASSOCIATE-RQ. */
  readonly request: Buffer;
  readonly #codec = new Codec();
  readonly #association: DimseAssociation;
  /** The transfer syntaxes that were asked for, by context. */
  readonly #proposed = new Map<number, readonly string[]>();

  /** Throws ParameterOutOfRange for no contexts, more than 128, and what is no AE title. */
  constructor(callingAet: string, calledAet: string, contexts: readonly ProposedContext[], maximumPdu: number) {
    if (contexts.length === 0 || contexts.length > 128) {
      throw new IsenError('ParameterOutOfRange', `${contexts.length} presentation contexts; 1 to 128 are possible`);
    }
    for (const title of [callingAet, calledAet]) {
      if (!TITLE.test(title)) throw new IsenError('ParameterOutOfRange', `"${title}" is no AE title`);
    }
    const association = new dimse.association.Association(callingAet, calledAet);
    association.setMaxPduLength(maximumPdu);
    const chosen = new Set<string>();
    for (const { abstractSyntax, transferSyntaxes, role } of contexts) {
      const id = association.addPresentationContext(abstractSyntax);
      this.#proposed.set(id, transferSyntaxes);
      for (const uid of transferSyntaxes) association.addTransferSyntaxToPresentationContext(id, uid);
      // Roles belong to an abstract syntax, not to a context: one item each.
      if (role === undefined || chosen.has(abstractSyntax)) continue;
      chosen.add(abstractSyntax);
      association.getPresentationContext(id).setUserRole(role === 'both');
      association.getPresentationContext(id).setProviderRole(true);
    }
    this.#association = association;
    this.request = this.#codec.writeRequest(association);
  }

  /** Reads the A-ASSOCIATE-AC. Throws PduFault for one that is malformed or accepts what was not asked for. */
  accepted(accept: Buffer): { readonly contexts: readonly PresentationContext[]; readonly maximumPdu: number } {
    const { pdu } = checkAssociate(accept);
    for (const context of contextsOf(this.#association)) {
      // What the answer does not mention is not accepted, and has the default roles.
      context.setResult(CONTEXT_RESULT['user rejection']);
      forgetRoles(context);
    }
    this.#association.setMaxPduLength(0);
    this.#codec.read(pdu);
    const contexts = contextsOf(this.#association);
    const accepted = contexts
      .filter((context) => context.getResult() === CONTEXT_RESULT.accepted)
      .map((context): PresentationContext => {
        const id = context.getPresentationContextId();
        const transferSyntax = context.getAcceptedTransferSyntaxUid() ?? '';
        if (this.#proposed.get(id)?.includes(transferSyntax) !== true) {
          throw new PduFault('invalid parameter value', 'a transfer syntax was accepted that was not proposed');
        }
        const abstractSyntax = context.getAbstractSyntaxUid();
        const roles = rolesOf(contexts, abstractSyntax);
        return { id, abstractSyntax, transferSyntax, ...roles };
      });
    return { contexts: accepted, maximumPdu: this.#association.getMaxPduLength() };
  }
}

type DimseContext = InstanceType<typeof dimse.association.PresentationContext>;

function contextsOf(association: DimseAssociation): DimseContext[] {
  return association.getPresentationContexts().map(({ context }) => context);
}

/** The roles are kept with the first context of an abstract syntax, and undefined where none were negotiated. */
function rolesOf(contexts: readonly DimseContext[], abstractSyntax: string): { scu: boolean; scp: boolean } {
  const context = contexts.find((each) => each.getAbstractSyntaxUid() === abstractSyntax);
  const scu = context?.getUserRole();
  const scp = context?.getProviderRole();
  return { scu: scu ?? true, scp: scp ?? false };
}

function forgetRoles(context: DimseContext): void {
  const roles = context as unknown as { userRole: undefined; providerRole: undefined };
  roles.userRole = undefined;
  roles.providerRole = undefined;
}
