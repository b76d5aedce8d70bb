/**
 * Owns the making of the bytes of an archive: files are read, checked and deflated some ahead of who takes them, by several threads, and
 * never more of them than a bound of bytes allows. Whoever takes no more stops the reading.
 */

import { createHash } from 'node:crypto';
import { crc32 } from '../crc32.ts';
import { type Attachment, type Database } from '../database/database.ts';
import { Dicomdir, type DirectoryEntry } from '../dicom/dicomdir.ts';
import type { Packed, PackTask } from '../dicom/packing.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { IsenError } from '../errors.ts';
import { isImpossible, type Transcoder } from '../ingest/transcoder.ts';
import { log } from '../log.ts';
import type { Pool } from '../pool.ts';
import { readContent, streamContent } from '../storage/content.ts';
import type { Storage } from '../storage/storage.ts';
import { ZipLayout } from '../zip.ts';
import { ahead } from './ahead.ts';
import { type ArchiveFile, archiveFiles, storedInstance, type StoredInstance } from './archive-files.ts';
import type { Asked } from './storing.ts';

/** What an archive is to hold, and how. */
export interface ArchiveOrder {
  readonly resources: readonly Asked[];
  /** A file-set with a DICOMDIR (PS3.10 §8), `extended` by attributes of type 3; else folders by patient, study and series. */
  readonly media: boolean;
  readonly extended: boolean;
  /** Folders may have letters outside ASCII. */
  readonly utf8: boolean;
  /** UID: files that can be had in this transfer syntax are. */
  readonly transcode?: string;
  /** Of lossy compression, 1 to 100. */
  readonly quality?: number;
}

/** How far it is. */
export interface ArchiveTally {
  instances: number;
  /** Bytes of their files. */
  size: number;
}

export interface ArchiveRoom {
  readonly database: Pick<Database, 'find' | 'statistics'>;
  readonly storage: Pick<Storage, 'read' | 'stream' | 'size'>;
  readonly transcoder: Pick<Transcoder, 'transcode'>;
  readonly pool: Pick<Pool<PackTask, Packed>, 'run' | 'threads'>;
  /** Bytes that all archives have read ahead. */
  readonly readAhead: { bytes: number };
}

/** Bytes of a file that is read whole; of a larger one only {@link PIECE}s are in memory. */
const WHOLE = 4 << 20;
const PIECE = 1 << 20;
/** Files, and bytes of them, that one archive reads ahead; and bytes that all of them do. */
const FILES_AHEAD = 8;
const AHEAD = 8 << 20;
const ALL_AHEAD = 256 << 20;
/** Pieces of one file that are under way. */
const PIECES_AHEAD = 4;
/** Bytes of the header of a file that a DICOMDIR needs. */
const LARGEST_HEADER = 64 << 20;
/** Bytes below which what goes out is gathered: each chunk has its price. */
const CHUNK = 64 << 10;
/** Times that a file may be exchanged between looking it up and opening it. */
const MOST_LOOKS = 8;

/** File-set ID (0004,1130). */
const FILE_SET = 'ISEN_MEDIA';

/** A file on its way into an archive. */
interface Prepared {
  readonly file: ArchiveFile;
  readonly size: number;
  readonly entry?: DirectoryEntry;
  /** A small one, as it goes in. */
  readonly packed?: Packed;
  /** A large one, to be read in its turn. */
  readonly source?: () => Promise<AsyncIterable<Uint8Array>>;
}

const own = (bytes: Uint8Array): readonly ArrayBuffer[] =>
  bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength ? [bytes.buffer] : [];

const md5Of = ({ uncompressedMD5: md5 }: Attachment): { readonly md5?: string } => (md5 === '' ? {} : { md5 });

/**
 * The bytes of an archive, from its first on. Throws CorruptedFile for a file that is not the one that was stored, and what reading it
 * throws; one that was deleted meanwhile is left out.
 */
export async function* archiveBytes(
  room: ArchiveRoom,
  order: ArchiveOrder,
  tally: ArchiveTally,
): AsyncGenerator<Uint8Array, void> {
  const files = archiveFiles(room.database, order.resources, order.utf8);
  yield* gathered(entries(room, order, tally, files));
}

