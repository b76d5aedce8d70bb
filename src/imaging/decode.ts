/** Owns the decoding of one frame in any transfer syntax to its stored values. Pure and synchronous: it runs in a worker. */

import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { IsenError } from '../errors.ts';
import type { Frame, PixelAttributes } from './image.ts';
import { decodeNative } from './native.ts';

/**
 * Decodes one frame. `bytes` are what `GET /frames/N/raw` answers: for an encapsulated transfer syntax the codestream (fragments
 * concatenated), for a native one the frame in little endian words (see `FrameLocation.swapped`). The samples may be a view of them.
 * @throws {IsenError} BadFileFormat for bytes that are not such a frame, NotImplemented for a transfer syntax that cannot be
 * decoded, IncompatibleImageFormat for samples or colours that cannot be shown.
 */
export function decodeFrame(bytes: Uint8Array, attributes: PixelAttributes): Frame {
  const syntax = transferSyntax(attributes.transferSyntax);
  if (syntax === undefined || !syntax.encapsulated) return decodeNative(bytes, attributes);
  throw new IsenError('NotImplemented', `cannot decode transfer syntax ${attributes.transferSyntax}`);
}
