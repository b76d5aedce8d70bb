/** Owns one viewport: what it shows, how, and what can be done with it. The page reads its signals. */

import { batch, signal } from '@preact/signals';
import type { Types } from '@cornerstonejs/core';
import { isAborted } from '../api.ts';
import { fetchFrame } from './frame.ts';
import { letters, unit, type Vector } from './geometry.ts';
import type { FrameInfo } from './info.ts';
import { type Level, levelOf, rangeOf, type Voi } from './level.ts';
import { canPreview, type Preview } from './preview.ts';
import { pictureOf } from './pixels.ts';
import { openStack, type Stack } from './stack.ts';
import { isStack, openStage, type PlaneName, type Stage, started, type Viewport } from './stage.ts';

/** What lies at the sides of the picture. */
export interface Edges {
  readonly left: string;
  readonly right: string;
  readonly top: string;
  readonly bottom: string;
}

/** Frames per second where the images ask for none. */
const USUAL_RATE = 15;
/** Milliseconds that the renderer waits for the first image to be on the screen without it. */
const LONGEST_PREVIEW = 1000;
/** A zoom beyond these shows nothing. */
const ZOOM = { least: 0.05, most: 60 } as const;

let lastId = 0;

/** What waits until a viewport has its element and the renderer. */
class Connection {
  made: (stage: Stage) => void = () => undefined;
  readonly stage = new Promise<Stage>((resolve) => {
    this.made = resolve;
  });
}

/** Letters for what lies in these directions of the picture. */
const edgesOf = (across: Vector, down: Vector): Edges => {
  const opposite = ([x, y, z]: Vector): Vector => [-x, -y, -z];
  return {
    left: letters(opposite(across)),
    right: letters(across),
    top: letters(opposite(down)),
    bottom: letters(down),
  };
};

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
  /** The first image, until the renderer shows it. */
  readonly preview = signal<Preview | undefined>(undefined);
  readonly playing = signal(false);
  readonly rate = signal(USUAL_RATE);
  #viewport: Viewport | undefined;
  #stage: Stage | undefined;
  #connected = new Connection();
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
    this.#stopListening = new AbortController();
    const heard = {
      image: (index: number) => this.#arrived(index),
      place: (index: number) => {
        this.index.value = index;
      },
      level: () => this.#readLevel(),
      drawn: () => this.#readCamera(),
    };
    this.#viewport = stage.attach(this.id, element, this.plane, heard, this.#stopListening.signal);
    this.#connected.made(stage);
  }

  /** Takes leave of the element. */
  disconnect(): void {
    this.pause();
    this.#opening.abort();
    this.#stopListening.abort();
    this.#stage?.detach(this.id);
    this.#viewport = undefined;
    this.#connected = new Connection();
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
      const stack = await openStack(series, until);
      until.throwIfAborted();
      const index = Math.min(from, stack.frames.length - 1);
      const file = started.value === undefined ? await this.#showPreview(stack, index, until) : undefined;
      // Not before: the script of the renderer is evaluated in one go, during which nothing is drawn.
      await openStage();
      const stage = await this.#connected.stage;
      until.throwIfAborted();
      const viewport = this.#viewport;
      if (viewport === undefined || !isStack(viewport)) return;
      stage.loading.leave(this.id);
      // What is shown stays until there is something else; where this fails, others of the series can still be gone to.
      const trouble = await stage.prepare(stack, index, file);
      until.throwIfAborted();
      this.#take(stack, index);
      await stage.show(viewport, stack, index);
      until.throwIfAborted();
      this.preview.value = undefined;
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
      if (!until.aborted)
        batch(() => {
          this.busy.value = false;
          this.preview.value = undefined;
        });
    }
  }

  #take(stack: Stack, index: number): void {
    batch(() => {
      this.stack.value = stack;
      this.count.value = stack.frames.length;
      this.index.value = index;
      this.rate.value = this.info?.rate ?? USUAL_RATE;
    });
  }

  /** Shows a frame before the renderer is there; answers its file. Nothing where that cannot be: the renderer will say why. */
  async #showPreview(stack: Stack, index: number, until: AbortSignal): Promise<ArrayBuffer | undefined> {
    const frame = stack.frames[index];
    if (frame === undefined) return undefined;
    try {
      const info = await stack.header(frame);
      const file = await fetchFrame(frame, info.tabled, until);
      const picture = pictureOf(file, info);
      until.throwIfAborted();
      if (!canPreview(picture)) return file;
      await new Promise<void>((resolve) => {
        // A page that nobody looks at draws nothing.
        setTimeout(resolve, LONGEST_PREVIEW);
        // The frame after the one that it is drawn in: that one is on its way to the screen then.
        const drawn = (): void => void requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve)));
        batch(() => {
          this.#take(stack, index);
          this.level.value = picture.window;
          this.edges.value = info.plane && edgesOf(info.plane.row, info.plane.column);
          this.preview.value = { picture, info, drawn };
        });
      });
      return file;
    } catch {
      return undefined;
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
    } else this.#stage?.scroll(viewport, to - viewport.getSliceIndex());
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
    const viewport = this.#viewport;
    if (viewport === undefined) return;
    const inverted = !this.inverted.value;
    viewport.setProperties({ invert: inverted });
    this.inverted.value = inverted;
    viewport.render();
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
    if (this.#viewport !== undefined) this.#stage?.cancel(this.#viewport);
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

  #voi(): Voi {
    return String(this.#properties().VOILUTFunction) === 'LINEAR_EXACT' ? 'LINEAR_EXACT' : 'LINEAR';
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
    const [right, below] = [unit(across), unit(down)];
    if (this.info?.plane === undefined || right === undefined || below === undefined) {
      this.edges.value = undefined;
      return;
    }
    const edges = edgesOf(right, below);
    if (JSON.stringify(edges) !== JSON.stringify(this.edges.value)) this.edges.value = edges;
  }
}
