/**
 * Owns some room on the disk of the index that is given up when the disk is full, so that deleting is possible there: deleting
 * writes before it frees anything.
 */

import { randomBytes } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';

/** Bytes: the pages that deleting a few thousand instances writes. */
const SIZE = 8 << 20;

/** Milliseconds between two attempts at having it. */
const RETRY = 5000;

export class Reserve {
  readonly #path: string;
  #tried = Number.NEGATIVE_INFINITY;
  #held = false;

  /** `path`: of the index. */
  constructor(path: string) {
    this.#path = `${path}-reserve`;
    this.#held = statSync(this.#path, { throwIfNoEntry: false })?.size === SIZE;
  }

  /** Takes the room again, as far as there is any; harmless where it is held. */
  fill(): void {
    const now = performance.now();
    if (this.#held || now - this.#tried < RETRY) return;
    this.#tried = now;
    try {
      // Not zeros, of which some file systems store nothing.
      writeFileSync(this.#path, randomBytes(SIZE));
      this.#held = true;
    } catch {
      rmSync(this.#path, { force: true });
    }
  }

  /** Gives the room up: whether there was any. */
  release(): boolean {
    const held = this.#held;
    this.#held = false;
    if (held) rmSync(this.#path, { force: true });
    this.#tried = performance.now();
    return held;
  }
}
