/** Owns the bar of the viewer: tools, what can be done with a picture, layouts, and the ways out. */

import {
  ArrowLeft,
  ArrowUpDown,
  Axis3d,
  Captions,
  Circle,
  CircleQuestionMark,
  Columns2,
  Contrast,
  Crosshair,
  Eraser,
  ExternalLink,
  Grid2x2,
  type IconNode,
  Move,
  PanelLeft,
  Pause,
  Pipette,
  Play,
  RotateCw,
  Rows2,
  Ruler,
  Square,
  SquareCenterlineDashedHorizontal,
  SunMoon,
  TriangleRight,
  Undo2,
  ZoomIn,
} from 'lucide';
import { Icon } from '../parts/icon.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { keyName } from './keys.ts';
import { presetsFor } from './presets.ts';
import { type Layout, LAYOUTS, type Room } from './room.ts';
import type { Tool } from './tools.ts';
import { type ExternalViewer, linkTo } from '../api/other-viewers.ts';

interface ButtonProps {
  readonly icon: IconNode;
  readonly label: string;
  /** Under the icon, where the label is too long. */
  readonly short?: string;
  readonly shortcut?: string;
  readonly pressed?: boolean;
  readonly disabled?: boolean;
  readonly onClick: () => void;
}

function Button({ icon, label, short = label, shortcut, pressed, disabled = false, onClick }: ButtonProps) {
  return (
    <button
      type="button"
      class="tool"
      title={shortcut === undefined ? label : `${label} (${keyName(shortcut)})`}
      aria-label={label}
      aria-keyshortcuts={shortcut?.replace('shift+', 'Shift+')}
      aria-pressed={pressed}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon of={icon} size={18} />
      <span aria-hidden="true">{short}</span>
    </button>
  );
}

const MOVING: readonly {
  readonly tool: Tool;
  readonly icon: IconNode;
  readonly label: string;
  readonly key?: string;
}[] = [
  { tool: 'window', icon: Contrast, label: t.viewer.window, key: 'w' },
  { tool: 'pan', icon: Move, label: t.viewer.pan, key: 'p' },
  { tool: 'zoom', icon: ZoomIn, label: t.viewer.zoomTool, key: 'z' },
  { tool: 'scroll', icon: ArrowUpDown, label: t.viewer.scroll, key: 's' },
];
const MEASURES: typeof MOVING = [
  { tool: 'length', icon: Ruler, label: t.viewer.length, key: 'l' },
  { tool: 'angle', icon: TriangleRight, label: t.viewer.angle, key: 'a' },
  { tool: 'rectangle', icon: Square, label: t.viewer.rectangle, key: 'b' },
  { tool: 'ellipse', icon: Circle, label: t.viewer.ellipse, key: 'e' },
  { tool: 'probe', icon: Pipette, label: t.viewer.probe, key: 'q' },
];

function Tools({ room, of }: { readonly room: Room; readonly of: typeof MOVING }) {
  return (
    <>
      {of.map(({ tool, icon, label, key }) => (
        <Button
          key={tool}
          icon={icon}
          label={label}
          pressed={room.tool.value === tool}
          onClick={() => room.use(tool)}
          {...(key !== undefined && { shortcut: key })}
        />
      ))}
    </>
  );
}

function Presets({ room }: { readonly room: Room }) {
  const view = room.active.value;
  const { info } = view;
  const level = view.level.value;
  const presets = info?.photometric.startsWith('MONOCHROME') === true ? presetsFor(info) : [];
  if (presets.length === 0) return null;
  const near = (a: number, b: number): boolean => Math.abs(a - b) <= Math.max(0.51, Math.abs(b) * 0.002);
  const chosen = presets.findIndex(
    ({ center, width }) => level !== undefined && near(level.center, center) && near(level.width, width),
  );
  return (
    <select
      class="preset"
      aria-label={t.viewer.preset}
      title={`${t.viewer.preset} (1–9)`}
      value={String(chosen)}
      onChange={(event) => {
        const preset = presets[Number(event.currentTarget.value)];
        if (preset !== undefined) view.setLevel(preset);
      }}
    >
      {chosen < 0 && <option value="-1">{t.viewer.presetOther}</option>}
      {presets.map(({ name, center, width }, index) => (
        <option key={`${name} ${center} ${width}`} value={String(index)}>
          {name}
        </option>
      ))}
    </select>
  );
}

const RATES = [1, 2, 5, 10, 15, 20, 25, 30, 40, 60];

function Cine({ room }: { readonly room: Room }) {
  const view = room.active.value;
  const playing = view.playing.value;
  const rates = RATES.includes(view.rate.value) ? RATES : [...RATES, view.rate.value].toSorted((a, b) => a - b);
  return (
    <>
      <Button
        icon={playing ? Pause : Play}
        label={playing ? t.viewer.pause : t.viewer.play}
        shortcut=" "
        disabled={view.count.value < 2}
        onClick={() => view.togglePlay()}
      />
      <select
        class="rate"
        aria-label={t.viewer.rate}
        title={t.viewer.rate}
        value={String(view.rate.value)}
        disabled={view.count.value < 2}
        onChange={(event) => view.setRate(Number(event.currentTarget.value))}
      >
        {rates.map((rate) => (
          <option key={rate} value={String(rate)}>
            {t.viewer.rateOf(rate)}
          </option>
        ))}
      </select>
    </>
  );
}

