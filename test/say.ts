/** Owns what the processes that suites kill say of themselves. */

import { writeSync } from 'node:fs';

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** Writes to standard output, and returns when it is out: whoever is killed then has said it. A reader that is slow is waited for. */
export function say(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (thrown) {
      if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EAGAIN')) throw thrown;
      Atomics.wait(nobody, 0, 0, 1);
    }
  }
}
