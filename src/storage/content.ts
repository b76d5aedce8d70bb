/**
 * Owns what the bytes of a blob mean: the content itself, or (`zlib`) the content compressed as Orthanc does it, behind its size in
 * 8 bytes, little endian; of nothing, nothing. Whoever reads files reads them here, whatever they are stored as.
 *
 * Of a small compressed blob the content is kept for a while, since its header and its pixels are asked for one after the
 * other. A large one is never whole in memory: who reads on where somebody stopped goes on inflating there.
 */

import { createHash, type Hash } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';
import { promisify } from 'node:util';
import { createDeflate, createInflate, deflate, inflate } from 'node:zlib';
import { IsenError } from '../errors.ts';
import { Kept } from '../kept.ts';
import type { ByteRange, Storage } from './storage.ts';

export type Compression = 'none' | 'zlib';

/** A blob with what is known of it. Sizes in bytes, MD5 in lower-case hex ('' when not computed). */
export interface StoredContent {
  /** Key of the blob in the storage port. */
  readonly uuid: string;
  readonly compression: Compression;
  /** Of the content. */
  readonly uncompressedSize: number;
  readonly uncompressedMD5: string;
  /** Of what the storage holds. */
  readonly compressedSize: number;
  readonly compressedMD5: string;
}

/** What reading needs of the storage. */
export type Source = Pick<Storage, 'read' | 'stream'>;

/** Bytes of the size before compressed content. */
const PREFIX = 8;

/** Bytes of content that are kept together. A sixteenth of it is the largest that is small. */
const KEPT = 64 << 20;
const SMALL = KEPT / 16 - 64;
const kept = new Kept<Uint8Array>(KEPT);

const inflateAsync = promisify(inflate);
const deflateAsync = promisify(deflate);

const damaged = (uuid: string, cause?: unknown): IsenError =>
  new IsenError('CorruptedFile', `the stored file ${uuid} cannot be decompressed`, { cause });

/**
 * The content of a blob or a range of it, in memory of its own; in `memory` where that is given and large enough. Throws
 * InexistentFile, CorruptedFile.
 */
export async function readContent(
  storage: Source,
  content: StoredContent,
  range?: ByteRange,
  memory?: Uint8Array,
): Promise<Uint8Array> {
  const { uuid, compression, uncompressedSize } = content;
  if (compression === 'none') return storage.read(uuid, range, memory);
  const { start, end } = range ?? { start: 0, end: uncompressedSize };
  if (start < 0 || start > end) throw new IsenError('BadRange');
  if (end > uncompressedSize) throw new IsenError('CorruptedFile', `the stored file ${uuid} is shorter than indexed`);
  const size = end - start;
  const bytes = memory !== undefined && memory.length >= size ? memory.subarray(0, size) : new Uint8Array(size);
  if (uncompressedSize <= SMALL) bytes.set((await small(storage, content)).subarray(start, end));
  else await readOn(storage, content, start, bytes);
  return bytes;
}

/** The same as a stream, never whole in memory unless it is small. Throws InexistentFile before the first byte. */
export async function streamContent(
  storage: Source,
  content: StoredContent,
  range?: ByteRange,
): Promise<ReadableStream<Uint8Array>> {
  if (content.compression === 'none') return storage.stream(content.uuid, range);
  const { start, end } = range ?? { start: 0, end: content.uncompressedSize };
  const source = await inflated(storage, content);
  return ReadableStream.from(part(source, content, start, end));
}

/** All of a small one. Whoever gets it must not write to it. */
async function small(storage: Source, { uuid, uncompressedSize }: StoredContent): Promise<Uint8Array> {
  const known = kept.get(uuid);
  if (known !== undefined) return known;
  const stored = Buffer.from(await storage.read(uuid));
  let bytes: Uint8Array = stored;
  if (uncompressedSize > 0) {
    if (stored.length < PREFIX || stored.readBigUInt64LE() !== BigInt(uncompressedSize)) throw damaged(uuid);
    try {
      bytes = await inflateAsync(stored.subarray(PREFIX), { maxOutputLength: uncompressedSize });
    } catch (thrown) {
      throw damaged(uuid, thrown);
    }
  }
  if (bytes.length !== uncompressedSize) throw damaged(uuid);
  kept.add(uuid, bytes);
  return bytes;
}

