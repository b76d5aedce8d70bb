/**
 * Owns one association on one socket, whichever side asked for it: the protocol machine (dicom/upper-layer.ts) driven by what comes,
 * messages put together from fragments within bounds, messages cut to what the peer takes, deadlines, and back-pressure.
 */

import type { Socket } from 'node:net';
import type { Command } from '../dicom/command.ts';
import {
  type AbortReason,
  abortPdu,
  describeRejection,
  PduFault,
  type PduName,
  type PduReceiver,
  RELEASE_REQUEST,
  RELEASE_RESPONSE,
  type Rejection,
  rejectPdu,
} from '../dicom/pdu.ts';
import { type Effect, type Event, type State, transition } from '../dicom/upper-layer.ts';
import { asError, IsenError } from '../errors.ts';
import { Assembler } from './assembler.ts';
import type { Association, DataSink, Message, PresentationContext } from './association.ts';
import { Intake } from './intake.ts';
import { drained, writeMessage } from './message-writer.ts';
import { AcceptorNegotiation, type ContextAnswer, type Offer, type RequestorNegotiation } from './negotiation.ts';
import { Silence } from './silence.ts';

/** Milliseconds that a peer has for its first PDU, and for closing after the last (ARTIM, PS3.8 §9.1.5), at most. */
const ARTIM = 30_000;
const ARTIM_CLOSING = 5_000;

/** Least that a peer must take in a PDU, so that a message does not become a flood of them. */
const LEAST_PDU = 128;

/** Bytes that a peer must take in a PDU so that every response to a C-STORE fits into one. */
const LEAST_LENT = 1024;

/** What somebody needs who reads and answers instead of a connection. */
export interface Lendable {
  /** Of the TCP connection. */
  readonly descriptor: number;
  /** Largest PDU that was announced to the peer. */
  readonly maximumPdu: number;
}

/** What the connection goes on from. */
export interface Returned {
  readonly unread: Uint8Array;
  readonly unsent: Uint8Array;
  readonly reason: 'silence' | 'other' | 'recalled';
}

/** What is common to both sides. */
export interface ConnectionOptions {
  /** Milliseconds of the peer's silence that are borne; 0 is without end. */
  readonly patience: number;
  /** Largest PDU that we receive. */
  readonly maximumPdu: number;
  /** Chooses where the data set of a received request goes; undefined keeps it in memory. */
  readonly sink?: ((context: PresentationContext, command: Command) => DataSink | undefined) | undefined;
}

/** What becomes of an association that a peer asks for. */
export type Decision = { readonly rejected: Rejection } | { readonly answers: readonly ContextAnswer[] };

/** The side that asked, or how the other decides. */
export type Side =
  | { readonly requestor: RequestorNegotiation; readonly callingAet: string; readonly calledAet: string }
  | { readonly decide: (offer: Offer) => Promise<Decision> };

export class Connection implements Association, PduReceiver {
  callingAet = '';
  calledAet = '';
  readonly remoteIp: string;
  contexts: readonly PresentationContext[] = [];
  readonly ended: AbortSignal;
  /** Resolves when the association is established. Throws NetworkProtocol when it is refused or lost, Timeout. */
  readonly opened: Promise<void>;

  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #side: Side;
  readonly #intake: Intake;
  readonly #silence: Silence;
  readonly #over = new AbortController();
  readonly #byId = new Map<number, PresentationContext>();
  #state: State = 1;
  #open!: { resolve: () => void; reject: (error: IsenError) => void };
  /** Why there is no association any more. */
  #end: IsenError | 'released' | undefined;
  #negotiation: AcceptorNegotiation | undefined;
  #peerMaximum = 0;

  readonly #assembler: Assembler;
  readonly #messages: Message[] = [];
  #receiver: { resolve: (message: Message | undefined) => void; reject: (error: IsenError) => void } | undefined;

  #artim: NodeJS.Timeout | undefined;
  #messageId = 0;
  #isLent = false;
  #sending: Promise<void> = Promise.resolve();
  #released: (() => void) | undefined;

