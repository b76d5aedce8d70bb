/** Owns how received bytes become durable files: as they came, or compressed (`StorageCompression`). */

import { createHash } from 'node:crypto';
import { asItCame } from '../database/database.ts';
import { recordStage } from '../metrics.ts';
import { compressed, rewrite, type StoredContent } from '../storage/content.ts';
import type { Storage } from '../storage/storage.ts';
import type { PooledSlab } from './slabs.ts';

export interface FilesOptions {
  readonly storage: Storage;
  /** Whether files are stored compressed. */
  readonly compress: boolean;
  /** Whether files get an MD5. */
  readonly hash: boolean;
}

/** A durable blob, once the MD5 of its content is known ('' for none). */
export type Durable = (md5: string) => StoredContent;

/** Blobs are provisional; whoever asked for one has the index keep it, or removes it. Everything throws as the storage does. */
export interface Files {
  /** Makes bytes durable as a new blob. */
  write(bytes: Uint8Array): Promise<Durable>;
  /** Makes a body durable that went to storage as it came: its own blob, which `slab` has, or a compressed one in its place. */
  settle(slab: PooledSlab): Promise<Durable>;
  /** MD5 of bytes as the index keeps it: '' where none is wanted. */
  md5(bytes: Uint8Array): string;
}

export function createFiles({ storage, compress, hash }: FilesOptions): Files {
  const digest = (bytes: Uint8Array): string => (hash ? createHash('md5').update(bytes).digest('hex') : '');
  return {
    md5: digest,
    async write(bytes) {
      const stored = compress ? await compressed(bytes) : bytes;
      const uuid = storage.name(stored.length);
      const began = performance.now();
      await storage.put(uuid, stored);
      recordStage('write', (performance.now() - began) / 1000);
      const size = bytes.length;
      if (!compress) return (md5) => asItCame(uuid, size, md5);
      return (md5) => ({
        uuid,
        compression: 'zlib',
        uncompressedSize: size,
        uncompressedMD5: md5,
        compressedSize: stored.length,
        compressedMD5: digest(stored),
      });
    },
    async settle(slab) {
      const spilled = await slab.finish();
      const content = asItCame(spilled?.uuid ?? '', slab.size, hash ? (spilled?.md5 ?? '') : '');
      const made = compress ? await rewrite(storage, content, 'zlib', hash) : content;
      return () => made;
    },
  };
}
