/**
 * Owns how bytes come from a socket: over TCP into one piece of memory that all connections share, so that a read takes as much as is
 * there and leaves nothing behind for the garbage collector; under TLS, and where this Node has no such thing, in buffers of their own.
 */

import { Socket } from 'node:net';

/** Bytes of one read at most. */
const LARGEST_READ = 256 << 10;

/** A thread reads one socket at a time, and what was read is heard before the next read. */
const memory = Buffer.allocUnsafeSlow(LARGEST_READ);

/** Hears bytes that are the hearer's until the turn of the event loop ends, promises that are ready included. */
type Hearer = (bytes: Buffer) => void;

/** Whoever hears what comes over a socket that reads into {@link memory}. */
interface Inflow {
  hear: Hearer | undefined;
}

const inflows = new WeakMap<Socket, Inflow>();

/** What `onread` of a socket takes. */
interface OnRead {
  readonly buffer: Buffer;
  callback(size: number): boolean;
}

/** Makes a socket that reads into the shared memory, by a constructor that takes `onread`. */
export function sharedReading(make: (onread: OnRead) => Socket): Socket {
  const inflow: Inflow = { hear: undefined };
  const socket = make({
    buffer: memory,
    callback(size) {
      inflow.hear?.(memory.subarray(0, size));
      return true;
    },
  });
  inflows.set(socket, inflow);
  return socket;
}

/** Node's sockets hold a handle of the system, which one can be made of; this is not documented. */
interface Handled {
  _handle: { readonly useUserBuffer?: unknown } | null;
}

/** The connection of a socket that a server just accepted, as one that reads into the shared memory; the first ends with it. */
export function sharing(accepted: Socket): Socket {
  const holder = accepted as unknown as Handled;
  const handle = holder._handle;
  if (typeof handle?.useUserBuffer !== 'function') return accepted;
  holder._handle = null;
  const socket = sharedReading((onread) => new Socket({ handle, onread } as object));
  // The server counts the one that it accepted.
  socket.once('close', () => accepted.destroy());
  accepted.once('close', () => socket.destroy());
  return socket;
}

/** What Node's handle of a plain TCP connection shows, which is not documented either; undefined where it is not as it is known. */
export function handleOf(socket: Socket): { readonly fd: number; readonly reading: boolean } | undefined {
  if ('encrypted' in socket) return undefined;
  const { _handle: handle } = socket as unknown as { readonly _handle?: { fd?: unknown; reading?: unknown } | null };
  if (typeof handle?.fd !== 'number' || handle.fd < 0 || typeof handle.reading !== 'boolean') return undefined;
  return handle as { readonly fd: number; readonly reading: boolean };
}

/** Has `hear` hear what comes over `socket` from now on, alone. */
export function hearFrom(socket: Socket, hear: Hearer): void {
  const inflow = inflows.get(socket);
  if (inflow === undefined) socket.on('data', hear);
  else inflow.hear = hear;
}
