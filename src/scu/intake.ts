/**
 * Owns the reading of a connection: what comes goes to the reader of PDUs as far as nothing holds it up, and the peer waits meanwhile.
 */

import type { Socket } from 'node:net';
import { PduReader, type PduReceiver } from '../dicom/pdu.ts';
import { handleOf, hearFrom } from './inflow.ts';
import { acknowledgeQuickly } from './quick-ack.ts';

/** What an {@link Intake} needs of its connection. */
export interface IntakeOptions {
  readonly socket: Socket;
  /** Largest PDU that is received. */
  readonly maximumPdu: number;
  readonly receiver: PduReceiver;
  /** Nothing is awaited any more: what still comes is passed over. */
  readonly isOver: () => boolean;
  /** The peer said something, or what held it up is done. */
  readonly heard: () => void;
  /** What came breaks a rule, or taking it failed. */
  readonly failed: (thrown: unknown) => void;
}

export class Intake {
  readonly #options: IntakeOptions;
  readonly #reader: PduReader;
  /** What came and waits to be read. */
  #bytes: Buffer | undefined;
  #at = 0;
  #reading = false;
  /** What waits is to be looked at again, in this turn of the event loop. */
  #lingering = false;
  /** Promises that must resolve before more is read: a sink's, a decision's. */
  #holds = 0;
  #deaf = false;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#reader = new PduReader(options.maximumPdu, options.receiver);
    hearFrom(options.socket, (bytes) => this.#take(bytes));
  }

  /** Something must be done before more is read. */
  get held(): boolean {
    return this.#holds > 0;
  }

  /** Reads no more until `work` is done, which never rejects. */
  hold(work: Promise<void>): void {
    this.#holds += 1;
    void work.finally(() => {
      this.#holds -= 1;
      this.#options.heard();
      this.resume();
    });
  }

  /**
   * Has somebody else read the connection, by its descriptor, until `borrow` resolves to what is to be read before anything that comes then.
   * Undefined, and nothing happens, where `borrow` answers so, where something is under way, and where the connection is not plain TCP.
   */
  lend(borrow: (descriptor: number) => Promise<Uint8Array> | undefined): Promise<void> | undefined {
    const { socket } = this.#options;
    const handle = handleOf(socket);
    if (handle === undefined || this.#bytes !== undefined || this.held || this.#deaf || !this.#reader.idle)
      return undefined;
    socket.pause();
    const lent = handle.reading === false ? borrow(handle.fd) : undefined;
    if (lent === undefined) {
      socket.resume();
      return undefined;
    }
    const back = lent.then(
      (unread) => {
        this.#at = 0;
        if (unread.length > 0 && !this.#deaf)
          this.#bytes = Buffer.from(unread.buffer, unread.byteOffset, unread.length);
        else socket.resume();
      },
      (thrown: unknown) => this.#options.failed(thrown),
    );
    this.hold(back);
    return back;
  }

  /** Reads on, where the receiver pauses no more. */
  resume(): void {
    if (this.#bytes !== undefined && !this.#options.receiver.paused) this.#read();
  }

  /** Passes over what still comes, which cannot be framed any more: only the end of it is awaited. */
  close(): void {
    this.#deaf = true;
    this.#bytes = undefined;
    this.#options.socket.resume();
  }

  #take(bytes: Buffer): void {
    if (this.#deaf || this.#options.isOver()) return;
    acknowledgeQuickly(this.#options.socket);
    this.#options.heard();
    // Something waits where the system had read ahead before the pause reached it.
    this.#bytes = this.#bytes === undefined ? bytes : Buffer.concat([this.#bytes.subarray(this.#at), bytes]);
    this.#at = 0;
    this.#read();
  }

  /** Reads what there is, as far as nothing holds it up. */
  #read(): void {
    if (this.#reading) return;
    this.#reading = true;
    try {
      const bytes = this.#bytes;
      if (bytes !== undefined) {
        this.#at = this.#reader.read(bytes, this.#at);
        if (this.#at === bytes.length) this.#bytes = undefined;
      }
    } catch (thrown) {
      this.#bytes = undefined;
      this.#options.failed(thrown);
    } finally {
      this.#reading = false;
    }
    const { socket, isOver } = this.#options;
    if (isOver() || this.#bytes === undefined) {
      if (socket.isPaused()) socket.resume();
    } else if (!socket.isPaused()) this.#linger();
  }

  /** Most often what holds the reading up is over as soon as the promises that are ready have run: memory that is at hand, say. */
  #linger(): void {
    if (this.#lingering) return;
    this.#lingering = true;
    queueMicrotask(() =>
      process.nextTick(() => {
        this.#lingering = false;
        const { socket, isOver } = this.#options;
        if (this.#bytes === undefined || isOver()) return;
        // The memory that it stands in is about to be read into again.
        this.#bytes = Buffer.from(this.#bytes.subarray(this.#at));
        this.#at = 0;
        socket.pause();
      }),
    );
  }
}
