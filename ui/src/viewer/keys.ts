/** Owns the keyboard of the viewer: every key, what it does, and how the help shows it. */

import { t } from '../texts.ts';
import { presetsFor } from './presets.ts';
import type { Room } from './room.ts';
import type { Tool } from './tools.ts';

/** One or several keys that belong together. */
export interface Shortcut {
  /** As `KeyboardEvent.key` has them, in lower case; `shift+` before those that want it. */
  readonly keys: readonly string[];
  readonly title: string;
  /** `key` is which of them it was. */
  readonly act: (room: Room, key: string) => void;
}

/** Pixels that the picture moves by a key. */
const MOVE = 40;
const ZOOM = 1.2;

const tool = (key: string, name: Tool, title: string): Shortcut => ({
  keys: [key],
  title,
  act: (room) => room.use(name),
});

/** Makes a change of the window by a share of its width. */
function changeLevel(room: Room, width: number, center: number): void {
  const view = room.active.value;
  const level = view.level.value;
  if (level !== undefined)
    view.setLevel({ center: level.center + center * level.width, width: level.width * (1 + width) });
}

function choosePreset(room: Room, key: string): void {
  const { info } = room.active.value;
  const preset = info && presetsFor(info)[Number(key) - 1];
  if (preset !== undefined) room.active.value.setLevel(preset);
}

/** All of them, in the groups of the help. */
export const SHORTCUTS: readonly { readonly title: string; readonly shortcuts: readonly Shortcut[] }[] = [
  {
    title: t.viewer.keys.images,
    shortcuts: [
      {
        keys: ['arrowdown', 'arrowup'],
        title: t.viewer.keys.next,
        act: (room, key) => room.active.value.step(key === 'arrowdown' ? 1 : -1),
      },
      {
        keys: ['pagedown', 'pageup'],
        title: t.viewer.keys.tens,
        act: (room, key) => room.active.value.step(key === 'pagedown' ? 10 : -10),
      },
      {
        keys: ['home', 'end'],
        title: t.viewer.keys.ends,
        act: (room, key) => room.active.value.go(key === 'home' ? 0 : room.active.value.count.value - 1),
      },
      {
        keys: ['arrowright', 'arrowleft'],
        title: t.viewer.keys.otherSeries,
        act: (room, key) => room.chooseNext(key === 'arrowright' ? 1 : -1),
      },
      { keys: [' '], title: t.viewer.keys.play, act: (room) => room.active.value.togglePlay() },
    ],
  },
  {
    title: t.viewer.keys.tools,
    shortcuts: [
      tool('w', 'window', t.viewer.window),
      tool('p', 'pan', t.viewer.pan),
      tool('z', 'zoom', t.viewer.zoomTool),
      tool('s', 'scroll', t.viewer.scroll),
      tool('l', 'length', t.viewer.length),
      tool('a', 'angle', t.viewer.angle),
      tool('b', 'rectangle', t.viewer.rectangle),
      tool('e', 'ellipse', t.viewer.ellipse),
      tool('q', 'probe', t.viewer.probe),
      { keys: ['delete', 'backspace'], title: t.viewer.keys.deleteOne, act: (room) => room.clearSelected() },
      { keys: ['escape'], title: t.viewer.keys.cancel, act: (room) => room.cancel() },
      { keys: ['shift+delete'], title: t.viewer.clear, act: (room) => room.clear() },
    ],
  },
  {
    title: t.viewer.keys.picture,
    shortcuts: [
      {
        keys: ['+', '-'],
        title: t.viewer.keys.zoom,
        act: (room, key) => room.active.value.zoomBy(key === '+' ? ZOOM : 1 / ZOOM),
      },
      {
        keys: ['shift+arrowleft', 'shift+arrowright', 'shift+arrowup', 'shift+arrowdown'],
        title: t.viewer.keys.pan,
        act: (room, key) => {
          const x = key === 'shift+arrowleft' ? -MOVE : key === 'shift+arrowright' ? MOVE : 0;
          const y = key === 'shift+arrowup' ? -MOVE : key === 'shift+arrowdown' ? MOVE : 0;
          room.active.value.panBy(x, y);
        },
      },
      {
        keys: ['[', ']'],
        title: t.viewer.keys.width,
        act: (room, key) => changeLevel(room, key === '[' ? -0.1 : 0.1, 0),
      },
      {
        keys: [',', '.'],
        title: t.viewer.keys.center,
        act: (room, key) => changeLevel(room, 0, key === ',' ? 0.05 : -0.05),
      },
      { keys: ['1', '2', '3', '4', '5', '6', '7', '8', '9'], title: t.viewer.keys.presets, act: choosePreset },
      { keys: ['i'], title: t.viewer.invert, act: (room) => room.active.value.invert() },
      { keys: ['r'], title: t.viewer.rotate, act: (room) => room.active.value.rotate(90) },
      { keys: ['shift+r'], title: t.viewer.rotateBack, act: (room) => room.active.value.rotate(-90) },
      { keys: ['h'], title: t.viewer.flipHorizontal, act: (room) => room.active.value.flip('horizontal') },
      { keys: ['v'], title: t.viewer.flipVertical, act: (room) => room.active.value.flip('vertical') },
      { keys: ['0'], title: t.viewer.reset, act: (room) => room.active.value.reset() },
      {
        keys: ['t'],
        title: t.viewer.overlay,
        act: (room) => {
          room.overlay.value = !room.overlay.value;
        },
      },
    ],
  },
  {
    title: t.viewer.keys.viewports,
    shortcuts: [
      { keys: ['n'], title: t.viewer.keys.active, act: (room) => room.activateNext() },
      {
        keys: ['m'],
        title: t.viewer.mprLong,
        act: (room) => (room.planes.value ? room.leavePlanes() : void room.showPlanes()),
      },
      {
        keys: ['?'],
        title: t.viewer.keys.help,
        act: (room) => {
          room.help.value = true;
        },
      },
    ],
  },
];

