/**
 * Owns reading stored files again: what the index says of them is what they say, and (where files are wanted too) they are in the transfer
 * syntax that would be stored today.
 */

import { type Answer, errorOf } from '../answer.ts';
import type { Config } from '../config.ts';
import { type Attachment, type Database, DICOM_ATTACHMENT, type Found, type Operation } from '../database/database.ts';
import { LEVELS, type Level } from '../dicom/levels.ts';
import type { Batch, ParsedFile } from '../storage/parse-and-put.ts';
import type { Summary } from '../dicom/summary.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import type { Pool } from '../pool.ts';
import { readContent } from '../storage/content.ts';
import type { Storage } from '../storage/storage.ts';
import type { StoredFile } from './header.ts';
import type { Ingest } from './ingest.ts';
import { isImpossible, type Transcoder } from './transcoder.ts';

/** Instances looked up together. */
const PAGE = 200;

/** Bytes of a header that is read; an element that passes them ends it. */
const LARGEST_HEADER = 64 << 20;

/** Bytes of the head of an element: its tag, VR and length (PS3.5 §7.1.2). */
const ELEMENT_HEAD = 12;

export interface ReconstructionOptions {
  readonly config: Pick<
    Config,
    'IngestTranscoding' | 'IngestTranscodingOfCompressed' | 'IngestTranscodingOfUncompressed' | 'StoreMD5ForAttachments'
  >;
  readonly database: Pick<Database, 'find'>;
  readonly storage: Pick<Storage, 'read' | 'stream' | 'name' | 'put' | 'keep' | 'remove'>;
  readonly parsers: Pick<Pool<Batch, readonly Answer<ParsedFile>[]>, 'run'>;
  readonly transcoder: Pick<Transcoder, 'transcode'>;
  readonly applyAll: Ingest['applyAll'];
}

export interface ReconstructRequest {
  /** Undefined: all that is stored; one file that cannot be read does not keep the others from it then. */
  readonly of?: { readonly level: Level; readonly id: string };
  /** Only the tags of this level. */
  readonly only?: Level;
  /** Whether files are put into the transfer syntax of `IngestTranscoding`. */
  readonly files: boolean;
  /** What is done stays done. */
  readonly signal: AbortSignal;
}

export interface Reconstruction {
  /** Throws UnknownResource, and what reading a file of a named resource throws. */
  run(request: ReconstructRequest): Promise<void>;
}

/** What a file says, and its MD5 where all of it was read. */
interface Said {
  readonly summary: Summary;
  readonly md5: string;
}

export function createReconstruction(options: ReconstructionOptions): Reconstruction {
  const { config, database, storage, parsers, transcoder, applyAll } = options;

  /** What a file says now. */
  const parse = async (bytes: Uint8Array, size: number): Promise<Said> => {
    const task = { bytes, size, hash: config.StoreMD5ForAttachments, cut: bytes.length < size };
    const [answer] = await parsers.run({ files: [task] });
    if (answer === undefined) throw new IsenError('InternalError', 'an answer of the parser is missing');
    if ('error' in answer) throw errorOf(answer.error);
    return { summary: JSON.parse(answer.ok.summary) as Summary, md5: answer.ok.md5 };
  };

  const read = async ({ attachment, metadata }: StoredFile): Promise<Said> => {
    const { uncompressedSize: size } = attachment;
    const offset = Number(metadata['PixelDataOffset']?.value ?? size);
    // Pixel Data must begin within what is read.
    const end = Math.min(size, offset > 0 ? offset + ELEMENT_HEAD : size, LARGEST_HEADER);
    return parse(await readContent(storage, attachment, { start: 0, end }), size);
  };

  /** The file as it would be stored today, where that is another one and it can be made. */
  const transcoded = async (file: StoredFile): Promise<Uint8Array | undefined> => {
    const wanted = config.IngestTranscoding;
    const syntax = transferSyntax(file.metadata['TransferSyntax']?.value ?? '');
    if (wanted === '' || syntax === undefined || syntax.uid === wanted) return undefined;
    if (!(syntax.encapsulated ? config.IngestTranscodingOfCompressed : config.IngestTranscodingOfUncompressed))
      return undefined;
    try {
      return await transcoder.transcode(file, wanted);
    } catch (thrown) {
      if (isImpossible(thrown)) return undefined;
      throw thrown;
    }
  };

  /** Commits what a file says; the resources above that were `done` keep what the first one said. */
  const one = async (found: Found, request: ReconstructRequest, done: Set<string>): Promise<void> => {
    const attachment = found.attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
    if (attachment === undefined) throw new IsenError('InexistentFile', `instance ${found.id} has no file`);
    const file: StoredFile = { attachment, metadata: found.metadata };
    const made = request.files ? await transcoded(file) : undefined;
    const { summary, md5 } = await (made === undefined ? read(file) : parse(made, made.length));
    if (summary.ids.Instance !== found.id)
      throw new IsenError('CorruptedFile', `the file of instance ${found.id} is of another one`);
    const levels = LEVELS.filter(
      (level) => (request.only ?? level) === level && (level === 'Instance' || !done.has(summary.ids[level])),
    );
    const operations: Operation[] = [{ kind: 'reconstruct', summary, levels }];
    if (made === undefined) await applyAll(operations);
    else await exchange(found.id, made, md5, operations);
    for (const level of levels) if (level !== 'Instance') done.add(summary.ids[level]);
  };

  /** Puts a file in the place of a stored one, together with what it says. */
  const exchange = async (
    id: string,
    bytes: Uint8Array,
    md5: string,
    operations: readonly Operation[],
  ): Promise<void> => {
    const uuid = storage.name();
    await storage.put(uuid, bytes);
    const attachment: Attachment = {
      uuid,
      contentType: DICOM_ATTACHMENT,
      uncompressedSize: bytes.length,
      uncompressedMD5: md5,
      compressedSize: bytes.length,
      compressedMD5: md5,
      compression: 'none',
    };
    const [outcome] = await applyAll([
      { kind: 'attachment', level: 'Instance', id, contentType: DICOM_ATTACHMENT, attachment },
      ...operations,
    ]);
    // Deleted meanwhile, or no room for it.
    if (outcome?.kind === 'refused') {
      await storage.remove(uuid);
      throw new IsenError(outcome.error, `instance ${id}`);
    }
    await storage.keep(uuid);
  };

  return {
    async run(request) {
      const { of, signal } = request;
      if (of !== undefined && (await database.find({ ...of, idsOnly: true })).length === 0)
        throw new IsenError('UnknownResource');
      const done = new Set<string>();
      for (let after = ''; ; ) {
        const page = await database.find({
          level: 'Instance',
          ...(of && { of }),
          ...(after !== '' && { after }),
          limit: PAGE,
        });
        for (const found of page) {
          if (signal.aborted) return;
          try {
            await one(found, request, done);
          } catch (thrown) {
            if (of !== undefined) throw thrown;
            log.generic.error({ err: asIsenError(thrown) }, `instance ${found.id} cannot be reconstructed`);
          }
        }
        const last = page.at(-1);
        if (last === undefined || page.length < PAGE) return;
        after = last.id;
      }
    },
  };
}
