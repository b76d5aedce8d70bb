/**
 * Owns the rows of a long list that is fetched as it is scrolled: pages of it, as many as are kept, and how many rows there are. When
 * something changes on the server the pages in sight are fetched again in place.
 */

import { signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { isAborted } from '../api.ts';
import { countFound, find, type Order, type Resource, type Search } from '../api/resources.ts';

/** Rows of one page, and pages that are kept. */
const PAGE = 100;
const KEPT = 30;
/** Milliseconds that the list rests before a page is asked for: scrolling past asks for nothing. */
const REST = 80;

/** Rows that can be scrolled to: what browsers can make tall enough. Others are found by narrowing the list. */
export const REACHABLE = 100_000;

/** The tags that rows need besides the main ones. */
const TAGS = ['ModalitiesInStudy', 'NumberOfStudyRelatedSeries', 'NumberOfStudyRelatedInstances', 'InstitutionName'];

/** The rows of one search in one order. */
export class Rows {
  /** How many there are; undefined until it is known. */
  readonly total = signal<number | undefined>(undefined);
  readonly error = signal<unknown>(undefined);
  /** Grows when rows came in. */
  readonly version = signal(0);
  readonly #search: Search;
  readonly #order: readonly Order[];
  readonly #pages = new Map<number, readonly Resource[]>();
  readonly #asked = new Map<number, AbortController>();
  readonly #stale = new Set<number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #counting: AbortController | undefined;

  constructor(search: Search, order: readonly Order[]) {
    this.#search = search;
    this.#order = order;
  }

  /** A row, where it has come in. */
  at(index: number): Resource | undefined {
    return this.#pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** Says which rows are in sight: what is missing of them is fetched, the rest called off. */
  look(first: number, last: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#fetch(Math.floor(first / PAGE), Math.floor(last / PAGE)),
      this.#pages.size === 0 ? 0 : REST,
    );
  }

  /** Fetches what is in sight again, and counts again; what is there stays until the answer comes. */
  refresh(first: number, last: number): void {
    for (const page of this.#pages.keys()) this.#stale.add(page);
    void this.count();
    this.look(first, last);
  }

  /** Counts, once at a time. */
  async count(): Promise<void> {
    this.#counting?.abort();
    const stop = new AbortController();
    this.#counting = stop;
    try {
      this.total.value = await countFound(this.#search, stop.signal);
    } catch (thrown) {
      if (!isAborted(thrown)) this.error.value = thrown;
    }
  }

  /** Calls everything off. */
  close(): void {
    clearTimeout(this.#timer);
    this.#counting?.abort();
    for (const stop of this.#asked.values()) stop.abort();
  }

  #fetch(first: number, last: number): void {
    for (const [page, stop] of this.#asked) {
      if (page >= first && page <= last) continue;
      stop.abort();
      this.#asked.delete(page);
    }
    for (let page = first; page <= last; page++) {
      if (this.#asked.has(page) || (this.#pages.has(page) && !this.#stale.has(page))) continue;
      const stop = new AbortController();
      this.#asked.set(page, stop);
      void this.#take(page, stop);
    }
  }

  async #take(page: number, stop: AbortController): Promise<void> {
    try {
      const rows = await find(
        this.#search,
        { since: page * PAGE, limit: PAGE, order: this.#order, tags: TAGS },
        stop.signal,
      );
      this.#pages.delete(page);
      this.#pages.set(page, rows);
      this.#stale.delete(page);
      for (const oldest of this.#pages.keys()) {
        if (this.#pages.size <= KEPT) break;
        this.#pages.delete(oldest);
      }
      this.error.value = undefined;
      this.version.value += 1;
    } catch (thrown) {
      if (!isAborted(thrown)) this.error.value = thrown;
    } finally {
      if (this.#asked.get(page) === stop) this.#asked.delete(page);
    }
  }
}

/** The rows of a search, new ones when it is another. */
export function useRows(search: Search, order: readonly Order[]): Rows {
  const key = JSON.stringify([search, order]);
  const rows = useMemo(() => new Rows(search, order), [key]);
  useEffect(() => {
    void rows.count();
    rows.look(0, PAGE - 1);
    return () => rows.close();
  }, [rows]);
  return rows;
}
