/**
 * Owns the renderer: starts cornerstone3D once, with our loader of pictures, and gives viewports to the elements of the page. Where the
 * browser has no WebGL it draws images by itself and cannot cut volumes.
 */

import {
  cache,
  Enums,
  eventTarget,
  getConfiguration,
  getShouldUseCPURendering,
  imageLoader,
  imageLoadPoolManager,
  init as initCore,
  metaData,
  RenderingEngine,
  setVolumesForViewports,
  Settings,
  type Types,
  utilities,
  volumeLoader,
} from '@cornerstonejs/core';
import { annotation, cancelActiveManipulations, init as initTools, ToolGroupManager } from '@cornerstonejs/tools';
import { Loading, memoryLimit } from './loading.ts';
import { metadataOf } from './metadata.ts';
import { activate, defineTools, type Group, type Tool } from './tools.ts';
import type { Stack } from './stack.ts';
import { isStack, type NoPlanes, type PlaneName, type Viewport } from './stage.ts';

const { Events } = Enums;

const VOLUME = 'cornerstoneStreamingImageVolume:';

/** What the renderer calls with every slice of a volume that has come; its types leave that out. */
interface StreamingVolume {
  load(heard: (event: { readonly framesProcessed?: number }) => void): void;
}

/** What one viewport tells of itself. */
export interface Heard {
  /** An image of the stack came on the screen. */
  image(index: number): void;
  /** Another place of the plane is shown. */
  place(index: number): void;
  level(): void;
  /** The picture was drawn, or lies another way. */
  drawn(): void;
}

/** Whether a viewport shows all of its image, in its middle. */
function isWhole(viewport: Types.IStackViewport): boolean {
  const [right, down] = viewport.getPan();
  return Math.abs(viewport.getZoom() - 1) < 0.001 && Math.hypot(right, down) < 1;
}

/** The one renderer of the page. */
export class Stage {
  readonly loading: Loading;
  readonly #engine: RenderingEngine;
  /** The tool of the first pointer, which viewports that come later get as well. */
  #tool: Readonly<Record<Group, Tool>> = { stacks: 'window', planes: 'crosshairs' };

  constructor(loading: Loading) {
    this.loading = loading;
    this.#engine = new RenderingEngine('isen');
  }

  /** Says from now on when an image comes into memory or leaves it, and which ones fail. */
  follow(counted: () => void, failed: (imageId: string, thrown: unknown) => void, until: AbortSignal): void {
    for (const name of [Events.IMAGE_CACHE_IMAGE_ADDED, Events.IMAGE_CACHE_IMAGE_REMOVED])
      eventTarget.addEventListener(name, counted);
    const fail = (event: Event): void => {
      const { imageId, error } = (event as CustomEvent<{ readonly imageId?: string; readonly error: unknown }>).detail;
      if (imageId !== undefined) failed(imageId, error);
    };
    eventTarget.addEventListener(Events.IMAGE_LOAD_FAILED, fail);
    until.addEventListener('abort', () => {
      for (const name of [Events.IMAGE_CACHE_IMAGE_ADDED, Events.IMAGE_CACHE_IMAGE_REMOVED])
        eventTarget.removeEventListener(name, counted);
      eventTarget.removeEventListener(Events.IMAGE_LOAD_FAILED, fail);
    });
  }

