/**
 * Owns the bodies of `POST /instances`: one DICOM file, gzip, a ZIP of many, or multipart/form-data; with or without
 * Content-Length. Every byte goes into a slab of the shared budget as it comes, whatever it expands to is bounded, and
 * what a client does not finish leaves nothing.
 */

import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { Busboy, type BusboyInstance } from '@fastify/busboy';
import crc32 from 'crc-32';
import yauzl from 'yauzl';
import type { Config } from '../config.ts';
import { LEVEL } from '../dicom/levels.ts';
import { mayBeDicom } from '../dicom/part10.ts';
import { asError, IsenError } from '../errors.ts';
import type { Ingest, Reception, Slab, Stored } from '../ingest/ingest.ts';
import type { Inlet } from '../inlet.ts';
import type { Storage } from '../storage/storage.ts';
import { receiveLent } from './lending.ts';

/** What `POST /instances` answers about one image. */
export interface UploadAnswer {
  readonly ID: string;
  readonly ParentPatient: string;
  readonly ParentSeries: string;
  readonly ParentStudy: string;
  readonly Path: string;
  readonly Status: Stored['status'];
}

/** What an upload needs of the server. */
export interface UploadServices {
  readonly ingest: Ingest;
  readonly storage: Storage;
  readonly config: Pick<Config, 'MaximumRequestBodySizeMB' | 'MaximumFileSizeInArchiveMB'>;
  /** Undefined where there is none. */
  readonly inlet: Inlet | undefined;
}

/** Bytes of one body at most. */
const largestBody = ({ config }: UploadServices): number =>
  config.MaximumRequestBodySizeMB * 2 ** 20 || Number.POSITIVE_INFINITY;

/** Entries of one ZIP, and files of one form, at most. */
const MOST_FILES = 1_000_000;

/** Bytes of a body after which what it is can be told. */
const BEGINNING = 1 << 20;

/** Milliseconds between two looks at how a body comes. */
const LOOK = 1000;

/** Looks in a row without a byte after which a client counts as gone. */
const SILENT_LOOKS = 60;

/** Bytes that must come between two looks, or a client counts as slow; the second time in a row it loses its memory to others. */
const LEAST_BYTES = 1024;
const SLOW_LOOKS = 2;

/**
 * Receives the body of a request and stores what is in it. One answer for a file, an array for a ZIP or a form of several.
 * Throws BadFileFormat, BadRequest, FullStorage, Busy.
 */
export async function upload(
  services: UploadServices,
  request: IncomingMessage,
  reception: Reception,
): Promise<UploadAnswer | UploadAnswer[]> {
  const { ingest } = services;
  const type = request.headers['content-type'];
  if (type !== undefined && /^multipart\/form-data/i.test(type)) return uploadForm(services, request, reception);
  const slab = await ingest.receive();
  try {
    // Whoever left while waiting for the turn has no events left to tell so.
    if (request.destroyed) throw new IsenError('BadRequest', 'the client is gone');
    const encoding = request.headers['content-encoding']?.toLowerCase();
    if (encoding === undefined || encoding === 'identity') {
      if (services.inlet !== undefined) await receiveLent(services.inlet, request, slab, largestBody(services));
      await receiveBody(request, slab);
    } else if (encoding === 'gzip' || encoding === 'x-gzip') await receiveGzip(request, slab);
    else throw new IsenError('BadRequest', 'this Content-Encoding is not understood', { http: 415 });
    // From here the client waits for us: its silence is none.
    request.socket.setTimeout(0);
    return await storeBody(services, slab, reception, () => isGone(request));
  } catch (thrown) {
    slab.release();
    throw thrown;
  }
}

/** Whether nobody is there any more to answer. */
const isGone = ({ socket }: IncomingMessage): boolean => socket.destroyed || socket.writableEnded;

function isZip([p, k, three, four]: Uint8Array): boolean {
  return p === 0x50 && k === 0x4b && three === 3 && four === 4;
}

