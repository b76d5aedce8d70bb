/** Owns the tools that a pointer has over the images: which there are, what buttons do, and what measurements say. */

import {
  addTool,
  AngleTool,
  annotation,
  CrosshairsTool,
  EllipticalROITool,
  Enums,
  LengthTool,
  PanTool,
  ProbeTool,
  RectangleROITool,
  StackScrollTool,
  ToolGroupManager,
  WindowLevelTool,
  ZoomTool,
} from '@cornerstonejs/tools';
import { t } from '../texts.ts';
import type { Range } from './level.ts';

const { MouseBindings } = Enums;

/** The share of the window's width that a pixel of the pointer's way changes. */
const PER_PIXEL = 1 / 300;

/** Cornerstone's tool with steps that fit the window, also one that is narrower than 1, whatever its function. */
class LevelTool extends WindowLevelTool {
  static override toolName = 'Level';

  override getNewRange({ deltaPointsCanvas: [right = 0, down = 0], lower, upper }: LevelDrag): Range {
    const width = upper - lower;
    const center = (lower + upper) / 2 + down * width * PER_PIXEL;
    const half = (width * Math.max(0.1, 1 + right * PER_PIXEL)) / 2;
    return { lower: center - half, upper: center + half };
  }

  override getPTScaledNewRange(drag: LevelDrag): Range {
    return this.getNewRange(drag);
  }
}

/** What a drag tells the tool. */
interface LevelDrag extends Range {
  readonly deltaPointsCanvas: readonly number[];
}

/** What the first pointer does, by our name. */
export const TOOLS = {
  window: LevelTool.toolName,
  pan: PanTool.toolName,
  zoom: ZoomTool.toolName,
  scroll: StackScrollTool.toolName,
  crosshairs: CrosshairsTool.toolName,
  length: LengthTool.toolName,
  angle: AngleTool.toolName,
  rectangle: RectangleROITool.toolName,
  ellipse: EllipticalROITool.toolName,
  probe: ProbeTool.toolName,
} as const;

export type Tool = keyof typeof TOOLS;

/** Tools that leave something on the image. */
export const MEASURING: readonly Tool[] = ['length', 'angle', 'rectangle', 'ellipse', 'probe'];

/** Viewports of one kind share a group: of stacks, or of the planes of a volume. */
export type Group = 'stacks' | 'planes';

/** What a tool knows of a measurement on one image. */
interface Stats {
  readonly length?: number;
  readonly unit?: string;
  readonly angle?: number;
  readonly area?: number;
  readonly areaUnit?: string;
  readonly mean?: number;
  readonly stdDev?: number;
  readonly min?: number;
  readonly max?: number;
  readonly value?: number | readonly number[];
  readonly index?: readonly number[];
}

/** Distances on the detector are said to be such: in the patient they are smaller. */
const unitText = (unit = ''): string => unit.replace(/ Proj$/, ` ${t.viewer.onDetector}`);

function lines(stats: Stats, valueUnit: string): string[] {
  const number = (value: number): string => t.viewer.number(value);
  const value = (of: number): string => (valueUnit === '' ? number(of) : `${number(of)} ${valueUnit}`);
  if (stats.length !== undefined) return [`${number(stats.length)} ${unitText(stats.unit)}`];
  if (typeof stats.angle === 'number') return [`${number(stats.angle)}°`];
  if (stats.value !== undefined && stats.index !== undefined) {
    const [column = 0, row = 0] = stats.index;
    const values = typeof stats.value === 'number' ? [stats.value] : stats.value;
    return [values.map(value).join(' / '), t.viewer.pixelAt(column, row)];
  }
  // Nothing has a mean in an area without pixels.
  if (stats.area !== undefined && Number.isFinite(stats.mean)) {
    return [
      t.viewer.mean(value(stats.mean ?? 0)),
      t.viewer.deviation(value(stats.stdDev ?? 0)),
      ...(stats.min === undefined || stats.max === undefined
        ? []
        : [t.viewer.range(number(stats.min), value(stats.max))]),
      t.viewer.area(`${number(stats.area)} ${unitText(stats.areaUnit)}`),
    ];
  }
  return [];
}

/** Makes the tools known; `unitOf` says what values are in of what a measurement lies on. */
export function defineTools(unitOf: (target: string) => string): void {
  for (const tool of [
    LevelTool,
    PanTool,
    ZoomTool,
    StackScrollTool,
    CrosshairsTool,
    LengthTool,
    AngleTool,
    RectangleROITool,
    EllipticalROITool,
    ProbeTool,
  ])
    addTool(tool);
  const style = annotation.config.style.getDefaultToolStyles();
  const text = 'system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
  annotation.config.style.setDefaultToolStyles({
    ...style,
    global: {
      ...style?.global,
      color: 'rgb(247, 214, 102)',
      colorHighlighted: 'rgb(255, 255, 255)',
      colorSelected: 'rgb(116, 204, 211)',
      lineWidth: '1.5',
      textBoxColor: 'rgb(247, 214, 102)',
      textBoxColorHighlighted: 'rgb(255, 255, 255)',
      textBoxColorSelected: 'rgb(116, 204, 211)',
      textBoxFontFamily: text,
      textBoxFontSize: '13px',
      textBoxBackground: 'rgba(8, 11, 14, 0.7)',
    },
  });
  const getTextLines = (
    data: { readonly cachedStats: Readonly<Record<string, Stats | undefined>> },
    targets: string | readonly string[],
  ): string[] => {
    const target = typeof targets === 'string' ? targets : targets[0];
    const stats = target === undefined ? undefined : data.cachedStats[target];
    return target === undefined || stats === undefined ? [] : lines(stats, unitOf(target));
  };
  for (const group of ['stacks', 'planes'] as const) {
    const tools = ToolGroupManager.createToolGroup(group);
    if (tools === undefined) continue;
    for (const [name, toolName] of Object.entries(TOOLS)) {
      if (name === 'crosshairs' && group === 'stacks') continue;
      const measures = MEASURING.includes(name as Tool);
      tools.addTool(toolName, measures ? { getTextLines } : name === 'scroll' ? { debounceIfNotLoaded: true } : {});
      if (measures) tools.setToolPassive(toolName);
    }
  }
}

/** Gives the first pointer this tool; the second zooms, the middle one pans, the wheel scrolls, two fingers zoom and pan. */
export function activate(group: Group, tool: Tool): void {
  const tools = ToolGroupManager.getToolGroup(group);
  if (tools === undefined) return;
  const primary = { mouseButton: MouseBindings.Primary };
  const others: Readonly<Partial<Record<Tool, readonly object[]>>> = {
    scroll: [{ mouseButton: MouseBindings.Wheel }, { numTouchPoints: 3 }],
    zoom: [{ mouseButton: MouseBindings.Secondary }, { numTouchPoints: 2 }],
    pan: [{ mouseButton: MouseBindings.Auxiliary }],
  };
  for (const name of Object.keys(TOOLS) as Tool[]) {
    const toolName = TOOLS[name];
    if (!tools.hasTool(toolName)) continue;
    const bindings = [...(name === tool ? [primary] : []), ...(others[name] ?? [])];
    // What is not named keeps the bindings that it had.
    tools.setToolPassive(toolName, { removeAllBindings: true });
    if (bindings.length > 0) tools.setToolActive(toolName, { bindings });
    else if (name === 'crosshairs') tools.setToolEnabled(toolName);
    else if (!MEASURING.includes(name)) tools.setToolDisabled(toolName);
  }
}
