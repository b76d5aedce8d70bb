/**
 * Owns the one instance of the codecs' WebAssembly (dcmjs-codecs: libjpeg, CharLS, OpenJPEG and OpenJPH) that a thread has. It is
 * made at the first use, in some 30 ms, and is thrown away after a fault, whose half-done work would stay in its memory, and
 * after a picture so large that its memory, which cannot shrink, is better given back.
 *
 * The binary is used without the JavaScript around it: that can be started only asynchronously and loads a DICOM parser.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { IsenError } from '../errors.ts';

/** What the runtime knows of WebAssembly and the compiler's library, without a browser's, does not. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
};

/** How samples lie in a buffer that a codec reads or writes. */
export interface CodecImage {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly samplesPerPixel: number;
  readonly signed: boolean;
  readonly planarConfiguration: 0 | 1;
  readonly photometricInterpretation: string;
}

/** Samples that a codec decoded: little endian words of `bitsAllocated`. */
export interface Decoded extends CodecImage {
  readonly bytes: Uint8Array;
}

/** Parameters of encoding; each codec reads its own. */
export interface EncodeParameters {
  readonly lossy: boolean;
  /** JPEG: 1 to 100. */
  readonly quality?: number;
  /** JPEG-LS: by how much a sample may differ. */
  readonly allowedLossyError?: number;
  /** JPEG 2000: uncompressed over compressed size. */
  readonly rate?: number;
  /** JPEG 2000: RPCL, resolution by resolution; otherwise LRCP. */
  readonly rpcl?: boolean;
  /** JPEG 2000: whether RGB is transformed into luminance and chrominance. */
  readonly colourTransform?: boolean;
}

export type CodecName = 'Rle' | 'Jpeg' | 'JpegLs' | 'Jpeg2000' | 'HtJpeg2000';

/** The binary's functions that are used; pointers and booleans are numbers. */
type Exports = Readonly<
  Record<
    | `${'Set' | 'Get'}${
        | 'Columns'
        | 'Rows'
        | 'BitsAllocated'
        | 'BitsStored'
        | 'SamplesPerPixel'
        | 'PixelRepresentation'
        | 'PlanarConfiguration'
        | 'PhotometricInterpretation'
        | 'EncodedBufferSize'
        | 'DecodedBufferSize'}`
    | `Set${
        | 'ConvertColorspaceToRgb'
        | 'Lossy'
        | 'Quality'
        | 'SmoothingFactor'
        | 'SampleFactor'
        | 'Predictor'
        | 'PointTransform'
        | 'AllowedLossyError'
        | 'ProgressionOrder'
        | 'Rate'
        | 'AllowMct'}`
    | `Get${'EncodedBuffer' | 'DecodedBuffer'}`
    | `${'Create' | 'Release'}${'CodecsContext' | 'DecoderParameters' | 'EncoderParameters'}`
    | `${'Decode' | 'Encode'}${CodecName}`
    | '_initialize',
    (...parameters: readonly (number | boolean)[]) => number
  >
> & { readonly memory: { readonly buffer: ArrayBuffer } };

/** Values of Photometric Interpretation in the order of the binary's numbers. */
const PHOTOMETRIC = [
  'MONOCHROME1',
  'MONOCHROME2',
  'PALETTE COLOR',
  'RGB',
  'YBR_FULL',
  'YBR_FULL_422',
  'YBR_PARTIAL_422',
  'YBR_PARTIAL_420',
  'YBR_ICT',
  'YBR_RCT',
];
const LRCP = 0;
const RPCL = 2;
/** JPEG's chrominance is not subsampled: the first of the binary's sample factors. */
const FACTOR_444 = 0;

/** Bytes of memory above which an instance is not kept; it begins with 256 MiB of address space. */
const KEPT_MEMORY = 384 * 1024 * 1024;

let compiled: object | undefined;
let instance: Exports | undefined;

/**
 * Decodes one codestream; `rgb` has JPEG's YBR converted.
 * @throws {IsenError} BadFileFormat for a codestream that the codec refuses.
 */
export function decodeWith(codec: CodecName, codestream: Uint8Array, image: CodecImage, rgb = false): Decoded {
  return guarded('BadFileFormat', (codecs) => {
    const context = contextOf(codecs, image);
    codecs.SetEncodedBufferSize(context, codestream.length);
    new Uint8Array(codecs.memory.buffer).set(codestream, codecs.GetEncodedBuffer(context));
    const parameters = codecs.CreateDecoderParameters();
    codecs.SetConvertColorspaceToRgb(parameters, rgb);
    codecs[`Decode${codec}`](context, parameters);
    codecs.ReleaseDecoderParameters(parameters);
    const start = codecs.GetDecodedBuffer(context);
    const decoded: Decoded = {
      rows: codecs.GetRows(context),
      columns: codecs.GetColumns(context),
      bitsAllocated: codecs.GetBitsAllocated(context),
      bitsStored: codecs.GetBitsStored(context),
      samplesPerPixel: codecs.GetSamplesPerPixel(context),
      signed: codecs.GetPixelRepresentation(context) === 1,
      planarConfiguration: codecs.GetPlanarConfiguration(context) === 1 ? 1 : 0,
      photometricInterpretation: PHOTOMETRIC[codecs.GetPhotometricInterpretation(context)] ?? '',
      bytes: new Uint8Array(codecs.memory.buffer.slice(start, start + codecs.GetDecodedBufferSize(context))),
    };
    codecs.ReleaseCodecsContext(context);
    return decoded;
  });
}

