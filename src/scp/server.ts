/**
 * Owns the DICOM door: the listening socket, TLS, which associations are accepted with which presentation contexts, which service answers
 * a request, and ending in good order.
 */

import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { Config } from '../config.ts';
import { COMMAND, type Command } from '../dicom/command.ts';
import { asError, asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { recordAssociations } from '../metrics.ts';
import type { PresentationContext } from '../scu/association.ts';
import { Connection, type Decision, type Returned } from '../scu/connection.ts';
import { sharing } from '../scu/inflow.ts';
import type { Modalities } from '../scu/modality.ts';
import type { ContextAnswer, Offer, OfferedContext } from '../scu/negotiation.ts';
import { pem, TLS_VERSIONS } from '../scu/tls.ts';
import { Dialogue } from './dialogue.ts';
import { isSameAet, type PeerOptions, recognize } from './peer.ts';
import type { Exchange, Peer, Service } from './service.ts';

/** Associations open at the same time; one more is rejected, for now. */
const MOST_ASSOCIATIONS = 128;
/** Connections at the same time, those without an association included; one more is closed. */
const MOST_CONNECTIONS = 256;
/** Milliseconds that a TLS handshake may take. */
const HANDSHAKE = 30_000;

/** Milliseconds between two requests that follow one another quickly, and those for which an association is not lent that came back with something else. */
const QUICK = 100;
const PAUSE = 1000;

/** Status of a request that no service here answers (PS3.7 §C.5.23). */
const UNRECOGNIZED_OPERATION = 0x0211;
/** Status of a request for a SOP class that the peer may not use, or that is not the service's (PS3.7 §C.5.21). */
const SOP_CLASS_NOT_SUPPORTED = 0x0122;

export interface DicomServerOptions {
  readonly config: PeerOptions &
    Pick<
      Config,
      | 'DicomAet'
      | 'DicomPort'
      | 'DicomCheckCalledAet'
      | 'DicomScpTimeout'
      | 'MaximumPduLength'
      | 'DicomTlsEnabled'
      | 'DicomTlsCertificate'
      | 'DicomTlsPrivateKey'
      | 'DicomTlsTrustedCertificates'
      | 'DicomTlsRemoteCertificateRequired'
      | 'DicomTlsMinimumProtocolVersion'
      | 'DicomTlsCiphersAccepted'
    >;
  readonly modalities: Pick<Modalities, 'list'>;
  readonly services: readonly Service[];
  /** Instead of {@link MOST_ASSOCIATIONS}. */
  readonly mostAssociations?: number;
}

/** The DICOM door. */
export interface DicomServer {
  /** Opens `DicomPort` (0: a free one) on every interface, and says which it is. Throws NetworkProtocol where it is taken. */
  listen(): Promise<{ readonly port: number }>;
  /** Associations open now. */
  readonly associations: number;
  /** Takes no new association; requests under way are answered within `graceMs` milliseconds; then every association is aborted. */
  close(graceMs: number): Promise<void>;
}

/** Builds the server. Throws InexistentFile, BadFileFormat for certificates that are missing or none. */
export async function createDicomServer(options: DicomServerOptions): Promise<DicomServer> {
  const { config, services } = options;
  const byCommand = new Map(services.flatMap((service) => service.commands.map((field) => [field, service] as const)));
  const most = options.mostAssociations ?? MOST_ASSOCIATIONS;
  /** Connections, and whether each is answering a request. */
  const open = new Map<Connection, { busy: boolean }>();
  let associations = 0;
  let closing = false;

  const decide = async (offer: Offer, remoteIp: string, admit: (peer: Peer) => void): Promise<Decision> => {
    const { callingAet, calledAet } = offer;
    const who = { callingAet, calledAet, remoteIp };
    if (config.DicomCheckCalledAet && !isSameAet(calledAet, config.DicomAet, config)) {
      log.dicom.warn(who, 'an association for another AE title was rejected');
      return { rejected: 'called AE title not recognized' };
    }
    const peer = await recognize(who, options.modalities, config);
    if (peer === undefined) {
      log.dicom.warn(who, 'an association of an unknown modality was rejected');
      return { rejected: 'calling AE title not recognized' };
    }
    if (closing || associations >= most) {
      log.dicom.warn(who, 'an association was rejected: there are too many');
      return { rejected: 'local limit exceeded' };
    }
    associations += 1;
    recordAssociations('incoming', associations);
    admit(peer);
    return { answers: offer.contexts.map((context) => answerTo(services, peer, context)) };
  };

  const converse = async (socket: Socket): Promise<void> => {
    let peer: Peer | undefined;
    const state = { busy: false };
    const pace = new Pace();
    /** What comes in quick succession somebody may serve who does nothing else. */
    const lend = (): void => {
      if (peer === undefined || closing || !pace.isQuick) return;
      const lent = pace.service?.lend?.(peer, connection);
      void lent?.then((reason) => {
        pace.returned(reason);
        // What came back with it is answered first.
        setImmediate(() => {
          if (closing && !state.busy && connection.idle) connection.abort();
        });
      });
    };
    const connection: Connection = new Connection(
      socket,
      { decide: (offer) => decide(offer, connection.remoteIp, (admitted) => (peer = admitted)) },
      {
        patience: config.DicomScpTimeout * 1000,
        maximumPdu: config.MaximumPduLength,
        sink: (context, command) => {
          const service = byCommand.get(command.CommandField);
          if (peer === undefined || service === undefined || verdict(service, peer, context, command) !== 'served')
            return undefined;
          return service.sink?.(peer, context, command);
        },
      },
    );
    open.set(connection, state);
    socket.once('close', () => open.delete(connection));
    try {
      await connection.opened;
      await new Dialogue(connection).run(async (request) => {
        if (peer === undefined) return;
        state.busy = true;
        try {
          const { message, association } = request;
          const service = byCommand.get(message.command.CommandField);
          pace.serving(service);
          await serve(service, {
            peer,
            message,
            association,
            get cancelled() {
              return request.cancelled;
            },
          });
        } finally {
          state.busy = false;
          if (closing) connection.abort();
        }
      }, lend);
    } finally {
      // Over already, unless a service failed.
      connection.abort();
      if (peer !== undefined) {
        associations -= 1;
        recordAssociations('incoming', associations);
      }
    }
  };

  const accept = (socket: Socket): void => {
    const remote = { remoteIp: socket.remoteAddress };
    converse(socket).catch((thrown: unknown) => {
      const error = asIsenError(thrown);
      if (error.code === 'NetworkProtocol' || error.code === 'Timeout') {
        log.dicom.info({ ...remote, reason: error.message }, 'an association ended in disorder');
      } else log.dicom.error({ ...remote, err: error }, 'an association was ended by a fault');
    });
  };

  const server = openServer(config, accept);
  server.maxConnections = MOST_CONNECTIONS;
  /** Of TCP, those that have not finished their TLS handshake included. */
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

  return {
    get associations() {
      return associations;
    },
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', (error) =>
          reject(new IsenError('NetworkProtocol', `DicomPort ${config.DicomPort}: ${error.message}`, { cause: error })),
        );
        server.listen(config.DicomPort, () => {
          const address = server.address();
          resolve({ port: typeof address === 'object' && address !== null ? address.port : config.DicomPort });
        });
      }),
    close: (graceMs) =>
      new Promise((resolve) => {
        closing = true;
        const cut = setTimeout(() => {
          for (const connection of open.keys()) connection.abort();
          for (const socket of sockets) socket.destroy();
        }, graceMs);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        for (const { recall } of services) void recall?.();
        for (const [connection, { busy }] of open) if (!busy && connection.idle) connection.abort();
      }),
  };
}

