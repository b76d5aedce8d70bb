/**
 * Owns the reading of stored headers: the bytes up to Pixel Data come from storage, a worker (or this thread, where they
 * are few) turns them into JSON text, and the latest answers are kept. Memory is bounded: the answers kept, and the headers being read.
 */

import { Budget } from '../budget.ts';
import type { Attachment, Metadata } from '../database/database.ts';
import { parseTag } from '../dicom/dictionary.ts';
import {
  answerHeader,
  type HeaderAnswer,
  type HeaderQuestion,
  type HeaderTask,
  readStored,
  type WebFormat,
} from '../dicom/header.ts';
import type { TagsFormat } from '../dicom/json.ts';
import type { Level } from '../dicom/levels.ts';
import { HEADER_MD5 } from '../dicom/parsing.ts';
import { BEGINNING } from '../dicom/part10.ts';
import { type DicomFile, MAXIMUM_INFLATED } from '../dicom/read.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { IsenError } from '../errors.ts';
import {
  countFrames,
  type FrameLocation,
  inLittleEndian,
  locateFrame,
  type Range,
  rawFrameType,
} from '../imaging/frames.ts';
import { FRAME_TAGS, type FrameAnswer, type FrameTask } from '../imaging/raw-frame.ts';
import { Kept } from '../kept.ts';
import { createPool, type Pool } from '../pool.ts';
import { readContent } from '../storage/content.ts';
import { checkIntact } from '../storage/intact.ts';
import type { Storage } from '../storage/storage.ts';
import { fromTimestamp } from '../timestamp.ts';

/** A stored DICOM file as the index knows it. */
export interface StoredFile {
  readonly attachment: Attachment;
  readonly metadata: Readonly<Record<string, Metadata>>;
}

/** When an instance was received, in milliseconds since the epoch; NaN where that is not known. */
export const receivedAt = (metadata: StoredFile['metadata']): number =>
  fromTimestamp(metadata['ReceptionDate']?.value ?? '');

/** Which tags, in which form. */
export interface TagsRequest {
  readonly format: TagsFormat;
  /** Tags (`gggg,eeee`) shown whatever the length of their value. */
  readonly ignoreLength?: readonly string[];
  /** Only these. */
  readonly only?: readonly string[];
}

/** What pictures are made of. Each memory is its own, and may be handed to another thread. */
export interface StoredFrame {
  /** The file, or its beginning up to Pixel Data. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The bytes end where Pixel Data begins. */
  readonly truncated: boolean;
  /** MD5 that the bytes must have, in base64, where it is known and they have not been compared. */
  readonly md5?: string;
  /** The frame, in little endian; absent where the bytes are the whole file, in which it is still to be found. */
  readonly pixels?: Uint8Array<ArrayBuffer>;
}

/** The stored bytes of a frame, in little endian. */
export interface RawFrame {
  /** Media type. */
  readonly type: string;
  /** Bytes. */
  readonly size: number;
  /** All of them, in memory. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  /** The same piece by piece, for a frame that is too large to hold for a client: at most {@link PIECE} bytes are in memory. */
  pieces(): AsyncIterable<Uint8Array>;
  /** To be called when nothing more is asked of it, once or more often: it may hold memory. */
  release(): void;
}

/**
 * Everything throws InexistentFile or CorruptedFile where storage does not hold what the index says, Busy. Who reads a part of a file
 * compares the MD5 of its header, or sees to it that nobody touched the file (storage/intact); what no MD5 was computed of
 * (`StoreMD5ForAttachments`, or an index of an earlier version) may be altered.
 */
