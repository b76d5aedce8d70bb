/**
 * Owns which pictures are fetched when: the one that somebody looks at first, then those ahead in the direction of scrolling, a few at
 * a time and no more than the memory that the viewer may use; those of a series that nobody looks at any more are called off.
 */

import { cache, type Types } from '@cornerstonejs/core';
import { fetchFrame } from './frame.ts';
import { imageOf } from './image.ts';
import { pictureOf } from './pixels.ts';
import type { Frame, Stack } from './stack.ts';

/** Frames fetched ahead at a time: the browser has six connections to a server, of which one follows the changes. */
const AHEAD = 4;
/** Share of the memory that is filled ahead; the rest is for what is looked at elsewhere. */
const FILLED = 0.9;
/** What lies behind the direction of scrolling waits as if it were so many times further away. */
const BEHIND = 3;
const MB = 2 ** 20;

/** Bytes of pictures that are kept: an eighth of what the device has, as far as the browser tells. */
export function memoryLimit(): number {
  const { deviceMemory = 8 } = navigator as Navigator & { readonly deviceMemory?: number };
  return Math.min(2048, Math.max(256, deviceMemory * 128)) * MB;
}

/** What one viewport looks at. */
interface Looking {
  readonly stack: Stack;
  readonly index: number;
  readonly direction: 1 | -1;
}

interface Fetching {
  readonly picture: Promise<Types.IImage>;
  readonly stack: Stack;
  /** Calls it off; undefined once somebody looks at it. */
  stop: AbortController | undefined;
}

/** Fetches pictures into the renderer's cache. */
export class Loading {
  readonly #stacks = new Map<string, Stack>();
  readonly #looking = new Map<string, Looking>();
  readonly #fetching = new Map<string, Fetching>();
  readonly #failed = new Set<string>();
  readonly #thrown = new WeakSet<Error>();
  /** Colours with a fourth channel: see `pictureOf`. */
  readonly #opacity: boolean;
  #ahead = 0;
  #paused = false;

  constructor(opacity: boolean) {
    this.#opacity = opacity;
  }

  /** Makes the pictures of a series known by their names. */
  add(stack: Stack): void {
    for (const { imageId } of stack.frames) this.#stacks.set(imageId, stack);
  }

  /** The series and frame that a name stands for. */
  find(imageId: string): { readonly stack: Stack; readonly frame: Frame } | undefined {
    const stack = this.#stacks.get(imageId);
    const frame = stack?.frames[stack.indexOf(imageId)];
    return stack === undefined || frame === undefined ? undefined : { stack, frame };
  }

  /** Fetches a picture that is wanted now, unless its `file` is here already. Throws ApiError, RangeError. */
  async load(imageId: string, file?: ArrayBuffer): Promise<Types.IImage> {
    const known = cache.getImage(imageId);
    if (known !== undefined) return known;
    const found = this.find(imageId);
    if (found === undefined) throw new RangeError(`unknown picture ${imageId}`);
    this.#failed.delete(imageId);
    const fetching = this.#fetching.get(imageId) ?? this.#fetch(found.stack, found.frame, file);
    fetching.stop = undefined;
    return fetching.picture;
  }

  /** Says that a viewport shows this frame: what lies around it is fetched next. */
  look(viewport: string, stack: Stack, index: number): void {
    const before = this.#looking.get(viewport);
    const isSame = before?.stack === stack;
    const direction = isSame && index !== before.index ? (index < before.index ? -1 : 1) : (before?.direction ?? 1);
    this.#looking.set(viewport, { stack, index, direction: isSame ? direction : 1 });
    if (!isSame) this.#callOff();
    this.#pump();
  }

  /** Says that a viewport shows nothing any more. */
  leave(viewport: string): void {
    this.#looking.delete(viewport);
    this.#callOff();
  }

  /** Stops fetching ahead while somebody else fetches all of a series, and goes on afterwards. */
  pause(paused: boolean): void {
    this.#paused = paused;
    this.#pump();
  }