/** How requests follow one another on an association. */
class Pace {
  /** Of the last request. */
  service: Service | undefined;
  #last = Number.NEGATIVE_INFINITY;
  #before = Number.NEGATIVE_INFINITY;
  #pause = 0;

  serving(service: Service | undefined): void {
    this.#before = service === this.service ? this.#last : Number.NEGATIVE_INFINITY;
    this.service = service;
    this.#last = performance.now();
  }

  /** The last two came soon one after the other, for the same service. */
  get isQuick(): boolean {
    return this.#last - this.#before < QUICK && this.#last > this.#pause;
  }

  /** What was lent is back. */
  returned(reason: Returned['reason']): void {
    // What is not for the borrower is likely not to be alone, and who wanted him likely wants more.
    if (reason !== 'silence') this.#pause = performance.now() + PAUSE;
  }
}

/**
 * Whether a request is the service's on this presentation context: what was negotiated for one service opens no other, and a SOP class that
 * would not have been accepted is none that a command may name.
 */
function verdict(
  service: Service,
  peer: Peer,
  { id, abstractSyntax, transferSyntax, scu, scp }: PresentationContext,
  command: Command,
): 'served' | 'another context' | 'another SOP class' {
  // Events are reported by the SCP of their class; everything else is asked by an SCU.
  const isEvent = command.CommandField === COMMAND['N-EVENT-REPORT-RQ'];
  const serves = (uid: string): boolean => {
    const offered = { id, abstractSyntax: uid, transferSyntaxes: [transferSyntax], scu: !isEvent, scp: isEvent };
    const answer = service.accepts(peer, offered);
    return answer !== undefined && 'transferSyntax' in answer && answer.peerRole === (isEvent ? 'scp' : 'scu');
  };
  if (!(isEvent ? scp : scu) || !serves(abstractSyntax)) return 'another context';
  const named = command.AffectedSOPClassUID ?? command.RequestedSOPClassUID ?? abstractSyntax;
  return named === abstractSyntax || serves(named) ? 'served' : 'another SOP class';
}

