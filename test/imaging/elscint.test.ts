import assert from 'node:assert/strict';
import { test } from 'node:test';
import { show } from '../../src/imaging/show.ts';
import { make } from '../dicom/made.ts';

/** The stored values of a frame of 2 × 3 that Elscint compressed so. */
async function values(pixels: readonly number[], bits: 8 | 16 = 16, frames = 1): Promise<number[]> {
  const bytes = make({
    rows: 2,
    columns: 3,
    bits,
    frames,
    pixels: false,
    extra: [
      { tag: '07a1,0010', vr: 'LO', value: 'ELSCINT1' },
      { tag: '07a1,100a', vr: 'OB', value: Uint8Array.from(pixels) },
      { tag: '07a1,1011', vr: 'CS', value: 'PMSCT_RLE1' },
    ],
  });
  const answer = await show({ bytes, truncated: false, frame: 0, question: { kind: 'array', rescaled: false } });
  return [...new Uint16Array(answer.bytes.buffer)];
}

test('runs, differences and whole samples', async () => {
  assert.deepEqual(await values([0xa5, 2, 1, 0x5a, 0x34, 0x12, 0xff, 0x02]), [1, 2, 3, 0x1234, 0x1233, 0x1235]);
  // Below 0 it goes on at the other end; a run may be of anything, of what begins a sample too.
  assert.deepEqual(
    await values([0xff, 1, 0xa5, 0, 0x5a, 0xa5, 0, 0xa5, 0x12, 0, 0, 0]),
    [0xffff, 0, 0x12a5, 0x12a5, 0x12a5, 0x12a5],
  );
});

test('what is too short, too long or of another kind is refused', async () => {
  for (const pixels of [[], [1, 1], [0xa5, 9], [1, 1, 1, 1, 1, 0x5a], [0xa5, 255, 0], Array<number>(19).fill(1)])
    await assert.rejects(values(pixels), { code: 'BadFileFormat' }, pixels.join(' '));
  await assert.rejects(values([0xa5, 5, 0], 8), { code: 'IncompatibleImageFormat' });
  await assert.rejects(values([0xa5, 5, 0], 16, 2), { code: 'IncompatibleImageFormat' });
});
