/** Owns series of pictures made in code for the suites of the interface: phantoms whose values and places are known. */

import type { NewElement } from '../../src/dicom/write.ts';
import { type Made, make } from '../dicom/made.ts';

/** What {@link phantomSeries} varies. */
export interface Phantom extends Made {
  readonly slices?: number;
  /** Ends of the UIDs: another number is another study, or another series of it. */
  readonly study?: number;
  readonly series?: number;
  readonly modality?: string;
  readonly studyDescription?: string;
  readonly seriesDescription?: string;
  /** Millimetres. */
  readonly spacing?: number;
  readonly thickness?: number;
}

const ROOT = '2.25.20261129';

/** Stored values of {@link phantomSeries}, which its rescaling makes to HU by subtracting 1024. */
export const PHANTOM = { air: 24, water: 1024, bone: 2024 } as const;

/**
 * An axial CT of a cylinder of water in air, with a square rod of bone to the patient's left that grows by a pixel each slice. Rows and
 * columns are 64 unless said otherwise; 16 bits stored in 12.
 */
export function phantomSeries(options: Phantom = {}): Buffer[] {
  const { slices = 8 } = options;
  return Array.from({ length: slices }, (_, slice) => phantomSlice(options, slice));
}

/** One slice of {@link phantomSeries}, counted from 0. */
export function phantomSlice(options: Phantom, slice: number): Buffer {
  const { rows = 64, columns = 64, study = 1, series = 1, spacing = 1, thickness = 2, modality = 'CT' } = options;
  const text = (tag: string, vr: string, value: string): NewElement => ({ tag, vr, value });
  const half = (rows * spacing) / 2;
  const extra = options.extra ?? [];
  const given = new Set(extra.map(({ tag }) => tag));
  return make({
    rows,
    columns,
    bits: 16,
    patientId: `PHANTOM${study}`,
    patientName: 'Phantom^Cylinder',
    pixels: phantomPixels(rows, columns, slice),
    ...options,
    studyUid: `${ROOT}.${study}`,
    seriesUid: `${ROOT}.${study}.${series}`,
    sopUid: `${ROOT}.${study}.${series}.${slice + 1}`,
    extra: [
      ...[
        text('0008,0030', 'TM', '101500'),
        text('0008,0060', 'CS', modality),
        text('0008,1030', 'LO', options.studyDescription ?? 'Cylinder of water'),
        text('0008,103e', 'LO', options.seriesDescription ?? `Axial ${series}`),
        text('0010,0030', 'DA', '19700131'),
        text('0010,0040', 'CS', 'O'),
        text('0018,0050', 'DS', String(thickness)),
        text('0020,0011', 'IS', String(series)),
        text('0020,0013', 'IS', String(slice + 1)),
        text('0020,0032', 'DS', `${-half}\\${-half}\\${slice * thickness}`),
        text('0020,0037', 'DS', '1\\0\\0\\0\\1\\0'),
        text('0020,0052', 'UI', `${ROOT}.${study}.0`),
        text('0020,1041', 'DS', String(slice * thickness)),
        text('0028,0030', 'DS', `${spacing}\\${spacing}`),
        { tag: '0028,0101', vr: 'US', value: [12] },
        { tag: '0028,0102', vr: 'US', value: [11] },
        text('0028,1050', 'DS', '40'),
        text('0028,1051', 'DS', '2000'),
        text('0028,1052', 'DS', '-1024'),
        text('0028,1053', 'DS', '1'),
        text('0028,1054', 'LO', 'HU'),
      ].filter(({ tag }) => !given.has(tag)),
      ...extra,
    ],
  });
}

/** The words of a slice: a circle of water, three eighths of the rows in radius, with the rod in it. */
function phantomPixels(rows: number, columns: number, slice: number): Uint8Array {
  const words = new Uint16Array(rows * columns).fill(PHANTOM.air);
  const [middle, centre, radius] = [rows / 2, columns / 2, (rows * 3) / 8];
  const rod = { left: Math.round(columns * 0.625), top: middle - 2, size: 4 + (slice % 8) };
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      const inRod = x >= rod.left && x < rod.left + rod.size && y >= rod.top && y < rod.top + rod.size;
      const inWater = Math.hypot(x + 0.5 - centre, y + 0.5 - middle) < radius;
      if (inRod) words[y * columns + x] = PHANTOM.bone;
      else if (inWater) words[y * columns + x] = PHANTOM.water;
    }
  }
  return new Uint8Array(words.buffer);
}
