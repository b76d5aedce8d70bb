/**
 * Owns the visible order of storing one image: parse and write at the same time, join, commit, keep. A failure at any
 * step undoes the ones before it.
 */

import type { Answer } from '../answer.ts';
import type { Changes } from '../changes/changes.ts';
import {
  type Arrival,
  asItCame,
  type Attachment,
  type Database,
  DICOM_ATTACHMENT,
  type Operation,
  type Outcome,
  type OverwriteMode,
  type StoreOperation,
} from '../database/database.ts';
import type { Parsed } from '../dicom/parsing.ts';
import { mayBeDicom } from '../dicom/part10.ts';
import type { Summary } from '../dicom/summary.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { asError, IsenError } from '../errors.ts';
import { checkFragments } from '../imaging/frames.ts';
import { log } from '../log.ts';
import { recordDepth, recordInstance, recordStage } from '../metrics.ts';
import type { Pool } from '../pool.ts';
import type { StoredContent } from '../storage/content.ts';
import { isIntact } from '../storage/intact.ts';
import type { Batch, ParsedFile } from '../storage/parse-and-put.ts';
import type { Storage } from '../storage/storage.ts';
import { timestamp } from '../timestamp.ts';
import { attaching } from './attaching.ts';
import { createFiles, type Durable } from './files.ts';
import { receivedAt, type StoredFile } from './header.ts';
import type { Ingest, Reception, Stored } from './ingest.ts';
import { isOutcomeUnknown } from './outcome.ts';
import { Lending } from './lending.ts';
import { Parser } from './parser.ts';
import { createRemoval } from './removal.ts';
import { lentSlab, type PooledSlab, SLAB, SlabPool } from './slabs.ts';
import { createStability } from './stability.ts';
import type { IngestTranscoding } from './transcoder.ts';
import { Writer } from './writer.ts';

/** Bytes of the largest doubtful image that is parsed before it is written: with a larger one that would take too long. */
const LARGEST_DOUBTFUL = 128 << 10;

/** Instances that go in one transaction: uploads wait no longer than for these. */
const DELETED = 500;

/** Associations that are lent at a time at most: each has a slab. */
const MOST_LENT = 32;

/** Milliseconds between two looks at the free space. */
const DISK_CHECK = 1000;

/**
 * How much of a body that went to storage is read again when its header is longer than what stayed in memory. An element
 * that passes even this (an encapsulated document, say) ends the header.
 */
const LARGEST_HEADER = 64 << 20;

export interface IngestOptions {
  readonly database: Database;
  readonly storage: Storage;
  readonly changes: Changes;
  /** Threads of workers/parse. */
  readonly parsers: Pool<Batch, readonly Answer<ParsedFile>[]>;
  readonly overwrite: OverwriteMode;
  /** Whether attachments get an MD5 (`StoreMD5ForAttachments`). */
  readonly hash: boolean;
  /** Whether files are stored compressed (`StorageCompression`). */
  readonly compress?: boolean;
  /** Bytes that all uploads together may hold in memory. */
  readonly budget: number;
  readonly largestBody: number;
  /** Free bytes below which nothing is taken in. */
  readonly minimumFree: number;
  /** Undefined: everything is stored as it comes. */
  readonly transcoding?: IngestTranscoding;
  /** Whether instances may be answered a moment before their changes are announced, since who asks for changes sees them all the same. */
  readonly announcesLater?: boolean;
}

/** What is to be committed of a received file, whose blob is durable. */
interface Written {
  readonly parsed: Parsed;
  readonly attachment: Attachment;
  /** Why it is not in the transfer syntax that it should be in. */
  readonly problem?: string;
  /** What committing it did, where that is done. */
  readonly outcome?: Outcome;
}

