/** Owns one viewport: what it shows, how, and what can be done with it. The page reads its signals. */

import { batch, signal } from '@preact/signals';
import { Enums, type Types, utilities } from '@cornerstonejs/core';
import { cancelActiveManipulations } from '@cornerstonejs/tools';
import { isAborted } from '../api.ts';
import { letters, type Vector } from './geometry.ts';
import type { FrameInfo } from './info.ts';
import { type Level, levelOf, rangeOf } from './level.ts';
import { openStack, type Stack } from './stack.ts';
import { isStack, openStage, type PlaneName, type Stage, type Viewport } from './stage.ts';

const { Events } = Enums;

/** What lies at the sides of the picture. */
export interface Edges {
  readonly left: string;
  readonly right: string;
  readonly top: string;
  readonly bottom: string;
}

/** Frames per second where the images ask for none. */
const USUAL_RATE = 15;
/** A zoom beyond these shows nothing. */
const ZOOM = { least: 0.05, most: 60 } as const;

let lastId = 0;

export class View {
  readonly id: string;
  /** The plane of a volume; undefined for the images of a series. */
  readonly plane: PlaneName | undefined;
  /** Orthanc's id of the series that is shown or being opened. */
  readonly series = signal<string | undefined>(undefined);
  readonly stack = signal<Stack | undefined>(undefined);
  readonly index = signal(0);
  /** Images, or places of the plane. */
  readonly count = signal(0);
  readonly loaded = signal(0);
  readonly level = signal<Level | undefined>(undefined);
  readonly inverted = signal(false);
  /** Pixels of the screen (CSS) for a pixel of the image. */
  readonly zoom = signal(1);
  readonly edges = signal<Edges | undefined>(undefined);
  readonly error = signal<unknown>(undefined);
  readonly busy = signal(false);
  readonly playing = signal(false);
  readonly rate = signal(USUAL_RATE);
  #viewport: Viewport | undefined;
  #stage: Stage | undefined;
  #opening = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;
  #counting = false;
  #stopListening = new AbortController();

  constructor(plane?: PlaneName) {
    lastId += 1;
    this.id = `view-${lastId}`;
    this.plane = plane;
  }

  /** The frame that is shown; undefined for planes and before the first. */
  get info(): FrameInfo | undefined {
    const stack = this.stack.value;
    const frame = stack?.frames[this.plane === undefined ? this.index.value : 0];
    return stack === undefined || frame === undefined ? undefined : stack.info(frame);
  }