/** Refuses what could not be stored once it is there whole: a few MB of gzip become gigabytes. Throws BadFileFormat. */
function checkBeginning(head: Uint8Array): void {
  if (!isZip(head) && !mayBeDicom(Buffer.from(head.buffer, head.byteOffset, head.length)))
    throw new IsenError('BadFileFormat', 'this is not DICOM');
}

/** Stores a received body (releasing its slab): an archive's files, until its sender `isGone`, or the one file that it is. */
async function storeBody(
  services: UploadServices,
  slab: Slab,
  reception: Reception,
  isGone: () => boolean,
): Promise<UploadAnswer | UploadAnswer[]> {
  if (isZip(slab.head)) return uploadZip(services, slab, reception, isGone);
  return answerOf(await services.ingest.store(slab, reception));
}

/** What is answered about a stored image. */
export function answerOf({ ids, status }: Stored): UploadAnswer {
  return {
    ID: ids.Instance,
    ParentPatient: ids.Patient,
    ParentSeries: ids.Series,
    ParentStudy: ids.Study,
    Path: `/${LEVEL.Instance.path}/${ids.Instance}`,
    Status: status,
  };
}

/**
 * Copies a stream into a slab with the sender paused while storage is behind. Throws BadRequest when it breaks off, Busy when
 * it comes slowly while others wait for the memory: no number of stalled clients keeps an honest one out. `check` may throw at what
 * a large one begins with.
 */
export function receiveBody(source: Readable, slab: Slab, check?: (head: Uint8Array) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (thrown: unknown): void => {
      clearInterval(looks);
      source.off('data', take);
      reject(asError(thrown));
    };
    let [before, silent, slow] = [0, 0, 0];
    const looks = setInterval(() => {
      const came = slab.size - before;
      before = slab.size;
      // Paused, it is us who are slow.
      silent = came > 0 || source.isPaused() ? 0 : silent + 1;
      slow = came >= LEAST_BYTES || source.isPaused() ? 0 : slow + 1;
      if (silent >= SILENT_LOOKS) fail(new IsenError('BadRequest', 'the body stopped coming', { http: 408 }));
      else if (slow >= SLOW_LOOKS && slab.wanted)
        fail(new IsenError('Busy', 'the body comes too slowly for the others'));
    }, LOOK);
    const take = (chunk: Uint8Array): void => {
      try {
        const turn = slab.append(chunk);
        if (slab.size >= BEGINNING && slab.size - chunk.length < BEGINNING) check?.(slab.head);
        if (turn === undefined) return;
        source.pause();
        turn.then(() => source.resume(), fail);
      } catch (thrown) {
        fail(thrown);
      }
    };
    source.on('data', take);
    const broken = (cause?: Error): void => fail(new IsenError('BadRequest', 'the body broke off', { cause }));
    const early = (): void => broken();
    source.once('end', () => {
      clearInterval(looks);
      source.off('close', early);
      resolve();
    });
    source.once('error', broken);
    source.once('close', early);
  });
}

async function receiveGzip(request: Readable, slab: Slab): Promise<void> {
  const gunzip = createGunzip();
  try {
    await Promise.all([pipeline(request, gunzip), receiveBody(gunzip, slab, checkBeginning)]);
  } catch (thrown) {
    gunzip.destroy();
    if (thrown instanceof IsenError && thrown.code !== 'BadRequest') throw thrown;
    if (thrown instanceof IsenError && thrown.http === 413) throw thrown;
    throw new IsenError('BadFileFormat', 'the gzip stream is damaged', { cause: thrown });
  }
}

