/**
 * Owns the acknowledging of TCP segments at once (TCP_QUICKACK, Linux): against a peer that leaves Nagle's algorithm on, as DCMTK does, a
 * delayed acknowledgement costs 40 ms a message. Without Linux, or without the optional library that calls setsockopt, nothing happens.
 */

import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type * as Koffi from 'koffi';

const IPPROTO_TCP = 6;
const TCP_QUICKACK = 12;
const ON = Buffer.from([1, 0, 0, 0]);

type SetOption = (fd: number, level: number, option: number, value: Buffer, length: number) => number;

let setOption: SetOption | undefined;
let looked = false;

function load(): SetOption | undefined {
  if (looked) return setOption;
  looked = true;
  if (process.platform !== 'linux') return undefined;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
    setOption = koffi.load('libc.so.6').func('int setsockopt(int, int, int, const void*, uint32_t)') as SetOption;
  } catch {
    // Optional: an installation without it, or a C library of another name, is only slower with such peers.
  }
  return setOption;
}

/** Node shows the descriptor of a TCP handle, and the handle under TLS, without documenting either. */
interface Handle {
  readonly fd?: number;
  readonly _parent?: Handle;
}

/** Has what comes next on `socket` acknowledged at once. The kernel forgets it: to be called after every read. */
export function acknowledgeQuickly(socket: Socket): void {
  const call = load();
  if (call === undefined) return;
  const handle = (socket as unknown as { readonly _handle: Handle | null })._handle;
  const fd = handle?.fd ?? handle?._parent?.fd;
  if (fd !== undefined && fd >= 0) call(fd, IPPROTO_TCP, TCP_QUICKACK, ON, ON.length);
}
