/** Owns open files that are read again and again: the latest stay open, and none is closed while somebody reads it. */

import { closeSync } from 'node:fs';

/** Files held open. */
const HELD = 64;

interface Handle {
  readonly fd: Promise<number>;
  users: number;
  forgotten: boolean;
}

export class Handles {
  readonly #open: (name: string) => Promise<number>;
  /** The one that was used longest ago first. */
  readonly #handles = new Map<string, Handle>();

  constructor(open: (name: string) => Promise<number>) {
    this.#open = open;
  }

  /** Does something with an open file. Throws what opening it and `work` throw. */
  async with<Result>(name: string, work: (fd: number) => Promise<Result>): Promise<Result> {
    const handle = this.#handles.get(name) ?? { fd: this.#open(name), users: 0, forgotten: false };
    this.#handles.delete(name);
    this.#handles.set(name, handle);
    handle.users += 1;
    const [oldest] = this.#handles.keys();
    if (this.#handles.size > HELD && oldest !== undefined) this.forget(oldest);
    try {
      return await work(await handle.fd);
    } catch (thrown) {
      // One that could not be opened may be there later.
      await handle.fd.catch(() => {
        if (this.#handles.get(name) === handle) this.#handles.delete(name);
      });
      throw thrown;
    } finally {
      handle.users -= 1;
      this.#close(handle);
    }
  }

  /** The file is gone, or not wanted open: it is closed once nobody reads it. */
  forget(name: string): void {
    const handle = this.#handles.get(name);
    if (handle === undefined) return;
    this.#handles.delete(name);
    handle.forgotten = true;
    this.#close(handle);
  }

  close(): void {
    for (const name of this.#handles.keys()) this.forget(name);
  }

  #close({ forgotten, users, fd }: Handle): void {
    if (forgotten && users === 0) void fd.then((open) => closeSync(open)).catch(() => {});
  }
}