/**
 * Encodes one frame: little endian words of `image.bitsAllocated`.
 * @throws {IsenError} IncompatibleImageFormat for an image that the codec cannot encode.
 */
export function encodeWith(
  codec: CodecName,
  samples: Uint8Array,
  image: CodecImage,
  parameters: EncodeParameters,
): Uint8Array {
  return guarded('IncompatibleImageFormat', (codecs) => {
    const context = contextOf(codecs, image);
    codecs.SetDecodedBufferSize(context, samples.length);
    new Uint8Array(codecs.memory.buffer).set(samples, codecs.GetDecodedBuffer(context));
    const chosen = codecs.CreateEncoderParameters();
    codecs.SetLossy(chosen, parameters.lossy);
    codecs.SetQuality(chosen, parameters.quality ?? 90);
    codecs.SetSmoothingFactor(chosen, 0);
    codecs.SetSampleFactor(chosen, FACTOR_444);
    codecs.SetPredictor(chosen, parameters.lossy ? 0 : 1);
    codecs.SetPointTransform(chosen, 0);
    codecs.SetAllowedLossyError(chosen, parameters.allowedLossyError ?? 0);
    codecs.SetProgressionOrder(chosen, parameters.rpcl === true ? RPCL : LRCP);
    codecs.SetRate(chosen, parameters.rate ?? 0);
    codecs.SetAllowMct(chosen, parameters.colourTransform ?? false);
    codecs[`Encode${codec}`](context, chosen);
    codecs.ReleaseEncoderParameters(chosen);
    const start = codecs.GetEncodedBuffer(context);
    const codestream = codecs.memory.buffer.slice(start, start + codecs.GetEncodedBufferSize(context));
    codecs.ReleaseCodecsContext(context);
    return new Uint8Array(codestream);
  });
}

/** Does `work` with the instance; whatever is thrown becomes `code`, and the instance is not used again. */
function guarded<Result>(code: 'BadFileFormat' | 'IncompatibleImageFormat', work: (codecs: Exports) => Result): Result {
  const codecs = (instance ??= instantiate());
  try {
    const result = work(codecs);
    if (codecs.memory.buffer.byteLength > KEPT_MEMORY) instance = undefined;
    return result;
  } catch (thrown) {
    instance = undefined;
    throw new IsenError(code, 'the codec refused the picture', { cause: thrown });
  }
}

function contextOf(codecs: Exports, image: CodecImage): number {
  const context = codecs.CreateCodecsContext();
  codecs.SetColumns(context, image.columns);
  codecs.SetRows(context, image.rows);
  codecs.SetBitsAllocated(context, image.bitsAllocated);
  codecs.SetBitsStored(context, image.bitsStored);
  codecs.SetSamplesPerPixel(context, image.samplesPerPixel);
  codecs.SetPixelRepresentation(context, image.signed ? 1 : 0);
  codecs.SetPlanarConfiguration(context, image.planarConfiguration);
  codecs.SetPhotometricInterpretation(context, Math.max(0, PHOTOMETRIC.indexOf(image.photometricInterpretation)));
  return context;
}

function instantiate(): Exports {
  if (compiled === undefined) {
    const path = createRequire(import.meta.url).resolve('dcmjs-codecs/build/dcmjs-native-codecs.wasm');
    compiled = new WebAssembly.Module(readFileSync(path));
  }
  let memory: { readonly buffer: ArrayBuffer } | undefined;
  const exit = (status: number): never => {
    throw new Error(`the codec ended with status ${status}`);
  };
  const made = new WebAssembly.Instance(compiled, {
    env: {
      onCodecsException(at: number, length: number): never {
        throw new Error(Buffer.from(memory?.buffer ?? new ArrayBuffer(0), at, length).toString('latin1'));
      },
      onCodecsInfo() {},
      onCodecsTrace() {},
      emscripten_notify_memory_growth() {},
    },
    // The codecs have no files, clock or environment; what they would print is dropped.
    wasi_snapshot_preview1: {
      proc_exit: exit,
      clock_time_get: () => 0,
      fd_write(_file: number, vectors: number, count: number, written: number): number {
        const view = new DataView(memory?.buffer ?? new ArrayBuffer(0));
        let total = 0;
        for (let at = vectors; at < vectors + count * 8; at += 8) total += view.getUint32(at + 4, true);
        view.setUint32(written, total, true);
        return 0;
      },
      fd_close: () => 0,
      fd_seek: () => 0,
      environ_get: () => 0,
      environ_sizes_get(count: number, size: number): number {
        const view = new DataView(memory?.buffer ?? new ArrayBuffer(0));
        view.setUint32(count, 0, true);
        view.setUint32(size, 0, true);
        return 0;
      },
    },
  });
  // The names above are those of the pinned version, which the suite of the capability table calls one by one.
  const exports = made.exports as Exports;
  memory = exports.memory;
  return exports;
}
