/**
 * Owns the putting together of DIMSE messages from the fragments that come (PS3.7 §6.3.1, PS3.8 annex E): commands within a bound, data
 * sets into their sink, or into memory within a bound.
 */

import { type Command, type DecodedCommand, decodeCommand, isResponse, MAXIMUM_COMMAND } from '../dicom/command.ts';
import { PduFault } from '../dicom/pdu.ts';
import type { DataSink, Message, PresentationContext } from './association.ts';
import { Gathered } from './gathered.ts';

/** Bytes of a data set that is kept in memory. */
const MAXIMUM_IN_MEMORY = 16 << 20;

/** Fragments without a byte that may follow one another: they cost time and bring nothing forward, so nothing else would end them. */
const MOST_EMPTY = 256;

/** A message whose command is whole, and where its data set goes. */
interface Incoming {
  readonly context: PresentationContext;
  readonly decoded: DecodedCommand;
  readonly sink: DataSink | undefined;
  readonly memory: Gathered | undefined;
  /** The sink took no more: what still comes is passed over. */
  discarding: boolean;
}

/** What an {@link Assembler} needs of its association. */
export interface AssemblerOptions {
  /** An accepted presentation context. */
  readonly context: (id: number) => PresentationContext | undefined;
  /** Where the data set of a request goes; undefined keeps it in memory. */
  readonly sink: ((context: PresentationContext, command: Command) => DataSink | undefined) | undefined;
  /** A message is whole. */
  readonly deliver: (message: Message) => void;
  /** No further fragment may come before `work` is done, which never rejects. */
  readonly hold: (work: Promise<void>) => void;
}

export class Assembler {
  readonly #options: AssemblerOptions;
  readonly #command = new Gathered(MAXIMUM_COMMAND);
  /** The context of the command that is coming; 0 is none. */
  #commandContext = 0;
  /** Empty fragments since the last one with content. */
  #empty = 0;
  #incoming: Incoming | undefined;

  constructor(options: AssemblerOptions) {
    this.#options = options;
  }

  /** No message is coming in. */
  get idle(): boolean {
    return this.#incoming === undefined && this.#commandContext === 0;
  }

  /** The association is over: what was begun never ends. */
  abandon(): void {
    this.#command.clear();
    this.#incoming?.memory?.clear();
    const sink = this.#incoming?.sink;
    this.#incoming = undefined;
    sink?.abandon();
  }

  /** Takes a part of a fragment, as a PduReader tells it. Throws PduFault, or NetworkProtocol for a command set that is none. */
  fragment(contextId: number, isCommand: boolean, last: boolean, part: Buffer, ended: boolean): void {
    this.#empty = part.length === 0 ? this.#empty + 1 : 0;
    if (this.#empty > MOST_EMPTY) throw broken(`more than ${MOST_EMPTY} empty fragments in a row`);
    const context = this.#options.context(contextId);
    if (context === undefined) throw broken(`presentation context ${contextId} was not accepted`);
    const incoming = this.#incoming;
    if (isCommand) {
      if (incoming !== undefined) throw broken('a command before the data set of the last ended');
      if (this.#commandContext !== 0 && this.#commandContext !== contextId) throw broken('messages mix');
      this.#commandContext = contextId;
      if (!this.#command.add(part)) throw broken('a command set that is too large');
      if (last && ended) this.#commandEnded(context);
      return;
    }
    if (incoming === undefined) throw broken('a data set without its command');
    if (incoming.context !== context) throw broken('messages mix');
    const taken = part.length > 0 ? this.#dataPart(incoming, part) : undefined;
    const whole = last && ended;
    if (taken !== undefined) this.#options.hold(whole ? taken.then(() => this.#dataEnded(incoming)) : taken);
    else if (whole) this.#dataEnded(incoming);
  }

  #commandEnded(context: PresentationContext): void {
    this.#commandContext = 0;
    const decoded = decodeCommand(this.#command.take());
    const sink =
      decoded.hasDataSet && !isResponse(decoded.command) ? this.#options.sink?.(context, decoded.command) : undefined;
    const memory = decoded.hasDataSet && sink === undefined ? new Gathered(MAXIMUM_IN_MEMORY) : undefined;
    const incoming: Incoming = { context, decoded, sink, memory, discarding: false };
    if (decoded.hasDataSet) this.#incoming = incoming;
    else this.#deliver(incoming, undefined);
  }

  /** Hands a part on; what it answers never rejects. */
  #dataPart(incoming: Incoming, part: Buffer): Promise<void> | undefined {
    if (incoming.memory !== undefined && !incoming.memory.add(part)) throw broken('a data set that is too large');
    if (incoming.sink === undefined || incoming.discarding) return undefined;
    try {
      return incoming.sink.write(part)?.catch(() => {
        incoming.discarding = true;
      });
    } catch {
      incoming.discarding = true;
      return undefined;
    }
  }

  #dataEnded(incoming: Incoming): void {
    // The association may have ended while the last part was being taken.
    if (this.#incoming !== incoming) return;
    this.#incoming = undefined;
    this.#deliver(incoming, incoming.memory?.take());
  }

  #deliver({ context, decoded, sink }: Incoming, dataSet: Uint8Array | undefined): void {
    this.#options.deliver({ context, command: decoded.command, dataSet, sink });
  }
}

const broken = (why: string): PduFault => new PduFault('unexpected parameter', why);
