/**
 * Owns the bytes of a journal: the first page of a segment, which says when it was begun, and batches of blobs behind it, each a page of
 * contents and then the blobs, every one from a page on.
 *
 * A batch is believed where its contents are whole and carry the secret of the segment's beginning (nobody can send an image that is one),
 * and a blob where its MD5 is that of the contents: what a power cut left half written is not there.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import { PAGE } from './pages.ts';

/** Blobs of one batch at most. */
export const MOST_BLOBS = 32;

/** Bytes of a segment's secret. */
const SECRET = 16;
const SEGMENT_MAGIC = Buffer.from('ISEN journal 1\n\0');
const BATCH_MAGIC = Buffer.from('ISEN batch 1\n\0\0\0');
const COUNT_AT = BATCH_MAGIC.length + SECRET;
const ENTRIES_AT = COUNT_AT + 4;
/** UUID as text, size, MD5. */
const ENTRY = 36 + 4 + 16;
const CHECK_AT = PAGE - 16;

/** A blob of a batch: its MD5 in lower-case hex. */
export interface BatchEntry {
  readonly uuid: string;
  readonly size: number;
  readonly md5: string;
}

/** Bytes that a blob of `size` bytes takes up. */
export const padded = (size: number): number => Math.ceil(size / PAGE) * PAGE;

/** Bytes of a batch of blobs of these sizes. */
export const batchSize = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + padded(size), PAGE);

const md5 = (bytes: Uint8Array): Buffer => createHash('md5').update(bytes).digest();

/** Fills the first page of a segment. */
export function writeSegmentHead(page: Buffer, secret: string): void {
  page.fill(0);
  SEGMENT_MAGIC.copy(page);
  page.write(secret, SEGMENT_MAGIC.length, 'hex');
}

/** The secret of a segment, by its first page; undefined where it is none. */
export function readSegmentHead(page: Buffer): string | undefined {
  if (page.length < PAGE || !page.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC)) return undefined;
  return page.toString('hex', SEGMENT_MAGIC.length, SEGMENT_MAGIC.length + SECRET);
}

/** Fills the page of contents of a batch. */
export function writeContents(page: Buffer, secret: string, entries: readonly BatchEntry[]): void {
  page.fill(0);
  BATCH_MAGIC.copy(page);
  page.write(secret, BATCH_MAGIC.length, 'hex');
  page.writeUInt32LE(entries.length, COUNT_AT);
  for (const [index, entry] of entries.entries()) {
    const at = ENTRIES_AT + index * ENTRY;
    page.write(entry.uuid, at, 'latin1');
    page.writeUInt32LE(entry.size, at + 36);
    page.write(entry.md5, at + 40, 'hex');
  }
  md5(page.subarray(0, CHECK_AT)).copy(page, CHECK_AT);
}

/** The contents of a batch, by its page; undefined where there is no batch of the segment with this secret. */
export function readContents(page: Buffer, secret: string): readonly BatchEntry[] | undefined {
  if (page.length < PAGE || !page.subarray(0, BATCH_MAGIC.length).equals(BATCH_MAGIC)) return undefined;
  if (!timingSafeEqual(page.subarray(BATCH_MAGIC.length, COUNT_AT), Buffer.from(secret, 'hex'))) return undefined;
  if (!md5(page.subarray(0, CHECK_AT)).equals(page.subarray(CHECK_AT))) return undefined;
  const count = page.readUInt32LE(COUNT_AT);
  if (count > MOST_BLOBS) return undefined;
  return Array.from({ length: count }, (_, index) => {
    const at = ENTRIES_AT + index * ENTRY;
    return {
      uuid: page.toString('latin1', at, at + 36),
      size: page.readUInt32LE(at + 36),
      md5: page.toString('hex', at + 40, at + ENTRY),
    };
  });
}

/** The blobs of a segment that are there whole, in order. */
export function* blobsOf(segment: Buffer): Generator<{ readonly uuid: string; readonly bytes: Buffer }> {
  const secret = readSegmentHead(segment);
  if (secret === undefined) return;
  // Page by page: where a batch was not written an older one may still be, and its blobs have ended where newer batches begin.
  for (let page = PAGE; page + PAGE <= segment.length; page += PAGE) {
    let at = page + PAGE;
    for (const { uuid, size, md5: expected } of readContents(segment.subarray(page, at), secret) ?? []) {
      const bytes = segment.subarray(at, at + size);
      at += padded(size);
      if (bytes.length === size && md5(bytes).toString('hex') === expected) yield { uuid, bytes };
    }
  }
}