const acts = new Map(
  SHORTCUTS.flatMap(({ shortcuts }) => shortcuts.flatMap((each) => each.keys.map((key) => [key, each.act] as const))),
);

/** Signs for which Shift may be needed to write them, which is then no part of the shortcut. */
const isSign = (key: string): boolean => key.length === 1 && !/[a-z]/.test(key);

/** The key of an event as {@link Shortcut} writes it. */
function keyOf(event: KeyboardEvent): string {
  const key = event.key.toLowerCase();
  if (key === '=') return '+';
  return event.shiftKey && !isSign(key) ? `shift+${key}` : key;
}

/** Whether the keys belong to what has the focus: text, a choice, the way through the images. */
const isTaken = (target: EventTarget | null, key: string): boolean => {
  if (!(target instanceof Element)) return false;
  if (target.closest('dialog, textarea, input:not([type="range"])') !== null) return true;
  if (key === ' ') return target.closest('button, a, summary, select') !== null;
  return target.matches('select, input[type="range"]') && /^(arrow|page|home|end)/.test(key);
};

/** Acts on a key, on its way down: the renderer would keep every key of a viewport for itself, Tab as well. */
export function onKey(room: Room, event: KeyboardEvent): void {
  if (event.target instanceof Element && event.target.matches('.picture')) event.stopPropagation();
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const key = keyOf(event);
  const act = acts.get(key);
  if (act === undefined || isTaken(event.target, key)) return;
  event.preventDefault();
  act(room, key);
}

/** How a key is written on keyboards. */
export function keyName(key: string): string {
  const names: Readonly<Record<string, string>> = {
    arrowdown: '↓',
    arrowup: '↑',
    arrowleft: '←',
    arrowright: '→',
    pagedown: 'Page ↓',
    pageup: 'Page ↑',
    home: 'Home',
    end: 'End',
    ' ': 'Space',
    escape: 'Esc',
    delete: 'Del',
    backspace: '⌫',
  };
  if (key.startsWith('shift+')) return `⇧ ${keyName(key.slice(6))}`;
  return names[key] ?? key.toUpperCase();
}
