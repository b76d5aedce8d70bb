/**
 * Owns the plain reading of C-STORE requests (PS3.7 §9.1.1), as nearly every sender makes them: P-DATA-TF PDUs with one presentation data value
 * each, the command in one of them. Whatever else comes stays as it came, for who reads everything (scu/connection).
 */

import { COMMAND, type Command, decodeCommand, encodeCommand } from './command.ts';
import { dataHeader, PDU, PDU_HEADER, PDV_HEADER } from './pdu.ts';
import { headOf } from './received-file.ts';

/** Bytes of a command that is plain: real ones have some 200. */
const LARGEST_COMMAND = 1024;

const HEADER = PDU_HEADER + PDV_HEADER;
const [LAST, COMMAND_AND_LAST] = [2, 3] as const;
const NOTHING = Buffer.alloc(0);

/** A presentation context on which instances may come. */
export interface StoreContext {
  readonly id: number;
  readonly abstractSyntax: string;
  readonly transferSyntax: string;
}

/** What a C-STORE is answered with. */
export function storeResponse(abstractSyntax: string, command: Command, status: number, comment?: string): Command {
  return {
    CommandField: COMMAND['C-STORE-RSP'],
    MessageIDBeingRespondedTo: command.MessageID ?? 0,
    AffectedSOPClassUID: command.AffectedSOPClassUID ?? abstractSyntax,
    AffectedSOPInstanceUID: command.AffectedSOPInstanceUID ?? '',
    Status: status,
    ...(comment === undefined ? {} : { ErrorComment: comment }),
  };
}

/** A request that came whole. */
export interface StoreRequest {
  readonly context: StoreContext;
  readonly command: Command;
  /** The file: in the memory of the reader, until the next request is read. */
  readonly bytes: Buffer;
  /** Where its data set begins. */
  readonly start: number;
}

/**
 * What reading has come to: more must come; a request is whole, and to be answered before anything else; or what comes next is for somebody
 * else.
 */
export type Reached = 'more' | 'whole' | 'other';

export interface StoreReaderOptions {
  readonly contexts: readonly StoreContext[];
  /** For one file at a time; a larger one is for somebody else. */
  readonly memory: Buffer;
  /** Largest PDU that was announced to the peer. */
  readonly maximumPdu: number;
  readonly callingAet: string;
}

/** Reads the requests of one association. */
export class StoreReader {
  readonly #contexts: ReadonlyMap<number, StoreContext>;
  readonly #options: StoreReaderOptions;
  /** What was not taken of what came. */
  #rest = NOTHING;
  /** Of the request that is coming. */
  #begun:
    | { readonly context: StoreContext; readonly command: Command; readonly pdu: Buffer; readonly start: number }
    | undefined;
  #size = 0;
  /** Bytes that lack of the fragment that is coming, and whether it is the last. */
  #left = 0;
  #isLast = false;

  constructor(options: StoreReaderOptions) {
    this.#options = options;
    this.#contexts = new Map(options.contexts.map((context) => [context.id, context]));
  }

  /** Something has come that was not answered yet. */
  get isBusy(): boolean {
    return this.#begun !== undefined || this.#rest.length > 0;
  }

