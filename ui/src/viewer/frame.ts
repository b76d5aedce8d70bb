/** Owns how one frame is fetched, decoded by the server. */

import { request } from '../api.ts';
import type { Frame } from './stack.ts';

/** Attempts at a frame while the server is busy. */
const ATTEMPTS = 4;

/** The NumPy file of a frame; `rescale`: with values of the modality, else with those that are stored. Throws ApiError. */
export async function fetchFrame(
  { instance, number }: Frame,
  rescale: boolean,
  signal: AbortSignal,
): Promise<ArrayBuffer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const query = { rescale };
      return await (
        await request('GET', `instances/${instance}/frames/${number}/numpy`, { query, signal })
      ).arrayBuffer();
    } catch (thrown) {
      if (attempt === ATTEMPTS || (thrown as { readonly status?: number }).status !== 503) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
      signal.throwIfAborted();
    }
  }
}
