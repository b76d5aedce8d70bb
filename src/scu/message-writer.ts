/** Owns the writing of one DIMSE message: cut into fragments that the peer takes, without copies, few writes. */

import type { Socket } from 'node:net';
import { type Command, encodeCommand } from '../dicom/command.ts';
import { dataHeader, PDV_HEADER } from '../dicom/pdu.ts';
import { IsenError } from '../errors.ts';

/** Fragments for a peer that takes any size. */
const LARGEST_FRAGMENT = 128 << 10;

/** Bytes that are handed to the socket at once. */
const BURST = 256 << 10;

/**
 * Writes a command and its data set in PDUs of at most `maximumPdu` bytes (0: any), the command and the beginning of the data set
 * together. `drain` lets the socket, which is corked, have what was written and waits until the system took it.
 */
export async function writeMessage(
  socket: Socket,
  contextId: number,
  maximumPdu: number,
  command: Command,
  dataSet: readonly Uint8Array[] | AsyncIterable<Uint8Array> | undefined,
  drain: () => Promise<void>,
): Promise<void> {
  const limit = maximumPdu === 0 ? LARGEST_FRAGMENT : maximumPdu - PDV_HEADER;
  // Fragments have an even number of bytes (PS3.8 annex E.2).
  const fragment = Math.min(limit, LARGEST_FRAGMENT) & ~1;
  let burst = 0;
  /** Parts of the fragment that is being filled, and the bytes that it may still take. */
  let parts: Uint8Array[] = [];
  let room = fragment;
  const flush = (isCommand: boolean, last: boolean): void => {
    socket.write(dataHeader(contextId, isCommand, last, fragment - room));
    for (const part of parts) socket.write(part);
    parts = [];
    room = fragment;
  };
  const add = async (bytes: Uint8Array, isCommand: boolean): Promise<void> => {
    for (let at = 0; at < bytes.length; ) {
      if (room === 0) {
        flush(isCommand, false);
        if (burst >= BURST) {
          await drain();
          burst = 0;
          socket.cork();
        }
      }
      const part = at === 0 && bytes.length <= room ? bytes : bytes.subarray(at, at + room);
      parts.push(part);
      room -= part.length;
      burst += part.length;
      at += part.length;
    }
  };
  socket.cork();
  try {
    await add(encodeCommand(command, dataSet !== undefined), true);
    flush(true, true);
    if (dataSet !== undefined) {
      for await (const part of dataSet) await add(part, false);
      flush(false, true);
    }
  } catch (thrown) {
    socket.uncork();
    throw thrown;
  }
  await drain();
}

const NOTHING = Buffer.alloc(0);

/**
 * Lets `socket`, which is corked, have what was written, and waits until the system took it. Throws Timeout when the peer takes nothing for
 * `patience` milliseconds (0 is without end), and what `lost` says where the connection is lost.
 */
export async function drained(socket: Socket, patience: number, lost: () => Error): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const taken = (): number => socket.bytesWritten - socket.writableLength;
    let before = taken();
    const late = (): void => {
      const now = taken();
      // A peer that takes something, if slowly, is not silent.
      if (now > before) {
        before = now;
        deadline?.refresh();
      } else reject(new IsenError('Timeout', 'the peer does not take what is sent'));
    };
    const deadline = patience === 0 ? undefined : setTimeout(late, patience);
    socket.write(NOTHING, (error) => {
      clearTimeout(deadline);
      if (error == null) resolve();
      else reject(lost());
    });
    socket.uncork();
  });
}
