import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { NewElement } from '../../src/dicom/write.ts';
import type { Rendered } from '../../src/imaging/render.ts';
import { show } from '../../src/imaging/show.ts';
import { make } from '../dicom/made.ts';
import { temporaryFolder, without } from '../peer.ts';

const WIDTH = 64;
const HEIGHT = 64;

/** 12 bits: every value of them, upwards by rows. */
const RAMP = Uint8Array.from(new Uint8Array(Uint16Array.from({ length: WIDTH * HEIGHT }, (_, at) => at).buffer));

const bits = (allocated: number, stored: number): NewElement[] => [
  { tag: '0028,0100', vr: 'US', value: [allocated] },
  { tag: '0028,0101', vr: 'US', value: [stored] },
  { tag: '0028,0102', vr: 'US', value: [stored - 1] },
];
const number = (tag: string, value: number): NewElement => ({ tag, vr: 'DS', value: String(value) });
const window = (center: number, width: number): NewElement[] => [
  number('0028,1050', center),
  number('0028,1051', width),
];
const text = (tag: string, value: string): NewElement => ({ tag, vr: 'CS', value });
const INVERTED = text('0028,0004', 'MONOCHROME1');

/** A table of as many entries, of so many bits. */
function table(tag: string, first: number, entries: readonly number[], depth: number): NewElement {
  const item: NewElement[] = [
    { tag: '0028,3002', vr: 'US', value: [entries.length, first, depth] },
    { tag: '0028,3006', vr: 'US', value: [...entries] },
  ];
  if (tag === '0028,3000') item.push({ tag: '0028,3004', vr: 'LO', value: 'US' });
  return { tag, vr: 'SQ', value: { items: [item] } };
}

const file = (extra: readonly NewElement[], pixels: Uint8Array = RAMP): Buffer =>
  make({ rows: HEIGHT, columns: WIDTH, pixels, extra: [...bits(16, 12), ...extra] });

/** The levels of `rendered`, from the lines that come before the samples of a PAM. */
async function rendered(bytes: Buffer, asked: Partial<Rendered> = {}): Promise<Uint8Array> {
  const answer = await show({
    bytes,
    truncated: false,
    frame: 0,
    question: { kind: 'picture', rendering: { kind: 'rendered', smooth: false, ...asked }, format: 'pam', quality: 90 },
  });
  return answer.bytes.subarray(Buffer.from(answer.bytes).indexOf('ENDHDR\n') + 7);
}

const square = Array.from({ length: 256 }, (_, at) => (at * at) & 0xffff);

/** What dcmj2pnm understands, and the options that have it do the same. */
const SHOWN: readonly (readonly [string, readonly NewElement[], readonly string[]])[] = [
  ['a window', window(1000, 800), ['+Wi', '1']],
  [
    'a window of rescaled values',
    [...window(40, 400), number('0028,1052', -1024), number('0028,1053', 1)],
    ['+Wi', '1'],
  ],
  [
    'a window of a steep slope',
    [...window(500, 4000), number('0028,1052', -5), number('0028,1053', 2.5)],
    ['+Wi', '1'],
  ],
  ['a window, inverted', [...window(1000, 800), INVERTED], ['+Wi', '1']],
  ['a sigmoid', [...window(2000, 1500), text('0028,1056', 'SIGMOID')], ['+Wi', '1', '--sigmoid-function']],
  ['a table of the modality', [...window(20_000, 40_000), table('0028,3000', 1000, square, 16)], ['+Wi', '1']],
  ['a table of the values of interest', [table('0028,3010', 1000, square, 16)], ['+Wl', '1']],
  ['a table of 8 bits', [table('0028,3010', 500, square.slice(0, 16), 8)], ['+Wl', '1']],
];