export interface Headers {
  /** The data set as JSON text. */
  tags(file: StoredFile, request: TagsRequest): Promise<string>;
  /** File Meta Information as JSON text. */
  meta(file: StoredFile, format: TagsFormat): Promise<string>;
  /** The data set as text in a format of the web. `base` is the URI of the instance, which its bulk data is referred to by. */
  web(file: StoredFile, format: WebFormat, base: string): Promise<string>;
  /** The module of a level as JSON text. */
  module(file: StoredFile, level: Level, request: Omit<TagsRequest, 'only'>): Promise<string>;
  /** What a path names: the names below, a raw value, or undefined where there is nothing. Throws UnknownDicomTag. */
  content(file: StoredFile, path: string): Promise<readonly string[] | Uint8Array | undefined>;
  frameCount(file: StoredFile): Promise<number>;
  /**
   * Lets `work` have the header of a file and the stored bytes of a frame (counted from 0), within the budget until it ends.
   * Throws what locating the frame throws, unless that is left to `work`.
   */
  withFrame<Result>(file: StoredFile, frame: number, work: (stored: StoredFrame) => Promise<Result>): Promise<Result>;
  /**
   * A frame (counted from 0), to be released; undefined where its pixels are in private elements, of which only decoding makes a frame.
   * Throws BadRequest, ParameterOutOfRange.
   */
  frame(file: StoredFile, frame: number): Promise<RawFrame | undefined>;
  /** Finishes what was begun. */
  close(): Promise<void>;
}

export interface HeadersOptions {
  /** Characters of answers that are kept, with their questions. */
  readonly cached?: number;
  /** Bytes of headers, and of frames, that may be in memory at once; a larger one goes alone. */
  readonly inFlight?: number;
  /** Milliseconds that one header may take. */
  readonly deadline?: number;
}

/**
 * Bytes up to which a header is read on this thread: waking a worker costs more. A tenth of a millisecond as a rule, one
 * where every element is empty.
 */
const SMALL = 16 * 1024;

/** Bytes of a frame that are read at once where it is not held whole. */
export const PIECE = 1 << 20;

const PIXEL_DATA = '7fe0,0010';

const isDeflated = (metadata: StoredFile['metadata']): boolean =>
  transferSyntax(metadata['TransferSyntax']?.value ?? '')?.deflated === true;

/** What a deflated byte can be inflated to at most (RFC 1951). */
const MOST_DEFLATED = 1032;

/** A file, or its beginning up to Pixel Data. */
interface ReadHeader {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The bytes end where Pixel Data begins. */
  readonly truncated: boolean;
  /** In base64, where it is known. */
  readonly md5?: string;
}

const sizeOf = (ranges: readonly Range[]): number => ranges.reduce((sum, { start, end }) => sum + end - start, 0);

