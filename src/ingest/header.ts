/**
 * Owns the reading of stored headers: the bytes up to Pixel Data come from storage, a worker (or this thread, where they
 * are few) turns them into JSON text, and the latest answers are kept. Memory is bounded: the answers kept, and the headers being read.
 */

import { Budget } from '../budget.ts';
import type { Attachment, Metadata } from '../database/database.ts';
import { parseTag, tagNumber } from '../dicom/dictionary.ts';
import { answerHeader, type HeaderAnswer, type HeaderQuestion, type HeaderTask, readStored } from '../dicom/header.ts';
import type { TagsFormat } from '../dicom/json.ts';
import type { Level } from '../dicom/levels.ts';
import { HEADER_MD5 } from '../dicom/parsing.ts';
import { type DicomFile, MAXIMUM_INFLATED } from '../dicom/read.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { IsenError } from '../errors.ts';
import { ELSCINT_TAGS, isElscint } from '../imaging/elscint.ts';
import {
  countFrames,
  type FrameLocation,
  inLittleEndian,
  locateFrame,
  type Range,
  rawFrameType,
  type ReadRange,
} from '../imaging/frames.ts';
import { Kept } from '../kept.ts';
import { createPool, type Pool } from '../pool.ts';
import { readContent } from '../storage/content.ts';
import type { Storage } from '../storage/storage.ts';

/** A stored DICOM file as the index knows it. */
export interface StoredFile {
  readonly attachment: Attachment;
  readonly metadata: Readonly<Record<string, Metadata>>;
}

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
 * Everything throws InexistentFile or CorruptedFile where storage does not hold what the index says, Busy. What is altered in
 * place is found in a header, and where a file is read whole (it has no pixels, or is deflated); not in the pixels of others, and
 * not where no MD5 was computed (`StoreMD5ForAttachments`, or an index of an earlier version).
 */
export interface Headers {
  /** The data set as JSON text. */
  tags(file: StoredFile, request: TagsRequest): Promise<string>;
  /** File Meta Information as JSON text. */
  meta(file: StoredFile, format: TagsFormat): Promise<string>;
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
   * A frame (counted from 0), to be released; undefined where its pixels are in private elements, of which only a worker makes a frame.
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

/** What locating a frame needs of a header. */
const FRAME_TAGS: ReadonlySet<number> = new Set(
  ['0028,0002', '0028,0008', '0028,0010', '0028,0011', '0028,0100', '7fe0,0001', '7fe0,0010', ...ELSCINT_TAGS].map(
    tagNumber,
  ),
);
const PIXEL_DATA = '7fe0,0010';

/** What a deflated byte can be inflated to at most (RFC 1951). */
const MOST_DEFLATED = 1032;

/** A file, or its beginning up to Pixel Data. */
interface ReadHeader {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The bytes end where Pixel Data begins. */
  readonly truncated: boolean;
  /** In base64, where it is known. */
  readonly md5: string | undefined;
}

const sizeOf = (ranges: readonly Range[]): number => ranges.reduce((sum, { start, end }) => sum + end - start, 0);

/** Starts the workers that read headers. */
export function createHeaders(storage: Storage, options: HeadersOptions = {}): Headers {
  const { cached = 64 * 2 ** 20, inFlight = 256 * 2 ** 20, deadline = 30_000 } = options;
  const pool: Pool<HeaderTask, HeaderAnswer> = createPool({ file: 'read', deadline });
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
    const deflated = transferSyntax(metadata['TransferSyntax']?.value ?? '')?.deflated === true;
    // What a deflated file makes of the memory is known only once it did.
    const most = deflated ? end + Math.min(MAXIMUM_INFLATED, end * MOST_DEFLATED) : end;
    return (deflated ? inflated : headers).with(most, async () => {
      const bytes = (await readContent(storage, attachment, { start: 0, end })) as Uint8Array<ArrayBuffer>;
      return work({ bytes, truncated, md5: md5 === '' ? undefined : md5 });
    });
  };

  const ask = <Question extends HeaderQuestion>(
    file: StoredFile,
    question: Question,
    whole = false,
  ): Promise<HeaderAnswer<Question>> =>
    withBytes(file, whole, ({ bytes, truncated, md5 }) => {
      const task = { bytes, truncated, question, ...(md5 !== undefined && { md5 }) };
      // A file without Pixel Data may be deflated, and large once it is not.
      const answer = truncated && bytes.length <= SMALL ? answerHeader(task) : pool.run(task, [bytes.buffer]);
      return answer as HeaderAnswer<Question> | Promise<HeaderAnswer<Question>>;
    });

  /** Like {@link ask}, for answers worth keeping. */
  const askText = async (file: StoredFile, question: Exclude<HeaderQuestion, { kind: 'content' }>): Promise<string> => {
    const key = `${file.attachment.uuid} ${JSON.stringify(question)}`;
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = await ask(file, question);
    answers.add(key, answer);
    return answer;
  };

