/** Owns the way to a peer: one HTTP connection that is kept alive, over which instances are uploaded one after another (POST /instances). */

import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { asIsenError, type ErrorName, IsenError } from '../errors.ts';
import type { HttpAnswer, HttpClient, HttpConnection } from '../outgoing.ts';
import type { Outgoing } from '../scu/send.ts';
import type { Ready } from './feed.ts';
import { isPassing, type Line, type Outcome, type Target, unsent } from './line.ts';
import { checkAllowed, type Peer } from './peers.ts';

/** Bytes of a stored file that are read at once. */
const PART = 1 << 20;

/** Statuses that say something about the peer (or what stands before it) and nothing about what was sent. */
const UNAVAILABLE: ReadonlySet<number> = new Set([401, 403, 404, 405, 407, 429, 502, 503, 504]);

/** Errors of transcoding after which a file is better delivered as it is than not at all. */
const AS_STORED: ReadonlySet<ErrorName> = new Set<ErrorName>([
  'NotImplemented',
  'IncompatibleImageFormat',
  'NotEnoughMemory',
]);

/** The peer as it is now. */
export function peerTarget(peer: Peer, client: HttpClient, allowed: readonly string[]): Target {
  const { sending, ...where } = peer;
  return {
    where: JSON.stringify(where),
    sending,
    async open() {
      try {
        checkAllowed(peer, allowed);
        return new PeerLine(await client.connect(peer));
      } catch (thrown) {
        const error = asIsenError(thrown);
        throw new IsenError(error.code, `peer "${peer.name}": ${error.details ?? error.message}`, { cause: thrown });
      }
    },
  };
}

class PeerLine implements Line {
  readonly #connection: HttpConnection;
  readonly #ended = new AbortController();

  constructor(connection: HttpConnection) {
    this.#connection = connection;
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  carries(): boolean {
    return true;
  }

  async send({ outgoing, order }: Ready): Promise<Outcome> {
    if (outgoing === undefined) throw new TypeError('there is nothing to be sent');
    const read = new Reading(outgoing);
    let answer: HttpAnswer;
    let bytes: number;
    try {
      const { size, body } = await read.file();
      bytes = size;
      answer = await this.#connection.request({
        method: 'POST',
        path: 'instances',
        headers: {
          'content-type': 'application/dicom',
          // What it is compressed to is not known before.
          ...(order.compress === true && { 'content-encoding': 'gzip' }),
        },
        body: order.compress === true ? () => gzipped(body()) : body,
        ...(order.compress !== true && { size }),
      });
    } catch (thrown) {
      if (read.failure === undefined) throw thrown;
      // Half a file may be on its way: nothing else can follow it.
      this.abort();
      return unsent(read.failure, !isPassing(read.failure));
    }
    return outcomeOf(answer, bytes);
  }

  async release(): Promise<void> {
    this.#ended.abort();
    await this.#connection.close();
  }

  abort(): void {
    this.#ended.abort();
    this.#connection.abort();
  }
}

/** What an answer to an upload means. Throws NetworkProtocol where it says nothing about what was sent. */
export function outcomeOf({ status }: HttpAnswer, bytes: number): Outcome {
  if (status >= 200 && status < 300) return { status: 'success', reason: '', remark: '', final: false, bytes };
  const error = new IsenError('NetworkProtocol', `the peer answered with HTTP status ${status}`);
  if (UNAVAILABLE.has(status) || (status >= 300 && status < 400)) throw error;
  return unsent(error, status < 500 && status !== 408);
}

/** A file as it is read for a body; what fails of it is ours and not the peer's. */
class Reading {
  readonly #outgoing: Outgoing;
  failure: IsenError | undefined;

  constructor(outgoing: Outgoing) {
    this.#outgoing = outgoing;
  }

  /** The file: transcoded where that is wanted and possible, changed where that is wanted, else as it is stored. */
  async file(): Promise<{ readonly size: number; readonly body: () => AsyncIterable<Uint8Array> }> {
    const { wanted, transferSyntax, size } = this.#outgoing;
    if (wanted !== undefined && wanted !== transferSyntax) {
      try {
        const bytes = await this.#outgoing.transcode(wanted);
        return { size: bytes.length, body: () => once(bytes) };
      } catch (thrown) {
        const error = asIsenError(thrown);
        if (!AS_STORED.has(error.code)) {
          this.failure = error;
          throw error;
        }
      }
    }
    const changed = await this.#changed();
    if (changed !== undefined) return { size: changed.length, body: () => once(changed) };
    return { size, body: () => this.#stored(size) };
  }

  async #changed(): Promise<Uint8Array | undefined> {
    try {
      return await this.#outgoing.changed?.();
    } catch (thrown) {
      this.failure = asIsenError(thrown);
      throw thrown;
    }
  }

  async *#stored(size: number): AsyncGenerator<Uint8Array, void> {
    try {
      for (let at = 0; at < size; at += PART) yield await this.#outgoing.read(at, Math.min(at + PART, size));
    } catch (thrown) {
      this.failure = asIsenError(thrown);
      throw thrown;
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

function gzipped(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const source = Readable.from(body, { objectMode: false });
  const gzip = createGzip({ level: 1 });
  source.once('error', (error) => gzip.destroy(error));
  return source.pipe(gzip);
}
