/**
 * A process of the tests of storage/kernel-writes: it collects garbage at the last moment before the kernel is told of a write, in code that
 * V8 has optimised, and says how many writes the kernel refused then. Needs --expose-gc.
 */

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { allocatePages, PAGE } from '../../src/storage/pages.ts';
import { temporaryFolder } from '../peer.ts';

let refused = 0;
const { writevSync } = fs;
fs.writevSync = (fd, buffers, position) => {
  refused += 1;
  return writevSync(fd, buffers, Number(position));
};
syncBuiltinESMExports();
const { beginWrite } = await import('../../src/storage/kernel-writes.ts');

const fd = fs.openSync(join(temporaryFolder(), 'file'), fs.constants.O_CREAT | fs.constants.O_RDWR, 0o600);
const parts = Array.from({ length: 4 }, () => new Uint8Array(allocatePages(PAGE)).subarray(0, 8));
const memory: Buffer[] = [];
/** The place of a write, which is asked for when everything else of it is there. */
const placeThat = (acts: () => void): number =>
  ({
    valueOf() {
      acts();
      return 0;
    },
  }) as unknown as number;
const collecting = placeThat(() => {
  globalThis.gc?.();
  globalThis.gc?.();
  // The memory of buffers is freed by another thread.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  memory.splice(0, memory.length, ...Array.from({ length: 200 }, () => Buffer.alloc(64, 0xee)));
});
const idle = placeThat(() => {});
let count = 0;
beginWrite(fd, parts, 0)();
if (refused > 0) process.stdout.write('none here\n');
for (let round = 0; round < 4; round++) {
  for (let write = 0; write < 30_000; write++) beginWrite(fd, parts, write % 2 === 0 ? 0 : idle)();
  refused = round === 0 ? 0 : refused;
  for (let write = 0; write < 10; write++, count++) beginWrite(fd, parts, collecting)();
}
fs.closeSync(fd);
process.stdout.write(`${refused} of ${count} refused by the kernel\n`);
