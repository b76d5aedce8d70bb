/** Owns the proof that a codestream which would keep a decoder busy for hours is refused before it is decoded. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsenError } from '../../src/errors.ts';
import { readJpeg2000 } from '../../src/imaging/codestream.ts';
import { codestream } from './bad-images.ts';

const isBad = (thrown: unknown): boolean => thrown instanceof IsenError && thrown.code === 'BadFileFormat';

for (const [name, uid] of [
  ['JPEG 2000', '1.2.840.10008.1.2.4.90'],
  ['HTJ2K', '1.2.840.10008.1.2.4.201'],
] as const) {
  test(`${name}: tiles and packets that cannot be are refused (T.800 §A.5.1, §A.6.1)`, () => {
    const whole = Buffer.from(codestream(uid));
    const { rows, columns } = readJpeg2000(whole);
    assert.deepEqual([rows, columns], [32, 32]);
    const style = whole.indexOf(Buffer.from([0xff, 0x52]));
    for (const [what, at, value] of [
      ['a first tile right of the picture', 32, 1],
      ['a first tile far right of the picture', 32, 0xffffffff],
      ['a first tile below the picture', 36, 0x7fffffff],
      ['tiles of no width', 24, 0],
      ['tiles of no height', 28, 0],
      ['more tiles than parts of them', 24, 1],
      ['a picture that ends before it begins', 16, 0xffffffff],
    ] as const) {
      const altered = Buffer.from(whole);
      altered.writeUInt32BE(value, at);
      assert.throws(() => readJpeg2000(altered), isBad, what);
    }
    const layered = Buffer.from(whole);
    layered.writeUInt16BE(0xffff, style + 6);
    assert.throws(() => readJpeg2000(layered), isBad, 'more packets than bytes');
    const deep = Buffer.from(whole);
    deep[style + 9] = 33;
    assert.throws(() => readJpeg2000(deep), isBad, 'more levels than there may be');
  });
}
