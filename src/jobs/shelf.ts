/**
 * Owns what is remembered for a while on every node, through restarts: records of a head and a list, the latest of them. They are entries
 * of two queues that nothing is ever taken from: one a head, one a page of a list, so that no row (and no message between nodes) is large.
 */

import { randomUUID } from 'node:crypto';
import { NEVER } from './job.ts';
import type { Entry, NewEntry, Queue, Settlement } from './queue.ts';

/** Characters of JSON that one page has, about. */
const PAGE = 256 << 10;

/** Pages added, read or removed together. */
const TOGETHER = 8;

/** Items of lists that were read and are kept in memory. */
const CACHED = 50_000;

export interface ShelfOptions {
  /** Of the queue. */
  readonly name: string;
  /** Records that are remembered at most; the oldest goes first, and the last one put stays. */
  readonly size: number;
  /** Items of all lists together at most. */
  readonly items: number;
  /** Milliseconds after which a record is forgotten. */
  readonly age: number;
}

/** What the entry of a head says. */
interface Stored<Head> {
  readonly head: Head;
  /** Of the pages that belong to it. */
  readonly generation: string;
  readonly pages: number;
  readonly items: number;
}

/** What the entry of a page says. */
interface Page<Item> {
  readonly generation: string;
  readonly items: readonly Item[];
}

/** Records by id. All methods throw as the queue does. */
export class Shelf<Head, Item> {
  readonly #queue: Queue;
  readonly #options: ShelfOptions;
  readonly #pages: string;
  /** Lists by generation: they never change. */
  readonly #cache = new Map<string, readonly Item[]>();
  #cached = 0;

  constructor(queue: Queue, options: ShelfOptions) {
    this.#queue = queue;
    this.#options = options;
    this.#pages = `${options.name} pages`;
  }

  /** Remembers a record, in place of one with that id. */
  async put(id: string, head: Head, items: readonly Item[]): Promise<void> {
    const generation = randomUUID();
    const pages = paged(items).map((each, index) =>
      this.#entry(this.#pages, `${generation} ${index}`, id, { generation, items: each } satisfies Page<Item>),
    );
    for (let at = 0; at < pages.length; at += TOGETHER) await this.#queue.add(pages.slice(at, at + TOGETHER));
    const value: Stored<Head> = { head, generation, pages: pages.length, items: items.length };
    const before = await this.#head(id);
    if (before === undefined) await this.#queue.add([this.#entry(this.#options.name, id, '', value)]);
    else {
      await this.#queue.settle([{ queue: this.#options.name, id, state: 'waiting', due: NEVER, value }]);
      await this.#removePages(id, (page) => page.generation !== generation);
    }
    this.#keep(generation, items);
    await this.#trim(id);
  }

  async get(id: string): Promise<{ readonly head: Head; readonly items: readonly Item[] } | undefined> {
    const entry = await this.#head(id);
    if (entry === undefined || this.#isOld(entry)) return undefined;
    const { head, generation, pages, items: count } = this.#stored(entry);
    const known = this.#cache.get(generation);
    if (known !== undefined) return { head, items: known };
    const items: Item[] = [];
    let found = 0;
    for await (const page of this.#walk(id)) {
      const value = page.value as Page<Item>;
      if (value.generation !== generation) continue;
      found += 1;
      items.push(...value.items);
    }
    // It is being forgotten.
    if (found < pages || items.length < count) return undefined;
    this.#keep(generation, items);
    return { head, items };
  }

  /** Ids, the oldest first. */
  async list(): Promise<readonly string[]> {
    return (await this.#heads()).filter((entry) => !this.#isOld(entry)).map(({ id }) => id);
  }

  /** Forgets a record; nothing for one that is not there. */
  async remove(id: string): Promise<void> {
    await this.#queue.settle([{ queue: this.#options.name, id, state: 'removed' }]);
    await this.#removePages(id, () => true);
  }

  #entry(queue: string, id: string, group: string, value: unknown): NewEntry {
    return { queue, id, group, priority: 0, due: NEVER, value };
  }

  #stored(entry: Entry): Stored<Head> {
    return entry.value as Stored<Head>;
  }

  #isOld({ added }: Entry): boolean {
    return added + this.#options.age < Date.now();
  }

  async #head(id: string): Promise<Entry | undefined> {
    return (await this.#queue.list({ queue: this.#options.name, id, limit: 1 }))[0];
  }

  /** All of them: somewhat more than the size at most. */
  #heads(): Promise<readonly Entry[]> {
    return this.#queue.list({ queue: this.#options.name, limit: 10_000 });
  }

  /** The pages of a record (undefined: of all), the oldest first. */
  async *#walk(group?: string): AsyncGenerator<Entry, void> {
    for (let after = 0; ; ) {
      const request = { queue: this.#pages, after, limit: TOGETHER, ...(group !== undefined && { group }) };
      const page = await this.#queue.list(request);
      yield* page;
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.seq;
    }
  }

  async #removePages(group: string, which: (page: Page<Item>) => boolean): Promise<void> {
    const gone: Settlement[] = [];
    for await (const { id, value } of this.#walk(group)) {
      if (which(value as Page<Item>)) gone.push({ queue: this.#pages, id, state: 'removed' });
    }
    await this.#queue.settle(gone);
  }

  /** Forgets what is too much or too old, but not `last`. */
  async #trim(last: string): Promise<void> {
    const heads = await this.#heads();
    let { length } = heads;
    let items = heads.reduce((sum, entry) => sum + this.#stored(entry).items, 0);
    for (const entry of heads) {
      const tooMuch = length > Math.max(this.#options.size, 1) || items > this.#options.items;
      if (entry.id === last || !(tooMuch || this.#isOld(entry))) continue;
      length -= 1;
      items -= this.#stored(entry).items;
      await this.remove(entry.id);
    }
    // Left by a server that died while it added them.
    for await (const page of this.#walk()) {
      if (!this.#isOld(page)) return;
      await this.#queue.settle([{ queue: this.#pages, id: page.id, state: 'removed' }]);
    }
  }

  #keep(generation: string, items: readonly Item[]): void {
    if (items.length > CACHED) return;
    this.#cache.set(generation, items);
    this.#cached += items.length;
    for (const [oldest, each] of this.#cache) {
      if (oldest === generation || (this.#cached <= CACHED && this.#cache.size <= this.#options.size)) return;
      this.#cache.delete(oldest);
      this.#cached -= each.length;
    }
  }
}

/** Cuts a list into pages. */
function paged<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  const pages: Item[][] = [];
  let room = 0;
  for (const item of items) {
    const size = JSON.stringify(item).length;
    if (room < size) {
      pages.push([]);
      room = PAGE;
    }
    room -= size;
    pages.at(-1)?.push(item);
  }
  return pages;
}
