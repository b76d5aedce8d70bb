/**
 * Owns what a thread without an event loop does with sockets, and those who give it some: waiting for them (ppoll(2)), reading and writing them
 * without waiting, descriptors of its own, and the bell (eventfd(2)) that wakes it. Linux with the GNU library only.
 */

import { errno, libc, type Native } from './libc.ts';

const EFD_NONBLOCK_CLOEXEC = 0x800 | 0x80000;
const F_DUPFD_CLOEXEC = 1030;
const IPPROTO_TCP = 6;
const TCP_QUICKACK = 12;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;
const ON = Buffer.from([1, 0, 0, 0]);

const EINTR = 4;
const EAGAIN = 11;

/** Bytes of struct pollfd, and POLLIN. */
const POLLFD = 8;
const POLLIN = 1;

/** What a read or a write came to where it moved no bytes: there is nothing yet (or no room), or the connection is over. */
export type Moved = number | 'nothing' | 'over';

let setOption: Native | undefined;
let looked = false;

/**
 * Has the TCP segments that come next acknowledged at once (TCP_QUICKACK), by which a sender that leaves Nagle's algorithm on is 40 ms sooner. The
 * kernel forgets it: to be called after every read. Nothing happens where the function of the system is not to be had.
 */
export function acknowledgeAtOnce(descriptor: number): void {
  if (!looked) setOption = libc('int setsockopt(int, int, int, const void*, uint32_t)', 'quick acknowledgements');
  looked = true;
  setOption?.(descriptor, IPPROTO_TCP, TCP_QUICKACK, ON, ON.length);
}

/** The sockets of a thread. */
export class Sockets {
  readonly #calls: Readonly<Record<'poll' | 'recv' | 'recvAt' | 'send' | 'read', Native>>;
  readonly #bell: number;
  readonly #rung = Buffer.alloc(8);
  /** A struct timespec. */
  readonly #time = Buffer.alloc(16);
  #waits = Buffer.alloc(0);

  /** `bell`: see {@link newBell}. Throws where the functions of the system are not to be had. */
  constructor(bell: number) {
    const purpose = 'sockets in a thread';
    const poll = libc('int ppoll(void *, uint64_t, const void *, uint64_t)', purpose);
    const recv = libc('int64_t recv(int, void *, uint64_t, int)', purpose);
    const recvAt = libc('int64_t recv(int, uint64_t, uint64_t, int)', purpose);
    const send = libc('int64_t send(int, const void *, uint64_t, int)', purpose);
    const read = libc('int64_t read(int, void *, uint64_t)', purpose);
    if (!poll || !recv || !recvAt || !send || !read) throw new Error(`no ${purpose}`);
    this.#calls = { poll, recv, recvAt, send, read };
    this.#bell = bell;
  }

  /**
   * Waits up to `milliseconds` until there is something to be read of one of the descriptors, or the bell rings, which is silent then. Tells
   * whether it did, and the places of those that there is something of.
   */
  wait(descriptors: readonly number[], milliseconds: number): { readonly rung: boolean; readonly ready: number[] } {
    const count = descriptors.length + 1;
    if (this.#waits.length < count * POLLFD) this.#waits = Buffer.alloc(2 * count * POLLFD);
    const waits = this.#waits;
    for (let place = 0; place < count; place += 1) {
      waits.writeInt32LE(place === 0 ? this.#bell : (descriptors[place - 1] ?? -1), place * POLLFD);
      waits.writeInt32LE(POLLIN, place * POLLFD + 4);
    }
    const ready: number[] = [];
    this.#time.writeBigInt64LE(BigInt(Math.floor(milliseconds / 1000)), 0);
    this.#time.writeBigInt64LE(BigInt(Math.round((milliseconds % 1000) * 1e6)), 8);
    // Interrupted by a signal, it has waited for nothing: the caller looks again.
    if (this.#calls.poll(waits, count, this.#time, 0) <= 0) return { rung: false, ready };
    for (let place = 1; place < count; place += 1)
      if (waits.readInt16LE(place * POLLFD + 6) !== 0) ready.push(place - 1);
    const rung = waits.readInt16LE(6) !== 0;
    if (rung) this.#calls.read(this.#bell, this.#rung, this.#rung.length);
    return { rung, ready };
  }

  /** Reads what is there, and has what comes next acknowledged at once. */
  receive(descriptor: number, memory: Buffer): Moved {
    const moved = received(this.#calls.recv(descriptor, memory, memory.length, MSG_DONTWAIT_NOSIGNAL));
    if (typeof moved === 'number') acknowledgeAtOnce(descriptor);
    return moved;
  }

  /** Reads what is there, up to `most` bytes, to an address (see `addresses` in libc). */
  receiveAt(descriptor: number, address: number, most: number): Moved {
    return received(this.#calls.recvAt(descriptor, address, most, MSG_DONTWAIT_NOSIGNAL));
  }

  /** Writes as much as the system takes at once. */
  send(descriptor: number, bytes: Buffer): Moved {
    return outcome(this.#calls.send(descriptor, bytes, bytes.length, MSG_DONTWAIT_NOSIGNAL));
  }
}

function outcome(moved: number): Moved {
  if (moved >= 0) return moved;
  const error = errno();
  return error === EAGAIN || error === EINTR ? 'nothing' : 'over';
}

const received = (moved: number): Moved => (moved === 0 ? 'over' : outcome(moved));

/** What the other side needs of a thread with {@link Sockets}. */
export interface Bell {
  /** For the thread. */
  readonly descriptor: number;
  /** Wakes the thread, now or as soon as it waits. */
  ring(): void;
  /** When the thread is gone. */
  close(): void;
}

/** A bell; undefined where there are none. */
export function newBell(): Bell | undefined {
  const purpose = 'sockets in a thread';
  const eventfd = libc('int eventfd(uint32_t, int)', purpose);
  const write = libc('int64_t write(int, const void *, uint64_t)', purpose);
  const close = libc('int close(int)', purpose);
  if (!eventfd || !write || !close) return undefined;
  const descriptor = eventfd(0, EFD_NONBLOCK_CLOEXEC);
  if (descriptor < 0) return undefined;
  const one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
  let isOpen = true;
  return {
    descriptor,
    ring() {
      // The number of a descriptor that is closed is somebody else's.
      if (isOpen) write(descriptor, one, one.length);
    },
    close() {
      if (isOpen) close(descriptor);
      isOpen = false;
    },
  };
}

let duplicate: Native | undefined;
let closeNative: Native | undefined;

/**
 * Another descriptor of an open file or socket, which stays what it is when the first is closed and its number used again; undefined where
 * there is none to be had.
 */
export function duplicateOf(descriptor: number): { readonly descriptor: number; close(): void } | undefined {
  const purpose = 'sockets in a thread';
  duplicate ??= libc('int fcntl(int, int, int)', purpose);
  closeNative ??= libc('int close(int)', purpose);
  const close = closeNative;
  const own = duplicate && close ? duplicate(descriptor, F_DUPFD_CLOEXEC, 3) : -1;
  if (own < 0 || close === undefined) return undefined;
  return { descriptor: own, close: () => void close(own) };
}