/** The files of a form, each stored as it comes. */
async function uploadForm(
  services: UploadServices,
  request: IncomingMessage,
  reception: Reception,
): Promise<UploadAnswer | UploadAnswer[]> {
  const answers: UploadAnswer[] = [];
  let parser: BusboyInstance;
  try {
    parser = new Busboy({
      headers: { ...request.headers, 'content-type': request.headers['content-type'] ?? '' },
      limits: { fieldSize: 65_536, fields: 1000, files: MOST_FILES, parts: MOST_FILES },
    });
  } catch (thrown) {
    throw new IsenError('BadRequest', 'the multipart body is damaged', { cause: thrown });
  }
  let turn: Promise<void> = Promise.resolve();
  let failure: Error | undefined;
  const open = new Set<Readable>();
  parser.on('file', (_field, file) => {
    open.add(file);
    file.once('close', () => open.delete(file));
    const before = turn;
    turn = (async () => {
      await before;
      if (failure !== undefined) {
        file.resume();
        return;
      }
      try {
        const slab = await services.ingest.receive();
        try {
          await receiveBody(file, slab);
          const stored = await storeBody(services, slab, reception, () => isGone(request));
          answers.push(...(Array.isArray(stored) ? stored : [stored]));
        } catch (thrown) {
          slab.release();
          throw thrown;
        }
      } catch (thrown) {
        failure = asError(thrown);
        file.resume();
      }
    })();
  });
  try {
    await pipeline(request, parser);
  } catch (thrown) {
    // The parser ends no file of a request that broke off.
    for (const file of open) file.destroy();
    failure ??= asError(thrown);
    await turn;
    throw new IsenError('BadRequest', 'the multipart body is damaged', { cause: thrown });
  }
  request.socket.setTimeout(0);
  await turn;
  if (failure !== undefined) throw failure;
  const [first, ...others] = answers;
  if (first === undefined) throw new IsenError('BadFileFormat', 'Received an empty DICOM file');
  return others.length === 0 ? first : answers;
}

/** Milliseconds of work after which an archive lets those that wait have its turn, between two of its files. */
const ARCHIVE_TURN = 1000;

/** Milliseconds of work on one archive without an image, after which it is given up. */
const FRUITLESS = 30_000;

/**
 * The files of a ZIP, one at a time and each bounded. What is not DICOM is passed over, as the reference does; a damaged
 * archive is BadFileFormat. What is stored when it is given up (its client is gone, say) stays. Releases the slab.
 */
async function uploadZip(
  services: UploadServices,
  slab: Slab,
  reception: Reception,
  isGone: () => boolean,
): Promise<UploadAnswer[]> {
  const answers: UploadAnswer[] = [];
  // One bound over the whole archive: its entries together may not expand to more than one body may be long.
  let left = largestBody(services);
  const largest = services.config.MaximumFileSizeInArchiveMB * 2 ** 20 || Number.POSITIVE_INFINITY;
  // Bytes of the archive that no entry has claimed yet: entries that share them would make much of little.
  let unclaimed = slab.size;
  let leave = await enterArchives();
  let entered = performance.now();
  let fruitless = 0;
  try {
    const archive = await openZip(services, slab);
    try {
      if (archive.entryCount > MOST_FILES) throw new IsenError('BadRequest', 'the ZIP archive has too many entries');
      for await (const entry of archive.eachEntry()) {
        if (isGone()) throw new IsenError('BadRequest', 'the client is gone');
        if (isFolder(entry)) continue;
        if (entry.uncompressedSize > largest)
          throw new IsenError('BadRequest', 'a file of the ZIP archive is too large', { http: 413 });
        left -= entry.uncompressedSize;
        if (left < 0) throw new IsenError('BadRequest', 'the ZIP archive expands to too much', { http: 413 });
        unclaimed -= entry.compressedSize;
        if (unclaimed < 0) throw new IsenError('BadFileFormat', 'entries of the ZIP archive overlap');
        const began = performance.now();
        const stored = await uploadEntry(services, archive, entry, reception);
        const now = performance.now();
        fruitless = stored === undefined ? fruitless + now - began : 0;
        if (fruitless > FRUITLESS)
          throw new IsenError('BadRequest', 'the ZIP archive holds too much that is not DICOM');
        if (stored !== undefined) answers.push(stored);
        if (archives.waiting.length > 0 && now - entered > ARCHIVE_TURN) {
          leave();
          leave = await enterArchives();
          entered = performance.now();
        }
      }
    } finally {
      archive.close();
    }
  } catch (thrown) {
    if (thrown instanceof IsenError) throw thrown;
    throw new IsenError('BadFileFormat', 'the ZIP archive is damaged', { cause: thrown });
  } finally {
    slab.release();
    leave();
  }
  return answers;
}

