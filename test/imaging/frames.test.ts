/** Owns the proof that frames are found where they are: built files of every shape, and the reference's recorded raw frames. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { readFile } from '../../src/dicom/read.ts';
import type { Fragments, NewElement } from '../../src/dicom/write.ts';
import { asIsenError } from '../../src/errors.ts';
import {
  countFrames,
  type FrameSource,
  inLittleEndian,
  locateFrame,
  MAXIMUM_FRAMES,
  rawFrameType,
} from '../../src/imaging/frames.ts';
import { type Made, make } from '../dicom/made.ts';
import { shared, withoutShared } from '../peer.ts';

const BIG_ENDIAN = '1.2.840.10008.1.2.2';
const DEFLATED = '1.2.840.10008.1.2.1.99';
const JPEG = '1.2.840.10008.1.2.4.70';
const VIDEO = '1.2.840.10008.1.2.4.102';

/** The file as a server sees it: elements up to Pixel Data, and a reader that counts what it is asked for. */
function sourceOf(bytes: Uint8Array): FrameSource & { readonly asked: number[] } {
  const file = readFile(bytes, { untilPixelData: true });
  const pixels = file.dataSet.elements.get('7fe0,0010');
  const asked: number[] = [];
  return {
    dataSet: file.dataSet,
    transferSyntax: file.transferSyntax,
    pixelData: pixels?.start,
    size: file.bytes.length,
    asked,
    read: (start, end) => {
      assert.ok(start >= 0 && start < end && end <= file.bytes.length, `read of ${start} to ${end}`);
      asked.push(end - start);
      return Promise.resolve(file.bytes.subarray(start, end));
    },
  };
}

/** The bytes of a frame, as a client is given them. */
async function rawFrame(bytes: Uint8Array, frame: number): Promise<Buffer> {
  const source = sourceOf(bytes);
  const location = await locateFrame(source, frame);
  const { ranges } = location;
  const parts = await Promise.all(
    ranges.map(({ start, end }) => (start === end ? Promise.resolve(new Uint8Array(0)) : source.read(start, end))),
  );
  return Buffer.from(inLittleEndian(Buffer.concat(parts), location));
}

const numbered = (...lengths: readonly number[]): Fragments => ({
  fragments: lengths.map((length, index) => new Uint8Array(length).fill(index + 1)),
});
const withOffsets = (offsets: readonly number[], ...lengths: readonly number[]): Fragments => ({
  ...numbered(...lengths),
  offsets,
});
const numberOfFrames = (value: string): readonly NewElement[] => [{ tag: '0028,0008', vr: 'IS', value }];
const extended = (offsets: readonly bigint[], lengths: readonly bigint[]): readonly NewElement[] => [
  { tag: '7fe0,0001', vr: 'OV', value: offsets },
  { tag: '7fe0,0002', vr: 'OV', value: lengths },
];

/** First byte and length of a frame, or the name of the error: what each shape of file must answer, frame by frame. */
async function answers(options: Made, frames: readonly number[]): Promise<(string | undefined)[]> {
  const bytes = make(options);
  return Promise.all(
    frames.map((frame) =>
      rawFrame(bytes, frame).then(
        (raw) => `${raw[0]}×${raw.length}`,
        (thrown: unknown) => asIsenError(thrown).code,
      ),
    ),
  );
}

test('native frames follow one another (PS3.5 §8.2)', async () => {
  const size = 4 * 6 * 2;
  for (const transferSyntax of ['1.2.840.10008.1.2', '1.2.840.10008.1.2.1', DEFLATED]) {
    assert.deepEqual(
      await answers({ transferSyntax, frames: 3 }, [0, 1, 2, 3, -1, 0.5, Number.NaN]),
      [`0×${size}`, `${size}×${size}`, `${2 * size}×${size}`, ...Array<string>(4).fill('ParameterOutOfRange')],
      transferSyntax,
    );
  }
  assert.deepEqual(
    await answers({ bits: 8, samples: 3, rows: 3, columns: 3 }, [0]),
    ['0×27'],
    'the padding is not part',
  );
  assert.deepEqual(await answers({ bits: 8, without: ['0028,0002'] }, [0]), ['0×24'], 'one sample where none is said');
});

test('16-bit words of a big endian file are given in little endian, bytes as they are', async () => {
  const pixels = Uint8Array.from({ length: 48 }, (_, index) => index);
  const word = await rawFrame(
    make({ transferSyntax: BIG_ENDIAN, extra: [{ tag: '7fe0,0010', vr: 'OW', value: pixels }] }),
    0,
  );
  assert.deepEqual([...word.subarray(0, 4)], [1, 0, 3, 2]);
  const byte = await rawFrame(
    make({ transferSyntax: BIG_ENDIAN, extra: [{ tag: '7fe0,0010', vr: 'OB', value: pixels }] }),
    0,
  );
  assert.deepEqual([...byte.subarray(0, 4)], [0, 1, 2, 3]);
});

