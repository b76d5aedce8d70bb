/**
 * Owns how the first image is drawn until the renderer is there: the same picture, in the same place, with the same window and as smooth,
 * so that nobody sees when the renderer takes over.
 */

import type { FrameInfo } from './info.ts';
import { rangeOf } from './level.ts';
import type { Picture } from './pixels.ts';

/** A frame that is shown without the renderer. */
export interface Preview {
  readonly picture: Picture;
  readonly info: FrameInfo;
  /** Called when it is drawn. */
  readonly drawn: () => void;
}

/** Whether it can be drawn here as the renderer draws it: windows that are no straight line are left to that. */
export const canPreview = ({ window }: Picture): boolean => window.voi !== 'SIGMOID';

/** Where the pixels of the screen along one side lie between those of the image. */
interface Steps {
  readonly before: Int32Array;
  readonly after: Int32Array;
  /** Of the one after, from 0 to 1. */
  readonly share: Float32Array;
}

function stepsOf(from: number, to: number, start: number, scale: number, count: number): Steps {
  const length = to - from;
  const [before, after, share] = [new Int32Array(length), new Int32Array(length), new Float32Array(length)];
  for (let at = 0; at < length; at += 1) {
    const place = Math.min(count - 1, Math.max(0, (from + at + 0.5 - start) / scale - 0.5));
    const whole = Math.floor(place);
    before[at] = whole;
    after[at] = Math.min(count - 1, whole + 1);
    share[at] = place - whole;
  }
  return { before, after, share };
}

/** From values to what is between black and white, 0 to 255. */
interface Scale {
  readonly black: number;
  readonly slope: number;
}

/** One row of the screen, between two of the image. A function of its own is compiled after some of them, not at the end of all. */
function fillRow(
  { data, width }: ImageData,
  y: number,
  { columns, channels, samples }: Picture,
  { before, after, share }: Steps,
  vertical: Steps,
  { black, slope }: Scale,
): void {
  const above = (vertical.before[y] as number) * columns;
  const below = (vertical.after[y] as number) * columns;
  const low = vertical.share[y] as number;
  let to = y * width * 4;
  for (let x = 0; x < width; x += 1, to += 4) {
    const left = before[x] as number;
    const right = after[x] as number;
    const part = share[x] as number;
    for (let channel = 0; channel < channels; channel += 1) {
      const a = samples[(above + left) * channels + channel] as number;
      const b = samples[(above + right) * channels + channel] as number;
      const c = samples[(below + left) * channels + channel] as number;
      const d = samples[(below + right) * channels + channel] as number;
      const high = a + (b - a) * part;
      // What is darker or brighter than 8 bits hold is cut off by them.
      data[to + channel] = (high + (c + (d - c) * part - high) * low - black) * slope;
    }
    if (channels === 1) data[to + 2] = data[to + 1] = data[to] as number;
    data[to + 3] = 255;
  }
}

/** Draws the whole image in the middle of a canvas that fills its element; answers the pixels of the page for one of the image. */
export function draw(canvas: HTMLCanvasElement, { picture, info }: Preview): number {
  const { rows, columns, channels } = picture;
  const [rowSpacing, columnSpacing] = info.spacing ?? [info.aspect, 1];
  const box = canvas.getBoundingClientRect();
  const density = window.devicePixelRatio;
  const [width, height] = [Math.round(box.width * density), Math.round(box.height * density)];
  // In memory: what only the processor writes need not wait for the graphics card.
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (context === null || width === 0 || height === 0) return 1;
  [canvas.width, canvas.height] = [width, height];
  const fit = Math.min(width / (columns * columnSpacing), height / (rows * rowSpacing));
  const [across, down] = [fit * columnSpacing, fit * rowSpacing];
  const [left, top] = [(width - columns * across) / 2, (height - rows * down) / 2];
  const [firstX, lastX] = [Math.max(0, Math.round(left)), Math.min(width, Math.round(left + columns * across))];
  const [firstY, lastY] = [Math.max(0, Math.round(top)), Math.min(height, Math.round(top + rows * down))];
  const horizontal = stepsOf(firstX, lastX, left, across, columns);
  const vertical = stepsOf(firstY, lastY, top, down, rows);
  const image = context.createImageData(lastX - firstX, lastY - firstY);
  const inverted = info.photometric === 'MONOCHROME1';
  const { lower, upper } = channels === 1 ? rangeOf(picture.window, picture.window.voi) : { lower: 0, upper: 255 };
  const scale = { black: inverted ? upper : lower, slope: (inverted ? -255 : 255) / (upper - lower) };
  for (let y = 0; y < image.height; y += 1) fillRow(image, y, picture, horizontal, vertical, scale);
  context.putImageData(image, firstX, firstY);
  return across / density;
}
