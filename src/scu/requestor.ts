/** Owns asking a peer for an association: connecting within a deadline, TLS, negotiation. */

import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { IsenError } from '../errors.ts';
import { recordAssociations } from '../metrics.ts';
import type { Association, AssociationRequest } from './association.ts';
import { Connection } from './connection.ts';
import { sharedReading } from './inflow.ts';
import { RequestorNegotiation } from './negotiation.ts';

/** Associations that we asked for and that are open. */
let outgoing = 0;

function count(by: 1 | -1): void {
  outgoing += by;
  recordAssociations('outgoing', outgoing);
}

/**
 * Opens an association. Throws NetworkProtocol when the peer cannot be reached, rejects or breaks the protocol, Timeout when it is silent,
 * ParameterOutOfRange for no contexts, more than 128, and what is no AE title.
 */
export async function requestAssociation(request: AssociationRequest): Promise<Association> {
  const { callingAet, calledAet, contexts, maximumPdu, patience, sink } = request;
  const requestor = new RequestorNegotiation(callingAet, calledAet, contexts, maximumPdu);
  const socket = await connected(request);
  const connection = new Connection(socket, { requestor, callingAet, calledAet }, { patience, maximumPdu, sink });
  await connection.opened;
  // The peer may have ended it at once.
  if (connection.ended.aborted) return connection;
  count(1);
  connection.ended.addEventListener('abort', () => count(-1), { once: true });
  return connection;
}

async function connected({ host, port, tls, patience }: AssociationRequest): Promise<Socket> {
  const socket =
    tls === undefined
      ? sharedReading((onread) => connectTcp({ host, port, noDelay: true, onread }))
      : connectTls({
          host,
          port,
          ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
          ...(tls.key === undefined ? {} : { key: tls.key }),
          ...(tls.trusted === undefined ? {} : { ca: tls.trusted }),
          ...(tls.minimum === undefined ? {} : { minVersion: tls.minimum }),
          // A peer is known by its certificate's issuer; the host names of modalities are seldom in theirs.
          checkServerIdentity: () => undefined,
        });
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: IsenError): void => {
      clearTimeout(deadline);
      socket.off('error', failed);
      if (error === undefined) return resolve();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const failed = (thrown: NodeJS.ErrnoException): void => {
      // The one that people look up, in the words that they find.
      const refused = thrown.code === 'ECONNREFUSED' ? 'Connection refused' : thrown.message;
      settle(new IsenError('NetworkProtocol', `TCP Initialization Error: ${refused}`, { cause: thrown }));
    };
    const late = (): void => settle(new IsenError('Timeout', `${host}:${port} does not answer`));
    const deadline = patience === 0 ? undefined : setTimeout(late, patience);
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => settle());
    socket.once('error', failed);
  });
  return socket;
}