test('frames of odd length in words of big endian begin and end within a word', async () => {
  const pixels = Uint8Array.from({ length: 10 }, (_, index) => index);
  const extra: NewElement[] = [{ tag: '7fe0,0010', vr: 'OW', value: pixels }];
  const file = make({ transferSyntax: BIG_ENDIAN, rows: 3, columns: 1, bits: 8, frames: 3, extra });
  const frames = await Promise.all([0, 1, 2].map(async (frame) => [...(await rawFrame(file, frame))]));
  assert.deepEqual(frames, [
    [1, 0, 3],
    [2, 5, 4],
    [7, 6, 9],
  ]);
});

test('frames of single bits are found where they begin at a byte (PS3.5 §8.1.1)', async () => {
  assert.deepEqual(await answers({ bits: 1, rows: 4, columns: 8, frames: 2 }, [0, 1]), ['0×4', '4×4']);
  assert.deepEqual(await answers({ bits: 1, rows: 4, columns: 6, frames: 2 }, [0, 1]), ['0×3', '3×3']);
  assert.deepEqual(await answers({ bits: 1, rows: 5, columns: 5 }, [0]), ['0×4']);
  assert.deepEqual(await answers({ bits: 1, rows: 5, columns: 5, frames: 2 }, [0]), ['BadFileFormat']);
});

test('native pixels that do not hold what the header claims are refused', async () => {
  const bad = ['BadFileFormat'];
  assert.deepEqual(await answers({ pixels: new Uint8Array(40) }, [0]), bad);
  assert.deepEqual(await answers({ pixels: new Uint8Array(90), frames: 2 }, [0]), bad);
  assert.deepEqual(await answers({ pixels: new Uint8Array(0) }, [0]), bad);
  assert.deepEqual(await answers({ extra: numberOfFrames('4194304') }, [0]), bad);
  for (const tag of ['0028,0010', '0028,0011', '0028,0100'])
    assert.deepEqual(await answers({ without: [tag] }, [0]), ['NotImplemented']);
  assert.deepEqual(await answers({ extra: [{ tag: '0028,0100', vr: 'US', value: [0] }] }, [0]), [
    'IncompatibleImageFormat',
  ]);
  assert.deepEqual(await answers({ pixels: false }, [0, 1]), ['BadRequest', 'BadRequest']);
});

test('encapsulated frames: by fragment, by Basic Offset Table, or the only frame in all fragments (PS3.5 §A.4)', async () => {
  const of = (pixels: Fragments, frames?: number): Made => ({
    transferSyntax: JPEG,
    pixels,
    ...(frames === undefined ? {} : { frames }),
  });
  const bad = ['BadFileFormat', 'BadFileFormat'];
  const rows: readonly [string, Made, readonly string[]][] = [
    ['one a frame', of(numbered(10, 20, 30), 3), ['1×10', '2×20', '3×30', 'ParameterOutOfRange']],
    ['an empty fragment', of(numbered(0, 10), 2), ['undefined×0', '2×10']],
    ['odd lengths are padded', of(numbered(11)), ['1×12']],
    ['one frame in three', of(numbered(10, 20, 30)), ['1×60', 'ParameterOutOfRange']],
    ['one frame, offset table', of(withOffsets([0], 10, 20)), ['1×30']],
    ['one frame, two offsets', of(withOffsets([0, 18], 10, 20)), ['BadFileFormat']],
    ['two frames in three', of(numbered(10, 20, 30), 2), bad],
    ['three frames in two', of(numbered(10, 20), 3), bad],
    ['no fragment', of(numbered()), ['BadFileFormat']],
    ['offset table', of(withOffsets([0, 46], 10, 20, 30), 2), ['1×30', '3×30']],
    ['offset table, unsorted', of(withOffsets([46, 0], 10, 20, 30), 2), bad],
    ['offset table, between items', of(withOffsets([0, 47], 10, 20, 30), 2), bad],
    ['offset table, beyond the file', of(withOffsets([0, 0xfffffff0], 10, 20, 30), 2), bad],
    ['offset table, not from the first', of(withOffsets([18, 46], 10, 20, 30), 2), bad],
    ['offset table, too short', of(withOffsets([0], 10, 20, 30), 2), bad],
    ['offset table, wrong and needless', of(withOffsets([0, 0], 10, 20), 2), ['1×10', '2×20']],
    ['video', { ...of(numbered(10, 20), 5), transferSyntax: VIDEO }, ['1×30', 'ParameterOutOfRange']],
    ['in a native syntax', { pixels: numbered(10, 20) }, ['1×30']],
    ['no Rows', { ...of(numbered(10, 20), 2), without: ['0028,0010'] }, ['1×10', '2×20']],
  ];
  for (const [name, made, expected] of rows)
    assert.deepEqual(await answers(made, [...expected.keys()]), expected, name);
});

