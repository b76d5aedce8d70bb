/**
 * Owns lending the connection of a request to the inlet while its body comes, and what Node's HTTP parser must be told afterwards: that
 * it was there. Node documents neither the parser of a connection nor its handle; where they are not as they are known, nothing is lent.
 */

import type { IncomingMessage } from 'node:http';
import { nextTick } from 'node:process';
import { IsenError } from '../errors.ts';
import type { Slab } from '../ingest/ingest.ts';
import type { Inlet } from '../inlet.ts';

/** Bytes of a body's rest for which it is worth it. */
const LEAST = 64 << 10;

/** What the parser is fed instead of a body, as often as needed. */
const NOTHING = Buffer.alloc(64 << 10);

/** Node's parser of requests. Under the number `kOnBody` of its class it has who hears of a body. */
interface Parser {
  [hearer: number]: unknown;
  /** Bytes that it took, or what is wrong with them. */
  execute(bytes: Buffer): number | Error;
  readonly constructor: { readonly kOnBody?: unknown };
}

/** What of a connection is lent. */
interface Lendable {
  readonly parser: Parser;
  readonly onBody: number;
  readonly handle: { readonly fd: number; reading: boolean; readStop(): void };
}

/**
 * Undefined for one under TLS too, whose bytes are not the body's, and while an earlier request of the connection has not got all of its
 * answer: Node goes on reading when that was taken.
 */
function lendable(request: IncomingMessage): Lendable | undefined {
  const { socket } = request;
  if ('encrypted' in socket) return undefined;
  const {
    parser,
    _handle: handle,
    _httpMessage: answering,
  } = socket as unknown as {
    readonly parser?: Parser | null;
    readonly _handle?: Lendable['handle'] | null;
    readonly _httpMessage?: { readonly req?: unknown } | null;
  };
  if (answering?.req !== request) return undefined;
  const onBody = parser?.constructor.kOnBody;
  if (!parser || !handle || typeof onBody !== 'number') return undefined;
  const isKnown =
    typeof parser.execute === 'function' &&
    typeof parser[onBody] === 'function' &&
    typeof handle.readStop === 'function' &&
    typeof handle.reading === 'boolean' &&
    handle.fd >= 0;
  return isKnown ? { parser, onBody, handle } : undefined;
}

/**
 * Receives the body of a request that nobody has read of into an empty slab, as far as it comes at once: what is left, its end above all, is to
 * be read of the request as ever. Nothing happens where the body is short, of a length that is not known, or cannot be lent. Throws
 * BadRequest when the client is gone, and as the slab does.
 */
export async function receiveLent(inlet: Inlet, request: IncomingMessage, slab: Slab, largest: number): Promise<void> {
  const { socket } = request;
  const length = Number(request.headers['content-length'] ?? 0);
  if (length < LEAST || length > largest || request.readableFlowing !== null) return;
  if (request.headers['transfer-encoding'] !== undefined) return;
  const lent = lendable(request);
  if (lent === undefined) return;
  const { handle } = lent;
  const came = request.read() as Buffer | null;
  // Of an empty slab that is at once: it has the memory for what a request holds back.
  if (came !== null) await slab.append(came);
  const lacking = length - slab.size;
  if (lacking < LEAST) return;
  socket.pause();
  // To have read has asked the connection to go on, which it does before this.
  await new Promise<void>((resolve) => nextTick(resolve));
  if (handle.reading) {
    handle.reading = false;
    handle.readStop();
  }
  const { timeout } = socket;
  socket.setTimeout(0);
  let total = 0;
  try {
    while (total < lacking) {
      const room = slab.room();
      const bytes = room.subarray(0, lacking - total);
      const come = bytes.length === 0 ? undefined : inlet.receive(handle.fd, bytes);
      if (come === undefined) break;
      const count = await come;
      slab.filled(count);
      total += count;
      if (count < bytes.length) break;
    }
  } catch (thrown) {
    // How far it is nobody knows: what comes next must not be taken for a request.
    socket.destroy();
    throw thrown;
  }
  if (request.destroyed) throw new IsenError('BadRequest', 'the client is gone');
  if (handle.reading || request.readableLength > 0 || !skip(lent, total)) {
    socket.destroy();
    throw new IsenError('InternalError', 'the connection was read from while it was lent');
  }
  socket.setTimeout(timeout ?? 0);
  socket.resume();
}

/** Has the parser take so many bytes of a body as heard. Whether it did. */
function skip({ parser, onBody }: Lendable, bytes: number): boolean {
  const hearer = parser[onBody];
  parser[onBody] = undefined;
  try {
    for (let left = bytes; left > 0; left -= NOTHING.length) {
      const part = Math.min(left, NOTHING.length);
      if (parser.execute(NOTHING.subarray(0, part)) !== part) return false;
    }
    return true;
  } finally {
    parser[onBody] = hearer;
  }
}
