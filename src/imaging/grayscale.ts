/**
 * Owns the grey pipeline: from stored values to values of the modality (PS3.3 §C.11.1) and on to the 256 levels of a display
 * (PS3.3 §C.11.2, §C.7.6.3.1.2), with what the header or the per-frame functional groups (PS3.3 §C.7.6.16) say of it.
 */

import type { DataSet, Element } from '../dicom/read.ts';
import { textOf } from '../dicom/value.ts';
import type { PixelAttributes, Samples } from './image.ts';

/** A VOI window, in values of the modality. */
export interface Window {
  readonly center: number;
  readonly width: number;
}

/** A lookup table of the Modality or VOI LUT Sequence (PS3.3 §C.11.1.1, §C.11.2.1). */
export interface LookupTable {
  /** The value that the first entry is for; lower ones get it too, higher ones than the last get the last. */
  readonly first: number;
  /** Not empty. */
  readonly entries: Uint16Array;
  /** Of each entry. */
  readonly bits: number;
}

/** VOI LUT Function (0028,1056). */
export type VoiFunction = 'LINEAR' | 'LINEAR_EXACT' | 'SIGMOID';

/** What a header says of the grey levels of one frame. */
export interface Grayscale {
  readonly slope: number;
  readonly intercept: number;
  /** In the place of slope and intercept. */
  readonly modality: LookupTable | undefined;
  readonly window: Window | undefined;
  readonly voiFunction: VoiFunction;
  /** Used where there is no window. */
  readonly voi: LookupTable | undefined;
  /** Stored values that are no image: Pixel Padding Value (0028,0120), to its Range Limit (0028,0121). */
  readonly padding: { readonly low: number; readonly high: number } | undefined;
}

/** Tags of the header that {@link grayscaleOf} looks at. */
export const GRAYSCALE_TAGS: readonly string[] = [
  '0028,0120',
  '0028,0121',
  '0028,1050',
  '0028,1051',
  '0028,1052',
  '0028,1053',
  '0028,1056',
  '0028,3000',
  '0028,3010',
  '5200,9229',
  '5200,9230',
];

/** Reads what the header says of the grey levels of frame `frame`, counted from 0. What makes no sense there counts as absent. */
export function grayscaleOf(dataSet: DataSet, attributes: PixelAttributes, frame: number): Grayscale {
  const groups = [item(dataSet, '5200,9230', frame), item(dataSet, '5200,9229', 0)];
  const scopes = (macro: string): readonly DataSet[] =>
    [...groups.map((group) => group && item(group, macro, 0)), dataSet].filter((scope) => scope !== undefined);
  const transformation = scopes('0028,9145');
  const voi = scopes('0028,9132');
  const center = firstNumber(voi, '0028,1050');
  const width = firstNumber(voi, '0028,1051');
  const [low] = integers(dataSet, '0028,0120', attributes.signed);
  const [limit = low] = integers(dataSet, '0028,0121', attributes.signed);
  const name = voi.map((scope) => text(scope, '0028,1056')).find((value) => value !== '');
  return {
    slope: firstNumber(transformation, '0028,1053') || 1,
    intercept: firstNumber(transformation, '0028,1052') ?? 0,
    modality: tableOf(dataSet, '0028,3000', attributes.signed),
    window: center === undefined || width === undefined ? undefined : { center, width },
    voiFunction: name === 'SIGMOID' || name === 'LINEAR_EXACT' ? name : 'LINEAR',
    voi: tableOf(dataSet, '0028,3010', attributes.signed),
    padding:
      low === undefined || limit === undefined ? undefined : { low: Math.min(low, limit), high: Math.max(low, limit) },
  };
}

/**
 * The window of an image whose header has none: all values that its bits can hold, as the reference has it; all that are there, where
 * they have no bits.
 */
export function defaultWindow(grayscale: Grayscale, { bitsStored, float }: PixelAttributes, samples: Samples): Window {
  const { slope, intercept, modality } = grayscale;
  if (float) {
    const { minimum, maximum } = extremes(samples);
    return { center: slope * ((minimum + maximum) / 2) + intercept, width: Math.abs(slope) * (maximum - minimum) };
  }
  const span = 2 ** (modality?.bits ?? bitsStored);
  if (modality !== undefined) return { center: span / 2, width: span };
  return { center: slope * (span / 2) + intercept, width: Math.abs(slope) * span };
}

/** A stored value as the modality means it. */
export function modalityValue({ slope, intercept, modality }: Grayscale): (stored: number) => number {
  if (modality === undefined) return (stored) => stored * slope + intercept;
  return (stored) => look(modality, stored);
}

/**
 * A stored value as a level from 0 to 255, rounded down. A window covers [center − width/2, center + width/2], as that of the
 * reference does for LINEAR too; a width that is not positive is a threshold. Padding is black, whatever is `inverted`.
 * @param voi a window, or the table of the header.
 */
export function displayLevel(
  grayscale: Grayscale,
  voi: Window | LookupTable,
  inverted: boolean,
): (stored: number) => number {
  const { voiFunction, padding } = grayscale;
  const value = modalityValue(grayscale);
  const level = 'entries' in voi ? tableLevel(voi) : windowLevel(voi, voiFunction);
  const flip = inverted ? 255 : 0;
  if (padding === undefined) return (stored) => level(value(stored)) ^ flip;
  const { low, high } = padding;
  return (stored) => (stored >= low && stored <= high ? 0 : level(value(stored)) ^ flip);
}