/** Starts the workers that read headers. */
export function createHeaders(storage: Storage, options: HeadersOptions = {}): Headers {
  const { cached = 64 * 2 ** 20, inFlight = 256 * 2 ** 20, deadline = 30_000 } = options;
  const pool: Pool<HeaderTask | FrameTask, HeaderAnswer | FrameAnswer> = createPool({ file: 'read', deadline });
  const answers = new Kept<string>(cached);
  const headers = new Budget(inFlight);
  // Apart, since who waits for a frame holds a header.
  const frames = new Budget(inFlight);
  // Apart as well: few deflated files are enough to take all of it, and clients take as long as they like.
  const inflated = new Budget(inFlight);
  const inflatedFrames = new Budget(inFlight);

  /** Reads a file (up to Pixel Data unless `whole`) for `work`, within the budget. */
  const withBytes = async <Result>(
    { attachment, metadata }: StoredFile,
    whole: boolean,
    work: (read: ReadHeader) => Result | Promise<Result>,
  ): Promise<Result> => {
    const { uncompressedSize: size, uncompressedMD5: all } = attachment;
    const offset = Number(metadata['PixelDataOffset']?.value ?? Number.NaN);
    const truncated = !whole && offset > 0 && offset <= size;
    const end = truncated ? offset : size;
    const md5 = truncated ? metadata[HEADER_MD5]?.value : Buffer.from(all, 'hex').toString('base64');
    // What a deflated file makes of the memory is known only once it did.
    const most = isDeflated(metadata) ? end + Math.min(MAXIMUM_INFLATED, end * MOST_DEFLATED) : end;
    return (isDeflated(metadata) ? inflated : headers).with(most, async () => {
      const bytes = (await readContent(storage, attachment, { start: 0, end })) as Uint8Array<ArrayBuffer>;
      return work({ bytes, truncated, ...(md5 !== undefined && md5 !== '' && { md5 }) });
    });
  };

  const check = ({ attachment, metadata }: StoredFile): Promise<void> =>
    checkIntact(storage, attachment, receivedAt(metadata));

  /** What the beginning of a large deflated file answers; undefined where its header is not in it. */
  const askBeginning = async <Question extends HeaderQuestion>(
    file: StoredFile,
    question: Question,
  ): Promise<{ answer: HeaderAnswer<Question> } | undefined> => {
    const { attachment } = file;
    const { uncompressedSize: size } = attachment;
    await check(file);
    return inflated.with(BEGINNING * MOST_DEFLATED, async () => {
      const bytes = (await readContent(storage, attachment, { start: 0, end: BEGINNING })) as Uint8Array<ArrayBuffer>;
      try {
        const task = { bytes, truncated: false, size, question };
        return { answer: (await pool.run(task, [bytes.buffer])) as HeaderAnswer<Question> };
      } catch (thrown) {
        if (thrown instanceof IsenError && thrown.code === 'CorruptedFile') return undefined;
        throw thrown;
      }
    });
  };

  const ask = async <Question extends HeaderQuestion>(
    file: StoredFile,
    question: Question,
    whole = false,
  ): Promise<HeaderAnswer<Question>> => {
    if (!whole && isDeflated(file.metadata) && file.attachment.uncompressedSize > BEGINNING) {
      const some = await askBeginning(file, question);
      if (some !== undefined) return some.answer;
    }
    return withBytes(file, whole, (read) => {
      const task = { ...read, question };
      const { bytes } = read;
      // A file without Pixel Data may be deflated, and large once it is not.
      const answer = read.truncated && bytes.length <= SMALL ? answerHeader(task) : pool.run(task, [bytes.buffer]);
      return answer as HeaderAnswer<Question> | Promise<HeaderAnswer<Question>>;
    });
  };

  /** Like {@link ask}, for answers worth keeping. */
  const askText = async (file: StoredFile, question: Exclude<HeaderQuestion, { kind: 'content' }>): Promise<string> => {
    const key = `${file.attachment.uuid} ${JSON.stringify(question)}`;
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = await ask(file, question);
    answers.add(key, answer);
    return answer;
  };

  /** The few elements that say where the frames of a file are whose Pixel Data is behind these bytes. */
  const headerOf = ({ bytes, md5 }: ReadHeader): DicomFile =>
    readStored(bytes, md5, { only: FRAME_TAGS, truncated: true });

  /** A worker's answer about a file that has to be read whole. */
  const askFrame = ({ bytes, md5 }: ReadHeader, question: FrameTask['question']): Promise<FrameAnswer> =>
    pool.run({ bytes, question, ...(md5 !== undefined && { md5 }) }, [bytes.buffer]) as Promise<FrameAnswer>;

  const locate = ({ attachment }: StoredFile, dicom: DicomFile, frame: number): Promise<FrameLocation> => {
    const { dataSet, transferSyntax, pixelData } = dicom;
    return locateFrame(
      {
        dataSet,
        transferSyntax,
        pixelData: pixelData?.offset,
        size: attachment.uncompressedSize,
        read: (start, end) => readContent(storage, attachment, { start, end }),
      },
      frame,
    );
  };

  const readRanges = async ({ attachment }: StoredFile, ranges: readonly Range[]): Promise<Uint8Array<ArrayBuffer>> => {
    const all = new Uint8Array(sizeOf(ranges));
    let at = 0;
    for (const { start, end } of ranges) {
      all.set(await readContent(storage, attachment, { start, end }), at);
      at += end - start;
    }
    return all;
  };

  /** Stored ranges one after another, in pieces of at most {@link PIECE} bytes; small ones that lie together are read together. */
  async function* stored(
    attachment: Attachment,
    { ranges, swapped, part }: FrameLocation,
  ): AsyncGenerator<Uint8Array, void> {
    let next = 0;
    for (let range = ranges[next]; range !== undefined; range = ranges[next]) {
      const together = [range];
      for (next += 1; next < ranges.length; next += 1) {
        const other = ranges[next];
        if (other === undefined || other.start < range.end || other.end - range.start > PIECE) break;
        together.push(other);
      }
      const end = together.at(-1)?.end ?? range.end;
      for (let { start } = range; start < end; start += PIECE) {
        const piece = await readContent(storage, attachment, { start, end: Math.min(end, start + PIECE) });
        if (together.length === 1) {
          // A frame of words is one range; pieces of it begin at even offsets.
          const from = Math.max(0, (part?.start ?? 0) - (start - range.start));
          const to = part === undefined ? piece.length : part.end - (start - range.start);
          yield inLittleEndian(piece, { ranges, swapped }).subarray(from, to);
        } else yield Buffer.concat(together.map((each) => piece.subarray(each.start - start, each.end - start)));
      }
    }
  }

  const rawFrame = (file: StoredFile, dicom: DicomFile, location: FrameLocation): RawFrame => {
    const { ranges, part } = location;
    return {
      type: rawFrameType(dicom.transferSyntax),
      size: part === undefined ? sizeOf(ranges) : part.end - part.start,
      bytes: async () => inLittleEndian(await readRanges(file, ranges), location),
      pieces: () => stored(file.attachment, location),
      release: () => {},
    };
  };

  /** One that a worker found. It outlives the file that was in memory, within a budget of its own. */
  const heldFrame = async ({ type, frame }: Extract<FrameAnswer, object>): Promise<RawFrame> => {
    const release = await inflatedFrames.take(frame.length);
    return {
      type,
      size: frame.length,
      bytes: async () => frame,
      async *pieces() {
        for (let at = 0; at < frame.length; at += PIECE) yield frame.subarray(at, at + PIECE);
      },
      release,
    };
  };

  return {
    tags: (file, { format, ignoreLength = [], only }) =>
      askText(file, { kind: 'tags', format, ignoreLength, ...(only !== undefined && { only }) }),
    meta: (file, format) => askText(file, { kind: 'meta', format }),
    module: (file, level, { format, ignoreLength = [] }) =>
      askText(file, { kind: 'module', level, format, ignoreLength }),
    web: (file, format, base) => {
      const pixelDataVr = file.metadata['PixelDataVR']?.value;
      return askText(file, { kind: 'web', format, base, ...(pixelDataVr !== undefined && { pixelDataVr }) });
    },
    content: (file, path) => {
      // The list of all tags names those behind Pixel Data too.
      const first = path.split('/').find((segment) => segment !== '');
      const tag = first === undefined ? PIXEL_DATA : parseTag(first);
      return ask(file, { kind: 'content', path }, tag !== undefined && tag >= PIXEL_DATA);
    },
    frameCount: (file) =>
      withBytes(file, false, async (read) => {
        if (!read.truncated) return (await askFrame(read, { kind: 'frames' })) as number;
        const { dataSet, transferSyntax } = headerOf(read);
        return countFrames(dataSet, transferSyntax);
      }),
    withFrame: (file, frame, work) =>
      withBytes(file, false, async (read) => {
        if (!read.truncated) return work(read);
        const dicom = headerOf(read);
        await check(file);
        const location = await locate(file, dicom, frame);
        return frames.with(sizeOf(location.ranges), async () => {
          const pixels = inLittleEndian(await readRanges(file, location.ranges), location);
          return work({ bytes: read.bytes, truncated: true, pixels });
        });
      }),
    frame: (file, frame) =>
      withBytes(file, false, async (read) => {
        if (!read.truncated) {
          const found = (await askFrame(read, { kind: 'frame', frame })) as Exclude<FrameAnswer, number>;
          return found && heldFrame(found);
        }
        const dicom = headerOf(read);
        await check(file);
        return rawFrame(file, dicom, await locate(file, dicom, frame));
      }),
    close: () => pool.close(),
  };
}
