/**
 * Owns the way to the renderer: what the rest of the viewer may know of it before it is there. It is a megabyte of script that takes its
 * time to start, so it is loaded when it is asked for, and not with the viewer.
 */

import { signal } from '@preact/signals';
import type { Enums, Types } from '@cornerstonejs/core';
import type { Stage } from './renderer.ts';
import type { NoVolume } from './stack.ts';

export type { Stage } from './renderer.ts';

/** The planes of a volume, as they are called in the patient. */
export const PLANES = ['axial', 'coronal', 'sagittal'] as const;
export type PlaneName = (typeof PLANES)[number];

export type Viewport = Types.IStackViewport | Types.IVolumeViewport;

/** Why a volume cannot be shown in other planes. */
export type NoPlanes = NoVolume | 'webgl' | 'memory';

const STACK: `${Enums.ViewportType.STACK}` = 'stack';

/** Whether a viewport shows images one by one, not cuts of a volume. */
export const isStack = (viewport: Viewport): viewport is Types.IStackViewport => String(viewport.type) === STACK;

/** The renderer; undefined until it has started. */
export const started = signal<Stage | undefined>(undefined);

let opening: Promise<Stage> | undefined;

async function open(): Promise<Stage> {
  const renderer = await import('./renderer.ts');
  started.value = renderer.open();
  return started.value;
}

/** The renderer, started when it is first asked for. Throws TypeError where its script cannot be had. */
export async function openStage(): Promise<Stage> {
  opening ??= open().catch((thrown: unknown) => {
    opening = undefined;
    throw thrown;
  });
  return opening;
}
