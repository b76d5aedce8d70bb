/** The tests of storage/kernel-writes, on files that are read back. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { beginWrite } from '../../src/storage/kernel-writes.ts';
import { allocatePages, PAGE } from '../../src/storage/pages.ts';
import { temporaryFolder } from '../peer.ts';

const { O_CREAT, O_RDWR, O_DSYNC, O_DIRECT } = constants;

/** Random bytes in memory that may go past the page cache. */
function pages(count: number): Uint8Array {
  const memory = new Uint8Array(allocatePages(count * PAGE));
  memory.set(randomBytes(count * PAGE));
  return memory;
}

for (const [name, flags] of [
  ['past the page cache', O_CREAT | O_RDWR | O_DSYNC | (O_DIRECT ?? 0)],
  ['through the page cache', O_CREAT | O_RDWR],
] as const) {
  test(`writes ${name} that are under way at the same time all end where they belong`, () => {
    const path = join(temporaryFolder(), 'file');
    const fd = openSync(path, flags, 0o600);
    // More than the kernel takes of a thread at a time, of one page to five in up to three parts.
    const writes: { readonly parts: readonly Uint8Array[]; readonly at: number }[] = [];
    let at = 0;
    for (let index = 0; index < 150; index++) {
      const parts = Array.from({ length: (index % 3) + 1 }, (_, part) => pages(part + (index % 2) + 1));
      writes.push({ parts, at });
      at += parts.reduce((sum, { length }) => sum + length, 0);
    }
    const waits = writes.map((write) => ({ ...write, wait: beginWrite(fd, write.parts, write.at) }));
    // The last first: what is waited for is told apart from what is done.
    for (const { parts, wait } of waits.toReversed())
      assert.equal(
        wait(),
        parts.reduce((sum, { length }) => sum + length, 0),
      );
    closeSync(fd);
    const bytes = readFileSync(path);
    assert.equal(bytes.length, at);
    for (const write of writes) {
      const whole = Buffer.concat(write.parts);
      assert.ok(bytes.subarray(write.at, write.at + whole.length).equals(whole));
    }
  });
}

test('what is collected as garbage meanwhile is none that the kernel reads', (context) => {
  const run = spawnSync(
    process.execPath,
    ['--expose-gc', fileURLToPath(new URL('./kernel-writes-child.js', import.meta.url))],
    {
      // Freed memory holds something else at once.
      env: { ...process.env, MALLOC_PERTURB_: '165' },
      encoding: 'utf8',
    },
  );
  assert.equal(run.stderr, '');
  if (run.stdout.startsWith('none here')) return context.skip('needs Linux, the package koffi and io_submit(2)');
  assert.equal(run.stdout, '0 of 40 refused by the kernel\n');
});

test('a write that fails says why when it is waited for', () => {
  const path = join(temporaryFolder(), 'file');
  closeSync(openSync(path, O_CREAT | O_RDWR, 0o600));
  const readable = openSync(path, constants.O_RDONLY);
  assert.throws(() => beginWrite(readable, [pages(1)], 0)(), { code: 'EBADF' });
  closeSync(readable);
  assert.throws(() => beginWrite(readable, [pages(1)], 0)(), { code: 'EBADF' });
  const full = openSync('/dev/full', constants.O_WRONLY);
  assert.throws(() => beginWrite(full, [pages(1)], 0)(), { code: 'ENOSPC' });
  closeSync(full);
});
