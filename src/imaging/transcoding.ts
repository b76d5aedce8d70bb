/** Owns the work of a transcoding thread: a stored file for a client, or a received one before it is stored. */

import { createHash } from 'node:crypto';
import { type Parsed, parse } from '../dicom/parsing.ts';
import { type Summary, summarize } from '../dicom/summary.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { transcode } from './transcode.ts';

/** What ingest stores in another transfer syntax than it receives. */
export interface IngestRule {
  /** Whether files of a native transfer syntax are transcoded (`IngestTranscodingOfUncompressed`), and all others. */
  readonly ofUncompressed: boolean;
  readonly ofCompressed: boolean;
  /** Whether to hash what is to be stored. */
  readonly hash: boolean;
}

export interface TranscodeTask {
  /** A whole file. Shared memory is read in place. */
  readonly bytes: Uint8Array;
  /** UID of the transfer syntax to make. */
  readonly syntax: string;
  /** Of lossy compression, 1 to 100. */
  readonly quality: number;
  /** What the MD5 of the bytes has to be. */
  readonly md5?: string;
  /** The file was just received: what is not transcoded by this rule, or cannot be, is left as it is. */
  readonly rule?: IngestRule;
}

export interface TranscodeAnswer {
  /** The file, in memory of its own; absent where a received one is to be stored as it is. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
  /** What the index keeps of it, where it was received. */
  readonly parsed?: Parsed;
  /** Why a received file that should have been transcoded is left as it is. */
  readonly problem?: string;
}

/**
 * Transcodes one file.
 * @throws {IsenError} CorruptedFile for bytes that are not those that were stored; what {@link transcode} throws, unless the file
 * was just received.
 */
export function answerTranscoding(task: TranscodeTask): TranscodeAnswer {
  const { bytes, syntax, quality, md5, rule } = task;
  if (rule !== undefined) return received(task, rule);
  if (md5 !== undefined && createHash('md5').update(bytes).digest('hex') !== md5)
    throw new IsenError('CorruptedFile', 'the stored file is not the one that was stored');
  return { bytes: owned(transcode(bytes, syntax, { quality }).bytes) };
}

/** What is no DICOM file is left to the parser, which refuses it. */
function received({ bytes, syntax, quality }: TranscodeTask, rule: IngestRule): TranscodeAnswer {
  let before: Summary;
  try {
    before = summarize(bytes);
  } catch {
    return {};
  }
  const { TransferSyntax: source = '' } = before.metadata.Instance;
  if (source === syntax || !(UNCOMPRESSED.has(source) ? rule.ofUncompressed : rule.ofCompressed)) return {};
  try {
    const made = transcode(bytes, syntax, { quality });
    const own = owned(made.bytes);
    const parsed = parse({ bytes: own, size: own.length, hash: rule.hash });
    // Nobody would find what is stored under another name than the one it was sent by.
    if (!made.lossy && parsed.ids.Instance !== before.ids.Instance) throw new IsenError('InternalError');
    return { bytes: own, parsed };
  } catch (thrown) {
    return { problem: asIsenError(thrown).message };
  }
}

/** What the reference calls uncompressed: implicit and explicit VR little endian, explicit VR big endian. */
const UNCOMPRESSED: ReadonlySet<string> = new Set(['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.2']);

/** The bytes in memory of their own, which can be handed to another thread. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength
    ? new Uint8Array(buffer)
    : new Uint8Array(bytes);
}