test('the Extended Offset Table finds a frame without walking, and is not believed when it lies', async () => {
  const lengths = Array<number>(2000).fill(5000);
  const pixels = numbered(...lengths);
  const offsets = lengths.map((_, index) => BigInt(index * 5008));
  const right: Made = { transferSyntax: JPEG, pixels, frames: 2000, extra: extended(offsets, lengths.map(BigInt)) };
  const source = sourceOf(make(right));
  const { ranges } = await locateFrame(source, 1999);
  assert.equal(ranges.length, 1);
  assert.ok(source.asked.length <= 4, `${source.asked.length} reads`);
  const [range] = ranges;
  assert.ok(range);
  assert.deepEqual([...(await source.read(range.start, range.start + 1))], [2000 & 0xff]);
  const wrong = offsets.map((offset) => offset + 1n);
  const lying: Made = { ...right, extra: extended(wrong, lengths.map(BigInt)) };
  assert.deepEqual(await answers(lying, [0, 1999]), ['1×5000', `${2000 & 0xff}×5000`]);
  const last: Made = {
    ...right,
    extra: extended(
      offsets.map(() => BigInt(2000 * 5008 + 1)),
      lengths.map(BigInt),
    ),
  };
  assert.deepEqual(await answers(last, [1]), ['2×5000'], 'an offset with no room for an item');
  const far: Made = {
    ...right,
    extra: extended(
      offsets.map(() => 2n ** 63n),
      lengths.map(BigInt),
    ),
  };
  assert.deepEqual(await answers(far, [1]), ['2×5000']);
});

test('a frame of a large file costs few and small reads', async () => {
  const native = sourceOf(make({ rows: 512, columns: 512, frames: 40 }));
  await locateFrame(native, 39);
  assert.deepEqual(native.asked, [12]);
  const lengths = Array<number>(200).fill(40_000);
  const table = lengths.map((_, index) => index * 40_008);
  const indexed = sourceOf(make({ transferSyntax: JPEG, pixels: withOffsets(table, ...lengths), frames: 200 }));
  await locateFrame(indexed, 199);
  assert.ok(indexed.asked.length < 8 && Math.max(...indexed.asked) <= 4096, String(indexed.asked));
  const walked = sourceOf(make({ transferSyntax: JPEG, pixels: numbered(...lengths), frames: 200 }));
  await locateFrame(walked, 199);
  assert.ok(Math.max(...walked.asked) <= 4096 && walked.asked.length < 210, String(walked.asked.length));
});

test('the header alone and the offset of Pixel Data are enough', async () => {
  for (const made of [{ frames: 2 }, { frames: 2, transferSyntax: JPEG }, { frames: 2, transferSyntax: BIG_ENDIAN }]) {
    const bytes = make(made);
    const whole = sourceOf(bytes);
    const header = readFile(bytes.subarray(0, whole.pixelData), { truncated: true });
    assert.deepEqual(await locateFrame({ ...whole, dataSet: header.dataSet }, 1), await locateFrame(whole, 1));
  }
});

test('encapsulated pixels cut or altered at any byte end in a frame or an error, never in a read outside the file', async () => {
  const whole = make({ transferSyntax: JPEG, pixels: withOffsets([0, 46], 10, 20, 30), frames: 2 });
  const start = sourceOf(whole).pixelData ?? assert.fail();
  for (let at = start; at < whole.length; at += 1) {
    const cut = { ...sourceOf(whole), size: at };
    await assert.rejects(locateFrame(cut, 1), { code: 'BadFileFormat' }, `cut at ${at}`);
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      const altered = { ...sourceOf(whole) };
      const bytes = Buffer.from(whole);
      bytes[at] = value;
      const read = (from: number, to: number): Promise<Uint8Array> => {
        assert.ok(from >= 0 && from < to && to <= bytes.length);
        return Promise.resolve(bytes.subarray(from, to));
      };
      const located = await locateFrame({ ...altered, read }, 1).catch((thrown: unknown) => asIsenError(thrown));
      if (located instanceof Error) assert.equal(located.code, 'BadFileFormat');
      else for (const range of located.ranges) assert.ok(range.start <= range.end && range.end <= bytes.length);
    }
  }
});