  /** Takes what came; what is not taken of it is copied. */
  read(came: Buffer): Reached {
    let bytes = this.#rest.length === 0 ? came : Buffer.concat([this.#rest, came]);
    this.#rest = NOTHING;
    for (;;) {
      if (this.#left > 0) {
        bytes = this.#takePart(bytes);
        if (this.#left > 0) return 'more';
        if (this.#isLast) return this.#keep(bytes, 'whole');
      }
      if (bytes.length === 0) return 'more';
      if (bytes[0] !== PDU['P-DATA-TF']) return this.#keep(bytes, 'other');
      if (bytes.length < HEADER) return this.#keep(bytes, 'more');
      const length = bytes.readUInt32BE(2) - PDV_HEADER;
      const context = this.#contexts.get(bytes[10] ?? 0);
      const control = bytes[11] ?? 0;
      const isPlain =
        length > 0 &&
        length + PDV_HEADER <= this.#options.maximumPdu &&
        bytes.readUInt32BE(PDU_HEADER) === length + 2 &&
        context !== undefined;
      if (!isPlain) return this.#keep(bytes, 'other');
      if (this.#begun === undefined) {
        if (control !== COMMAND_AND_LAST || length > LARGEST_COMMAND) return this.#keep(bytes, 'other');
        if (bytes.length < HEADER + length) return this.#keep(bytes, 'more');
        if (!this.#begin(context, bytes.subarray(0, HEADER + length))) return this.#keep(bytes, 'other');
        bytes = bytes.subarray(HEADER + length);
      } else {
        const isHere = context === this.#begun.context && (control & ~LAST) === 0;
        if (!isHere || this.#size + length > this.#options.memory.length) return this.#keep(bytes, 'other');
        this.#left = length;
        this.#isLast = control === LAST;
        bytes = bytes.subarray(HEADER);
      }
    }
  }

  /** The request that came whole. */
  get request(): StoreRequest {
    if (this.#begun === undefined) throw new Error('no request has come');
    const { context, command, start } = this.#begun;
    const bytes = this.#options.memory.subarray(0, this.#size);
    return { context, command, bytes, start };
  }

  /** The request was answered: goes on with what has come behind it. */
  next(): Reached {
    this.#begun = undefined;
    this.#size = 0;
    return this.#rest.length === 0 ? 'more' : this.read(NOTHING);
  }

  /** The bytes by which somebody else comes to where this is: all that was taken and not answered, and what was not taken. */
  unread(): Buffer {
    const parts: Buffer[] = [];
    const { maximumPdu, memory } = this.#options;
    if (this.#begun !== undefined) {
      const { context, pdu, start } = this.#begun;
      parts.push(pdu);
      const most = maximumPdu - PDV_HEADER;
      for (let at = start; at < this.#size; at += most) {
        const part = memory.subarray(at, Math.min(at + most, this.#size));
        const isLast = this.#isLast && this.#left === 0 && at + part.length === this.#size;
        parts.push(dataHeader(context.id, false, isLast, part.length), part);
      }
      if (this.#left > 0) parts.push(dataHeader(context.id, false, this.#isLast, this.#left));
    }
    return Buffer.concat([...parts, this.#rest]);
  }

  #keep(bytes: Buffer, reached: Reached): Reached {
    this.#rest = bytes.length === 0 ? NOTHING : Buffer.from(bytes);
    return reached;
  }

  #begin(context: StoreContext, pdu: Buffer): boolean {
    let command: Command;
    try {
      const decoded = decodeCommand(pdu.subarray(HEADER));
      if (!decoded.hasDataSet) return false;
      ({ command } = decoded);
    } catch {
      return false;
    }
    const { CommandField, AffectedSOPClassUID, AffectedSOPInstanceUID = '', MessageID } = command;
    const isPlain =
      CommandField === COMMAND['C-STORE-RQ'] &&
      AffectedSOPClassUID === context.abstractSyntax &&
      /^[\d.]{1,64}$/.test(AffectedSOPInstanceUID) &&
      MessageID !== undefined;
    if (!isPlain) return false;
    const head = headOf(context, command, this.#options.callingAet);
    if (head.length > this.#options.memory.length) return false;
    this.#options.memory.fill(head, 0, head.length);
    this.#size = head.length;
    this.#isLast = false;
    this.#begun = { context, command, pdu: Buffer.from(pdu), start: head.length };
    return true;
  }

  #takePart(bytes: Buffer): Buffer {
    const part = bytes.subarray(0, this.#left);
    if (part.length > 0) {
      // See PoolSlab.append: `set` to shared memory may go byte by byte.
      this.#options.memory.fill(part, this.#size, this.#size + part.length);
    }
    this.#size += part.length;
    this.#left -= part.length;
    return bytes.subarray(part.length);
  }
}

/** The PDU of a response without a data set, for a peer that takes any. */
export function responsePdu(contextId: number, command: Command): Buffer {
  const bytes = encodeCommand(command, false);
  return Buffer.concat([dataHeader(contextId, true, true, bytes.length), bytes]);
}