for (const [name, elements, options] of SHOWN)
  test(`${name} is shown as dcmj2pnm does`, { skip: without('dcmj2pnm') }, async () => {
    const bytes = file(elements);
    const path = join(temporaryFolder(), 'made.dcm');
    writeFileSync(path, bytes);
    const run = spawnSync('dcmj2pnm', ['--write-raw-pnm', ...options, path, `${path}.pgm`]);
    assert.equal(run.status, 0, String(run.stderr));
    const theirs = readFileSync(`${path}.pgm`).subarray(-WIDTH * HEIGHT);
    const ours = await rendered(bytes);
    assert.ok(new Set(ours).size > 2);
    const most = ours.reduce((found, level, at) => Math.max(found, Math.abs(level - (theirs[at] ?? 0))), 0);
    // It rounds, where the reference cuts off, and its windows are half a value aside (PS3.3 §C.11.2.1.2.1).
    assert.ok(most <= 2, `by ${most}`);
  });

test('the ends of a table go on beyond it', async () => {
  const levels = await rendered(file([table('0028,3010', 100, [10, 20, 250], 8)]));
  assert.deepEqual([...levels.subarray(98, 104)], [10, 10, 10, 20, 250, 250]);
});

test('padding is black, also where black is the largest value', async () => {
  const padding: NewElement[] = [
    { tag: '0028,0120', vr: 'US', value: [4000] },
    { tag: '0028,0121', vr: 'US', value: [4010] },
  ];
  for (const inverted of [[], [INVERTED]]) {
    const levels = await rendered(file([...window(2048, 4096), ...padding, ...inverted]));
    assert.deepEqual([...new Set(levels.subarray(4000, 4011))], [0]);
    assert.ok(levels[4011] === (inverted.length === 0 ? 249 : 6), String(levels[4011]));
  }
});

test('half a window is made whole by that of the image', async () => {
  const own = file(window(1000, 400));
  assert.deepEqual(
    await rendered(own, { window: { center: 2000, width: undefined } }),
    await rendered(file(window(2000, 400))),
  );
  assert.deepEqual(
    await rendered(own, { window: { center: undefined, width: 50 } }),
    await rendered(file(window(1000, 50))),
  );
  const none = file([]);
  assert.deepEqual(await rendered(none), await rendered(file(window(2048, 4096))));
  assert.deepEqual(
    await rendered(none, { window: { center: 1000, width: undefined } }),
    await rendered(file(window(1000, 4096))),
  );
});

test('without a window a table of the modality is shown whole', async () => {
  const levels = await rendered(
    file([
      table(
        '0028,3000',
        0,
        Array.from({ length: 4096 }, (_, at) => at * 16),
        16,
      ),
    ]),
  );
  assert.deepEqual([levels[0], levels[2048], levels[4095]], [0, 127, 254]);
});

test('floats are shown from their smallest to their largest, unless a window says else', async () => {
  const values = Array.from({ length: WIDTH * HEIGHT }, (_, at) => at / 4096 - 0.5);
  values[7] = Number.NaN;
  values[8] = Number.POSITIVE_INFINITY;
  const kinds = [
    [new Uint8Array(Float32Array.from(values).buffer), '7fe0,0008', 'OF', 32],
    [new Uint8Array(Float64Array.from(values).buffer), '7fe0,0009', 'OD', 64],
  ] as const;
  for (const [value, tag, vr, allocated] of kinds) {
    const floats = (extra: readonly NewElement[]): Buffer =>
      make({
        rows: HEIGHT,
        columns: WIDTH,
        pixels: false,
        without: ['0028,0101', '0028,0102', '0028,0103'],
        extra: [{ tag: '0028,0100', vr: 'US', value: [allocated] }, { tag, vr, value }, ...extra],
      });
    const levels = await rendered(floats([]));
    assert.deepEqual([levels[0], levels[2048], levels[4095], levels[7], levels[8]], [0, 127, 255, 0, 255], vr);
    const windowed = await rendered(floats(window(0, 0.5)));
    assert.deepEqual([windowed[1023], windowed[2048], windowed[3073]], [0, 127, 255], vr);
  }
});
