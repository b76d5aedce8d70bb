/**
 * Owns the reading of stored headers: the bytes up to Pixel Data come from storage, a worker (or this thread, where they
 * are few) turns them into JSON text, and the latest answers are kept. Memory is bounded: the answers kept, and the headers being read.
 */

import type { Attachment, Metadata } from '../database/database.ts';
import { parseTag, tagNumber } from '../dicom/dictionary.ts';
import { answerHeader, type HeaderAnswer, type HeaderQuestion, type HeaderTask } from '../dicom/header.ts';
import type { TagsFormat } from '../dicom/json.ts';
import type { Level } from '../dicom/levels.ts';
import { type DicomFile, readFile } from '../dicom/read.ts';
import { IsenError } from '../errors.ts';
import { countFrames, locateFrame, rawFrameType } from '../imaging/frames.ts';
import { KeptTexts } from '../kept.ts';
import { createPool, type Pool } from '../pool.ts';
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

/**
 * Everything throws InexistentFile or CorruptedFile where storage does not hold what the index says, Busy. What is altered in
 * place is found where a file is read whole (it has no pixels, or is deflated): the MD5 of a part is not known.
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
  /** The stored bytes of a frame (counted from 0) and their media type. Throws BadRequest, ParameterOutOfRange. */
  frame(file: StoredFile, frame: number): Promise<{ readonly bytes: Uint8Array; readonly type: string }>;
  /** Finishes what was begun. */
  close(): Promise<void>;
}

export interface HeadersOptions {
  /** Characters of answers that are kept, with their questions. */
  readonly cached?: number;
  /** Bytes of headers that may be in memory at once; a larger one goes alone. */
  readonly inFlight?: number;
  /** Milliseconds that one header may take. */
  readonly deadline?: number;
}

/** Readers that may wait for their turn. */
const WAITING = 4096;

/**
 * Bytes up to which a header is read on this thread: waking a worker costs more. A tenth of a millisecond as a rule, one
 * where every element is empty.
 */
const SMALL = 16 * 1024;

/** What locating a frame needs of a header. */
const FRAME_TAGS: ReadonlySet<number> = new Set(
  ['0028,0002', '0028,0008', '0028,0010', '0028,0011', '0028,0100', '7fe0,0001', '7fe0,0010'].map(tagNumber),
);
const PIXEL_DATA = '7fe0,0010';

/** Starts the workers that read headers. */
export function createHeaders(storage: Storage, options: HeadersOptions = {}): Headers {
  const { cached = 64 * 2 ** 20, inFlight = 256 * 2 ** 20, deadline = 30_000 } = options;
  const pool: Pool<HeaderTask, HeaderAnswer> = createPool({ file: 'read', deadline });
  const answers = new KeptTexts(cached);
  let reading = 0;
  const turns: (() => void)[] = [];

  const reserve = async (size: number): Promise<void> => {
    while (reading > 0 && reading + size > inFlight) {
      if (turns.length >= WAITING) throw new IsenError('Busy');
      await new Promise<void>((resolve) => turns.push(resolve));
    }
    reading += size;
  };
  const free = (size: number): void => {
    reading -= size;
    for (const turn of turns.splice(0)) turn();
  };

  /** Reads a file (up to Pixel Data unless `whole`) for `work`, within the budget. */
  const withBytes = async <Result>(
    { attachment, metadata }: StoredFile,
    whole: boolean,
    work: (bytes: Uint8Array<ArrayBuffer>, truncated: boolean) => Result | Promise<Result>,
  ): Promise<Result> => {
    const offset = Number(metadata['PixelDataOffset']?.value ?? Number.NaN);
    const truncated = !whole && offset > 0 && offset <= attachment.uncompressedSize;
    const end = truncated ? offset : attachment.uncompressedSize;
    await reserve(end);
    try {
      return await work((await storage.read(attachment.uuid, { start: 0, end })) as Uint8Array<ArrayBuffer>, truncated);
    } finally {
      free(end);
    }
  };

  const ask = <Question extends HeaderQuestion>(
    file: StoredFile,
    question: Question,
    whole = false,
  ): Promise<HeaderAnswer<Question>> =>
    withBytes(file, whole, (bytes, truncated) => {
      const { uncompressedMD5, uncompressedSize } = file.attachment;
      const md5 = bytes.length === uncompressedSize && uncompressedMD5 !== '' ? { md5: uncompressedMD5 } : {};
      const task = { bytes, truncated, question, ...md5 };
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
    withBytes(file, false, (bytes, truncated) =>
      work(readFile(bytes, { only: FRAME_TAGS, ...(truncated && { truncated }) })),
    );

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
    frame: (file, frame) =>
      withFrames(file, async ({ bytes, dataSet, transferSyntax, pixelData }) => {
        const { uuid, uncompressedSize } = file.attachment;
        const inside = pixelData !== undefined && pixelData.offset === undefined;
        const read = async (start: number, end: number): Promise<Uint8Array> =>
          inside ? bytes.subarray(start, end) : storage.read(uuid, { start, end });
        const { ranges, swapped } = await locateFrame(
          {
            dataSet,
            transferSyntax,
            pixelData: inside ? dataSet.elements.get(PIXEL_DATA)?.start : pixelData?.offset,
            size: inside ? bytes.length : uncompressedSize,
            read,
          },
          frame,
        );
        const size = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
        const raw = Buffer.allocUnsafe(size);
        let at = 0;
        for (const { start, end } of ranges) {
          raw.set(await read(start, end), at);
          at += end - start;
        }
        if (swapped) raw.subarray(0, size - (size % 2)).swap16();
        return { bytes: raw, type: rawFrameType(transferSyntax) };
      }),
    close: () => pool.close(),
  };
}