const LAYOUT_ICONS: Readonly<Record<Layout, IconNode>> = {
  '1x1': Square,
  '1x2': Columns2,
  '2x1': Rows2,
  '2x2': Grid2x2,
};

function Layouts({ room }: { readonly room: Room }) {
  return (
    <fieldset class="layouts">
      <legend class="sr-only">{t.viewer.layout}</legend>
      {(Object.keys(LAYOUTS) as Layout[]).map((layout) => (
        <button
          key={layout}
          type="button"
          title={t.viewer.layouts[layout]}
          aria-label={t.viewer.layouts[layout]}
          aria-pressed={!room.planes.value && room.layout.value === layout}
          onClick={() => room.arrange(layout)}
        >
          <Icon of={LAYOUT_ICONS[layout]} size={16} />
        </button>
      ))}
    </fieldset>
  );
}

function OtherViewers({ room, viewers }: { readonly room: Room; readonly viewers: readonly ExternalViewer[] }) {
  const { info } = room.active.value;
  if (viewers.length === 0 || info === undefined) return null;
  return (
    <>
      {viewers.map((viewer) => (
        <a
          key={viewer.Name}
          class="tool"
          href={linkTo(viewer, { study: room.study, series: room.active.value.series.value ?? '', info })}
          target="_blank"
          rel="noreferrer"
          title={`${t.viewer.openIn} ${viewer.Name}`}
        >
          <Icon of={ExternalLink} size={18} />
          <b>{viewer.Name}</b>
        </a>
      ))}
    </>
  );
}

/** The bar. */
export function Toolbar({ room, viewers }: { readonly room: Room; readonly viewers: readonly ExternalViewer[] }) {
  const view = room.active.value;
  const none = view.stack.value === undefined || view.preview.value !== undefined;
  return (
    <header class="bar">
      <div class="tool-group">
        <a class="tool" href={href(`studies/${room.study}`)} title={t.viewer.back} aria-label={t.viewer.back}>
          <Icon of={ArrowLeft} size={18} />
        </a>
        <Button
          icon={PanelLeft}
          label={t.viewer.seriesStrip}
          short=""
          pressed={room.strip.value}
          onClick={() => {
            room.strip.value = !room.strip.value;
          }}
        />
      </div>
      <div class="tool-groups" role="toolbar" aria-label={t.viewer.tools}>
        <div class="tool-group">
          {room.planes.value && (
            <Tools room={room} of={[{ tool: 'crosshairs', icon: Crosshair, label: t.viewer.crosshairs }]} />
          )}
          <Tools room={room} of={MOVING} />
        </div>
        <div class="tool-group">
          <Tools room={room} of={MEASURES} />
          <Button
            icon={Eraser}
            label={t.viewer.clear}
            short={t.viewer.clearShort}
            shortcut="shift+delete"
            onClick={() => room.clear()}
          />
        </div>
        <div class="tool-group">
          <Presets room={room} />
          <Button
            icon={SunMoon}
            label={t.viewer.invert}
            shortcut="i"
            pressed={view.inverted.value}
            disabled={none}
            onClick={() => view.invert()}
          />
          <Button
            icon={RotateCw}
            label={t.viewer.rotate}
            short={t.viewer.rotateShort}
            shortcut="r"
            disabled={none}
            onClick={() => view.rotate(90)}
          />
          <Button
            icon={SquareCenterlineDashedHorizontal}
            label={t.viewer.flipHorizontal}
            short={t.viewer.flipShort}
            shortcut="h"
            disabled={none}
            onClick={() => view.flip('horizontal')}
          />
          <Button icon={Undo2} label={t.viewer.reset} shortcut="0" disabled={none} onClick={() => view.reset()} />
        </div>
        <div class="tool-group">
          <Cine room={room} />
        </div>
        <div class="tool-group">
          <Layouts room={room} />
          <Button
            icon={Axis3d}
            label={t.viewer.mprLong}
            short={t.viewer.mpr}
            shortcut="m"
            pressed={room.planes.value}
            disabled={none || room.preparing.value}
            onClick={() => (room.planes.value ? room.leavePlanes() : void room.showPlanes())}
          />
        </div>
      </div>
      <div class="tool-group ends">
        <OtherViewers room={room} viewers={viewers} />
        <Button
          icon={Captions}
          label={t.viewer.overlay}
          short=""
          shortcut="t"
          pressed={room.overlay.value}
          onClick={() => {
            room.overlay.value = !room.overlay.value;
          }}
        />
        <Button
          icon={CircleQuestionMark}
          label={t.viewer.help}
          short=""
          shortcut="?"
          onClick={() => {
            room.help.value = true;
          }}
        />
      </div>
    </header>
  );
}
