/** Owns a scripted peer on a raw socket: it sends whatever bytes it is told to, and tells which PDUs came back. */

import { connect, type Socket } from 'node:net';
import { type Command, decodeCommand, encodeCommand } from '../../src/dicom/command.ts';
import { dataHeader } from '../../src/dicom/pdu.ts';
import { type AssociateOptions, associateRequest, proposed } from '../dicom/associate.ts';

/** Milliseconds after which a suite gives up on a server. */
const PATIENCE = 15_000;

export const CT_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.2';
export const VERIFICATION = '1.2.840.10008.1.1';
const EXPLICIT = '1.2.840.10008.1.2.1';

/** Contexts of {@link BadPeer.associate}: 1 is verification, 3 and 5 are CT. */
export const CONTEXTS: readonly Buffer[] = [
  proposed(1, VERIFICATION, [EXPLICIT]),
  proposed(3, CT_IMAGE_STORAGE, [EXPLICIT]),
  proposed(5, CT_IMAGE_STORAGE, [EXPLICIT]),
];

export class BadPeer {
  readonly socket: Socket;
  /** Resolves when the connection is over, however it ends. */
  readonly closed: Promise<void>;
  #bytes: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #over = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      this.#wake?.();
    });
    // A server that has had enough may reset the connection.
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#over = true;
        this.#wake?.();
        resolve();
      });
    });
  }

  static async connect(port: number): Promise<BadPeer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new BadPeer(socket);
  }

  /** A peer whose association was accepted. */
  static async associate(port: number, options: AssociateOptions = {}, contexts = CONTEXTS): Promise<BadPeer> {
    const peer = await BadPeer.connect(port);
    peer.send(associateRequest(contexts, options));
    const answer = await peer.pdu();
    if (answer?.[0] !== 2) throw new Error(`not accepted: ${answer?.toString('hex')}`);
    return peer;
  }

  send(...parts: readonly Uint8Array[]): void {
    for (const part of parts) this.socket.write(part);
  }

  /** Sends one byte a TCP segment. */
  async drip(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) {
      if (this.#over) return;
      await new Promise((resolve) => this.socket.write(Uint8Array.of(byte), resolve));
    }
  }

  /** The next PDU that came, its header included; undefined when the connection ended. Throws when nothing comes. */
  async pdu(): Promise<Buffer | undefined> {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      const size = this.#bytes.length < 6 ? Number.POSITIVE_INFINITY : 6 + this.#bytes.readUInt32BE(2);
      if (this.#bytes.length >= size) {
        const pdu = this.#bytes.subarray(0, size);
        this.#bytes = this.#bytes.subarray(size);
        return pdu;
      }
      if (this.#over) return undefined;
      if (Date.now() > deadline) throw new Error('the server neither answered nor closed');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The types of the PDUs that still come until the server closes. Throws when it does not. */
  async ending(): Promise<number[]> {
    const types: number[] = [];
    for (let pdu = await this.pdu(); pdu !== undefined; pdu = await this.pdu()) types.push(pdu[0] ?? 0);
    return types;
  }

  /** The command of the next message that came, which has no data set. */
  async response(): Promise<Command> {
    const pdu = await this.pdu();
    if (pdu?.[0] !== 4) throw new Error(`no message but ${pdu?.toString('hex', 0, 10)}`);
    return decodeCommand(pdu.subarray(12)).command;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** A P-DATA-TF PDU with one fragment. */
export function fragment(id: number, isCommand: boolean, last: boolean, bytes: Uint8Array): Buffer {
  return Buffer.concat([dataHeader(id, isCommand, last, bytes.length), bytes]);
}

/** A whole command in one PDU. */
export function command(id: number, values: Command, hasDataSet: boolean): Buffer {
  return fragment(id, true, true, encodeCommand(values, hasDataSet));
}

/** C-ECHO-RQ on context 1. */
export function echoRequest(messageId = 1): Buffer {
  return command(1, { CommandField: 0x30, MessageID: messageId, AffectedSOPClassUID: VERIFICATION }, false);
}

/** C-STORE-RQ on context 3, without its data set. */
export function storeRequest(sopInstanceUid: string, id = 3, sopClassUid = CT_IMAGE_STORAGE): Buffer {
  return command(
    id,
    {
      CommandField: 0x01,
      MessageID: 1,
      Priority: 0,
      AffectedSOPClassUID: sopClassUid,
      AffectedSOPInstanceUID: sopInstanceUid,
    },
    true,
  );
}
