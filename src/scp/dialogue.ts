/**
 * Owns the order of messages on an association that a peer asked for: one request at a time is answered; meanwhile C-CANCEL-RQ reaches
 * it, and so do the responses to what it sends.
 */

import { COMMAND, type Command, isResponse } from '../dicom/command.ts';
import { IsenError } from '../errors.ts';
import type { Association, Message } from '../scu/association.ts';
import type { Connection } from '../scu/connection.ts';

/** Responses that wait for the service that asked; a peer that sends more is out of its mind. */
const MOST_RESPONSES = 16;

/** Requests that wait for the one before: a peer should wait for its answer, and is not listened to beyond this. */
const MOST_REQUESTS = 4;

/** A request, as the service that answers it has it. */
export interface Request {
  readonly message: Message;
  readonly association: Association;
  /** Made for whoever asks: most services never do, and a controller costs more than reading a command. */
  readonly cancelled: AbortSignal;
}

/** The request that is being answered. */
class Current implements Request {
  readonly message: Message;
  readonly association: Association;
  #controller: AbortController | undefined;
  #isCancelled = false;

  constructor(message: Message, association: Association) {
    this.message = message;
    this.association = association;
  }

  get messageId(): number {
    return this.message.command.MessageID ?? 0;
  }

  get cancelled(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isCancelled) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#controller?.abort();
  }
}

interface Waiter {
  readonly resolve: (message: Message | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class Dialogue {
  readonly #connection: Connection;
  readonly #requests: Message[] = [];
  readonly #responses: Message[] = [];
  readonly #facade: Association;
  #waiter: Waiter | undefined;
  /** Nothing is answered any more. */
  #over = false;
  /** The peer asked for the release: it says nothing more. */
  #released = false;
  #current: Current | undefined;
  /** Wakes whoever waits for a request, or for room for one. */
  #wake: (() => void) | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#facade = this.#associationOfServices();
    connection.ended.addEventListener('abort', () => this.#current?.cancel(), { once: true });
  }

  /**
   * Has `serve` answer every request, one after the other, until the association is over: those that came before a release too, and
   * then the release. `idle` is told whenever none waits. Throws what `serve` or the association throws.
   */
  async run(serve: (request: Request) => Promise<void>, idle: () => void = () => {}): Promise<void> {
    let over = false;
    const heard = this.#listen().finally(() => {
      over = true;
      this.#wake?.();
    });
    // Awaited below, after what came before the end was answered.
    heard.catch(() => {});
    try {
      for (;;) {
        const message = this.#requests.shift();
        if (message !== undefined) {
          this.#wake?.();
          await this.#answer(message, serve);
        } else if (over) {
          await heard;
          await this.#connection.release();
          return;
        } else {
          idle();
          await this.#change();
        }
      }
    } finally {
      this.#over = true;
      for (const { sink } of this.#requests.splice(0)) sink?.abandon();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #answer(message: Message, serve: (request: Request) => Promise<void>): Promise<void> {
    const connection = this.#connection;
    const current = new Current(message, this.#facade);
    if (connection.ended.aborted) current.cancel();
    this.#current = current;
    connection.attentive = false;
    try {
      await serve(current);
    } finally {
      this.#current = undefined;
      this.#responses.length = 0;
      connection.attentive = true;
    }
  }

  /** Listens to the end of the association. */
  async #listen(): Promise<void> {
    for (;;) {
      let message: Message | undefined;
      try {
        message = await this.#connection.receive();
      } catch (thrown) {
        this.#waiter?.reject(thrown);
        throw thrown;
      }
      if (message === undefined) {
        this.#released = true;
        if (this.#waiter !== undefined) this.#unanswered(this.#waiter);
        return;
      }
      const { command } = message;
      // A response that nobody waits for, or a cancel of what was answered already, is passed over.
      if (isResponse(command)) this.#respond(message);
      else if (command.CommandField === COMMAND['C-CANCEL-RQ']) this.#cancel(command);
      else if (this.#over) message.sink?.abandon();
      else {
        this.#requests.push(message);
        this.#wake?.();
        while (this.#requests.length >= MOST_REQUESTS) await this.#change();
      }
    }
  }

  /** The response that is waited for never comes. */
  #unanswered({ resolve }: Pick<Waiter, 'resolve'>): void {
    this.#current?.cancel();
    resolve(undefined);
  }

  #cancel(command: Command): void {
    if (command.MessageIDBeingRespondedTo === this.#current?.messageId) this.#current?.cancel();
  }

  #respond(message: Message): void {
    if (this.#current === undefined) return;
    const waiter = this.#waiter;
    if (waiter !== undefined) {
      this.#waiter = undefined;
      this.#connection.attentive = false;
      waiter.resolve(message);
    } else if (this.#responses.length < MOST_RESPONSES) this.#responses.push(message);
    else throw new IsenError('NetworkProtocol', 'responses that nobody asked for');
  }

  /** The association as services see it. */
  #associationOfServices(): Association {
    const connection = this.#connection;
    return {
      callingAet: connection.callingAet,
      calledAet: connection.calledAet,
      remoteIp: connection.remoteIp,
      contexts: connection.contexts,
      ended: connection.ended,
      nextMessageId: () => connection.nextMessageId(),
      send: (context, command, dataSet) => connection.send(context, command, dataSet),
      receive: () => this.#response(),
      release: () => connection.release(),
      abort: () => connection.abort(),
    };
  }

  #response(): Promise<Message | undefined> {
    const message = this.#responses.shift();
    if (message !== undefined) return Promise.resolve(message);
    if (this.#connection.ended.aborted) {
      return Promise.reject(new IsenError('NetworkProtocol', 'the association is over'));
    }
    // Now the peer is waited for: its silence counts.
    this.#connection.attentive = true;
    return new Promise((resolve, reject) => {
      if (this.#released) this.#unanswered({ resolve });
      else this.#waiter = { resolve, reject };
    });
  }
}