  /** Begins to draw into an element. */
  connect(stage: Stage, element: HTMLDivElement): void {
    this.#stage = stage;
    this.#viewport = stage.attach(this.id, element, this.plane);
    this.#stopListening = new AbortController();
    const { signal: until } = this.#stopListening;
    const on = (name: string, listener: (detail: Record<string, unknown>) => void): void =>
      element.addEventListener(name, (event) => listener((event as CustomEvent<Record<string, unknown>>).detail), {
        signal: until,
      });
    on(Events.STACK_NEW_IMAGE, ({ imageIdIndex }) => this.#arrived(Number(imageIdIndex)));
    on(Events.VOLUME_NEW_IMAGE, ({ imageIndex }) => {
      this.index.value = Number(imageIndex);
    });
    on(Events.VOI_MODIFIED, () => this.#readLevel());
    on(Events.CAMERA_MODIFIED, () => this.#readCamera());
    on(Events.IMAGE_RENDERED, () => this.#readCamera());
  }

  /** Takes leave of the element. */
  disconnect(): void {
    this.pause();
    this.#opening.abort();
    this.#stopListening.abort();
    this.#stage?.detach(this.id);
    this.#viewport = undefined;
  }

  /** Shows a series, from one of its images on. */
  async open(series: string, from = 0): Promise<void> {
    this.pause();
    this.#opening.abort();
    this.#opening = new AbortController();
    const { signal: until } = this.#opening;
    this.series.value = series;
    this.error.value = undefined;
    this.busy.value = true;
    try {
      const [stack, stage] = await Promise.all([openStack(series, until), openStage()]);
      until.throwIfAborted();
      const viewport = this.#viewport;
      if (viewport === undefined || !isStack(viewport)) return;
      stage.loading.leave(this.id);
      const index = Math.min(from, stack.frames.length - 1);
      // What is shown stays until there is something else; where this fails, others of the series can still be gone to.
      const trouble = await stage.prepare(stack, index);
      until.throwIfAborted();
      batch(() => {
        this.stack.value = stack;
        this.count.value = stack.frames.length;
        this.index.value = index;
        this.rate.value = this.info?.rate ?? USUAL_RATE;
      });
      await stage.show(viewport, stack, index);
      until.throwIfAborted();
      this.#arrived(index);
      this.error.value = trouble;
      // Where they fail, every frame that needs its own says so.
      stack.headers().catch(() => undefined);
    } catch (thrown) {
      if (!until.aborted && !isAborted(thrown)) {
        this.error.value = thrown;
        this.stack.value = undefined;
      }
    } finally {
      if (!until.aborted) this.busy.value = false;
    }
  }

  /** Says that this viewport now shows a plane of a volume of which `loaded` slices are there. */
  adopt(stack: Stack, loaded: number): void {
    const viewport = this.#viewport;
    if (viewport === undefined || isStack(viewport)) return;
    this.series.value = stack.series;
    this.stack.value = stack;
    this.loaded.value = loaded;
    this.count.value = viewport.getNumberOfSlices();
    this.index.value = viewport.getSliceIndex();
    this.#readLevel();
    this.#readCamera();
  }

  /** Goes to an image, counted from 0. */
  go(index: number): void {
    const viewport = this.#viewport;
    const last = this.count.value - 1;
    if (viewport === undefined || last < 0) return;
    const to = Math.max(0, Math.min(last, Math.round(index)));
    if (isStack(viewport)) {
      // Each key press counts from where the last one wanted to go, although that image may not be there yet.
      if (to !== viewport.getTargetImageIdIndex()) viewport.scroll(to - viewport.getTargetImageIdIndex());
    } else utilities.scroll(viewport as unknown as Types.IViewport, { delta: to - viewport.getSliceIndex() });
  }

  /** Goes so many images on, or back. */
  step(by: number): void {
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    this.go((isStack(viewport) ? viewport.getTargetImageIdIndex() : viewport.getSliceIndex()) + by);
  }

  /** Shows values around a centre. */
  setLevel(level: Level): void {
    const { lower, upper } = rangeOf(level, this.#voi());
    if (!(upper > lower)) return;
    this.#viewport?.setProperties({ voiRange: { lower, upper } });
    this.#viewport?.render();
  }

  invert(): void {
    const inverted = !this.inverted.value;
    this.#viewport?.setProperties({ invert: inverted });
    this.inverted.value = inverted;
    this.#viewport?.render();
  }

  /** Turns the picture clockwise. */
  rotate(degrees: number): void {
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    const { rotation = 0 } = viewport.getViewPresentation();
    viewport.setViewPresentation({ rotation: (rotation + degrees + 360) % 360 });
    viewport.render();
  }

  flip(axis: 'horizontal' | 'vertical'): void {
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    const { flipHorizontal = false, flipVertical = false } = viewport.getCamera();
    viewport.setCamera(axis === 'horizontal' ? { flipHorizontal: !flipHorizontal } : { flipVertical: !flipVertical });
    viewport.render();
  }

  zoomBy(factor: number): void {
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    viewport.setZoom(Math.min(ZOOM.most, Math.max(ZOOM.least, viewport.getZoom() * factor)));
    viewport.render();
  }

  /** Moves the picture, in pixels of the screen. */
  panBy(x: number, y: number): void {
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    const [left, top] = viewport.getPan();
    viewport.setPan([left + x, top + y]);
    viewport.render();
  }

  /** Shows the picture as at first: whole, upright, with its own window. */
  reset(): void {
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    viewport.setViewPresentation({ rotation: 0 });
    viewport.setCamera({ flipHorizontal: false, flipVertical: false });
    viewport.resetCamera();
    viewport.resetProperties();
    viewport.render();
    this.#readLevel();
  }

  /** Runs through the images; pauses where it is running. */
  togglePlay(): void {
    if (this.playing.value) this.pause();
    else this.play();
  }

  play(): void {
    if (this.count.value < 2) return;
    this.playing.value = true;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#tick(), 1000 / this.rate.value);
  }

  pause(): void {
    this.playing.value = false;
    clearInterval(this.#timer);
  }

  setRate(rate: number): void {
    this.rate.value = rate;
    if (this.playing.value) this.play();
  }

  #tick(): void {
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    if (isStack(viewport)) {
      // What is not there yet is waited for.
      if (viewport.getCurrentImageIdIndex() !== viewport.getTargetImageIdIndex()) return;
      viewport.scroll(1, false, true);
    } else this.go((viewport.getSliceIndex() + 1) % this.count.value);
  }

  #arrived(index: number): void {
    const stack = this.stack.value;
    if (stack === undefined) return;
    this.index.value = index;
    this.error.value = undefined;
    this.#stage?.loading.look(this.id, stack, index);
    this.#readLevel();
    this.recount();
  }

  /** Counts what is in memory, at most once a frame of the screen. */
  recount(): void {
    if (this.#counting || this.plane !== undefined) return;
    this.#counting = true;
    requestAnimationFrame(() => {
      this.#counting = false;
      const stack = this.stack.value;
      if (stack !== undefined && this.#stage !== undefined) this.loaded.value = this.#stage.loading.loaded(stack);
    });
  }

  /** Gives up what is just being drawn or moved. */
  cancel(): void {
    if (this.#viewport !== undefined) cancelActiveManipulations(this.#viewport.element);
  }

  /** Draws again what lies over the picture. */
  redraw(): void {
    this.#viewport?.render();
  }

  /** Says what went wrong with the image that should be shown. */
  failed(imageId: string, thrown: unknown): void {
    const viewport = this.#viewport;
    if (viewport === undefined || !isStack(viewport) || viewport.getCurrentImageId() !== imageId) return;
    this.error.value = thrown;
    this.pause();
  }

  #properties(): Types.StackViewportProperties {
    const properties: Types.StackViewportProperties | null | undefined = this.#viewport?.getProperties();
    return properties ?? {};
  }

  #voi(): Enums.VOILUTFunctionType {
    return this.#properties().VOILUTFunction ?? Enums.VOILUTFunctionType.LINEAR;
  }

  #readLevel(): void {
    const { voiRange, invert } = this.#properties();
    this.inverted.value = invert ?? false;
    // Before the first picture there is none, whatever the renderer's types say.
    if (!voiRange) return;
    const level = levelOf(voiRange, this.#voi());
    const before = this.level.value;
    if (before?.center !== level.center || before.width !== level.width) this.level.value = level;
  }

  #readCamera(): void {
    const viewport = this.#viewport;
    const data = viewport?.getImageData();
    if (viewport === undefined || data === undefined) return;
    const { clientWidth: width, clientHeight: height } = viewport.element;
    const world = (x: number, y: number): Types.Point3 => viewport.canvasToWorld([x, y]);
    const between = (a: Types.Point3, b: Types.Point3): Vector => [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
    const across = between(world(0, height / 2), world(width, height / 2));
    const down = between(world(width / 2, 0), world(width / 2, height));
    const length = Math.hypot(...across);
    if (length > 0) this.zoom.value = (width / length) * data.spacing[0];
    const unitOf = (vector: Vector, sign: number): Vector => {
      const size = sign * Math.hypot(...vector);
      return [vector[0] / size, vector[1] / size, vector[2] / size];
    };
    if (this.info?.plane === undefined) {
      this.edges.value = undefined;
      return;
    }
    const edges: Edges = {
      left: letters(unitOf(across, -1)),
      right: letters(unitOf(across, 1)),
      top: letters(unitOf(down, -1)),
      bottom: letters(unitOf(down, 1)),
    };
    if (JSON.stringify(edges) !== JSON.stringify(this.edges.value)) this.edges.value = edges;
  }
}
