/** Owns the composition of the server. */

import type { Config } from './config.ts';
import { IsenError } from './errors.ts';

export async function start(_options: {
  readonly config: Config;
  readonly warnings: readonly string[];
}): Promise<{ close(): Promise<void>; readonly url: string }> {
  throw new IsenError('NotImplemented', 'the doors are not built yet');
}
