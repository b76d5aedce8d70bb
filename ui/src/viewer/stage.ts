/**
 * Owns the renderer: starts cornerstone3D once, with our loader of pictures, and gives viewports to the elements of the page. Where the
 * browser has no WebGL it draws images by itself and cannot cut volumes.
 */

import {
  cache,
  Enums,
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
  volumeLoader,
} from '@cornerstonejs/core';
import { init as initTools, ToolGroupManager } from '@cornerstonejs/tools';
import { Loading, memoryLimit } from './loading.ts';
import { metadataOf } from './metadata.ts';
import { activate, defineTools, type Group, type Tool } from './tools.ts';
import type { NoVolume, Stack } from './stack.ts';

/** The planes of a volume, as they are called in the patient. */
export const PLANES = ['axial', 'coronal', 'sagittal'] as const;
export type PlaneName = (typeof PLANES)[number];

export type Viewport = Types.IStackViewport | Types.IVolumeViewport;

/** Why a volume cannot be shown in other planes. */
export type NoPlanes = NoVolume | 'webgl' | 'memory';

const VOLUME = 'cornerstoneStreamingImageVolume:';

/** What the renderer calls with every slice of a volume that has come; its types leave that out. */
interface StreamingVolume {
  load(heard: (event: { readonly framesProcessed?: number }) => void): void;
}

/** Whether a viewport shows images one by one, not cuts of a volume. */
export const isStack = (viewport: Viewport): viewport is Types.IStackViewport =>
  viewport.type === Enums.ViewportType.STACK;

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

  /** Gives an element a viewport: of a stack, or of a plane of a volume. */
  attach(id: string, element: HTMLDivElement, plane?: PlaneName): Viewport {
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

  /** Fetches the frame of a series that is shown first; answers what went wrong. */
  async prepare(stack: Stack, index: number): Promise<unknown> {
    this.loading.add(stack);
    const frame = stack.frames[index];
    if (frame === undefined) return undefined;
    try {
      const image = await this.loading.load(frame.imageId);
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

let opened: Promise<Stage> | undefined;

async function open(): Promise<Stage> {
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

/** The renderer, started when it is first asked for. */
export async function openStage(): Promise<Stage> {
  opened ??= open();
  return opened;
}

export const { Events } = Enums;
