/**
 * Owns the reading of stored headers: the bytes up to Pixel Data come from storage, a worker turns them into JSON text,
 * and the latest answers are kept. Memory is bounded: the answers kept, and the headers being read.
 */

import type { Attachment, Metadata } from '../database/database.ts';
import type { HeaderQuestion, HeaderTask } from '../dicom/header.ts';
import type { TagsFormat } from '../dicom/json.ts';
import { IsenError } from '../errors.ts';
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

/** Everything throws InexistentFile or CorruptedFile where storage does not hold what the index says, BadFileFormat, Busy. */
export interface Headers {
  /** The data set as JSON text. */
  tags(file: StoredFile, request: TagsRequest): Promise<string>;
  /** File Meta Information as JSON text. */
  meta(file: StoredFile, format: TagsFormat): Promise<string>;
  /** Finishes what was begun. */
  close(): Promise<void>;
}

export interface HeadersOptions {
  /** Characters of answers that are kept. */
  readonly cached?: number;
  /** Bytes of headers that may be in memory at once; a larger one goes alone. */
  readonly inFlight?: number;
  /** Milliseconds that one header may take. */
  readonly deadline?: number;
}

/** Readers that may wait for their turn. */
const WAITING = 4096;

/** Starts the workers that read headers. */
export function createHeaders(storage: Storage, options: HeadersOptions = {}): Headers {
  const { cached = 64 * 2 ** 20, inFlight = 256 * 2 ** 20, deadline = 30_000 } = options;
  const pool: Pool<HeaderTask, string> = createPool({ file: 'read', deadline });
  const answers = new Map<string, string>();
  let kept = 0;
  let reading = 0;
  const turns: (() => void)[] = [];

  const remember = (key: string, answer: string): void => {
    if (answer.length > cached / 16) return;
    answers.set(key, answer);
    kept += answer.length;
    // The oldest go first: a Map keeps the order of insertion.
    for (const [oldest, text] of answers) {
      if (kept <= cached) break;
      answers.delete(oldest);
      kept -= text.length;
    }
  };

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

  const ask = async ({ attachment, metadata }: StoredFile, question: HeaderQuestion): Promise<string> => {
    const key = `${attachment.uuid} ${JSON.stringify(question)}`;
    const known = answers.get(key);
    if (known !== undefined) {
      // Asked for again: the last to go.
      answers.delete(key);
      answers.set(key, known);
      return known;
    }
    const offset = Number(metadata['PixelDataOffset']?.value ?? Number.NaN);
    const truncated = offset > 0 && offset <= attachment.uncompressedSize;
    const end = truncated ? offset : attachment.uncompressedSize;
    await reserve(end);
    try {
      const bytes = await storage.read(attachment.uuid, { start: 0, end });
      const answer = await pool.run({ bytes, truncated, question }, [bytes.buffer as ArrayBuffer]);
      if (!answers.has(key)) remember(key, answer);
      return answer;
    } finally {
      free(end);
    }
  };

  return {
    tags: (file, { format, ignoreLength = [], only }) =>
      ask(file, { kind: 'tags', format, ignoreLength, ...(only !== undefined && { only }) }),
    meta: (file, format) => ask(file, { kind: 'meta', format }),
    close: () => pool.close(),
  };
}
