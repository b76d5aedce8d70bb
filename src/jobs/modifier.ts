/** Owns the changing of stored files by worker threads: read, handed over, and the result in memory that is bounded. */

import { Budget } from '../budget.ts';
import { type Database, DICOM_ATTACHMENT, type Found } from '../database/database.ts';
import { IsenError } from '../errors.ts';
import type { ModifyTask } from '../imaging/modify.ts';
import { createPool, type Pool } from '../pool.ts';
import { readContent, type Source } from '../storage/content.ts';

/** What is to be done to a stored file. */
export type Change = Omit<ModifyTask, 'bytes' | 'md5'>;

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
  close(): Promise<void>;
}

export interface ModifierOptions {
  readonly database: Pick<Database, 'find'>;
  readonly storage: Source;
}

/** Bytes of files that are in memory to be changed. */
const IN_FLIGHT = 256 * 2 ** 20;

/** Milliseconds that one file may take. */
const DEADLINE = 120_000;

/** Starts the workers. */
export function createModifier({ database, storage }: ModifierOptions): Modifier {
  const pool: Pool<ModifyTask, Uint8Array<ArrayBuffer>> = createPool({ file: 'modify', deadline: DEADLINE });
  const memory = new Budget(IN_FLIGHT);
  return {
    async changed(id, change, work) {
      const [source] = await database.find({ level: 'Instance', id, ancestors: true });
      const attachment = source?.attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
      if (source === undefined || attachment === undefined) throw new IsenError('UnknownResource');
      // The file and what becomes of it.
      return memory.with(2 * attachment.uncompressedSize, async () => {
        const bytes = (await readContent(storage, attachment)) as Uint8Array<ArrayBuffer>;
        const whole = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
        const task = { ...change, bytes: whole, md5: attachment.uncompressedMD5 };
        return work(await pool.run(task, [whole.buffer]), source);
      });
    },
    close: () => pool.close(),
  };
}