  /** The few elements that say where frames are. The file is read whole where it is deflated: offsets are inside. */
  const withFrames = <Result>(
    file: StoredFile,
    work: (dicom: DicomFile) => Result | Promise<Result>,
  ): Promise<Result> =>
    withBytes(file, false, ({ bytes, truncated, md5 }) =>
      work(readStored(bytes, md5, { only: FRAME_TAGS, ...(truncated && { truncated }) })),
    );

  /** Reads bytes of a file, or of its inflated data set, in which its frames are counted. */
  const reader =
    ({ attachment }: StoredFile, { bytes, pixelData }: DicomFile): ReadRange =>
    async (start, end) =>
      pixelData !== undefined && pixelData.offset === undefined
        ? bytes.subarray(start, end)
        : readContent(storage, attachment, { start, end });

  const locate = (file: StoredFile, dicom: DicomFile, frame: number): Promise<FrameLocation> => {
    const { bytes, dataSet, transferSyntax, pixelData } = dicom;
    const inside = pixelData !== undefined && pixelData.offset === undefined;
    return locateFrame(
      {
        dataSet,
        transferSyntax,
        pixelData: inside ? dataSet.elements.get(PIXEL_DATA)?.start : pixelData?.offset,
        size: inside ? bytes.length : file.attachment.uncompressedSize,
        read: reader(file, dicom),
      },
      frame,
    );
  };

  const readRanges = async (
    file: StoredFile,
    dicom: DicomFile,
    ranges: readonly Range[],
  ): Promise<Uint8Array<ArrayBuffer>> => {
    const read = reader(file, dicom);
    const all = new Uint8Array(sizeOf(ranges));
    let at = 0;
    for (const { start, end } of ranges) {
      all.set(await read(start, end), at);
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

  const rawFrame = async (file: StoredFile, dicom: DicomFile, location: FrameLocation): Promise<RawFrame> => {
    const { ranges, part } = location;
    const { uuid, compressedSize } = file.attachment;
    const type = rawFrameType(dicom.transferSyntax);
    const size = part === undefined ? sizeOf(ranges) : part.end - part.start;
    const whole = async (): Promise<Uint8Array<ArrayBuffer>> =>
      inLittleEndian(await readRanges(file, dicom, ranges), location);
    if (dicom.pixelData?.offset !== undefined) {
      // A file that was cut short is told before the answer begins.
      if (size > PIECE && (await storage.size(uuid)) !== compressedSize)
        throw new IsenError('CorruptedFile', `the stored file ${uuid} has not its size any more`);
      return { type, size, bytes: whole, pieces: () => stored(file.attachment, location), release: () => {} };
    }
    // Of an inflated data set the frame alone outlives this, within the budget of frames.
    const release = await inflatedFrames.take(size);
    try {
      const bytes = await whole();
      return {
        type,
        size,
        bytes: async () => bytes,
        async *pieces() {
          for (let at = 0; at < size; at += PIECE) yield bytes.subarray(at, at + PIECE);
        },
        release,
      };
    } catch (thrown) {
      release();
      throw thrown;
    }
  };

  return {
    tags: (file, { format, ignoreLength = [], only }) =>
      askText(file, { kind: 'tags', format, ignoreLength, ...(only !== undefined && { only }) }),
    meta: (file, format) => askText(file, { kind: 'meta', format }),
    module: (file, level, { format, ignoreLength = [] }) =>
      askText(file, { kind: 'module', level, format, ignoreLength }),
    content: (file, path) => {
      // The list of all tags names those behind Pixel Data too.
      const first = path.split('/').find((segment) => segment !== '');
      const tag = first === undefined ? PIXEL_DATA : parseTag(first);
      return ask(file, { kind: 'content', path }, tag !== undefined && tag >= PIXEL_DATA);
    },
    frameCount: (file) => withFrames(file, ({ dataSet, transferSyntax }) => countFrames(dataSet, transferSyntax)),
    withFrame: (file, frame, work) =>
      withBytes(file, false, async ({ bytes, truncated, md5 }) => {
        const dicom = readStored(bytes, md5, { only: FRAME_TAGS, ...(truncated && { truncated }) });
        if (!truncated) return work({ bytes, truncated });
        const location = await locate(file, dicom, frame);
        return frames.with(sizeOf(location.ranges), async () => {
          const pixels = inLittleEndian(await readRanges(file, dicom, location.ranges), location);
          return work({ bytes, truncated, pixels });
        });
      }),
    frame: (file, frame) =>
      withFrames(file, async (dicom) => {
        if (dicom.pixelData === undefined && isElscint(dicom.dataSet)) return undefined;
        return rawFrame(file, dicom, await locate(file, dicom, frame));
      }),
    close: () => pool.close(),
  };
}
