/**
 * Owns the acknowledging of TCP segments at once (TCP_QUICKACK, Linux): against a peer that leaves Nagle's algorithm on, as DCMTK does, a
 * delayed acknowledgement costs 40 ms a message. Without Linux, or without the optional library that calls setsockopt, nothing happens.
 */

import type { Socket } from 'node:net';
import { acknowledgeAtOnce } from '../polling.ts';

/** Node shows the descriptor of a TCP handle, and the handle under TLS, without documenting either. */
interface Handle {
  readonly fd?: number;
  readonly _parent?: Handle;
}

/** Has what comes next on `socket` acknowledged at once. The kernel forgets it: to be called after every read. */
export function acknowledgeQuickly(socket: Socket): void {
  const handle = (socket as unknown as { readonly _handle: Handle | null })._handle;
  const fd = handle?.fd ?? handle?._parent?.fd;
  if (fd !== undefined && fd >= 0) acknowledgeAtOnce(fd);
}
