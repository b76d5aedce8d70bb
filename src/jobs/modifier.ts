/**
 * Owns the changing of stored files by worker threads: read into memory that they share, changed there into other such memory, and parsed
 * beside, all of it bounded. Large files are handed over instead.
 */

import { Budget } from '../budget.ts';
import { type Database, DICOM_ATTACHMENT, type Found, type RevisedAttachment } from '../database/database.ts';
import type { Level } from '../dicom/levels.ts';
import type { Parsed } from '../dicom/parsing.ts';
import { IsenError } from '../errors.ts';
import type { Modified, ModifyTask } from '../imaging/modify.ts';
import { createPool, type Pool } from '../pool.ts';
import { readContent, type Source } from '../storage/content.ts';
import { allocatePages } from '../storage/pages.ts';

/** What is to be done to a stored file. */
export type Change = Omit<ModifyTask, 'bytes' | 'md5' | 'into'>;

export interface Modifier {
  /**
   * Lets `work` have the changed file of an instance, which is stored nowhere. Throws UnknownResource, Busy, Timeout, and what
   * changing it throws.
   */
  changed<Result>(
    id: string,
    change: Change,
    work: (bytes: Uint8Array<ArrayBuffer>, source: Found) => Promise<Result>,
  ): Promise<Result>;
  /**
   * The same for who stores it: the bytes are there until `work` ends, as {@link allocatePages} has them where they are few, and then
   * parsed. Throws BadFileFormat besides, for what is no file any more.
   */
  parsed<Result>(
    id: string,
    change: Change,
    work: (file: { readonly bytes: Uint8Array; readonly parsed?: Parsed }, source: Found) => Promise<Result>,
  ): Promise<Result>;
  close(): Promise<void>;
}

export interface ModifierOptions {
  readonly database: Pick<Database, 'find'>;
  readonly storage: Source;
  /** Whether files get an MD5 (`StoreMD5ForAttachments`). */
  readonly hash: boolean;
  /** Main tags besides the built-in ones. */
  readonly mainTags: Partial<Record<Level, readonly string[]>>;
}

/** Bytes of files that are in memory to be changed. */
const IN_FLIGHT = 256 * 2 ** 20;

/** Bytes of one piece of shared memory. */
const SHARED = 1 << 20;

/** Pieces of it that are kept. */
const MOST_IDLE = 64;

/** Milliseconds that one file may take. */
const DEADLINE = 120_000;

type Shared = Buffer<SharedArrayBuffer>;

interface Wanted extends Change {
  readonly attachment: RevisedAttachment;
}

/** Starts the workers. */
export function createModifier({ database, storage, hash, mainTags }: ModifierOptions): Modifier {
  const pool: Pool<ModifyTask, Modified> = createPool({ file: 'modify', deadline: DEADLINE, workerData: mainTags });
  const memory = new Budget(IN_FLIGHT);
  /** Used again, since it is freed late: each thread that saw it must have collected its garbage. */
  const idle: SharedArrayBuffer[] = [];
  const take = (): Shared => Buffer.from(idle.pop() ?? allocatePages(SHARED), 0, SHARED);
  const give = ({ buffer }: Shared): void => {
    if (idle.length < MOST_IDLE) idle.push(buffer);
  };

  /** Reads a file and has it changed. */
  const change = async ({ attachment, ...task }: Wanted, into?: ModifyTask['into']): Promise<Modified> => {
    const from = attachment.uncompressedSize <= SHARED ? take() : undefined;
    try {
      const bytes = await readContent(storage, attachment, undefined, from);
      const shared = { ...task, bytes, md5: attachment.uncompressedMD5, ...(into && { into }) };
      if (bytes.buffer === from?.buffer) return await pool.run(shared);
      const whole = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
      return await pool.run({ ...shared, bytes: whole }, [whole.buffer as ArrayBuffer]);
    } finally {
      if (from !== undefined) give(from);
    }
  };

  const alone = async (wanted: Wanted): Promise<Uint8Array<ArrayBuffer>> => {
    const file = await change(wanted);
    if (!('bytes' in file)) throw new IsenError('InternalError');
    return file.bytes;
  };

  /** Finds the file of an instance, and does `work` with memory for it and for what becomes of it. */
  const having = async <Result>(
    id: string,
    asked: Change,
    work: (wanted: Wanted, source: Found) => Promise<Result>,
  ): Promise<Result> => {
    const [source] = await database.find({ level: 'Instance', id, ancestors: true });
    const attachment = source?.attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
    if (source === undefined || attachment === undefined) throw new IsenError('UnknownResource');
    const size = 2 * Math.max(SHARED, attachment.uncompressedSize);
    return memory.with(size, () => work({ ...asked, attachment }, source));
  };

  return {
    changed: (id, asked, work) => having(id, asked, async (wanted, source) => work(await alone(wanted), source)),
    parsed: (id, asked, work) =>
      having(id, asked, async (wanted, source) => {
        if (wanted.attachment.uncompressedSize > SHARED) return work({ bytes: await alone(wanted) }, source);
        const into = take();
        let file: Modified;
        try {
          file = await change(wanted, { memory: into, hash });
        } catch (thrown) {
          // A thread that is ended goes on for a moment: what it still writes to must be nobody else's by then.
          if (thrown instanceof IsenError && thrown.code !== 'Timeout' && thrown.code !== 'InternalError') give(into);
          throw thrown;
        }
        try {
          return await work('bytes' in file ? file : { ...file, bytes: into.subarray(0, file.size) }, source);
        } finally {
          give(into);
        }
      }),
    close: () => pool.close(),
  };
}