/** Has a service answer a request; one that none answers, or that is not for this context, is answered as the Standard says. */
async function serve(service: Service | undefined, exchange: Exchange): Promise<void> {
  const { context, command, sink } = exchange.message;
  const answer = service && verdict(service, exchange.peer, context, command);
  if (service !== undefined && answer === 'served') return service.serve(exchange);
  sink?.abandon();
  if (answer === 'another context') {
    throw new IsenError('NetworkProtocol', 'a request on a presentation context of another service');
  }
  await exchange.association.send(context, {
    CommandField: command.CommandField | 0x8000,
    MessageIDBeingRespondedTo: command.MessageID ?? 0,
    ...(command.AffectedSOPClassUID === undefined ? {} : { AffectedSOPClassUID: command.AffectedSOPClassUID }),
    Status: answer === undefined ? UNRECOGNIZED_OPERATION : SOP_CLASS_NOT_SUPPORTED,
  });
}

/** What one offered context is answered: what every service says to it, taken together. */
export function answerTo(services: readonly Service[], peer: Peer, context: OfferedContext): ContextAnswer {
  const said = services.map((service) => service.accepts(peer, context)).filter((each) => each !== undefined);
  const accepted = said.filter((each) => 'transferSyntax' in each);
  const scu = context.scu && accepted.some(({ peerRole }) => peerRole === 'scu');
  const scp = context.scp && accepted.some(({ peerRole }) => peerRole === 'scp');
  const [first] = accepted;
  if (first !== undefined && (scu || scp)) {
    return { result: 'accepted', transferSyntax: first.transferSyntax, scu, scp };
  }
  const refusals = said.filter((each) => 'refused' in each).map(({ refused }) => refused);
  if (first !== undefined || refusals.includes('user rejection')) return { result: 'user rejection' };
  return { result: refusals[0] ?? 'abstract syntax not supported' };
}

function openServer(config: DicomServerOptions['config'], accept: (socket: Socket) => void): Server {
  if (!config.DicomTlsEnabled) return createTcpServer({ noDelay: true }, (socket) => accept(sharing(socket)));
  const required = config.DicomTlsRemoteCertificateRequired;
  const cert = pem('DicomTlsCertificate', config.DicomTlsCertificate);
  const key = pem('DicomTlsPrivateKey', config.DicomTlsPrivateKey);
  const trusted = config.DicomTlsTrustedCertificates;
  const ca = required || trusted !== '' ? pem('DicomTlsTrustedCertificates', trusted) : undefined;
  const ciphers = config.DicomTlsCiphersAccepted.join(':');
  try {
    return createTlsServer(
      {
        cert,
        key,
        ...(ca === undefined ? {} : { ca }),
        ...(ciphers === '' ? {} : { ciphers }),
        requestCert: ca !== undefined,
        rejectUnauthorized: required,
        minVersion: TLS_VERSIONS[config.DicomTlsMinimumProtocolVersion] ?? 'TLSv1.2',
        handshakeTimeout: HANDSHAKE,
        noDelay: true,
      },
      (socket: TLSSocket) => {
        // Nobody must have a certificate, but one that is shown must be good.
        if (!socket.authorized && Object.keys(socket.getPeerCertificate()).length > 0) socket.destroy();
        else accept(socket);
      },
    ).on('tlsClientError', (error, socket) => {
      log.dicom.info({ remoteIp: socket.remoteAddress, reason: error.message }, 'a TLS handshake failed');
    });
  } catch (thrown) {
    throw new IsenError('BadFileFormat', `DICOM TLS: ${asError(thrown).message}`, { cause: thrown });
  }
}
