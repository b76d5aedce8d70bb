/**
 * Owns what an image is while it is between a file and a picture: the attributes of the Image Pixel module (PS3.3 §C.7.6.3)
 * that say how samples lie, and one decoded frame. Pure data, so that it crosses threads.
 */

/** Attributes that are needed to decode a frame, checked: what is here can be trusted to be within its limits. */
export interface PixelAttributes {
  /** UID of the transfer syntax of the file. */
  readonly transferSyntax: string;
  readonly rows: number;
  readonly columns: number;
  /** 1, 3 or 4. */
  readonly samplesPerPixel: number;
  /** As in the file: MONOCHROME2, RGB, YBR_FULL_422 … */
  readonly photometricInterpretation: string;
  /** 0 by pixel, 1 by plane; 0 for one sample. */
  readonly planarConfiguration: 0 | 1;
  /** 1, 8, 16, 32 or 64. */
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly highBit: number;
  /** Whether samples are two's complement (Pixel Representation 1). */
  readonly signed: boolean;
  /** Float Pixel Data (7FE0,0008) or Double Float Pixel Data (7FE0,0009). */
  readonly float: boolean;
  readonly frames: number;
}

/** Samples of one frame, in the type that holds their stored values. */
export type Samples =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** One decoded frame: interleaved samples (colour by pixel), stored values, bits above Bits Stored resolved (sign or zero). */
export interface Frame {
  readonly rows: number;
  readonly columns: number;
  readonly samplesPerPixel: number;
  /** Of `samples`: MONOCHROME1, MONOCHROME2, PALETTE COLOR or RGB (what is YBR in the file has been converted). */
  readonly photometricInterpretation: 'MONOCHROME1' | 'MONOCHROME2' | 'PALETTE COLOR' | 'RGB';
  readonly samples: Samples;
}