/** Opens the room: finishes what an earlier run left half done, then takes images. */
export async function openIngest(options: IngestOptions): Promise<Ingest> {
  await recover(options);
  const { database, storage, changes } = options;
  const files = createFiles({ storage, compress: options.compress === true, hash: options.hash });
  const isStoredAsItComes = options.compress !== true && options.transcoding === undefined;
  const slabs = new SlabPool(storage, {
    budget: options.budget,
    largestBody: options.largestBody,
    patience: 30_000,
    waiting: 4096,
  });
  const writer = new Writer(database, 10_000, async (committed) => {
    if (committed.removals.length > 0) removal.wake();
    if (committed.changes.length === 0) return;
    await changes.announce(committed.changes);
    stability.wake();
  });
  const takeIn = database.takeIn?.bind(database);
  const parser = new Parser(
    options.parsers,
    storage,
    () => storing,
    takeIn &&
      ((files) =>
        writer.inTurn(async () => {
          const given = files();
          return given && takeIn(given.batch, given.arrivals);
        })),
  );
  /** Whoever follows the log looks at it again. */
  const announceLast = async (): Promise<void> => {
    const last = await database.lastSeq();
    const { changes: found } = await database.changes({ since: Math.max(0, last - 1), limit: 1 });
    await changes.announce(found);
  };
  const lending =
    database.attend && isStoredAsItComes && options.announcesLater === true
      ? new Lending({
          attend: database.attend.bind(database),
          storage,
          hash: options.hash,
          // The others are for who comes otherwise.
          most: Math.min(MOST_LENT, Math.floor(options.budget / 4 / SLAB)),
          hear({ files: those, changes: made, removals, commits }) {
            for (const { blob, size, state } of those) {
              if (state === 'stored') {
                track('keeping a stored file', storage.keep(blob));
                recordInstance('Success', size);
              } else if (state === 'unwanted') track('removing a refused file', storage.remove(blob));
            }
            for (const seconds of commits) recordStage('commit', seconds, 0);
            writer.hear({ changes: made, removals });
          },
          unheard() {
            removal.wake();
            stability.wake();
            // Where it fails the next announcement does the same.
            track(
              'waking who follows the changes',
              announceLast().catch(() => {}),
            );
          },
        })
      : undefined;
  const removal = createRemoval(database, storage, async (uuids) => {
    await writer.submit({ kind: 'forget', uuids });
  });
  const stability = createStability(database, async (now, limit) => {
    const outcome = await writer.submit({ kind: 'stabilize', now, limit });
    return outcome.kind === 'stabilized' ? outcome.count : 0;
  });
  removal.wake();
  stability.wake();

  let free = await storage.free();
  /** What was lent comes back when something else is to be done, or nothing is to be taken in. */
  const recall = async (): Promise<void> => lending?.recall();
  const disk = setInterval(() => {
    recordDepth('upload', slabs.waiting);
    recordDepth('parse', parser.waiting);
    recordDepth('commit', writer.waiting);
    storage.free().then(
      (bytes) => {
        free = bytes;
        if (free < options.minimumFree) void recall();
      },
      (thrown: unknown) => log.generic.error({ err: thrown }, 'cannot read the free space of the storage'),
    );
  }, DISK_CHECK);
  disk.unref();

  let closed = false;
  /** Images and attachments between their last byte and their answer. */
  let storing = 0;
  /** Those among them that came over no association. */
  let uploads = 0;
  /** Several come at a time otherwise than over associations: all share their commits then, which one that serves associations would hold up. */
  const isUploading = (): boolean => uploads > 1;
  const mayBorrow = (): boolean =>
    lending !== undefined && !closed && free >= options.minimumFree && slabs.waiting === 0 && !isUploading();
  let idle: (() => void) | undefined;
  const ended = (): void => {
    storing -= 1;
    if (storing === 0) idle?.();
  };
  const background = new Set<Promise<void>>();
  /** Follows work that no request waits for; a restart would do it again. */
  const track = (what: string, work: Promise<void>): void => {
    const tracked = work
      .catch((thrown: unknown) => log.generic.error({ err: thrown }, `${what} failed; the next start repeats it`))
      .finally(() => background.delete(tracked));
    background.add(tracked);
  };

  const commit = async (operation: Operation): Promise<Accepted> => accepted(await writer.submit(operation));

  /**
   * Whether the file of a stored instance is gone, has not the size that it had, or holds other bytes: a modality that sends a whole
   * study again does not make all of it be read back.
   */
  const isLost = async ({ attachment, metadata }: StoredFile): Promise<boolean> => {
    try {
      return !(await isIntact(storage, attachment, receivedAt(metadata)));
    } catch (thrown) {
      if (thrown instanceof IsenError && (thrown.code === 'InexistentFile' || thrown.code === 'CorruptedFile'))
        return true;
      throw thrown;
    }
  };

  /** What replaces the stored file of an instance that was sent again, if it is lost: the file alone where it is the same. */
  const healing = async (operation: StoreOperation): Promise<Operation | undefined> => {
    const id = operation.ids.Instance;
    const [found] = await database.find({ level: 'Instance', id });
    const stored = found?.attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
    if (found === undefined || stored === undefined) return undefined;
    if (!(await isLost({ attachment: stored, metadata: found.metadata }))) return undefined;
    const { attachment } = operation;
    return attachment.uncompressedMD5 !== '' && attachment.uncompressedMD5 === stored.uncompressedMD5
      ? { kind: 'attachment', level: 'Instance', id, contentType: DICOM_ATTACHMENT, attachment }
      : { ...operation, overwrite: 'Always' };
  };

  /** Has a small file parsed and made durable (and committed, when few come) by one thread, with others that come at the same time. */
  const putTogether = async (bytes: Uint8Array, arrival: () => Arrival): Promise<Written> => {
    const file = await parser.parseAndPut({ bytes, size: bytes.length, hash: options.hash }, arrival());
    if (file.blob === undefined)
      return { parsed: file, attachment: attachmentOf((await files.write(bytes))(file.md5)) };
    const attachment = asItCame(file.blob, bytes.length, file.md5);
    return { parsed: file, attachment, ...('outcome' in file && { outcome: file.outcome }) };
  };

  /** Parses and makes durable, at the same time (unless `doubtful`); when either fails the blob is gone. */
  const parseAndWrite = async (slab: PooledSlab, doubtful: boolean, arrival: () => Arrival): Promise<Written> => {
    const spilled = slab.blob !== undefined;
    const bytes = slab.head;
    if (slab.parsed !== undefined)
      return { parsed: slab.parsed, attachment: attachmentOf((await files.write(bytes))(slab.parsed.md5)) };
    if (doubtful && !mayBeDicom(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)))
      throw new IsenError('BadFileFormat', 'this is not DICOM');
    if (isStoredAsItComes && !spilled && slab.size <= (storage.packing?.largest ?? 0))
      return putTogether(bytes, arrival);
    if (doubtful && !spilled && slab.size <= LARGEST_DOUBTFUL) {
      const parsed = await parse(bytes, slab);
      return { parsed, attachment: attachmentOf((await files.write(bytes))(parsed.md5)) };
    }
    const [parsed, written] = await Promise.allSettled([
      parse(bytes, slab),
      spilled ? files.settle(slab) : files.write(bytes),
    ]);
    const refuse = (durable: Durable): void => {
      const { uuid } = durable('');
      if (uuid !== slab.blob) track('removing a refused file', storage.remove(uuid));
    };
    if (parsed.status === 'rejected' || written.status === 'rejected') {
      if (written.status === 'fulfilled') refuse(written.value);
      throw written.status === 'rejected' ? asError(written.reason) : asError((parsed as PromiseRejectedResult).reason);
    }
    if (slab.blob !== undefined) {
      await checkPixels(slab.blob, slab.size, parsed.value).catch((thrown: unknown) => {
        refuse(written.value);
        throw thrown;
      });
    }
    return { parsed: parsed.value, attachment: attachmentOf(written.value(parsed.value.md5)) };
  };

  /** The same of the file that is stored instead of the received one, or of that where none is. */
  const transcodeAndWrite = async (
    slab: PooledSlab,
    doubtful: boolean,
    arrival: () => Arrival,
    transcoding: IngestTranscoding,
  ): Promise<Written> => {
    const read = async (): Promise<Uint8Array> => {
      const spilled = await slab.finish();
      return spilled === undefined ? slab.head : storage.read(spilled.uuid, { start: 0, end: slab.size });
    };
    const answer = await transcoding.received(slab.size, read, async ({ bytes, parsed }) => {
      return { parsed, attachment: attachmentOf((await files.write(bytes))(parsed.md5)) };
    });
    return 'written' in answer ? answer.written : { ...(await parseAndWrite(slab, doubtful, arrival)), ...answer };
  };

  /** The fragments of a body that was never whole in memory; what is in memory the parser walks itself. */
  const checkPixels = async (uuid: string, size: number, parsed: Parsed): Promise<void> => {
    const { metadata } = JSON.parse(parsed.summary) as Summary;
    const { PixelDataOffset: offset, TransferSyntax: syntax = '' } = metadata.Instance;
    if (offset === undefined || transferSyntax(syntax)?.encapsulated !== true) return;
    await checkFragments({ size, read: (start, end) => storage.read(uuid, { start, end }) }, Number(offset));
  };

  /** Headers too long for what stayed in memory are read again one at a time: that memory is outside of the budget. */
  let largeHeader: Promise<unknown> = Promise.resolve();

  const parse = async (bytes: Uint8Array, slab: PooledSlab): Promise<Parsed> => {
    const task = { bytes, size: slab.size, hash: options.hash };
    const more = Math.min(slab.size, LARGEST_HEADER);
    const blob = slab.blob;
    if (blob === undefined) return parser.parse(task);
    if (bytes.length >= more) return parser.parse({ ...task, cut: true });
    try {
      return await parser.parse(task);
    } catch {
      // In its turn, whatever became of the one before.
      const read = largeHeader.then(async () => {
        const beginning = await storage.read(blob, { start: 0, end: more });
        return parser.parse({ ...task, bytes: beginning, cut: true });
      });
      largeHeader = read.catch(() => {});
      return read;
    }
  };

  /** Throws Busy, and FullStorage below the watermark. */
  const checkOpen = (): void => {
    if (closed) throw new IsenError('Busy', 'the server is stopping');
    if (free < options.minimumFree)
      throw new IsenError('FullStorage', 'the disk is nearly full (MinimumFreeDiskMB)', { http: 503 });
  };

  const { attach, recompress } = attaching({ storage, files, hash: options.hash, commit, track });

  return {
    async attach(slab, target) {
      storing += 1;
      return attach(slab, target).finally(ended);
    },
    async recompress(target, attachment, compression) {
      if (closed) throw new IsenError('Busy', 'the server is stopping');
      storing += 1;
      return recompress(target, attachment, compression).finally(ended);
    },
    async apply(operation) {
      for (;;) {
        if (closed) throw new IsenError('Busy', 'the server is stopping');
        const outcome = await commit(operation.kind === 'delete' ? { ...operation, most: DELETED } : operation);
        if (outcome.kind !== 'deleted' || outcome.rest === undefined) return outcome;
      }
    },
    async applyAll(operations) {
      if (closed) throw new IsenError('Busy', 'the server is stopping');
      return writer.submitAll(operations);
    },
    async receive({ overdraw } = { overdraw: false }) {
      checkOpen();
      const slab = overdraw ? undefined : slabs.takeNow();
      // What associations hold that are lent others need more.
      if (slab === undefined && !overdraw) void recall();
      return slab ?? slabs.take(overdraw);
    },
    receiveNow() {
      checkOpen();
      return slabs.takeNow();
    },
    lend(bytes, parsed) {
      checkOpen();
      return lentSlab(bytes, parsed);
    },
    get borrows() {
      return mayBorrow();
    },
    borrow(association, reception) {
      if (lending === undefined || !mayBorrow()) return undefined;
      const slab = slabs.takeNow();
      if (slab === undefined) return undefined;
      const arrival = { metadata: metadataOf(reception), overwrite: options.overwrite };
      const lent = lending.lend(association, arrival, slab);
      if (lent === undefined) slab.release();
      return lent;
    },
    recall,
    async store(given, reception, { doubtful } = { doubtful: false }): Promise<Stored> {
      const slab = given as PooledSlab;
      storing += 1;
      const isUpload = reception.origin !== 'DicomProtocol';
      if (isUpload) uploads += 1;
      if (isUploading()) void recall();
      try {
        const overwrite = reception.overwrite === true ? 'Always' : options.overwrite;
        const arrival = (): Arrival => ({ metadata: metadataOf(reception), overwrite });
        const { parsed, attachment, problem, ...written } = await (options.transcoding === undefined
          ? parseAndWrite(slab, doubtful, arrival)
          : transcodeAndWrite(slab, doubtful, arrival, options.transcoding));
        const isOfSlab = attachment.uuid === slab.blob;
        let outcome: Outcome;
        try {
          const operation: StoreOperation = {
            kind: 'store',
            ids: parsed.ids,
            summary: parsed.summary,
            attachment,
            // The date of reception is to be that of the file or later.
            ...arrival(),
          };
          outcome = written.outcome === undefined ? await commit(operation) : accepted(written.outcome);
          const isThere = outcome.kind === 'stored' && outcome.status === 'AlreadyStored';
          const heal = isThere ? await healing(operation) : undefined;
          if (heal !== undefined) {
            log.generic.warn(`instance ${parsed.ids.Instance}: its lost file is replaced by the one sent again`);
            outcome = await commit(heal).catch((thrown: unknown) => {
              // Deleted meanwhile: then it is new.
              if (thrown instanceof IsenError && thrown.code === 'UnknownResource') return commit(operation);
              throw thrown;
            });
          }
        } catch (thrown) {
          if (!isOfSlab && !isOutcomeUnknown(thrown)) track('removing a refused file', storage.remove(attachment.uuid));
          if (isOfSlab && isOutcomeUnknown(thrown)) slab.adopt();
          throw thrown;
        }
        const status = outcome.kind === 'stored' ? outcome.status : 'Success';
        if (status === 'Success') {
          if (isOfSlab) slab.adopt();
          track('keeping a stored file', storage.keep(attachment.uuid));
        } else if (!isOfSlab) {
          track('removing a file stored before', storage.remove(attachment.uuid));
        }
        if (problem !== undefined)
          log.generic.warn(
            `instance ${parsed.ids.Instance} is stored as received, since it was not transcoded: ${problem}`,
          );
        recordInstance(status, slab.size);
        return { status, ids: parsed.ids };
      } finally {
        slab.release();
        if (isUpload) uploads -= 1;
        ended();
      }
    },
    async close() {
      closed = true;
      clearInterval(disk);
      await recall();
      if (storing > 0) {
        await new Promise<void>((resolve) => {
          idle = resolve;
        });
      }
      await writer.drain();
      await Promise.all([stability.close(), removal.close()]);
      await writer.drain();
      while (background.size > 0) await Promise.all(background);
    },
  };
}

