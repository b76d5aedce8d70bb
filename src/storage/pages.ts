/**
 * Owns memory that starts at a page boundary: what a disk can be written from directly (open(2), O_DIRECT). Node tells no
 * addresses, but V8 gives buffers that can grow whole pages of their own.
 */

/** Bytes of a page. */
export const PAGE = 4096;

/** Shared memory of `size` bytes, page-aligned. */
export function allocatePages(size: number): SharedArrayBuffer {
  return new SharedArrayBuffer(size, { maxByteLength: size });
}

/** Whether `bytes` start at a page of memory from {@link allocatePages}. */
export function isPageAligned({ buffer, byteOffset }: Uint8Array): boolean {
  return buffer instanceof SharedArrayBuffer && buffer.growable && byteOffset % PAGE === 0;
}
