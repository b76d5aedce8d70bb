/**
 * Owns the fuzzing of everything that reads bytes from outside, in a time box: ISEN_FUZZ_SECONDS (10 by default), from
 * ISEN_FUZZ_SEED (a new one each run, printed on failure). And read → write → read of what was not altered.
 */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { metaToJson, toJson } from '../../src/dicom/json.ts';
import { type DataSet, readFile } from '../../src/dicom/read.ts';
import { summarize } from '../../src/dicom/summary.ts';
import { TRANSFER_SYNTAXES, type TransferSyntax, transferSyntax } from '../../src/dicom/transfer-syntaxes.ts';
import { type NewElement, writeFile } from '../../src/dicom/write.ts';
import { IsenError } from '../../src/errors.ts';
import { locateFrame } from '../../src/imaging/frames.ts';
import { shared, withoutShared } from '../peer.ts';
import { CHARSETS, make, ODD_ELEMENTS } from './made.ts';

const SECONDS = Number(process.env['ISEN_FUZZ_SECONDS'] ?? 10);
const SEED = Number(process.env['ISEN_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
/** Milliseconds in which one input must be answered. */
const DEADLINE = 1000;
/** Megabytes by which the process may grow over all inputs. */
const GROWTH = 400;
/** Samples above this size (bytes) are not mutated: their pixels teach nothing. */
const LARGEST = 300_000;

/** Every made instance: all syntaxes with all odd elements, all character sets, no preamble, no pixels. */
const MADE: readonly { readonly name: string; readonly bytes: Buffer }[] = [
  ...TRANSFER_SYNTAXES.map(({ uid }) => ({
    name: uid,
    bytes: make({ transferSyntax: uid, frames: 3, extra: ODD_ELEMENTS }),
  })),
  ...CHARSETS.map(({ charset, name }) => ({ name: charset, bytes: make({ charset, patientName: name }) })),
  { name: 'bare implicit', bytes: make({ transferSyntax: '1.2.840.10008.1.2', part10: false, extra: ODD_ELEMENTS }) },
  { name: 'bare explicit', bytes: make({ part10: false, extra: ODD_ELEMENTS }) },
  { name: 'no pixels', bytes: make({ pixels: false }) },
];

/** Every sample that is DICOM, unless it ends the reference's process. */
function samples(): { readonly name: string; readonly bytes: Buffer }[] {
  const folder = shared('samples');
  if (folder === undefined) return [];
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter(
      (name) =>
        !/\.(md|json|png|jpg|pgm|pdf)$|Deeply-Nested|DICOMDIR$/i.test(name) && statSync(join(folder, name)).isFile(),
    )
    .toSorted()
    .map((name) => {
      const bytes = readFileSync(join(folder, name));
      return { name, bytes: name.endsWith('.gz') ? gunzipSync(bytes) : bytes };
    });
}

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

const LENGTHS = [0, 1, 7, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
const HEADS = [
  'feff00e0ffffffff',
  'feff0de000000000',
  'feffdde000000000',
  '0800051643530a00',
  '400070a153510000ffffffff',
  'e07f1000',
  '0800401153510000ffffffff',
  '09001010554e0000ffffffff',
];

/** `original` altered in one to four places, near its beginning more often than not. */
function mutate(original: Buffer, other: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(original);
  const place = (): number => random(random(2) === 0 ? Math.min(bytes.length, 2000) || 1 : bytes.length || 1);
  for (let step = random(4); step >= 0 && bytes.length > 4; step -= 1) {
    const at = place();
    switch (random(8)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        break;
      case 2:
        bytes.writeUInt32LE(LENGTHS[random(LENGTHS.length)] ?? 0, Math.min(at, bytes.length - 4));
        break;
      case 3:
        bytes.writeUInt16BE((LENGTHS[random(LENGTHS.length)] ?? 0) & 0xffff, Math.min(at, bytes.length - 2));
        break;
      case 4:
        bytes = bytes.subarray(0, at);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random(64))]);
        break;
      case 6: {
        const head = Buffer.from(HEADS[random(HEADS.length)] ?? '', 'hex');
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          ...Array<Buffer>(1 + random(300)).fill(head),
          bytes.subarray(at),
        ]);
        break;
      }
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random(other.length || 1))]);
    }
  }
  return bytes;
}

/** Runs what reads; whatever is thrown must be one of `codes`. */
async function answers(codes: readonly string[], reads: () => unknown): Promise<boolean> {
  try {
    await reads();
    return true;
  } catch (thrown) {
    if (thrown instanceof IsenError && codes.includes(thrown.code)) return false;
    throw thrown;
  }
}

/** All that is done with bytes from outside; answers whether they could be read. */
async function readAll(bytes: Buffer): Promise<boolean> {
  const readable = await answers(['BadFileFormat'], () => {
    const file = readFile(bytes);
    for (const format of ['Full', 'Short', 'Simplify'] as const) {
      JSON.stringify(toJson(file.dataSet, format));
      JSON.stringify(metaToJson(file, format));
    }
  });
  await answers(['BadFileFormat', 'BadParameterType'], () => summarize(bytes));
  await answers(
    ['BadFileFormat', 'BadRequest', 'IncompatibleImageFormat', 'NotImplemented', 'ParameterOutOfRange'],
    async () => {
      const file = readFile(bytes, { untilPixelData: true });
      const { ranges } = await locateFrame(
        {
          dataSet: file.dataSet,
          transferSyntax: file.transferSyntax,
          pixelData: file.dataSet.elements.get('7fe0,0010')?.start,
          size: file.bytes.length,
          read: (start, end) => Promise.resolve(file.bytes.subarray(start, end)),
        },
        1,
      );
      for (const { start, end } of ranges) assert.ok(start >= 0 && start <= end && end <= file.bytes.length);
    },
  );
  return readable;
}