type Accepted = Exclude<Outcome, { kind: 'refused' }>;

function accepted(outcome: Outcome): Accepted {
  if (outcome.kind === 'refused') throw new IsenError(outcome.error);
  return outcome;
}

const attachmentOf = (content: StoredContent): Attachment => ({ ...content, contentType: DICOM_ATTACHMENT });

function metadataOf({
  origin,
  remoteIp,
  remoteAet,
  calledAet,
  username,
  metadata: more,
}: Reception): Record<string, string> {
  const metadata: Record<string, string> = {
    ...more,
    Origin: origin,
    ReceptionDate: timestamp(Date.now()),
    RemoteAET: remoteAet,
    RemoteIP: remoteIp,
  };
  if (origin === 'RestApi' || origin === 'WebDav') metadata['HttpUsername'] = username;
  if (calledAet !== undefined) metadata['CalledAET'] = calledAet;
  return metadata;
}

/** Blobs that a crash left provisional are kept when the index refers to them, and removed when not. */
async function recover({ database, storage }: IngestOptions): Promise<void> {
  const left = await storage.provisional();
  for (let at = 0; at < left.length; at += 500) {
    const some = left.slice(at, at + 500);
    const attached = await database.attached(some);
    await Promise.all(
      some.map(async (uuid) => {
        if (attached.has(uuid)) return storage.keep(uuid);
        await storage.remove(uuid).catch((thrown: unknown) => {
          log.generic.error(
            { err: thrown },
            `the file ${uuid} of an upload that failed stays; the next start tries again`,
          );
        });
      }),
    );
  }
}
