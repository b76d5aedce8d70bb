/**
 * Owns the fuzzing of pixel data: altered frames of every transfer syntax are shown or refused, in time, in bounded memory. Ten
 * seconds in all, or ISEN_FUZZ_SECONDS a transfer syntax; from ISEN_FUZZ_SEED (a new one each run, printed on failure).
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { transferSyntax } from '../../src/dicom/transfer-syntaxes.ts';
import { IsenError } from '../../src/errors.ts';
import { CAPABILITIES, within } from '../../src/imaging/codecs.ts';
import { encodedAttributes, encodeFrame } from '../../src/imaging/encode-frame.ts';
import { show } from '../../src/imaging/show.ts';
import { make } from '../dicom/made.ts';
import { type MadeImage, madeImage } from './made-image.ts';

const ALL = Object.keys(CAPABILITIES);
const SECONDS = Number(process.env['ISEN_FUZZ_SECONDS'] ?? 10 / ALL.length);
const SEED = Number(process.env['ISEN_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
/** Milliseconds in which one picture must be made on a busy machine. */
const DEADLINE = 2000;
/** Megabytes by which the process may grow: an instance of the codecs, and what the collector has not got to. */
const GROWTH = 700;
const REFUSED: ReadonlySet<string> = new Set([
  'BadFileFormat',
  'IncompatibleImageFormat',
  'NotImplemented',
  'ParameterOutOfRange',
]);

/** A small generator of numbers below `below`, the same for the same seed (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What can be encoded stands for its like that cannot: the codestreams differ little, and the decoder is the same. */
const STAND_IN: Readonly<Record<string, string>> = {
  '1.2.840.10008.1.2.4.51': '1.2.840.10008.1.2.4.50',
  '1.2.840.10008.1.2.4.53': '1.2.840.10008.1.2.4.50',
  '1.2.840.10008.1.2.4.55': '1.2.840.10008.1.2.4.50',
  '1.2.840.10008.1.2.4.203': '1.2.840.10008.1.2.4.201',
};

/** Whole files, grey and colour, in a transfer syntax; its codestreams begin at `pixels`. */
function files(uid: string): { readonly bytes: Buffer; readonly pixels: number }[] {
  const encoder = STAND_IN[uid] ?? uid;
  const images = [
    madeImage({ bits: 8, allocated: 8 }),
    madeImage({ bits: 12, allocated: 16, noise: true }),
    madeImage({ bits: 16, allocated: 16, signed: true }),
    madeImage({ bits: 8, allocated: 8, samples: 3 }),
  ].filter(({ attributes }) => within(CAPABILITIES[encoder]?.encode, attributes));
  return images.map((image) => fileOf(image, encoder, uid));
}

function fileOf({ attributes, frame }: MadeImage, encoder: string, uid: string) {
  const encoded = encodedAttributes(attributes, frame.photometricInterpretation, encoder);
  const stored = encodeFrame(frame, attributes, encoded, 90);
  const samples = attributes.samplesPerPixel === 3 ? 3 : 1;
  const bytes = make({
    transferSyntax: uid.endsWith('.99') ? '1.2.840.10008.1.2.1' : uid,
    rows: attributes.rows,
    columns: attributes.columns,
    samples,
    pixels: transferSyntax(uid)?.encapsulated === true ? { fragments: [stored], offsets: [0] } : stored,
    extra: [
      { tag: '0028,0004', vr: 'CS', value: encoded.photometricInterpretation },
      { tag: '0028,0100', vr: 'US', value: [encoded.bitsAllocated] },
      { tag: '0028,0101', vr: 'US', value: [attributes.bitsStored] },
      { tag: '0028,0102', vr: 'US', value: [encoded.highBit] },
      { tag: '0028,0103', vr: 'US', value: [attributes.signed ? 1 : 0] },
    ],
  });
  return { bytes, pixels: bytes.length - stored.length };
}

const WORDS = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0xff4f, 0xffd9, 0xff51, 0xff93];

/** `original` altered in one to six places, mostly of its pixels, and there mostly of their head. */
function mutate({ bytes, pixels }: { bytes: Buffer; pixels: number }, random: (below: number) => number): Buffer {
  let altered = Buffer.from(bytes);
  for (let step = random(6); step >= 0; step -= 1) {
    const from = random(12) === 0 ? Math.max(0, pixels - 200) : Math.min(pixels, altered.length - 8);
    const room = altered.length - 4 - from;
    const at = from + random(Math.max(1, random(2) === 0 ? Math.min(room, 150) : room));
    switch (random(7)) {
      case 0:
        altered[at] = random(256);
        break;
      case 1:
        altered[at] = (altered[at] ?? 0) ^ (1 << random(8));
        break;
      case 2:
        altered.writeUInt16BE(WORDS[random(WORDS.length)] ?? 0, at);
        break;
      case 3:
        altered.writeUInt32LE([0, 0x7fffffff, 0xffffffff, 0x10000][random(4)] ?? 0, at);
        break;
      case 4:
        if (random(4) === 0) altered = altered.subarray(0, Math.max(from + 8, at));
        break;
      case 5:
        altered.copyWithin(at, from + random(Math.max(1, room)), altered.length);
        break;
      default:
        altered.fill(random(256), at, Math.min(altered.length, at + random(40)));
    }
  }
  return altered;
}

for (const uid of ALL) {
  test(`${uid}: altered pixel data is shown or refused, in time`, async (context) => {
    const originals = files(uid);
    assert.ok(originals.length > 0);
    const picture = { kind: 'picture', rendering: { kind: 'preview' }, format: 'pam', quality: 90 } as const;
    const ask = (bytes: Buffer) => show({ bytes, truncated: false, frame: 0, question: picture });
    if (STAND_IN[uid] === undefined) for (const { bytes } of originals) await ask(bytes);
    const before = process.memoryUsage().rss;
    const until = performance.now() + SECONDS * 1000;
    let shown = 0;
    let round = 0;
    for (; performance.now() < until || round < 20; round += 1) {
      const random = generator(SEED + round);
      const bytes = mutate(originals[random(originals.length)] ?? assert.fail(), random);
      const again = `ISEN_FUZZ_SEED=${SEED + round} (${uid})`;
      const began = performance.now();
      try {
        await ask(bytes);
        shown += 1;
      } catch (thrown) {
        const isRefusal = thrown instanceof IsenError && REFUSED.has(thrown.code);
        if (!isRefusal) throw new Error(`${again}: ${String(thrown)}`, { cause: thrown });
      }
      const took = performance.now() - began;
      assert.ok(took < DEADLINE, `${again} took ${Math.round(took)} ms`);
    }
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    assert.ok(grown < GROWTH, `${uid}: the process grew by ${Math.round(grown)} MB from ISEN_FUZZ_SEED=${SEED}`);
    context.diagnostic(`${uid}: ${round} inputs, ${shown} shown, grown by ${Math.round(grown)} MB, seed ${SEED}`);
  });
}