  /** Gives an element a viewport, of a stack or of a plane of a volume, and says what it does as long as it is there. */
  attach(
    id: string,
    element: HTMLDivElement,
    plane: PlaneName | undefined,
    heard: Heard,
    until: AbortSignal,
  ): Viewport {
    this.#engine.enableElement({
      viewportId: id,
      element,
      type: plane === undefined ? Enums.ViewportType.STACK : Enums.ViewportType.ORTHOGRAPHIC,
      defaultOptions: {
        background: [0, 0, 0],
        ...(plane && { orientation: Enums.OrientationAxis[plane.toUpperCase() as Uppercase<PlaneName>] }),
      },
    });
    // Cornerstone takes the element out of the order of the keyboard.
    element.tabIndex = 0;
    const group = plane === undefined ? 'stacks' : 'planes';
    if (group === 'stacks') ToolGroupManager.getToolGroup(group)?.addViewport(id, this.#engine.id);
    const on = (name: string, listener: (detail: Readonly<Record<string, unknown>>) => void): void =>
      element.addEventListener(name, (event) => listener((event as CustomEvent<Record<string, unknown>>).detail), {
        signal: until,
      });
    on(Events.STACK_NEW_IMAGE, ({ imageIdIndex }) => heard.image(Number(imageIdIndex)));
    on(Events.VOLUME_NEW_IMAGE, ({ imageIndex }) => heard.place(Number(imageIndex)));
    on(Events.VOI_MODIFIED, heard.level);
    on(Events.CAMERA_MODIFIED, heard.drawn);
    on(Events.IMAGE_RENDERED, heard.drawn);
    return this.#engine.getViewport(id) as Viewport;
  }

  /** Takes the viewport from its element. */
  detach(id: string): void {
    this.loading.leave(id);
    for (const group of ['stacks', 'planes'] as const)
      ToolGroupManager.getToolGroup(group)?.removeViewports(this.#engine.id, id);
    this.#engine.disableElement(id);
  }

  /** Fits the pictures to elements whose size has changed; those that somebody zoomed or moved stay as they are. */
  resize(): void {
    const whole = (this.#engine.getViewports() as Viewport[]).filter(isStack).filter(isWhole);
    this.#engine.resize(true, true);
    for (const viewport of whole) {
      const { rotation = 0, flipHorizontal = false, flipVertical = false } = viewport.getViewPresentation();
      viewport.resetCamera();
      viewport.setViewPresentation({ rotation, flipHorizontal, flipVertical });
      viewport.render();
    }
  }

  /** Gives the first pointer a tool. */
  use(tool: Tool, group: Group): void {
    this.#tool = { ...this.#tool, [group]: tool };
    activate(group, tool);
  }

  /** Goes so many places on, or back, in a plane. */
  scroll(viewport: Viewport, delta: number): void {
    utilities.scroll(viewport as unknown as Types.IViewport, { delta });
  }

  /** Gives up what is just being drawn or moved. */
  cancel(viewport: Viewport): void {
    cancelActiveManipulations(viewport.element);
  }

  /** Removes all measurements. */
  clear(): void {
    for (const each of annotation.state.getAllAnnotations())
      annotation.state.removeAnnotation(each.annotationUID ?? '');
  }

  /** Removes the measurements that are selected; the last one where none is. */
  clearSelected(): void {
    const selected = annotation.selection.getAnnotationsSelected();
    const last = annotation.state.getAllAnnotations().at(-1)?.annotationUID;
    for (const uid of selected.length > 0 ? selected : last === undefined ? [] : [last])
      annotation.state.removeAnnotation(uid);
  }

  /** Fetches the frame of a series that is shown first, unless it is here already as `file`; answers what went wrong. */
  async prepare(stack: Stack, index: number, file?: ArrayBuffer): Promise<unknown> {
    this.loading.add(stack);
    const frame = stack.frames[index];
    if (frame === undefined) return undefined;
    try {
      const image = await this.loading.load(frame.imageId, file);
      if (cache.getImageLoadObject(frame.imageId) === undefined) cache.putImageSync(frame.imageId, image);
      return undefined;
    } catch (thrown) {
      return thrown;
    }
  }

  /** Shows a series in a viewport, at one of its frames, which is prepared. */
  async show(viewport: Types.IStackViewport, stack: Stack, index: number): Promise<void> {
    await viewport.setStack(
      stack.frames.map(({ imageId }) => imageId),
      index,
    );
    viewport.render();
  }

  /** Why this series cannot be cut in other planes; undefined where it can. */
  async obstacle(stack: Stack): Promise<NoPlanes | undefined> {
    if (getShouldUseCPURendering()) return 'webgl';
    this.loading.add(stack);
    const distance = await stack.volume();
    if (typeof distance === 'string') return distance;
    const [first] = stack.frames;
    if (first === undefined) return 'few';
    const image = await this.loading.load(first.imageId);
    return image.sizeInBytes * stack.frames.length > cache.getMaxCacheSize() ? 'memory' : undefined;
  }

  /** Shows the planes of a series, which loads meanwhile; `loaded` hears how many of its slices are there. */
  async cut(ids: readonly string[], stack: Stack, loaded: (count: number) => void): Promise<void> {
    const volumeId = VOLUME + stack.series;
    const volume = await volumeLoader.createAndCacheVolume(volumeId, {
      imageIds: stack.frames.map(({ imageId }) => imageId),
    });
    this.loading.pause(true);
    (volume as unknown as StreamingVolume).load(({ framesProcessed = 0 }) => {
      loaded(framesProcessed);
      if (framesProcessed === stack.frames.length) this.loading.pause(false);
    });
    await setVolumesForViewports(this.#engine, [{ volumeId }], [...ids]);
    const tools = ToolGroupManager.getToolGroup('planes');
    for (const id of ids) tools?.addViewport(id, this.#engine.id);
    activate('planes', this.#tool.planes);
    this.#engine.renderViewports([...ids]);
  }

  /** Forgets the volume of a series; its slices stay as long as there is room. */
  close(stack: Stack): void {
    this.loading.pause(false);
    const volumeId = VOLUME + stack.series;
    if (cache.getVolumeLoadObject(volumeId) !== undefined) cache.removeVolumeLoadObject(volumeId);
  }
}

/** Series and frames by the names of pictures that measurements lie on. */
function unitOf(loading: Loading, target: string): string {
  const imageId = /isen:[^?&]*/.exec(target)?.[0];
  const found = imageId === undefined ? undefined : loading.find(imageId);
  if (found !== undefined) return found.stack.info(found.frame).unit;
  const volumeId = cache.getVolumes().find((volume) => volume !== undefined && target.includes(volume.volumeId));
  const first = volumeId?.imageIds[0];
  return first === undefined ? '' : unitOf(loading, first);
}

/** Starts the renderer; once in a page. */
export function open(): Stage {
  // One context of WebGL holds all viewports, so that a volume is in the memory of the graphics card once.
  initCore({ ...getConfiguration(), rendering: { ...getConfiguration().rendering, webGlContextCount: 1 } });
  Settings.getRuntimeSettings().set('useCursors', false);
  initTools();
  cache.setMaxCacheSize(memoryLimit());
  for (const type of [Enums.RequestType.Interaction, Enums.RequestType.Prefetch])
    imageLoadPoolManager.setMaxSimultaneousRequests(type, 5);
  const loading = new Loading(getShouldUseCPURendering());
  // The renderer says of a picture that fails that it failed, and leaves the promises of it to nobody.
  addEventListener('unhandledrejection', (event) => {
    if (loading.hasThrown(event.reason)) event.preventDefault();
  });
  imageLoader.registerImageLoader('isen', (imageId: string) => ({
    promise: loading.load(imageId),
  }));
  metaData.addProvider(metadataOf(loading), 10_000);
  defineTools((target) => unitOf(loading, target));
  const stage = new Stage(loading);
  activate('stacks', 'window');
  return stage;
}
