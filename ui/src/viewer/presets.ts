/** Owns the windows to choose from: those of the image, and the usual ones for CT (in HU). */

import { t } from '../texts.ts';
import type { FrameInfo } from './info.ts';
import type { Level } from './level.ts';

export interface Preset extends Level {
  readonly name: string;
}

const CT: readonly Preset[] = [
  { name: t.viewer.presets.softTissue, center: 40, width: 400 },
  { name: t.viewer.presets.lung, center: -600, width: 1500 },
  { name: t.viewer.presets.bone, center: 480, width: 2500 },
  { name: t.viewer.presets.brain, center: 40, width: 80 },
  { name: t.viewer.presets.liver, center: 90, width: 150 },
  { name: t.viewer.presets.mediastinum, center: 50, width: 350 },
  { name: t.viewer.presets.angio, center: 300, width: 600 },
];

/** Windows for an image, the image's own first. */
export function presetsFor(info: FrameInfo): readonly Preset[] {
  const own = info.windows.map(({ center, width, name }, index) => ({
    center,
    width,
    name: name === '' ? t.viewer.presets.ofImage(index + 1, info.windows.length) : name,
  }));
  return [...own, ...(info.texts.Modality === 'CT' ? CT : [])];
}