/** Archives being taken apart. Each holds memory and needs more for its entries, which few at a time may overdraw. */
const archives = { open: 0, waiting: [] as (() => void)[] };
const MOST_ARCHIVES = 4;

/** Milliseconds that an archive waits for its turn. */
const ARCHIVE_PATIENCE = 60_000;

/** Waits for a turn at taking an archive apart; what it answers ends the turn, once. Throws Busy. */
async function enterArchives(): Promise<() => void> {
  if (archives.open < MOST_ARCHIVES) archives.open += 1;
  else {
    await new Promise<void>((resolve, reject) => {
      const turn = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        archives.waiting.splice(archives.waiting.indexOf(turn), 1);
        reject(new IsenError('Busy', 'too many archives are being taken apart'));
      }, ARCHIVE_PATIENCE);
      archives.waiting.push(turn);
    });
  }
  let entered = true;
  return () => {
    if (!entered) return;
    entered = false;
    const next = archives.waiting.shift();
    if (next === undefined) archives.open -= 1;
    else next();
  };
}

/** Names are bytes here: they never become paths, so the odd ones are as good as any. */
function isFolder(entry: yauzl.Entry): boolean {
  return Buffer.from(entry.fileName).at(-1) === 0x2f;
}

async function uploadEntry(
  { ingest }: UploadServices,
  archive: yauzl.ZipFile,
  entry: yauzl.Entry,
  reception: Reception,
): Promise<UploadAnswer | undefined> {
  const slab = await ingest.receive({ overdraw: true });
  try {
    await receiveEntry(await archive.openReadStreamPromise(entry), slab, entry.crc32);
  } catch (thrown) {
    slab.release();
    if (thrown instanceof IsenError && (thrown.code !== 'BadRequest' || thrown.http === 413)) throw thrown;
    throw new IsenError('BadFileFormat', 'the ZIP archive is damaged', { cause: thrown });
  }
  try {
    return answerOf(await ingest.store(slab, reception, { doubtful: true }));
  } catch (thrown) {
    if (thrown instanceof IsenError && thrown.code === 'BadFileFormat') return undefined;
    throw thrown;
  }
}

/** Receives one entry and checks its CRC-32, which yauzl leaves to its user. */
async function receiveEntry(source: Readable, slab: Slab, expected: number): Promise<void> {
  let crc = 0;
  source.on('data', (chunk: Uint8Array) => {
    crc = crc32.buf(chunk, crc);
  });
  await receiveBody(source, slab);
  if (crc >>> 0 !== expected) throw new Error('the CRC-32 of an entry is wrong');
}

/** An archive in memory, or one so large that it went to storage. */
async function openZip({ storage }: UploadServices, slab: Slab): Promise<yauzl.ZipFile> {
  const options = { validateEntrySizes: true, decodeStrings: false };
  const spilled = await slab.finish();
  if (spilled === undefined) {
    const { buffer, byteOffset, byteLength } = slab.head;
    return yauzl.fromBufferPromise(Buffer.from(buffer, byteOffset, byteLength), options);
  }
  return yauzl.fromRandomAccessReaderPromise(new BlobReader(storage, spilled.uuid), slab.size, options);
}

/** Lets yauzl read a stored blob by ranges. */
class BlobReader extends yauzl.RandomAccessReader {
  readonly #storage: Storage;
  readonly #uuid: string;

  constructor(storage: Storage, uuid: string) {
    super();
    this.#storage = storage;
    this.#uuid = uuid;
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const { stream } = this.#storage;
    const uuid = this.#uuid;
    return Readable.from(
      (async function* () {
        yield* await stream(uuid, { start, end });
      })(),
      { objectMode: false },
    );
  }
}
