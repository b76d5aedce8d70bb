/** Owns what the renderer takes for an image. */

import { Enums, type Types, utilities } from '@cornerstonejs/core';
import type { FrameInfo } from './info.ts';
import type { Picture } from './pixels.ts';

/** The renderer's image of a picture. */
export function imageOf(imageId: string, picture: Picture, info: FrameInfo): Types.IImage {
  const { rows, columns, channels, samples, least, most, window } = picture;
  const color = channels > 1;
  const [rowSpacing, columnSpacing] = info.spacing ?? [info.aspect, 1];
  const voxelManager = utilities.VoxelManager.createImageVoxelManager({
    scalarData: samples,
    width: columns,
    height: rows,
    numberOfComponents: channels,
  });
  return {
    imageId,
    isPreScaled: true,
    preScale: { enabled: true, scaled: true, scalingParameters: { rescaleSlope: 1, rescaleIntercept: 0 } },
    minPixelValue: least,
    maxPixelValue: most,
    slope: 1,
    intercept: 0,
    windowCenter: window.center,
    windowWidth: window.width,
    voiLUTFunction: Enums.VOILUTFunctionType[window.voi === 'SIGMOID' ? 'SAMPLED_SIGMOID' : window.voi],
    getPixelData: () => samples,
    // It is asked for only where a picture comes as a canvas.
    getCanvas: () => document.createElement('canvas'),
    rows,
    columns,
    height: rows,
    width: columns,
    color,
    rgba: channels === 4,
    numberOfComponents: channels,
    rowPixelSpacing: rowSpacing,
    columnPixelSpacing: columnSpacing,
    invert: info.photometric === 'MONOCHROME1',
    photometricInterpretation: color ? 'RGB' : info.photometric,
    sizeInBytes: samples.byteLength,
    FrameOfReferenceUID: info.frameOfReference,
    dataType: samples.constructor.name as Types.PixelDataTypedArrayString,
    voxelManager,
  };
}
