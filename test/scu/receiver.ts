/**
 * Owns a scripted receiver of C-STORE, for what no real one does on request: refuse syntaxes, answer statuses, abort, be slow, be gone
 * and come back. It speaks over the same associations as the server; that these are right is shown with real peers.
 */

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { COMMAND } from '../../src/dicom/command.ts';
import { Connection } from '../../src/scu/connection.ts';
import type { OfferedContext } from '../../src/scu/negotiation.ts';
import { freePort } from '../peer.ts';

/** One instance as it came. */
export interface Received {
  readonly sopInstanceUid: string;
  readonly transferSyntax: string;
  readonly calledAet: string;
  readonly callingAet: string;
  /** Counted from 1 over the whole life of the receiver. */
  readonly association: number;
  readonly dataSet: Buffer;
  readonly moveOriginator: string | undefined;
}

export interface ReceiverOptions {
  /** The status to answer, or `abort`; success by default. `count` counts the instances asked about, from 1. */
  readonly answer?: (received: Received, count: number) => number | 'abort' | Promise<number | 'abort'>;
  /** The accepted transfer syntax, or undefined to refuse; the first offered by default. */
  readonly accept?: (context: OfferedContext) => string | undefined;
  /** Whether data sets are kept; only what {@link ReceiverOptions.answer} does with them otherwise. */
  readonly keep?: boolean;
}

export interface Receiver {
  readonly port: number;
  /** Those that were answered with success or a warning, in order. */
  readonly received: readonly Received[];
  /** Associations accepted so far. */
  readonly associations: number;
  /** Most associations open at one time. */
  readonly most: number;
  /** The contexts of the last association. */
  readonly offered: readonly OfferedContext[];
  /** Refuses connections and drops those there are, until {@link Receiver.open}. */
  close(): Promise<void>;
  open(): Promise<void>;
}

/** Starts a receiver on a free port of the loopback, or the one given. */
export async function receive(options: ReceiverOptions = {}, port?: number): Promise<Receiver> {
  const { answer = () => 0, accept = (context) => context.transferSyntaxes[0], keep = true } = options;
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  let [associations, open, most, count] = [0, 0, 0, 0];
  let offered: readonly OfferedContext[] = [];
  const at = port ?? (await freePort());
  let server: Server | undefined;

  const converse = async (socket: Socket): Promise<void> => {
    const connection = new Connection(
      socket,
      {
        decide: async (offer) => {
          offered = offer.contexts;
          return {
            answers: offer.contexts.map((context) => {
              const transferSyntax = accept(context);
              return transferSyntax === undefined
                ? { result: 'transfer syntaxes not supported' }
                : { result: 'accepted', transferSyntax, scu: true, scp: false };
            }),
          };
        },
      },
      { patience: 30_000, maximumPdu: 131_072 },
    );
    await connection.opened;
    associations += 1;
    const association = associations;
    open += 1;
    most = Math.max(most, open);
    try {
      for (;;) {
        const message = await connection.receive();
        if (message === undefined) return await connection.release();
        const { command, context, dataSet = new Uint8Array() } = message;
        if (command.CommandField === COMMAND['N-ACTION-RQ']) {
          // Taken, and never reported.
          await connection.send(context, {
            CommandField: COMMAND['N-ACTION-RSP'],
            ...(command.MessageID !== undefined && { MessageIDBeingRespondedTo: command.MessageID }),
            Status: 0,
          });
          continue;
        }
        count += 1;
        const one: Received = {
          sopInstanceUid: command.AffectedSOPInstanceUID ?? '',
          transferSyntax: context.transferSyntax,
          calledAet: connection.calledAet,
          callingAet: connection.callingAet,
          association,
          dataSet: Buffer.from(dataSet),
          moveOriginator: command.MoveOriginatorApplicationEntityTitle,
        };
        const status = await answer(one, count);
        if (status === 'abort') {
          connection.abort();
          return;
        }
        if (status === 0 || status >> 12 === 0xb) received.push(keep ? one : { ...one, dataSet: Buffer.alloc(0) });
        await connection.send(context, {
          CommandField: COMMAND['C-STORE-RSP'],
          ...(command.AffectedSOPClassUID && { AffectedSOPClassUID: command.AffectedSOPClassUID }),
          ...(command.AffectedSOPInstanceUID && { AffectedSOPInstanceUID: command.AffectedSOPInstanceUID }),
          ...(command.MessageID !== undefined && { MessageIDBeingRespondedTo: command.MessageID }),
          Status: status,
        });
      }
    } finally {
      open -= 1;
    }
  };

  const receiver = {
    port: at,
    received,
    get associations() {
      return associations;
    },
    get most() {
      return most;
    },
    get offered() {
      return offered;
    },
    async open() {
      server = createServer({ noDelay: true }, (socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
        converse(socket).catch(() => {});
      });
      server.listen(at, '127.0.0.1');
      await once(server, 'listening');
    },
    async close() {
      if (server === undefined) return;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
      server = undefined;
    },
  };
  await receiver.open();
  return receiver;
}
