/**
 * Owns the bytes of a pack, a file that many blobs share, so that none pays for a file of its own: a first page that says what it is, and
 * the blobs, each from a page on with a trailer in the last bytes of its last page. A name of a blob says where it is.
 *
 * A blob is there where its trailer is: what was removed, or never written whole, has none. Trailers carry the secret of their pack, so that
 * nobody can send an image that holds one.
 */

import { PAGE } from './pages.ts';

/** Bytes of a pack. */
export const PACK = 32 << 20;

/** Bytes of it that blobs and the first page take up: its last page shows that the file system takes space back. */
export const PACKABLE = PACK - PAGE;

/** Bytes of the largest blob that a pack holds: a name has 20 bits for them. */
export const LARGEST_PACKED = (1 << 20) - 1;

/** Bytes at the end of the last page of a blob. */
export const TRAILER = 64;

const SECRET = 16;
const HEAD_MAGIC = Buffer.from('ISEN pack 1\n\0\0\0\0');
const BLOB_MAGIC = Buffer.from('ISEN blob 1\n\0\0\0\0');
const SETTLED_AT = HEAD_MAGIC.length + SECRET;
const NAME_AT = BLOB_MAGIC.length + SECRET;

/** Where a blob is: its pack (eight hexadecimal digits), its first byte in it, and its bytes. */
export interface Place {
  readonly pack: string;
  readonly at: number;
  readonly size: number;
}

/** Bytes that a blob of `size` bytes takes up. */
export const spanOf = (size: number): number => Math.ceil((size + TRAILER) / PAGE) * PAGE;

const PACKED = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** The name of the blob at a place: a UUID of version 8 (RFC 9562 §5.8), whose other digits are those of `random`, a UUID. */
export function nameAt({ pack, at, size }: Place, random: string): string {
  const digits = hex(size, 5);
  const variant = random.slice(19, 20);
  return `${pack}-${hex(at / PAGE, 4)}-8${digits.slice(0, 3)}-${variant}${digits.slice(3)}${random.slice(22)}`;
}

/** Where the blob of a name is; undefined for the name of one that has a file of its own. */
export function placeOf(uuid: string): Place | undefined {
  if (!PACKED.test(uuid)) return undefined;
  return {
    pack: uuid.slice(0, 8),
    at: Number.parseInt(uuid.slice(9, 13), 16) * PAGE,
    size: Number.parseInt(uuid.slice(15, 18) + uuid.slice(20, 22), 16),
  };
}

/** Fills the first page of a pack. */
export function writeHead(page: Buffer, secret: Buffer): void {
  page.fill(0, 0, PAGE);
  HEAD_MAGIC.copy(page);
  secret.copy(page, HEAD_MAGIC.length);
}

/** What {@link settledBytes} are written over in a first page. */
export const SETTLED = { at: SETTLED_AT, size: 8 } as const;

/** That nothing is added to a pack any more from `time` on, in milliseconds since the epoch. */
export function settledBytes(time: number): Buffer {
  const bytes = Buffer.alloc(SETTLED.size);
  bytes.writeDoubleLE(time);
  return bytes;
}

/** The secret of a pack by its first page, and when it was settled (0 for never); undefined where it is none. */
export function readHead(page: Buffer): { readonly secret: Buffer; readonly settled: number } | undefined {
  if (page.length < PAGE || !page.subarray(0, HEAD_MAGIC.length).equals(HEAD_MAGIC)) return undefined;
  return { secret: Buffer.from(page.subarray(HEAD_MAGIC.length, SETTLED_AT)), settled: page.readDoubleLE(SETTLED_AT) };
}

const bytesOf = (uuid: string): Buffer => Buffer.from(uuid.replaceAll('-', ''), 'hex');

/** How many bytes of a blob of `size` bytes lie in pages that are all its own; the others share theirs with the trailer. */
export const wholePages = (size: number): number => size - (size % PAGE);

/** Fills `memory` with the end of a blob: what is behind its whole pages, and its trailer. Answers what was filled, one page or two. */
export function writeEnd(memory: Buffer, secret: Buffer, uuid: string, bytes: Uint8Array): Buffer {
  const whole = wholePages(bytes.length);
  const end = memory.subarray(0, spanOf(bytes.length) - whole);
  const rest = bytes.length - whole;
  if (rest > 0) end.set(bytes.subarray(whole), 0);
  end.fill(0, rest);
  const at = end.length - TRAILER;
  BLOB_MAGIC.copy(end, at);
  secret.copy(end, at + BLOB_MAGIC.length);
  bytesOf(uuid).copy(end, at + NAME_AT);
  return end;
}

/** Whether a trailer is that of a blob. */
export function isTrailerOf(trailer: Buffer, uuid: string): boolean {
  return (
    trailer.length === TRAILER &&
    trailer.subarray(0, BLOB_MAGIC.length).equals(BLOB_MAGIC) &&
    trailer.subarray(NAME_AT, NAME_AT + 16).equals(bytesOf(uuid))
  );
}

/**
 * The blob of a pack that ends with the page at `end` bytes from its beginning, of which `page` are the bytes; of any secret
 * where none is given. Undefined where none does.
 */
export function blobEndingIn(
  page: Buffer,
  end: number,
  pack: string,
  secret: Buffer | undefined,
): { readonly uuid: string; readonly place: Place } | undefined {
  const trailer = page.subarray(PAGE - TRAILER, PAGE);
  if (!trailer.subarray(0, BLOB_MAGIC.length).equals(BLOB_MAGIC)) return undefined;
  if (secret !== undefined && !trailer.subarray(BLOB_MAGIC.length, NAME_AT).equals(secret)) return undefined;
  const uuid = trailer
    .toString('hex', NAME_AT, NAME_AT + 16)
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  const place = placeOf(uuid);
  if (place?.pack !== pack || place.at < PAGE || place.at + spanOf(place.size) !== end + PAGE) return undefined;
  return { uuid, place };
}
