/** Owns the way of files that the server itself makes: out of tags and payloads by a thread, and into storage like any upload. */

import { IsenError } from '../errors.ts';
import type { Parsed } from '../dicom/parsing.ts';
import type { CreateTask } from '../imaging/create.ts';
import { createPool, type Pool } from '../pool.ts';
import type { Ingest, Reception, Stored } from './ingest.ts';

/** Bytes that ingest is given together. */
const PIECE = 1 << 20;

/** Milliseconds that one file may take. */
const DEADLINE = 60_000;

export interface Creator {
  /** The bytes of a new file. Throws what imaging/create throws, and Busy. */
  create(task: CreateTask): Promise<Uint8Array<ArrayBuffer>>;
  /** Finishes what was begun. */
  close(): Promise<void>;
}

/** Makes a creator; its thread starts with its first file, since few servers make any. */
export function createCreator(): Creator {
  let pool: Pool<CreateTask, Uint8Array<ArrayBuffer>> | undefined;
  let closed = false;
  return {
    async create(task) {
      if (closed) throw new IsenError('Busy', 'the server is stopping');
      pool ??= createPool({ file: 'create', deadline: DEADLINE, threads: 1 });
      return pool.run(task);
    },
    async close() {
      closed = true;
      await pool?.close();
    },
  };
}

/**
 * Stores a whole file: one that is `parsed` from the memory where it is, another out of a copy. Throws as {@link Ingest.receive} and
 * {@link Ingest.store} do.
 */
export async function storeMade(
  ingest: Ingest,
  bytes: Uint8Array,
  reception: Reception,
  parsed?: Parsed,
): Promise<Stored> {
  if (parsed !== undefined) return ingest.store(ingest.lend(bytes, parsed), reception);
  const slab = await ingest.receive();
  try {
    for (let at = 0; at < bytes.length; at += PIECE) await slab.append(bytes.subarray(at, at + PIECE));
    return await ingest.store(slab, reception);
  } catch (thrown) {
    slab.release();
    throw thrown;
  }
}