async function* entries(
  room: ArchiveRoom,
  order: ArchiveOrder,
  tally: ArchiveTally,
  files: AsyncIterable<ArchiveFile>,
): AsyncGenerator<Uint8Array, void> {
  const zip = new ZipLayout();
  const directory = order.media ? new Dicomdir(FILE_SET) : undefined;
  let held = 0;
  /** Files that transcoding makes large are few; others are counted by their bytes. */
  const most = order.transcode === undefined ? FILES_AHEAD : room.pool.threads;
  const makeRoom = ({ attachment: { uncompressedSize } }: ArchiveFile, waiting: number): (() => void) | undefined => {
    const size = Math.min(uncompressedSize, WHOLE);
    const { readAhead } = room;
    if (waiting > 0 && (waiting >= most || held + size > AHEAD || readAhead.bytes + size > ALL_AHEAD)) return undefined;
    held += size;
    readAhead.bytes += size;
    return () => {
      held -= size;
      readAhead.bytes -= size;
    };
  };
  for await (const prepared of ahead(files, makeRoom, (file) => prepare(room, order, file))) {
    if (prepared === undefined) continue;
    const { file, size, entry, packed, source } = prepared;
    const number = tally.instances;
    const name = order.media ? `IMAGES/IM${number}` : file.name;
    if (packed !== undefined) yield* smallEntry(zip, name, packed, size);
    else if (source !== undefined) yield* largeEntry(room, zip, name, await source(), file.attachment, size);
    if (entry !== undefined) directory?.add({ ...file, path: ['IMAGES', `IM${number}`], entry });
    tally.instances += 1;
    tally.size += size;
  }
  if (directory !== undefined) {
    const bytes = new Uint8Array(directory.finish());
    const size = bytes.length;
    yield* smallEntry(zip, 'DICOMDIR', await room.pool.run({ bytes, deflate: 'whole' }, own(bytes)), size);
  }
  yield* zip.finish();
}

/** A file that is known whole. */
function* smallEntry(
  zip: ZipLayout,
  name: string,
  { crc, deflated, stored }: Packed,
  size: number,
): Generator<Uint8Array, void> {
  const bytes = deflated ?? stored ?? new Uint8Array();
  const content = { crc, size, compressedSize: bytes.length };
  yield zip.begin({ name, method: deflated === undefined ? 'stored' : 'deflated', content });
  yield bytes;
  zip.end();
}

/** A file of which only pieces are in memory. Its end is held back until the MD5 of all is known to be right. */
async function* largeEntry(
  { pool }: ArchiveRoom,
  zip: ZipLayout,
  name: string,
  source: AsyncIterable<Uint8Array>,
  attachment: Attachment,
  size: number,
): AsyncGenerator<Uint8Array, void> {
  yield zip.begin({ name, method: 'deflated', size });
  let read = 0;
  let crc = 0;
  let compressedSize = 0;
  const room = (_: unknown, waiting: number): (() => void) | undefined =>
    waiting < PIECES_AHEAD ? () => {} : undefined;
  const pieces = ahead(inPieces(source), room, ({ bytes, last }) => {
    crc = crc32(bytes, crc);
    read += bytes.length;
    return pool.run({ bytes, deflate: last ? 'last' : 'piece' }, own(bytes));
  });
  for await (const { deflated = new Uint8Array() } of pieces) {
    compressedSize += deflated.length;
    yield deflated;
  }
  if (read !== size) throw altered(attachment);
  yield zip.end({ crc, size, compressedSize });
}

const altered = ({ uuid }: Attachment): IsenError =>
  new IsenError('CorruptedFile', `the stored file ${uuid} is not the one that was stored`);

/** The same bytes in pieces of {@link PIECE}, each in memory of its own; the last one is known as such. */
async function* inPieces(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly bytes: Uint8Array; readonly last: boolean }, void> {
  let piece = new Uint8Array(PIECE);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      if (filled === PIECE) {
        yield { bytes: piece, last: false };
        piece = new Uint8Array(PIECE);
        filled = 0;
      }
      const some = chunk.subarray(at, at + PIECE - filled);
      piece.set(some, filled);
      filled += some.length;
      at += some.length;
    }
  }
  yield { bytes: piece.slice(0, filled), last: true };
}

/** The chunks of a stored file, but for the last, which follows when the MD5 of all is the indexed one. */
async function* verified(source: AsyncIterable<Uint8Array>, attachment: Attachment): AsyncGenerator<Uint8Array, void> {
  const { md5 } = md5Of(attachment);
  const hash = md5 === undefined ? undefined : createHash('md5');
  let last: Uint8Array | undefined;
  for await (const chunk of source) {
    hash?.update(chunk);
    if (last !== undefined) yield last;
    last = chunk;
  }
  if (hash !== undefined && hash.digest('hex') !== md5) throw altered(attachment);
  if (last !== undefined) yield last;
}