/** The content from its beginning, in chunks. */
async function inflated(storage: Source, { uuid, compressedSize }: StoredContent): Promise<AsyncIterator<Uint8Array>> {
  if (compressedSize === 0) return Readable.from([])[Symbol.asyncIterator]();
  const source = Readable.fromWeb((await storage.stream(uuid, { start: PREFIX, end: compressedSize })) as never);
  const target = createInflate({ chunkSize: 256 << 10 });
  // Whoever reads hears of what goes wrong.
  pipeline(source, target, () => {});
  return target[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
}

async function next(source: AsyncIterator<Uint8Array>, uuid: string): Promise<Uint8Array | undefined> {
  try {
    const { value, done } = await source.next();
    return done === true ? undefined : value;
  } catch (thrown) {
    throw thrown instanceof IsenError ? thrown : damaged(uuid, thrown);
  }
}

async function* part(
  source: AsyncIterator<Uint8Array>,
  { uuid }: StoredContent,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array, void> {
  try {
    for (let at = 0; at < end; ) {
      const chunk = await next(source, uuid);
      if (chunk === undefined) throw damaged(uuid);
      const from = Math.max(0, start - at);
      if (from < chunk.length) yield chunk.subarray(from, end - at);
      at += chunk.length;
    }
  } finally {
    await source.return?.();
  }
}

/** A place in the content of a large blob, from which inflating goes on. */
interface Place {
  readonly uuid: string;
  readonly source: AsyncIterator<Uint8Array>;
  /** Of the first byte of `rest`. */
  at: number;
  rest: Uint8Array;
}

/** Places that nobody reads at, the oldest first; they hold an open file and some 300 KB each. */
const places: Place[] = [];
const MOST_PLACES = 32;
/** Milliseconds after which one that nobody came back to is given up. */
const IDLE = 10_000;

/** Fills `bytes` with the content from `start` on. */
async function readOn(storage: Source, content: StoredContent, start: number, bytes: Uint8Array): Promise<void> {
  const { uuid } = content;
  const index = places.findIndex((place) => place.uuid === uuid && place.at <= start);
  const place = places.splice(index, index < 0 ? 0 : 1)[0] ?? {
    uuid,
    source: await inflated(storage, content),
    at: 0,
    rest: new Uint8Array(),
  };
  try {
    for (let filled = 0; filled < bytes.length; ) {
      if (place.rest.length === 0) {
        const chunk = await next(place.source, uuid);
        if (chunk === undefined) throw damaged(uuid);
        place.rest = chunk;
      }
      const skipped = Math.min(place.rest.length, Math.max(0, start - place.at));
      const taken = place.rest.subarray(skipped, skipped + bytes.length - filled);
      bytes.set(taken, filled);
      filled += taken.length;
      place.at += skipped + taken.length;
      place.rest = place.rest.subarray(skipped + taken.length);
    }
  } catch (thrown) {
    await place.source.return?.();
    throw thrown;
  }
  if (place.at >= content.uncompressedSize) await place.source.return?.();
  else leave(place);
}

/** Keeps a place for whoever reads on, for a while. */
function leave(place: Place): void {
  places.push(place);
  if (places.length > MOST_PLACES) giveUp(places[0]);
  setTimeout(() => giveUp(place, place.at), IDLE).unref();
}

function giveUp(place: Place | undefined, at = place?.at): void {
  const index = place === undefined ? -1 : places.indexOf(place);
  // Who read on meanwhile left it anew.
  if (place === undefined || index < 0 || place.at !== at) return;
  places.splice(index, 1);
  place.source.return?.().catch(() => {});
}

/** Content as it is stored compressed. */
export async function compressed(content: Uint8Array): Promise<Uint8Array> {
  if (content.length === 0) return content;
  const prefix = Buffer.alloc(PREFIX);
  prefix.writeBigUInt64LE(BigInt(content.length));
  return Buffer.concat([prefix, await deflateAsync(content)]);
}

async function* hashed(source: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

/**
 * Writes the content of a blob as another one, provisional, in `compression`; resolves when it is durable. `hash`: whether its MD5
 * is computed. Throws CorruptedFile for content that is not what was stored, and as the storage does; nothing is left then.
 */
export async function rewrite(
  storage: Storage,
  content: StoredContent,
  compression: Compression,
  hash: boolean,
): Promise<StoredContent> {
  const { uncompressedSize: size, uncompressedMD5: md5 } = content;
  const uuid = storage.name();
  const before = createHash('md5');
  const after = createHash('md5');
  let written = 0;
  const source = hashed(await streamContent(storage, content), before);
  const packs = compression === 'zlib' && size > 0;
  const chunks = packs ? pipeline(Readable.from(source), createDeflate(), () => {}) : source;
  const writer = await storage.create(uuid);
  const write = async (chunk: Uint8Array): Promise<void> => {
    if (hash) after.update(chunk);
    written += chunk.length;
    await writer.write(chunk);
  };
  try {
    if (packs) {
      const prefix = Buffer.alloc(PREFIX);
      prefix.writeBigUInt64LE(BigInt(size));
      await write(prefix);
    }
    for await (const chunk of chunks as AsyncIterable<Uint8Array>) await write(chunk);
    const isAltered = md5 !== '' && before.digest('hex') !== md5;
    if (isAltered || (compression === 'none' && written !== size))
      throw new IsenError('CorruptedFile', `the stored file ${content.uuid} is not the one that was stored`);
  } catch (thrown) {
    await writer.abort();
    throw thrown;
  }
  await writer.finish();
  const compressedMD5 = hash ? after.digest('hex') : '';
  return { uuid, compression, uncompressedSize: size, uncompressedMD5: md5, compressedSize: written, compressedMD5 };
}