  constructor(socket: Socket, side: Side, options: ConnectionOptions) {
    this.#socket = socket;
    this.#side = side;
    this.#options = options;
    this.#silence = new Silence({
      excused: () => this.#intake.held,
      late: () => {
        this.#finish(new IsenError('Timeout', 'the peer said nothing'));
        this.abort();
      },
    });
    this.#intake = new Intake({
      socket,
      maximumPdu: options.maximumPdu,
      receiver: this,
      isOver: () => this.#state === 1,
      heard: () => this.#silence.broken(),
      failed: (thrown) => this.#fault(thrown),
    });
    this.#assembler = new Assembler({
      context: (id) => this.#byId.get(id),
      sink: options.sink,
      deliver: (message) => this.#deliver(message),
      hold: (work) => this.#intake.hold(work),
    });
    this.ended = this.#over.signal;
    this.remoteIp = addressOf(socket);
    this.opened = new Promise((resolve, reject) => {
      this.#open = { resolve, reject };
    });
    this.opened.catch(() => {});
    socket.setNoDelay(true);
    // 'close' follows, which tells the machine.
    socket.on('error', (error) => this.#finish(lost(error)));
    socket.on('close', () => {
      this.#happen('transport closed');
      clearTimeout(this.#artim);
      this.#finish(new IsenError('NetworkProtocol', 'the connection was closed'));
    });
    if ('requestor' in side) {
      this.callingAet = side.callingAet;
      this.calledAet = side.calledAet;
      this.#happen('A-ASSOCIATE request');
      this.#happen('transport confirm');
      this.#silence.watch(options.patience);
    } else this.#happen('transport indication');
  }

  get paused(): boolean {
    return this.#intake.held || this.#messages.length > 0 || this.#state === 1;
  }

  /** No message is coming in. */
  get idle(): boolean {
    return this.#assembler.idle && !this.#isLent;
  }

  /**
   * Lends the established association, on which nothing is under way, to `borrow`, until that resolves: it reads its connection and answers
   * what comes. Undefined where that cannot be.
   */
  lend(borrow: (lendable: Lendable) => Promise<Returned> | undefined): Promise<Returned['reason']> | undefined {
    const takesAny = this.#peerMaximum === 0 || this.#peerMaximum >= LEAST_LENT;
    // Without a receiver a message is on its way to it.
    const isIdle = this.#state === ESTABLISHED && this.#receiver !== undefined && this.#assembler.idle;
    if (!isIdle || !takesAny || this.#socket.writableLength > 0) return undefined;
    let reason: Returned['reason'] = 'other';
    const lent = this.#intake.lend((descriptor) =>
      borrow({ descriptor, maximumPdu: this.#options.maximumPdu })?.then((returned) => {
        ({ reason } = returned);
        if (returned.unsent.length > 0) this.#write(returned.unsent);
        return returned.unread;
      }),
    );
    if (lent === undefined) return undefined;
    this.#isLent = true;
    return lent.then(() => {
      this.#isLent = false;
      return reason;
    });
  }

  nextMessageId(): number {
    this.#messageId = (this.#messageId % 0xffff) + 1;
    return this.#messageId;
  }

  /** Whether the peer's silence counts: not while it waits for us. The clock starts again when it does. */
  set attentive(value: boolean) {
    this.#silence.attentive = value;
  }

  send(
    context: PresentationContext,
    command: Command,
    dataSet?: readonly Uint8Array[] | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    // Fragments of two messages must not mix (PS3.8 annex E.2).
    const sent = this.#sending.then(() => this.#send(context, command, dataSet));
    this.#sending = sent.catch(() => {});
    return sent;
  }

  async #send(
    context: PresentationContext,
    command: Command,
    dataSet: readonly Uint8Array[] | AsyncIterable<Uint8Array> | undefined,
  ): Promise<void> {
    if (this.#byId.get(context.id) === undefined) {
      throw new IsenError('NetworkProtocol', `presentation context ${context.id} was not accepted`);
    }
    this.#mustSend();
    try {
      await writeMessage(this.#socket, context.id, this.#peerMaximum, command, dataSet, async () => {
        await drained(this.#socket, this.#options.patience, () => this.#reason());
        this.#mustSend();
      });
    } catch (thrown) {
      // Half a message is on its way: nothing that follows could be understood.
      this.abort();
      throw thrown;
    }
  }

  /** Throws what ended the association, when it is over; moves the machine otherwise. */
  #mustSend(): void {
    if (transition(this.#state, 'P-DATA request', this.#isRequestor) === undefined) throw this.#reason();
    this.#happen('P-DATA request');
  }

  receive(patience = this.#options.patience): Promise<Message | undefined> {
    const message = this.#messages.shift();
    if (message !== undefined) {
      this.#intake.resume();
      return Promise.resolve(message);
    }
    if (this.#end === 'released' || this.#state === RELEASING) return Promise.resolve(undefined);
    if (this.#end !== undefined) return Promise.reject(this.#end);
    if (this.#receiver !== undefined) {
      return Promise.reject(new IsenError('BadSequenceOfCalls', 'the association is being received from already'));
    }
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject };
      this.#silence.broken();
      this.#silence.watch(patience);
    });
  }

  async release(): Promise<void> {
    if (this.#state === RELEASING) {
      // After the last byte of what is still being sent.
      await this.#sending;
      this.#finish('released');
      this.#happen('A-RELEASE response');
      return;
    }
    if (transition(this.#state, 'A-RELEASE request', this.#isRequestor) === undefined) {
      this.abort();
      return;
    }
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(() => this.abort(), Math.min(this.#options.patience || ARTIM, ARTIM));
      this.#released = () => {
        clearTimeout(deadline);
        resolve();
      };
      this.#happen('A-RELEASE request');
    });
  }

  abort(): void {
    if (transition(this.#state, 'A-ABORT request', this.#isRequestor) === undefined) {
      // Without an association there is nobody to tell; after its end the peer may still be reading what was said last.
      if (this.#state === 13) this.#socket.end();
      else if (this.#state !== 1) this.destroy();
      return;
    }
    this.#happen('A-ABORT request');
    this.#finish(new IsenError('NetworkProtocol', 'the association was aborted'));
    // The peer has nothing to say to this; what it sent before may still be on its way.
    this.#socket.end();
  }

  /** Closes the socket without a word. */
  destroy(): void {
    this.#socket.destroy();
  }

  // The protocol machine

  get #isRequestor(): boolean {
    return 'requestor' in this.#side;
  }

  #happen(
    event: Event,
    detail?: { readonly pdu?: Buffer; readonly reason?: AbortReason; readonly why?: string },
  ): void {
    const found = transition(this.#state, event, this.#isRequestor);
    if (found === undefined) return;
    this.#state = found.next;
    for (const effect of found.effects) this.#perform(effect, detail ?? {});
  }

  #perform(
    effect: Effect,
    { pdu, reason, why }: { readonly pdu?: Buffer; readonly reason?: AbortReason; readonly why?: string },
  ): void {
    switch (effect) {
      case 'connect':
        // The socket came connected.
        break;
      case 'send A-ASSOCIATE-RQ':
        if ('requestor' in this.#side) this.#write(this.#side.requestor.request);
        break;
      case 'send A-ASSOCIATE-AC':
      case 'send A-ASSOCIATE-RJ':
        if (pdu !== undefined) this.#write(pdu);
        break;
      case 'send P-DATA-TF':
        // By #send, many at a time.
        break;
      case 'send A-RELEASE-RQ':
        this.#write(RELEASE_REQUEST);
        break;
      case 'send A-RELEASE-RP':
        this.#write(RELEASE_RESPONSE);
        break;
      case 'send A-ABORT':
        this.#write(abortPdu('user', 'not specified'));
        this.#finish(new IsenError('NetworkProtocol', why ?? 'the association was aborted'));
        break;
      case 'send A-ABORT of the provider':
        this.#write(abortPdu('provider', reason ?? 'unexpected PDU'));
        break;
      case 'indicate associate':
        if (pdu !== undefined) this.#decide(pdu);
        break;
      case 'confirm accepted':
        if (pdu !== undefined) this.#accepted(pdu);
        break;
      case 'confirm rejected':
        this.#finish(
          new IsenError(
            'NetworkProtocol',
            `the association was rejected: ${pdu === undefined ? '' : describeRejection(pdu)}`,
          ),
        );
        break;
      case 'indicate data':
        // The fragments follow.
        break;
      case 'indicate release':
        // Requests that came before it are answered first; `release` answers it.
        if (this.#state === RELEASING && !this.#isRequestor) this.#heardRelease();
        else {
          this.#finish('released');
          // As requestor of a collision, and without one, the answer goes at once; as acceptor it waits for the peer's (Sta12).
          this.#happen('A-RELEASE response');
        }
        break;
      case 'confirm release':
        this.#finish('released');
        this.#happen('A-RELEASE response');
        break;
      case 'indicate abort':
        this.#finish(new IsenError('NetworkProtocol', 'the peer aborted the association'));
        break;
      case 'indicate provider abort':
        this.#finish(new IsenError('NetworkProtocol', why ?? 'the connection was lost'));
        break;
      case 'start ARTIM':
        this.#startArtim();
        break;
      case 'stop ARTIM':
        clearTimeout(this.#artim);
        break;
      case 'close transport':
        // Nothing of ours is on its way that the peer still wants.
        this.#socket.destroy();
        break;
    }
  }

  #startArtim(): void {
    const most = this.#state === 13 ? ARTIM_CLOSING : ARTIM;
    clearTimeout(this.#artim);
    this.#artim = setTimeout(
      () => {
        this.#happen('ARTIM expired');
        this.#finish(new IsenError('Timeout', 'the peer said nothing'));
      },
      Math.min(this.#options.patience || most, most),
    );
  }

  #write(bytes: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  #reason(): IsenError {
    return this.#end instanceof IsenError
      ? this.#end
      : new IsenError('NetworkProtocol', this.#end === 'released' ? 'the association was released' : 'no association');
  }

  /** No message comes any more, but those that came may be answered. */
  #heardRelease(): void {
    this.#silence.stop();
    this.#assembler.abandon();
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.resolve(undefined);
  }

  /** There is no association any more: whoever waits hears of it. */
  #finish(end: IsenError | 'released'): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#silence.stop();
    this.#assembler.abandon();
    // What nobody took can be answered no more.
    for (const { sink } of this.#messages.splice(0)) sink?.abandon();
    this.#open.reject(this.#reason());
    this.#released?.();
    const receiver = this.#receiver;
    this.#receiver = undefined;
    if (end === 'released') receiver?.resolve(undefined);
    else receiver?.reject(end);
    this.#over.abort();
  }

  // Negotiation

  #decide(request: Buffer): void {
    const side = this.#side;
    if ('requestor' in side) return;
    const negotiation = new AcceptorNegotiation(request);
    this.#negotiation = negotiation;
    const { offer } = negotiation;
    this.callingAet = offer.callingAet;
    this.calledAet = offer.calledAet;
    const decided: Promise<Decision> =
      negotiation.refused === undefined ? side.decide(offer) : Promise.resolve({ rejected: negotiation.refused });
    this.#intake.hold(
      decided.then((decision) => this.#answer(decision)).catch((thrown: unknown) => this.#fault(thrown)),
    );
  }

  #answer(decision: Decision): void {
    const negotiation = this.#negotiation;
    this.#negotiation = undefined;
    if (negotiation === undefined || this.#end !== undefined) return;
    if ('rejected' in decision) {
      this.#happen('A-ASSOCIATE response reject', { pdu: rejectPdu(decision.rejected) });
      this.#finish(new IsenError('NetworkProtocol', `the association was rejected: ${decision.rejected}`));
      return;
    }
    this.#agree(negotiation.offer.maximumPdu);
    const { pdu, contexts } = negotiation.accept(decision.answers, this.#options.maximumPdu);
    this.#establish(contexts);
    this.#happen('A-ASSOCIATE response accept', { pdu });
    this.#open.resolve();
  }

  #accepted(accept: Buffer): void {
    if (!('requestor' in this.#side)) return;
    const { contexts, maximumPdu } = this.#side.requestor.accepted(accept);
    this.#agree(maximumPdu);
    this.#establish(contexts);
    this.#silence.stop();
    this.#open.resolve();
  }

  #agree(peerMaximum: number): void {
    if (peerMaximum !== 0 && peerMaximum < LEAST_PDU) {
      throw new PduFault('invalid parameter value', `a peer that takes PDUs of ${peerMaximum} bytes`);
    }
    this.#peerMaximum = peerMaximum;
  }

  #establish(contexts: readonly PresentationContext[]): void {
    this.contexts = contexts;
    for (const context of contexts) this.#byId.set(context.id, context);
  }

  // Reading

  /** The peer broke a rule, or something here failed over what it sent. */
  #fault(thrown: unknown): void {
    const reason = thrown instanceof PduFault ? thrown.reason : 'not specified';
    this.#happen('invalid PDU', { reason, why: asError(thrown).message });
    this.#socket.end();
    this.#intake.close();
  }

  pdu(name: Exclude<PduName, 'P-DATA-TF'>, bytes: Buffer): void {
    this.#happen(name, { pdu: bytes, why: `${name} is not expected now` });
  }

  data(): void {
    this.#happen('P-DATA-TF', { why: 'P-DATA-TF is not expected now' });
  }

  fragment(contextId: number, isCommand: boolean, last: boolean, part: Buffer, ended: boolean): void {
    // After an abort or a release what still comes is passed over.
    if (this.#end === undefined) this.#assembler.fragment(contextId, isCommand, last, part, ended);
  }

  #deliver(message: Message): void {
    const receiver = this.#receiver;
    if (receiver === undefined) {
      this.#messages.push(message);
      return;
    }
    this.#receiver = undefined;
    this.#silence.stop();
    receiver.resolve(message);
  }
}

const ESTABLISHED: State = 6;

/** The peer asked for the release, and is not answered yet. */
const RELEASING: State = 8;

/** The numeric address of the peer; IPv4 as such where it came over IPv6. */
function addressOf(socket: Socket): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}

function lost(error: Error): IsenError {
  return new IsenError('NetworkProtocol', `the connection was lost: ${error.message}`, { cause: error });
}