  /** How many frames of a series are in memory. */
  loaded(stack: Stack): number {
    let count = 0;
    for (const { imageId } of stack.frames) if (cache.isLoaded(imageId)) count += 1;
    return count;
  }

  #fetch(stack: Stack, frame: Frame, file?: ArrayBuffer): Fetching {
    const stop = new AbortController();
    const picture = this.#picture(stack, frame, stop.signal, file).finally(() => this.#fetching.delete(frame.imageId));
    const fetching: Fetching = { picture, stack, stop };
    this.#fetching.set(frame.imageId, fetching);
    return fetching;
  }

  async #picture(stack: Stack, frame: Frame, signal: AbortSignal, file?: ArrayBuffer): Promise<Types.IImage> {
    try {
      const info = await stack.header(frame);
      signal.throwIfAborted();
      const fetched = file ?? (await fetchFrame(frame, info.tabled, signal));
      return imageOf(frame.imageId, pictureOf(fetched, info, this.#opacity), info);
    } catch (thrown) {
      if (thrown instanceof Error) this.#thrown.add(thrown);
      throw thrown;
    }
  }

  /** Whether this was thrown by a picture, which its viewport then shows. */
  hasThrown(reason: unknown): boolean {
    return reason instanceof Error && this.#thrown.has(reason);
  }

  /** Calls off what is fetched ahead for series that no viewport shows. */
  #callOff(): void {
    const shown = new Set([...this.#looking.values()].map(({ stack }) => stack));
    for (const { stack, stop } of this.#fetching.values()) if (!shown.has(stack)) stop?.abort();
  }

  #pump(): void {
    while (!this.#paused && this.#ahead < AHEAD) {
      const next = this.#next();
      if (next === undefined) return;
      this.#ahead += 1;
      void this.#fetchAhead(next.stack, next.frame).finally(() => {
        this.#ahead -= 1;
        this.#pump();
      });
    }
  }

  async #fetchAhead(stack: Stack, frame: Frame): Promise<void> {
    const fetching = this.#fetch(stack, frame);
    try {
      const image = await fetching.picture;
      if (!cache.isLoaded(frame.imageId) && cache.getImageLoadObject(frame.imageId) === undefined)
        cache.putImageSync(frame.imageId, image);
    } catch {
      // Whoever looks at it will ask again, and be told.
      if (fetching.stop?.signal.aborted !== true) this.#failed.add(frame.imageId);
    }
  }

  /** The frame that somebody will most likely want next, of those that have room. */
  #next(): { readonly stack: Stack; readonly frame: Frame } | undefined {
    let best: { stack: Stack; frame: Frame; distance: number } | undefined;
    const room = (cache.getMaxCacheSize() * FILLED) / Math.max(1, this.#looking.size);
    for (const { stack, index, direction } of this.#looking.values()) {
      const shown = stack.frames[index];
      const size = shown === undefined ? undefined : cache.getImage(shown.imageId)?.sizeInBytes;
      // Nothing is fetched ahead of what somebody waits for.
      if (size === undefined) continue;
      const reach = Math.floor(room / size);
      const ahead = Math.floor((reach * BEHIND) / (BEHIND + 1));
      const first = direction > 0 ? index - (reach - ahead) : index - ahead;
      const start = Math.max(0, Math.min(first, stack.frames.length - reach));
      const end = Math.min(stack.frames.length, start + reach);
      for (let place = start; place < end; place += 1) {
        const frame = stack.frames[place];
        const away = (place - index) * direction;
        const distance = away < 0 ? -away * BEHIND : away;
        if (frame === undefined || (best !== undefined && distance >= best.distance)) continue;
        const { imageId } = frame;
        if (this.#fetching.has(imageId) || this.#failed.has(imageId) || cache.isLoaded(imageId)) continue;
        if (cache.getImageLoadObject(imageId) !== undefined) continue;
        best = { stack, frame, distance };
      }
    }
    return best;
  }
}
