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

function imagePixel(info: FrameInfo): Record<string, unknown> {
  const color = !info.photometric.startsWith('MONOCHROME');
  return {
    samplesPerPixel: color ? 3 : 1,
    photometricInterpretation: color ? 'RGB' : info.photometric,
    rows: info.rows,
    columns: info.columns,
    bitsAllocated: color || info.bitsStored <= 8 ? 8 : 16,
    bitsStored: color ? 8 : info.bitsStored,
    highBit: color ? 7 : info.bitsStored - 1,
    pixelRepresentation: info.signed ? 1 : 0,
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
