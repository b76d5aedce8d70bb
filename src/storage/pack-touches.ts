/**
 * Owns what is known of who changed packs: as long as it was this server alone, what is in them is what was stored. Nobody tells; the time of
 * the last change does, where it is later than that of the last change of this server's own.
 */

import { fstatSync } from 'node:fs';
import { readAll } from './descriptors.ts';
import { readHead } from './pack-format.ts';
import { PAGE } from './pages.ts';

/** Milliseconds by which the clock of the file system may differ from this one's. */
const CLOCKS = 50;

/** Packs of which is remembered when they were changed here. */
const REMEMBERED = 4096;

export class PackTouches {
  /** When packs were changed by this server, or settled by an earlier run (0: nobody knows); the one that was changed longest ago first. */
  readonly #own = new Map<string, number>();
  /** How many changes of packs are under way here. */
  readonly #changing = new Map<string, number>();
  /** Packs that somebody else has changed, and when. */
  readonly #others = new Map<string, number>();

  /** When somebody else has last changed a pack, as far as was looked. */
  byOthers(name: string): number | undefined {
    return this.#others.get(name);
  }

  /** This server has changed it just now. */
  note(name: string): void {
    this.#remember(name, Date.now());
  }

  #remember(name: string, own: number): void {
    this.#own.delete(name);
    this.#own.set(name, own);
    const [oldest] = this.#own.keys();
    if (this.#own.size > REMEMBERED && oldest !== undefined) this.#own.delete(oldest);
  }

  /** Looks whether somebody else has changed a pack; while this server does so itself, that cannot be told. */
  async look(name: string, fd: number): Promise<void> {
    let own = this.#own.get(name);
    if (own === undefined) {
      const page = Buffer.alloc(PAGE);
      own = (await readAll(fd, page, 0)) ? (readHead(page)?.settled ?? 0) : 0;
      this.#own.set(name, own);
    }
    this.#compare(name, fd, own);
  }

  /** Begins with a change of a pack that was made here: from now on the time of the last one says nothing of what others have done before. */
  begin(name: string, fd: number): void {
    this.#compare(name, fd, this.#own.get(name) ?? 0);
    this.#changing.set(name, (this.#changing.get(name) ?? 0) + 1);
  }

  /** The change is over. */
  end(name: string): void {
    const left = (this.#changing.get(name) ?? 1) - 1;
    if (left === 0) this.#changing.delete(name);
    else this.#changing.set(name, left);
    this.note(name);
  }

  /** The pack is gone. */
  forget(name: string): void {
    this.#own.delete(name);
    this.#others.delete(name);
  }

  #compare(name: string, fd: number, own: number): void {
    if (this.#changing.has(name)) return;
    const { ctimeMs: changed } = fstatSync(fd);
    if (changed <= own + CLOCKS) return;
    this.#others.set(name, changed);
    // Of the same clock as the next change: one a moment later is another.
    this.#remember(name, changed - CLOCKS);
  }
}