/** Reads and packs a file, or as much of it as goes on ahead. Undefined for an instance that is not stored any more. */
async function prepare(room: ArchiveRoom, order: ArchiveOrder, file: ArchiveFile): Promise<Prepared | undefined> {
  for (let looks = 1, now: StoredInstance = file; ; looks += 1) {
    try {
      return await prepareAs(room, order, { ...file, ...now });
    } catch (thrown) {
      const isMissing = thrown instanceof IsenError && thrown.code === 'InexistentFile';
      if (!isMissing || looks === MOST_LOOKS) throw thrown;
      const [found] = await room.database.find({ level: 'Instance', id: file.id });
      const next = found && storedInstance(found);
      if (next === undefined) {
        log.jobs.warn(`instance ${file.id} is left out of an archive: it was deleted meanwhile`);
        return undefined;
      }
      // The index still knows this very file: it is lost.
      if (next.attachment.uuid === now.attachment.uuid) throw thrown;
      now = next;
    }
  }
}

async function prepareAs(room: ArchiveRoom, order: ArchiveOrder, file: ArchiveFile): Promise<Prepared> {
  const { attachment } = file;
  const { transcode } = order;
  const transcoded =
    transcode === undefined || transcode === file.transferSyntax
      ? undefined
      : await transcodedAs(room, file, transcode, order.quality);
  const size = transcoded?.length ?? attachment.uncompressedSize;
  const written = transcoded === undefined ? file.transferSyntax : (transcode ?? '');
  const describe = order.media ? { describe: { size, extended: order.extended } } : {};
  if (size <= WHOLE) {
    // What was transcoded is shared with others.
    const bytes =
      transcoded === undefined
        ? await readContent(room.storage, attachment, { start: 0, end: size })
        : Uint8Array.from(transcoded);
    const syntax = transferSyntax(written);
    const task: PackTask = {
      bytes,
      deflate: syntax?.encapsulated === true || syntax?.deflated === true ? 'no' : 'whole',
      ...(transcoded === undefined && md5Of(attachment)),
      ...describe,
    };
    const packed = await room.pool.run(task, own(bytes));
    return { file, size, packed, ...(packed.entry && { entry: packed.entry }) };
  }
  const read = async (end: number): Promise<Uint8Array> =>
    transcoded === undefined
      ? readContent(room.storage, attachment, { start: 0, end })
      : Uint8Array.from(transcoded.subarray(0, end));
  if (transcoded === undefined && (await room.storage.size(attachment.uuid)) !== attachment.compressedSize)
    throw altered(attachment);
  const entry = order.media ? await describeLarge(room, file, size, order.extended, read) : undefined;
  const source = async (): Promise<AsyncIterable<Uint8Array>> =>
    transcoded === undefined
      ? verified(await streamContent(room.storage, attachment), attachment)
      : ReadableStream.from([transcoded]);
  return { file, size, source, ...(entry && { entry }) };
}

/** The file in another transfer syntax; undefined where it cannot be had in it. */
async function transcodedAs(
  { transcoder }: ArchiveRoom,
  { id, attachment }: ArchiveFile,
  syntax: string,
  quality: number | undefined,
): Promise<Uint8Array | undefined> {
  try {
    return await transcoder.transcode({ attachment, metadata: {} }, syntax, quality);
  } catch (thrown) {
    if (!isImpossible(thrown)) throw thrown;
    log.jobs.warn({ err: thrown }, `instance ${id} goes into an archive as it is stored`);
    return undefined;
  }
}

/** What a DICOMDIR says of a large file. */
async function describeLarge(
  { pool }: ArchiveRoom,
  { pixelDataOffset }: ArchiveFile,
  size: number,
  extended: boolean,
  read: (end: number) => Promise<Uint8Array>,
): Promise<DirectoryEntry | undefined> {
  const describe = async (end: number): Promise<DirectoryEntry | undefined> => {
    const bytes = await read(end);
    return (await pool.run({ bytes, deflate: 'no', describe: { size, extended } }, own(bytes))).entry;
  };
  try {
    return await describe(PIECE);
  } catch (thrown) {
    // The header is larger, or the file has no pixels to end it.
    const end = Math.min(size, Math.max(PIECE, pixelDataOffset ?? size) + 12);
    if (end > LARGEST_HEADER) throw thrown;
    return describe(end);
  }
}

/** Joins what is small, so that few chunks go out; the first goes out at once. */
async function* gathered(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let some: Uint8Array[] = [];
  let size = 0;
  let begun = false;
  for await (const bytes of source) {
    if (bytes.length === 0) continue;
    if (begun && bytes.length < CHUNK) {
      some.push(bytes);
      size += bytes.length;
      if (size < CHUNK) continue;
    }
    if (size > 0) yield Buffer.concat(some, size);
    if (!begun || bytes.length >= CHUNK) yield bytes;
    begun = true;
    some = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(some, size);
}