function windowLevel({ center, width }: Window, voiFunction: VoiFunction): (value: number) => number {
  if (voiFunction === 'SIGMOID' && width > 0) {
    return (value) => Math.trunc(255 / (1 + Math.exp((-4 * (value - center)) / width)));
  }
  if (!(width > 0)) return (value) => (value < center ? 0 : 255);
  const low = center - width / 2;
  return (value) => Math.trunc(Math.min(Math.max(((value - low) / width) * 255, 0), 255));
}

function tableLevel(table: LookupTable): (value: number) => number {
  const most = 2 ** table.bits - 1;
  return (value) => Math.min(255, Math.trunc((look(table, Math.trunc(value)) * 255) / most));
}

function look({ first, entries }: LookupTable, value: number): number {
  return entries[Math.min(Math.max(Math.trunc(value) - first, 0), entries.length - 1)] ?? 0;
}

/** Smallest and largest of the samples; what is no number or not finite does not count. 0 and 0 where there is none. */
export function extremes(samples: Samples): { readonly minimum: number; readonly maximum: number } {
  let minimum = Number.POSITIVE_INFINITY;
  let maximum = Number.NEGATIVE_INFINITY;
  for (let at = 0; at < samples.length; at += 1) {
    const sample = samples[at] as number;
    if (sample < minimum) minimum = sample;
    if (sample > maximum) maximum = sample;
  }
  if (minimum > maximum) return { minimum: 0, maximum: 0 };
  // Only floats have them, and hardly ever: the loop above stays free of the question.
  if (maximum - minimum === Number.POSITIVE_INFINITY && !(Number.isFinite(minimum) && Number.isFinite(maximum)))
    return extremes(samples.filter(Number.isFinite));
  return { minimum, maximum };
}

/** Every sample through `level`, which is asked once for each value where these are fewer than the samples. */
export function levels(samples: Samples, level: (stored: number) => number): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(samples.length);
  const { minimum, maximum } = extremes(samples);
  const isFloat = samples instanceof Float32Array || samples instanceof Float64Array;
  if (isFloat || maximum - minimum >= samples.length) {
    for (let at = 0; at < samples.length; at += 1) result[at] = level(samples[at] as number);
    return result;
  }
  const table = new Uint8Array(maximum - minimum + 1);
  for (let index = 0; index < table.length; index += 1) table[index] = level(minimum + index);
  for (let at = 0; at < samples.length; at += 1) result[at] = table[(samples[at] as number) - minimum] as number;
  return result;
}

/** Item `index` of a sequence. */
function item({ elements }: DataSet, tag: string, index: number): DataSet | undefined {
  return elements.get(tag)?.items?.[index];
}

function text(dataSet: DataSet, tag: string): string {
  const element = dataSet.elements.get(tag);
  // None of these has more values or longer ones than fit here.
  return element === undefined || element.length > 4096 ? '' : textOf(dataSet, element).trim();
}

/** The first value of the first scope that has a number there. */
function firstNumber(scopes: readonly DataSet[], tag: string): number | undefined {
  for (const scope of scopes) {
    const first = text(scope, tag).split('\\', 1)[0]?.trim() ?? '';
    if (first !== '' && Number.isFinite(Number(first))) return Number(first);
  }
  return undefined;
}

/** The values of a US or SS, by Pixel Representation where its VR does not say (PS3.5 §A.1). */
function integers(dataSet: DataSet, tag: string, signed: boolean): readonly number[] {
  const element = dataSet.elements.get(tag);
  if (element === undefined) return [];
  return words(dataSet, element).map((word) => (signed && word >= 0x8000 ? word - 0x10000 : word));
}

/** The first 16-bit words of a value: enough for what is no table. */
function words(dataSet: DataSet, element: Element): number[] {
  const { bytes, littleEndian } = dataSet;
  const count = Math.min(element.length >> 1, 8);
  return Array.from({ length: count }, (_, index) =>
    littleEndian ? bytes.readUInt16LE(element.offset + 2 * index) : bytes.readUInt16BE(element.offset + 2 * index),
  );
}

/** The first table of a sequence; undefined where it is cut or says nothing. */
function tableOf(dataSet: DataSet, tag: string, signed: boolean): LookupTable | undefined {
  const scope = item(dataSet, tag, 0);
  const data = scope?.elements.get('0028,3006');
  if (scope === undefined || data === undefined) return undefined;
  const descriptor = scope.elements.get('0028,3002');
  const [count = 0, start = 0, bits = 0] = descriptor === undefined ? [] : words(scope, descriptor);
  const entries = count === 0 ? 0x10000 : count;
  if (bits < 1 || bits > 16) return undefined;
  const values = entriesOf(scope, data, entries, bits);
  return values && { first: signed && start >= 0x8000 ? start - 0x10000 : start, entries: values, bits };
}

/** LUT Data: words, or bytes where there are only as many (a table of 8 bits written as OW). */
function entriesOf(scope: DataSet, data: Element, count: number, bits: number): Uint16Array | undefined {
  const { bytes, littleEndian } = scope;
  if (data.length < 2 * count) {
    return bits === 8 && data.length >= count
      ? Uint16Array.from(bytes.subarray(data.offset, data.offset + count))
      : undefined;
  }
  const entries = new Uint16Array(count);
  for (let index = 0; index < count; index += 1) {
    const at = data.offset + 2 * index;
    entries[index] = littleEndian ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
  }
  return entries;
}
