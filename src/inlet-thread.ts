/**
 * Owns the thread of the inlet: it reads what comes over the connections that are lent to it, straight to where it belongs, and waits for
 * them. A connection goes back when all has come that was wanted, when it has been silent or lent for long, and when it
 * ends: what is to be done then is the main thread's to say.
 */

import { FLAG, type InletData, MOST, Places, STATE } from './inlet-shared.ts';
import { Sockets } from './polling.ts';

/** Milliseconds of silence, and of being lent at all, after which a connection goes back. */
const SILENT = 50;
const LENT = 100;

/** Milliseconds of a wait for nothing in particular: so long the end of the process may be held up. */
const IDLE = 1000;

/** Bytes of one read at most: others have their turn. */
const LARGEST_READ = 256 << 10;

/** A place that is lent. */
interface Lent {
  readonly place: number;
  readonly since: number;
  heard: number;
}

/** Works until it is told to end. `tell` wakes the main thread. Throws where the functions of the system are not to be had. */
export function receiveUntilEnd(data: InletData, tell: () => void): void {
  const sockets = new Sockets(data.bell);
  const places = new Places(data);
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
    const moved = sockets.receiveAt(places.descriptor(place), places.address(place) + come, most);
    if (moved === 'over') back(place);
    if (typeof moved === 'string') return;
    places.setCome(place, come + moved);
    one.heard = now;
    if (come + moved === wanted) back(place);
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
    const order = [...lent.values()];
    const descriptors = order.map(({ place }) => places.descriptor(place));
    const ready = new Set(sockets.wait(descriptors, order.length === 0 ? IDLE : SILENT).ready);
    now = performance.now();
    for (const [index, one] of order.entries()) {
      if (ready.has(index)) take(one, now);
      if (lent.has(one.place) && (now - one.heard >= SILENT || now - one.since >= LENT)) back(one.place);
    }
  }
}
