/** Owns how a stored file goes out in another transfer syntax. */

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { IsenError } from '../errors.ts';
import type { StoredFile } from '../ingest/header.ts';
import { isImpossible, type Transcoder } from '../ingest/transcoder.ts';
import { transferSyntax } from '../dicom/transfer-syntaxes.ts';
import type { Environment } from './routes.ts';

/** `lossy-quality` of the query. */
export const lossyQuality = z
  .string()
  .regex(/^([1-9]\d?|100)$/, 'a quality from 1 to 100 is expected')
  .transform(Number)
  .optional()
  .openapi({ type: 'integer', minimum: 1, maximum: 100 });

/** Bytes of transcoded files that may be in memory for clients that are slow to take them, beside one. */
const TOGETHER = 512 << 20;
let held = 0;

/**
 * The file in the transfer syntax `transcode`, always whole. Throws ParameterOutOfRange for a UID that no transfer syntax has,
 * InternalError where the file cannot be had in it, Busy when clients are too slow to take what was made for them.
 */
export async function sendTranscoded(
  context: Context<Environment>,
  transcoder: Transcoder,
  file: StoredFile,
  { transcode, quality }: { readonly transcode: string; readonly quality: number | undefined },
  headers: Record<string, string>,
): Promise<Response> {
  if (transferSyntax(transcode) === undefined)
    throw new IsenError('ParameterOutOfRange', `Unknown transfer syntax: ${transcode}`);
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await transcoder.transcode(file, transcode, quality);
  } catch (thrown) {
    if (!isImpossible(thrown)) throw thrown;
    throw new IsenError('InternalError', `Cannot transcode to transfer syntax: ${transcode}`, { cause: thrown });
  }
  if (held > 0 && held + bytes.length > TOGETHER) throw new IsenError('Busy', 'too many files wait for their clients');
  const { outgoing } = context.env;
  // Whoever left meanwhile has no event left to tell so.
  if (!outgoing.closed) {
    held += bytes.length;
    outgoing.once('close', () => {
      held -= bytes.length;
    });
  }
  return new Response(context.req.method === 'HEAD' ? null : bytes, {
    headers: { ...headers, 'Content-Length': String(bytes.length) },
  });
}
