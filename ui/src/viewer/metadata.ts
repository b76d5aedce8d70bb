/** Owns what the renderer asks about pictures: modules of the Standard in the renderer's words. */

import type { FrameInfo } from './info.ts';
import type { Loading } from './loading.ts';

function imagePlane({ plane, spacing, rows, columns, aspect, ...info }: FrameInfo): Record<string, unknown> {
  const [rowPixelSpacing, columnPixelSpacing] = spacing ?? [aspect, 1];
  const { row, column, position } = plane ?? { row: [1, 0, 0], column: [0, 1, 0], position: [0, 0, 0] };
  return {
    rows,
    columns,
    rowCosines: row,
    columnCosines: column,
    imageOrientationPatient: [...row, ...column],
    imagePositionPatient: position,
    pixelSpacing: [rowPixelSpacing, columnPixelSpacing],
    rowPixelSpacing,
    columnPixelSpacing,
    sliceThickness: info.thickness,
    sliceLocation: info.location,
    // Pictures without a frame of reference share none with others.
    frameOfReferenceUID: info.frameOfReference === '' ? info.texts.SOPInstanceUID : info.frameOfReference,
    // Distances are in pixels then, not in millimetres.
    usingDefaultValues: spacing === undefined,
  };
}

/** What the values of all slices fit in, which decides what a volume is made of: the pictures hold values of the modality. */
function wordOf({ bitsStored, signed, slope, intercept, tabled }: FrameInfo): {
  bitsAllocated: number;
  signed: boolean;
} {
  const least = signed ? -(2 ** (bitsStored - 1)) : 0;
  const ends = [least, least + 2 ** bitsStored - 1].map((value) => value * slope + intercept);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const isWhole = !tabled && Number.isInteger(slope) && Number.isInteger(intercept);
  if (isWhole && low >= -0x8000 && high <= 0x7fff) return { bitsAllocated: 16, signed: true };
  if (isWhole && low >= 0 && high <= 0xffff) return { bitsAllocated: 16, signed: false };
  return { bitsAllocated: 32, signed: true };
}

function imagePixel(info: FrameInfo): Record<string, unknown> {
  const color = !info.photometric.startsWith('MONOCHROME');
  const { bitsAllocated, signed } = color ? { bitsAllocated: 8, signed: false } : wordOf(info);
  return {
    samplesPerPixel: color ? 3 : 1,
    photometricInterpretation: color ? 'RGB' : info.photometric,
    rows: info.rows,
    columns: info.columns,
    bitsAllocated,
    bitsStored: bitsAllocated,
    highBit: bitsAllocated - 1,
    pixelRepresentation: signed ? 1 : 0,
  };
}

/** The renderer's provider of metadata for our pictures. */
export function metadataOf(loading: Loading): (type: string, imageId: unknown) => unknown {
  return (type, imageId) => {
    const found = typeof imageId === 'string' ? loading.find(imageId) : undefined;
    if (found === undefined) return undefined;
    const info = found.stack.info(found.frame);
    const [window] = info.windows;
    switch (type) {
      case 'imagePlaneModule':
        return imagePlane(info);
      case 'imagePixelModule':
        return imagePixel(info);
      case 'generalSeriesModule':
        return {
          modality: info.texts.Modality,
          seriesInstanceUID: info.texts.SeriesInstanceUID,
          studyInstanceUID: info.texts.StudyInstanceUID,
        };
      case 'generalImageModule':
        return { sopInstanceUID: info.texts.SOPInstanceUID, instanceNumber: info.instanceNumber };
      case 'voiLutModule':
        return {
          windowCenter: window && [window.center],
          windowWidth: window && [window.width],
          voiLUTFunction: info.voi,
        };
      case 'modalityLutModule':
        // Pixels come as values of the modality already.
        return { rescaleSlope: 1, rescaleIntercept: 0, rescaleType: info.unit };
      case 'calibrationModule':
        return info.spacingKind === 'detector' ? { type: 'Proj' } : undefined;
      case 'frameModule':
        return { sopInstanceUID: info.texts.SOPInstanceUID, frameNumber: found.frame.number + 1 };
      default:
        return undefined;
    }
  };
}
