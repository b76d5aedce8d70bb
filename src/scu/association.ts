/**
 * Owns what an association promises to the rooms that speak DIMSE over it, whichever side asked for it (PS3.8 §7, PS3.7 §8).
 * Bytes travel raw: a data set is what the socket carried in the transfer syntax of its presentation context.
 */

import type { Command } from '../dicom/command.ts';

/** One accepted presentation context (PS3.8 §9.3.3.2). */
export interface PresentationContext {
  /** Odd, 1 to 255. */
  readonly id: number;
  readonly abstractSyntax: string;
  /** The one that was accepted. */
  readonly transferSyntax: string;
  /** Roles of the side that asked for the association, after negotiation (PS3.7 §D.3.3.4). */
  readonly scu: boolean;
  readonly scp: boolean;
}

/** A presentation context to ask for (PS3.8 §9.3.2.2). */
export interface ProposedContext {
  readonly abstractSyntax: string;
  /** In order of preference. */
  readonly transferSyntaxes: readonly string[];
  /** Asks for the SCP role too (C-GET) or instead (the result of a storage commitment). */
  readonly role?: 'scp' | 'both';
}

/** One DIMSE message as it came. */
export interface Message {
  readonly context: PresentationContext;
  readonly command: Command;
  /** The data set that followed, or undefined when none did or a sink took it. */
  readonly dataSet: Uint8Array | undefined;
  /** The sink that took it. */
  readonly sink: DataSink | undefined;
}

/** Where a data set goes as it comes, without being whole in memory here. */
export interface DataSink {
  /**
   * Takes a part, copied before this returns. A promise pauses the association until it resolves; a rejected one (or a throw) discards the rest
   * of this data set, and the message still comes, so that it can be answered.
   */
  write(part: Uint8Array): Promise<void> | undefined;
  /** The association ended before the data set did, or before the message was received: it never comes. */
  abandon(): void;
}

/** An open association. Everything that waits has a deadline; past it the association is aborted and the wait throws. */
export interface Association {
  readonly callingAet: string;
  readonly calledAet: string;
  /** Numeric address of the peer. */
  readonly remoteIp: string;
  readonly contexts: readonly PresentationContext[];
  /** An odd-or-even Message ID (0000,0110) not under way, 1 to 65535. */
  nextMessageId(): number;
  /**
   * Sends one message: the command, then the data set, cut to the peer's maximum PDU. Resolves when the socket took it all; parts may be
   * reused from then on. Throws NetworkProtocol when the association is over.
   */
  send(
    context: PresentationContext,
    command: Command,
    dataSet?: readonly Uint8Array[] | AsyncIterable<Uint8Array>,
  ): Promise<void>;
  /**
   * The next message, in order; undefined when the peer asked for the release. The side that asked for the association has answered that
   * then; the other may send what it still owes, and answers by {@link release}. `patience` in milliseconds; the association's own when absent. Throws NetworkProtocol when the association is aborted or lost, Timeout when nothing came.
   */
  receive(patience?: number): Promise<Message | undefined>;
  /** Aborted when the association is over, whoever ended it. */
  readonly ended: AbortSignal;
  /** Releases in order (A-RELEASE), within the deadline, or aborts; answers the release that the peer asked for. Never throws. */
  release(): Promise<void>;
  /** Ends it at once (A-ABORT). */
  abort(): void;
}

/** What is asked of a peer. */
export interface AssociationRequest {
  readonly host: string;
  readonly port: number;
  readonly callingAet: string;
  readonly calledAet: string;
  /** At most 128. */
  readonly contexts: readonly ProposedContext[];
  /** Milliseconds to connect and to be accepted, then of each wait for the peer. */
  readonly patience: number;
  /** Client side of TLS when given (PEM text). */
  readonly tls?: {
    readonly certificate?: string;
    readonly key?: string;
    readonly trusted?: string;
    readonly minimum?: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
  };
  /** Largest PDU that we receive, bytes. */
  readonly maximumPdu: number;
  /** Chooses where the data set of a received request goes before it comes (C-STORE of C-GET); undefined keeps it in memory, bounded. */
  readonly sink?: (context: PresentationContext, command: Command) => DataSink | undefined;
}