test('a reader that gives less than asked ends in an error', async () => {
  const source = sourceOf(make());
  await assert.rejects(locateFrame({ ...source, read: () => Promise.resolve(new Uint8Array(3)) }, 0), {
    code: 'BadFileFormat',
  });
});

test('Number of Frames', () => {
  const count = (value: string): number | string => {
    try {
      return countFrames(readFile(make({ extra: numberOfFrames(value) })).dataSet, JPEG);
    } catch (thrown) {
      return asIsenError(thrown).code;
    }
  };
  assert.equal(countFrames(readFile(make()).dataSet, JPEG), 1);
  const rows: readonly [string, number | string][] = [
    ['', 1],
    ['0', 0],
    ['24', 24],
    [' 2 ', 2],
    ['+2', 2],
    ['-1', 'BadFileFormat'],
    ['abc', 'BadFileFormat'],
    ['2.0', 'BadFileFormat'],
    ['3\\4', 'BadFileFormat'],
    ['5000000000', 'BadFileFormat'],
    [String(MAXIMUM_FRAMES), MAXIMUM_FRAMES],
    [String(MAXIMUM_FRAMES + 1), 'BadFileFormat'],
  ];
  for (const [value, expected] of rows) assert.equal(count(value), expected, value);
});

interface Line {
  readonly file?: string;
  readonly request?: { readonly path: string };
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly text?: string;
  readonly bytes?: number;
  readonly md5?: string;
}

/** The recorded answers whose path matches, each with the sample that it is about. */
function recorded(
  name: string,
  path: RegExp,
): { readonly sample: string; readonly path: string; readonly line: Line }[] {
  const found: { sample: string; path: string; line: Line }[] = [];
  let sample = '';
  for (const text of readFileSync(shared(`reference/answers/${name}.jsonl`) ?? '', 'utf8')
    .trim()
    .split('\n')) {
    const line = JSON.parse(text) as Line;
    sample = line.request === undefined ? (line.file ?? sample) : sample;
    if (line.request !== undefined && path.test(line.request.path))
      found.push({ sample, path: line.request.path, line });
  }
  return found;
}

function sampleBytes(name: string): Buffer {
  const bytes = readFileSync(shared(name) ?? '');
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
}

/** Samples whose raw frame differs from the reference's, with the reason. */
const DIFFERENT: Readonly<Record<string, string>> = {
  'samples/2020-09-12-ELSCINT1-PMSCT_RLE1.dcm':
    'no Pixel Data: the reference decodes the private (07A1,100A) of ELSCINT1, which is decoding, not locating',
};

test('the reference lists the same frames', { skip: withoutShared }, () => {
  const lines = recorded('instances', /\/frames$/);
  assert.ok(lines.length >= 95);
  for (const { sample, line } of lines) {
    const file = readFile(sampleBytes(sample), { untilPixelData: true });
    const ours = Array.from({ length: countFrames(file.dataSet, file.transferSyntax) }, (_, index) => String(index));
    assert.deepEqual(ours, (line.body as readonly unknown[]).map(String), sample);
  }
});

test('the reference gives the same raw frames', { skip: withoutShared }, async () => {
  const lines = recorded('images', /\/frames\/\d+\/raw$/);
  assert.ok(lines.length >= 95);
  const differ: string[] = [];
  for (const { sample, path, line } of lines) {
    const frame = Number(path.split('/').at(-2));
    const bytes = sampleBytes(sample);
    const ours = await rawFrame(bytes, frame).catch((thrown: unknown) => asIsenError(thrown));
    const theirs =
      line.status === 200 ? undefined : (JSON.parse(line.text ?? '{}') as Readonly<Record<string, unknown>>);
    const same = Buffer.isBuffer(ours)
      ? line.status === 200 &&
        ours.length === line.bytes &&
        // What an image decoder read has the MD5 of its pixels instead of that of the bytes.
        (line.md5 === undefined || createHash('md5').update(ours).digest('hex') === line.md5) &&
        rawFrameType(readFile(bytes, { untilPixelData: true }).transferSyntax) === line.headers?.['Content-Type']
      : line.status === ours.http &&
        theirs?.['OrthancStatus'] === ours.orthancStatus &&
        theirs['Details'] === ours.details;
    if (!same) differ.push(sample);
  }
  assert.deepEqual(differ, Object.keys(DIFFERENT));
});