test(`altered instances are answered or refused, in time (${SECONDS} s)`, async (context) => {
  const seeds = [...MADE, ...samples().filter(({ bytes }) => bytes.length <= LARGEST)];
  for (const { bytes } of seeds) await readAll(bytes);
  const before = process.resourceUsage().maxRSS;
  const until = performance.now() + SECONDS * 1000;
  let round = 0;
  let readable = 0;
  for (; performance.now() < until || round < 100; round += 1) {
    // Each round has its own seed, so that a failure is repeated by that one round.
    const random = generator(SEED + round);
    const original = seeds[random(seeds.length)] ?? assert.fail();
    const other = seeds[random(seeds.length)] ?? assert.fail();
    const bytes = mutate(original.bytes, other.bytes, random);
    const again = `ISEN_FUZZ_SEED=${SEED + round} (${original.name}, ${bytes.length} bytes)`;
    const started = performance.now();
    try {
      if (await readAll(bytes)) readable += 1;
    } catch (thrown) {
      throw new Error(`${again}: ${String(thrown)}`, { cause: thrown });
    }
    const took = performance.now() - started;
    assert.ok(took < DEADLINE, `${again} took ${Math.round(took)} ms`);
    // Inflaters give their memory back in the next turn of the event loop, which promises alone never let come.
    if (round % 64 === 0) await turn();
  }
  const grown = (process.resourceUsage().maxRSS - before) / 1024;
  assert.ok(grown < GROWTH, `the process grew by ${Math.round(grown)} MB from ISEN_FUZZ_SEED=${SEED}`);
  context.diagnostic(`${round} inputs from seed ${SEED}, ${readable} of them readable`);
  // A fuzzer whose inputs are all refused at once, or never, tests nothing.
  assert.ok(readable > round / 50 && readable < round, `${readable} of ${round} inputs were readable`);
});

test('values of a megabyte of padding cost no more than their length', async () => {
  const long = Buffer.alloc(1_000_000);
  long[long.length - 1] = 0x41;
  const spaces = Buffer.from(long).fill(0x20, 0, long.length - 1);
  for (const value of [long, spaces]) {
    for (const tag of ['0008,0005', '0009,0010', '0010,0010', '0010,0020', '0020,000d', '0028,0008', '0028,0030']) {
      const started = performance.now();
      await readAll(make({ transferSyntax: '1.2.840.10008.1.2', extra: [{ tag, vr: 'UT', value }] }));
      const took = performance.now() - started;
      assert.ok(took < DEADLINE, `${tag} took ${Math.round(took)} ms`);
    }
  }
});

/** The elements of a data set as plain data, so that every head, item and fragment is written anew. */
function plain(dataSet: DataSet): NewElement[] {
  return Array.from(
    dataSet.elements.values(),
    ({ tag, vr, start, end, offset, length, items, fragments, basicOffsetTable }) => {
      if (fragments !== undefined) {
        const parts = fragments.map((fragment) =>
          dataSet.bytes.subarray(fragment.offset, fragment.offset + fragment.length),
        );
        return { tag, vr, value: { fragments: parts, offsets: basicOffsetTable ?? [] } };
      }
      // The items of UN are in another encoding than what is around them (PS3.5 §6.2.2 note 2).
      if (items !== undefined && vr === 'UN' && dataSet.explicit)
        return { tag, raw: dataSet.bytes.subarray(start, end) };
      if (items !== undefined)
        return { tag, vr, value: { items: items.map(plain), undefinedLength: end > offset + length } };
      return { tag, vr, value: dataSet.bytes.subarray(offset, offset + length) };
    },
  );
}

/** A data set without its offsets: what must be equal after writing. */
function content(dataSet: DataSet): unknown {
  return Array.from(dataSet.elements.values(), ({ tag, vr, offset, length, items, fragments, basicOffsetTable }) => {
    const hash = (at: number, size: number): string =>
      dataSet.bytes.toString('latin1', at, at + size) + (size % 2 === 1 ? 'odd' : '');
    if (fragments !== undefined)
      return [tag, vr, basicOffsetTable, fragments.map((fragment) => hash(fragment.offset, fragment.length))];
    return items === undefined ? [tag, vr, hash(offset, length)] : [tag, vr, items.map(content)];
  });
}

function writtenAgain(bytes: Buffer): void {
  const file = readFile(bytes);
  const known: TransferSyntax | undefined = transferSyntax(file.transferSyntax);
  assert.ok(known, file.transferSyntax);
  const again = writeFile({
    transferSyntax: known,
    sopClassUid: '1.2',
    sopInstanceUid: '1.2.3',
    dataSet: plain(file.dataSet),
  });
  const reread = readFile(again);
  assert.equal(reread.transferSyntax, file.transferSyntax);
  assert.deepEqual(content(reread.dataSet), content(file.dataSet));
}

test('made instances are equal after read, write, read', () => {
  for (const { bytes } of MADE) writtenAgain(bytes);
});

test('samples are equal after read, write, read', { skip: withoutShared }, async (context) => {
  const all = samples();
  assert.ok(all.length > 100);
  for (const { name, bytes } of all) await context.test(name, () => writtenAgain(bytes));
});

test('the sample nested 10,000 deep is refused', { skip: withoutShared }, () => {
  const bytes = readFileSync(shared('samples/2026-05-06-Deeply-Nested-Sequence.dcm') ?? '');
  assert.throws(() => readFile(bytes), { code: 'BadFileFormat' });
});
