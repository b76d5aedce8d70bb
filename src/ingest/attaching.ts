/**
 * Owns the exchange of attachments: the new blob is durable before the index names it, and the old one leaves storage by the
 * list of removals afterwards. A crash in between leaves one of the two, and no orphan.
 */

import type { AttachmentOperation, Operation, Outcome } from '../database/database.ts';
import { rewrite, type StoredContent } from '../storage/content.ts';
import type { Storage } from '../storage/storage.ts';
import type { Files } from './files.ts';
import type { Ingest } from './ingest.ts';
import { isOutcomeUnknown } from './outcome.ts';
import type { PooledSlab } from './slabs.ts';

export interface AttachingOptions {
  readonly storage: Storage;
  readonly files: Files;
  /** Whether files get an MD5. */
  readonly hash: boolean;
  /** Throws the IsenError of a refused outcome. */
  commit(operation: Operation): Promise<Exclude<Outcome, { kind: 'refused' }>>;
  /** Follows work that no request waits for. */
  track(what: string, work: Promise<void>): void;
}

/** What {@link Ingest} promises of attachments. */
export function attaching(options: AttachingOptions): Pick<Ingest, 'attach' | 'recompress'> {
  const { storage, files, hash, commit, track } = options;

  /** Has the index name a new blob. Answers the revision. */
  const exchange = async (
    target: Omit<AttachmentOperation, 'kind' | 'attachment'>,
    content: StoredContent,
    slab?: PooledSlab,
  ): Promise<number> => {
    const { uuid } = content;
    const isOfSlab = slab?.blob === uuid;
    let outcome: Outcome;
    try {
      const attachment = { ...content, contentType: target.contentType };
      outcome = await commit({ kind: 'attachment', ...target, attachment });
    } catch (thrown) {
      const isUnknown = isOutcomeUnknown(thrown);
      if (isOfSlab && isUnknown) slab.adopt();
      if (!isOfSlab && !isUnknown) track('removing a refused attachment', storage.remove(uuid));
      throw thrown;
    }
    if (isOfSlab) slab.adopt();
    track('keeping an attachment', storage.keep(uuid));
    return outcome.kind === 'written' ? outcome.revision : 0;
  };

  return {
    async attach(given, target) {
      const slab = given as PooledSlab;
      try {
        const spilled = slab.blob !== undefined;
        const durable = await (spilled ? files.settle(slab) : files.write(slab.head));
        const content = durable(spilled ? '' : files.md5(slab.head));
        return { revision: await exchange(target, content, slab), md5: content.uncompressedMD5 };
      } finally {
        slab.release();
      }
    },
    async recompress(target, attachment, compression) {
      if (attachment.compression === compression) return;
      const { revision, contentType } = attachment;
      const content = await rewrite(storage, attachment, compression, hash);
      await exchange({ ...target, contentType, expected: { revision } }, content);
    },
  };
}
