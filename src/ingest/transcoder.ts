/**
 * Owns the way of whole files to the transcoding threads: stored ones that a client, a job or a modality wants in another transfer
 * syntax, and received ones that are to be stored in one. Few files are in memory at once; the threads start when the first one
 * comes. What was made last is kept, since many ask for the same.
 */

import { availableParallelism } from 'node:os';
import { Budget } from '../budget.ts';
import type { Parsed } from '../dicom/parsing.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { asIsenError, type ErrorName, IsenError } from '../errors.ts';
import { CAPABILITIES } from '../imaging/codecs.ts';
import type { IngestRule, TranscodeAnswer, TranscodeTask } from '../imaging/transcoding.ts';
import { Kept } from '../kept.ts';
import { log } from '../log.ts';
import { createPool, type Pool } from '../pool.ts';
import { readContent } from '../storage/content.ts';
import type { Storage } from '../storage/storage.ts';
import type { StoredFile } from './header.ts';

/** Bytes of the largest file that is transcoded. */
const LARGEST = 1 << 30;
/** Bytes of all files that are being transcoded, as they came: one of the largest goes alone. */
const TOGETHER = LARGEST;

/** Errors that mean that a file cannot be had in a transfer syntax, whoever asks how often. */
const IMPOSSIBLE: ReadonlySet<ErrorName> = new Set<ErrorName>([
  'BadFileFormat',
  'IncompatibleImageFormat',
  'NotEnoughMemory',
  'NotImplemented',
  'ParameterOutOfRange',
]);

/** Whether {@link Transcoder.transcode} threw this because of the file: it can still be sent as it is stored. */
export const isImpossible = (thrown: unknown): boolean => thrown instanceof IsenError && IMPOSSIBLE.has(thrown.code);

/** A received file in the transfer syntax that it is stored in. */
export interface Ingested {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly parsed: Parsed;
}

/** What becomes of received files (`IngestTranscoding`). */
export interface IngestTranscoding {
  /**
   * Has `write` store a received file of `size` bytes in the transfer syntax wanted; `read` is called when there is room for it,
   * and answers shared memory, or memory of its own, which is handed over.
   * Nothing is written where it is to be stored as it came: with the `problem`, if it should have been transcoded.
   * @throws {IsenError} Busy, and what `read` and `write` throw.
   */
  received<Written>(
    size: number,
    read: () => Promise<Uint8Array>,
    write: (made: Ingested) => Promise<Written>,
  ): Promise<{ readonly written: Written } | { readonly problem?: string }>;
}

export interface Transcoder {
  /**
   * A stored file in another transfer syntax; of lossy compression with `quality`, 1 to 100 (`DicomLossyTranscodingQuality`
   * where none is given), it is another instance. The bytes are shared with others: nobody may write or transfer them.
   * @throws {IsenError} ParameterOutOfRange for a transfer syntax that does not exist; what {@link isImpossible} knows; Busy;
   * Timeout; InexistentFile and CorruptedFile where storage does not hold what the index says.
   */
  transcode(file: StoredFile, syntax: string, quality?: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The transcoding of what is received to `syntax`; undefined (with a warning in the log) for one that nothing can be encoded in.
   * Throws ParameterOutOfRange for one that does not exist.
   */
  ingest(syntax: string, rule: IngestRule): IngestTranscoding | undefined;
  /** Finishes what was begun. */
  close(): Promise<void>;
}

export interface TranscoderOptions {
  readonly storage: Storage;
  /** `DicomLossyTranscodingQuality`. */
  readonly quality: number;
  /** Bytes of files that are kept (`TranscoderCacheSize`). */
  readonly cached: number;
  /** Milliseconds that one file may take. */
  readonly deadline?: number;
}

/** Makes a transcoder; its threads start with its first file. */
export function createTranscoder(options: TranscoderOptions): Transcoder {
  const { storage, quality: initial, cached, deadline = 120_000 } = options;
  const threads = availableParallelism();
  const memory = new Budget(TOGETHER);
  /** What a file counts for at least: while a thread works on one, the next is read and the last is written, but no more. */
  const least = TOGETHER / (2 * threads);
  const kept = new Kept<Uint8Array<ArrayBuffer>>(cached);
  let pool: Pool<TranscodeTask, TranscodeAnswer> | undefined;
  let closed = false;

  const ask = async (task: TranscodeTask): Promise<TranscodeAnswer> => {
    if (closed) throw new IsenError('Busy', 'the server is stopping');
    pool ??= createPool({ file: 'transcode', deadline, threads });
    const { buffer } = task.bytes;
    return pool.run(task, buffer instanceof ArrayBuffer ? [buffer] : []);
  };

  /** The same of a received file: a thread that took too long or died says nothing against storing what came. */
  const made = async (task: TranscodeTask): Promise<TranscodeAnswer> => {
    try {
      return await ask(task);
    } catch (thrown) {
      const error = asIsenError(thrown);
      if (error.code === 'Busy') throw error;
      return { problem: error.message };
    }
  };

  return {
    async transcode({ attachment }, syntax, quality = initial) {
      const { uuid, uncompressedSize: size, uncompressedMD5: md5 } = attachment;
      if (transferSyntax(syntax) === undefined)
        throw new IsenError('ParameterOutOfRange', `Unknown transfer syntax: ${syntax}`);
      if (size > LARGEST) throw new IsenError('NotEnoughMemory', 'the file is larger than can be transcoded');
      const key = `${uuid} ${syntax} ${quality}`;
      const known = kept.get(key);
      if (known !== undefined) return known;
      return memory.with(Math.max(size, least), async () => {
        const stored = (await readContent(storage, attachment, { start: 0, end: size })) as Uint8Array<ArrayBuffer>;
        const { bytes } = await ask({ bytes: stored, syntax, quality, ...(md5 !== '' && { md5 }) });
        if (bytes === undefined) throw new TypeError('the worker answered another question');
        kept.add(key, bytes);
        return bytes;
      });
    },
    ingest(syntax, rule) {
      if (transferSyntax(syntax) === undefined)
        throw new IsenError('ParameterOutOfRange', `IngestTranscoding: unknown transfer syntax: ${syntax}`);
      if (CAPABILITIES[syntax]?.encode === undefined) {
        log.generic.warn(`IngestTranscoding has no effect: images cannot be encoded in transfer syntax ${syntax}`);
        return undefined;
      }
      return {
        async received(size, read, write) {
          if (size > LARGEST) return { problem: 'it is larger than can be transcoded' };
          return memory.with(Math.max(size, least), async () => {
            const { bytes, parsed, problem } = await made({ bytes: await read(), syntax, quality: initial, rule });
            if (bytes !== undefined && parsed !== undefined) return { written: await write({ bytes, parsed }) };
            return problem === undefined ? {} : { problem };
          });
        },
      };
    },
    async close() {
      closed = true;
      await pool?.close();
    },
  };
}
