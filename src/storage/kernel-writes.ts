/**
 * Owns writes that the kernel carries out while the thread that asked for them goes on with something else (io_submit(2)): what is hashed
 * meanwhile costs no further thread and none of its wake-ups. Where they are not to be had, a write is done when it is waited for.
 */

import { writevSync } from 'node:fs';
import { addresses, errno, libc } from '../libc.ts';

/** Writes of a thread that are under way at most; more are done when they are waited for. */
const MOST = 64;

/** Numbers of the system calls, by `process.arch`. */
const CALLS: Readonly<Record<string, { readonly setup: number; readonly events: number; readonly submit: number }>> = {
  x64: { setup: 206, events: 208, submit: 209 },
  arm64: { setup: 0, events: 4, submit: 2 },
};

/** IOCB_CMD_PWRITEV, and the bytes of struct iocb, iovec and io_event (linux/aio_abi.h). */
const PWRITEV = 8;
const IOCB = 64;
const IOVEC = 16;
const EVENT = 32;

const EINTR = 4;

interface Kernel {
  /** Whether it took the write. */
  submit(id: number, fd: number, parts: readonly Uint8Array[], at: number): boolean;
  /** Waits for a write; its id, and the bytes that it wrote or the negated number of its error. */
  next(): { readonly id: number; readonly result: number };
}

/** The context of this thread. It lives as long as the process: that of a thread that dies is not used again. */
function openKernel(): Kernel | undefined {
  const calls = CALLS[process.arch];
  if (calls === undefined) return undefined;
  const purpose = 'writes beside the parsing';
  const setup = libc('int64_t syscall(int64_t, int64_t, void *)', purpose);
  const submit = libc('int64_t syscall(int64_t, uint64_t, int64_t, void *)', purpose);
  const events = libc('int64_t syscall(int64_t, uint64_t, int64_t, int64_t, void *, uint64_t)', purpose);
  const addressOf = addresses(purpose);
  if (setup === undefined || submit === undefined || events === undefined || addressOf === undefined) return undefined;
  const handle = Buffer.alloc(8);
  // Refused where a container forbids the call, or all contexts of the system are in use.
  if (setup(calls.setup, MOST, handle) !== 0) return undefined;
  const context = Number(handle.readBigUInt64LE());
  // Memory that the kernel is told the address of lives as long as this: what only a number refers to, V8 frees.
  const iocb = Buffer.alloc(IOCB);
  const list = Buffer.alloc(8);
  const event = Buffer.alloc(EVENT);
  let vector = Buffer.alloc(MOST * IOVEC);
  // A container may allow to begin a write and not to wait for it.
  if (events(calls.events, context, 0, 0, event, 0) !== 0) return undefined;
  list.writeBigUInt64LE(BigInt(addressOf(iocb)));
  return {
    submit(id, fd, parts, at) {
      if (vector.length < parts.length * IOVEC) vector = Buffer.alloc(parts.length * IOVEC);
      for (const [index, part] of parts.entries()) {
        vector.writeBigUInt64LE(BigInt(addressOf(part)), index * IOVEC);
        vector.writeBigUInt64LE(BigInt(part.length), index * IOVEC + 8);
      }
      iocb.writeBigUInt64LE(BigInt(id), 0);
      iocb.writeUInt16LE(PWRITEV, 16);
      iocb.writeUInt32LE(fd, 20);
      iocb.writeBigUInt64LE(BigInt(addressOf(vector)), 24);
      iocb.writeBigUInt64LE(BigInt(parts.length), 32);
      iocb.writeBigInt64LE(BigInt(at), 40);
      // What it points to is read before the call comes back; the parts themselves stay in use until the write is done.
      return submit(calls.submit, context, 1, list) === 1;
    },
    next() {
      // As long as the disk takes, as any write: the memory is the kernel's until then.
      while (events(calls.events, context, 1, 1, event, 0) !== 1) {
        const error = errno();
        if (error === EINTR) continue;
        // Nobody can tell any more what is done: this thread begins no further ones.
        kernel = undefined;
        throw new Error(`waiting for a write failed (errno ${error})`);
      }
      return { id: Number(event.readBigUInt64LE(0)), result: Number(event.readBigInt64LE(16)) };
    },
  };
}

let kernel: Kernel | undefined;
let opened = false;
let last = 0;
/** Of writes under way, by id: undefined until they are done. */
const results = new Map<number, number | undefined>();

/**
 * Begins a write of some bytes one behind the other to a place in a file; what it answers waits for it, and answers how many bytes were
 * written, or throws as writev(2) does. Until then the bytes must not change.
 */
export function beginWrite(fd: number, parts: readonly Uint8Array[], at: number): () => number {
  if (!opened) kernel = openKernel();
  opened = true;
  const here = kernel;
  last += 1;
  const id = last;
  if (here === undefined || results.size >= MOST || !here.submit(id, fd, parts, at))
    return () => writevSync(fd, parts, at);
  results.set(id, undefined);
  return () => {
    while (results.get(id) === undefined) {
      const done = here.next();
      results.set(done.id, done.result);
    }
    const result = results.get(id) ?? 0;
    results.delete(id);
    // Done once more by the call that names its errors: the place is the same.
    return result < 0 ? writevSync(fd, parts, at) : result;
  };
}
