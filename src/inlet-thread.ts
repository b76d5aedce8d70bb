/**
 * Owns the thread of the inlet: it reads what comes over the connections that are lent to it, straight to where it belongs, and waits for
 * them in poll(2). A connection goes back when all has come that was wanted, when it has been silent or lent for long, and when it
 * ends: what is to be done then is the main thread's to say.
 */

import { FLAG, type InletData, MOST, Places, STATE } from './inlet-shared.ts';
import { errno, libc } from './libc.ts';

/** Milliseconds of silence, and of being lent at all, after which a connection goes back. */
const SILENT = 50;
const LENT = 100;

/** Milliseconds of a wait for nothing in particular: so long the end of the process may be held up. */
const IDLE = 1000;

/** Bytes of one read at most: others have their turn. */
const LARGEST_READ = 256 << 10;

const MSG_DONTWAIT = 0x40;
const EINTR = 4;
const EAGAIN = 11;

/** Bytes of struct pollfd, and POLLIN. */
const POLLFD = 8;
const POLLIN = 1;

/** A place that is lent. */
interface Lent {
  readonly place: number;
  readonly since: number;
  heard: number;
}

/** Works until it is told to end. `tell` wakes the main thread. Throws where the functions of the system are not to be had. */
export function receiveUntilEnd(data: InletData, tell: () => void): void {
  const purpose = 'bodies beside the main thread';
  const recv = libc('int64_t recv(int, uint64_t, uint64_t, int)', purpose);
  const read = libc('int64_t read(int, void *, uint64_t)', purpose);
  const poll = libc('int poll(void *, uint64_t, int)', purpose);
  if (recv === undefined || read === undefined || poll === undefined) throw new Error(`no ${purpose}`);
  const places = new Places(data);
  const waits = Buffer.alloc((1 + MOST) * POLLFD);
  waits.writeInt32LE(data.bell, 0);
  waits.writeInt16LE(POLLIN, 4);
  const rung = Buffer.alloc(8);
  const lent = new Map<number, Lent>();

  const back = (place: number): void => {
    lent.delete(place);
    places.pass(place, STATE.back);
    if (places.raise(FLAG.mainWoken)) tell();
  };

  /** Reads what is there. */
  const take = (one: Lent, now: number): void => {
    const { place } = one;
    const [come, wanted] = [places.come(place), places.wanted(place)];
    const most = Math.min(wanted - come, LARGEST_READ);
    const got = recv(places.descriptor(place), places.address(place) + come, most, MSG_DONTWAIT);
    if (got > 0) {
      places.setCome(place, come + got);
      one.heard = now;
      if (come + got === wanted) back(place);
      return;
    }
    const error = got === 0 ? 0 : errno();
    if (error !== EAGAIN && error !== EINTR) back(place);
  };

  for (;;) {
    // Lowered before looking: what is lent from here on rings again.
    places.lower(FLAG.threadWoken);
    if (places.isRaised(FLAG.ending)) return;
    let now = performance.now();
    for (let place = 0; place < MOST; place += 1) {
      if (places.state(place) !== STATE.lent || lent.has(place)) continue;
      const one = { place, since: now, heard: now };
      lent.set(place, one);
      take(one, now);
    }
    let count = 1;
    const order = [...lent.values()];
    for (const { place } of order) {
      waits.writeInt32LE(places.descriptor(place), count * POLLFD);
      waits.writeInt16LE(POLLIN, count * POLLFD + 4);
      waits.writeInt16LE(0, count * POLLFD + 6);
      count += 1;
    }
    waits.writeInt16LE(0, 6);
    poll(waits, count, order.length === 0 ? IDLE : SILENT);
    if (waits.readInt16LE(6) !== 0) read(data.bell, rung, rung.length);
    now = performance.now();
    for (const [index, one] of order.entries()) {
      if (waits.readInt16LE((1 + index) * POLLFD + 6) !== 0) take(one, now);
      if (lent.has(one.place) && (now - one.heard >= SILENT || now - one.since >= LENT)) back(one.place);
    }
  }
}
