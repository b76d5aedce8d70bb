/**
 * Owns what a DIMSE service is to the server that runs it: which presentation contexts it takes from which peer, and how it answers one
 * request. One file a service; main.ts lists them.
 */

import type { Command } from '../dicom/command.ts';
import type { Association, DataSink, Message, PresentationContext } from '../scu/association.ts';
import type { Connection } from '../scu/connection.ts';
import type { Modality } from '../scu/modality.ts';
import type { OfferedContext } from '../scu/negotiation.ts';

/** What a peer may ask for, as the options `DicomAlwaysAllow…` and `Allow…` of a modality name it. */
export type Permission = 'echo' | 'store' | 'find' | 'find-worklist' | 'get' | 'move' | 'n-action' | 'n-event-report';

/** Who asked for an association. */
export interface Peer {
  readonly callingAet: string;
  readonly calledAet: string;
  /** Numeric address. */
  readonly remoteIp: string;
  /** The known modalities with its AE title (by `DicomCheckModalityHost` at its address); most often one or none. */
  readonly modalities: readonly Modality[];
  /** By the options, and by those of its modality. */
  allows(permission: Permission): boolean;
}

/** What a service says to one offered presentation context. */
export type Acceptance =
  | {
      readonly transferSyntax: string;
      /** The role of the peer that this service is for: SCU for what it asks of us, SCP for what we ask of it (C-STORE of C-GET). */
      readonly peerRole: 'scu' | 'scp';
    }
  /** The service is the right one, but the peer may not use it, or no transfer syntax suits. */
  | { readonly refused: 'user rejection' | 'transfer syntaxes not supported' };

/** One request that a service answers. */
export interface Exchange {
  readonly peer: Peer;
  readonly message: Message;
  /**
   * The association as this request sees it: `receive` answers the responses to what was sent over it, and nothing else; `release` and
   * what the peer asks next are the server's.
   */
  readonly association: Association;
  /** Aborted when the peer cancels the request (C-CANCEL-RQ) or the association ends. */
  readonly cancelled: AbortSignal;
}

/** A DIMSE service (PS3.7 §7.5). */
export interface Service {
  /** Command Fields of the requests that it answers. */
  readonly commands: readonly number[];
  /** Undefined for an abstract syntax that is not this service's. */
  accepts(peer: Peer, context: OfferedContext): Acceptance | undefined;
  /** Where the data set of a request goes as it comes; absent, it is kept in memory, up to 16 MB. */
  readonly sink?: (peer: Peer, context: PresentationContext, command: Command) => DataSink | undefined;
  /**
   * Answers a request that came on a context of its own, the last response included. What it throws when the association is not over
   * aborts it.
   */
  serve(exchange: Exchange): Promise<void>;
  /**
   * Has an association, over which requests of this service come one after the other, served by somebody who does nothing else; resolves when it
   * is back, to why. Undefined where nobody takes it.
   */
  readonly lend?: (peer: Peer, connection: Connection) => ReturnType<Connection['lend']>;
  /** Has all that is lent come back. */
  readonly recall?: () => Promise<void>;
}

/** How a service of a single permission answers: to a peer that may, the first of its transfer syntaxes that suits. */
export function acceptFor(
  peer: Peer,
  permission: Permission,
  { transferSyntaxes }: OfferedContext,
  suits: (uid: string) => boolean,
  peerRole: 'scu' | 'scp' = 'scu',
): Acceptance {
  if (!peer.allows(permission)) return { refused: 'user rejection' };
  const transferSyntax = transferSyntaxes.find(suits);
  return transferSyntax === undefined ? { refused: 'transfer syntaxes not supported' } : { transferSyntax, peerRole };
}
