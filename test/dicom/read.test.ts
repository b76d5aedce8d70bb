import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import dicomParser from 'dicom-parser';
import { MAXIMUM_DEPTH } from '../../src/dicom/elements.ts';
import { type DataSet, readFile } from '../../src/dicom/read.ts';
import { summarize } from '../../src/dicom/summary.ts';
import { TRANSFER_SYNTAXES } from '../../src/dicom/transfer-syntaxes.ts';
import { numbersOf, tagsOf, textOf, valueOf } from '../../src/dicom/value.ts';
import { VR, type Vr } from '../../src/dicom/vr.ts';
import { IsenError } from '../../src/errors.ts';
import { shared, withoutShared } from '../peer.ts';
import { make } from './made.ts';
import {
  BIG,
  EXPLICIT,
  element,
  encapsulated,
  type Encoding,
  file,
  IMPLICIT,
  instance,
  item,
  sequence,
  tagBytes,
} from './bytes.ts';

const LE = '1.2.840.10008.1.2.1';

/** Asserts that `bytes` are refused as a bad file, within `milliseconds`. */
function refused(bytes: Buffer, milliseconds = 1000, read: (bytes: Buffer) => unknown = readFile): void {
  const start = performance.now();
  assert.throws(
    () => read(bytes),
    (thrown) =>
      thrown instanceof IsenError &&
      thrown.code === 'BadFileFormat' &&
      thrown.details === `Cannot parse an invalid DICOM file (size: ${bytes.length} bytes)`,
  );
  const spent = performance.now() - start;
  assert.ok(spent < milliseconds, `refused after ${spent} ms`);
}

/** A tag whose dictionary VR is `vr`, so that implicit VR reads it back. */
const TAG_OF: Record<Vr, string> = {
  AE: '0008,0054',
  AS: '0010,1010',
  AT: '0028,0009',
  CS: '0008,0060',
  DA: '0008,0020',
  DS: '0018,0050',
  DT: '0008,002a',
  FD: '0018,9087',
  FL: '0018,605a',
  IS: '0020,0011',
  LO: '0008,0070',
  LT: '0010,4000',
  OB: '0042,0011',
  OD: '0070,150d',
  OF: '0064,0009',
  OL: '0066,0040',
  OV: '7fe0,0001',
  OW: '0028,1201',
  PN: '0010,0010',
  SH: '0008,0050',
  SL: '0018,6020',
  SQ: '0008,1140',
  SS: '0028,9503',
  ST: '0008,0081',
  SV: '0072,0082',
  TM: '0008,0030',
  UC: '0008,0119',
  UI: '0008,0016',
  UL: '0018,6016',
  UN: '0011,1001',
  UR: '0008,0120',
  US: '0028,0010',
  UT: '0040,a160',
  UV: '0008,0040',
};

test('every VR is read in every encoding', () => {
  for (const [vr, row] of Object.entries(VR) as [Vr, (typeof VR)[Vr]][]) {
    if (vr === 'SQ') continue;
    for (const encoding of [EXPLICIT, BIG, IMPLICIT]) {
      const tag = TAG_OF[vr];
      const value = Buffer.alloc(16, row.kind === 'text' ? '12345678' : 0);
      if (row.kind !== 'text') value[encoding.littleEndian ? 0 : row.unit - 1] = 5;
      const uid = encoding === EXPLICIT ? LE : encoding === BIG ? '1.2.840.10008.1.2.2' : '1.2.840.10008.1.2';
      const bytes = file(
        uid,
        Buffer.concat([element(tag, vr, value, encoding), element('fffc,fffc', 'OB', 'xx', encoding)]),
      );
      const { dataSet } = readFile(bytes);
      const found = dataSet.elements.get(tag);
      assert.ok(found, `${vr} ${tag}`);
      if (encoding.explicit || !['UV', 'OV'].includes(vr))
        assert.equal(found.vr, vr === 'UV' && !encoding.explicit ? found.vr : vr);
      assert.equal(found.length, 16, vr);
      assert.ok(dataSet.elements.has('fffc,fffc'), `${vr}: what follows is read`);
      if (!encoding.explicit && found.vr !== vr) continue;
      if (row.kind === 'text') assert.equal(valueOf(dataSet, found), '1234567812345678');
      else if (row.kind === 'integer') assert.equal(Number(numbersOf(dataSet, found)?.[0]), 5, vr);
      else if (row.kind === 'tag') assert.equal(tagsOf(dataSet, found)[0], '0005,0000');
      else if (row.kind === 'bytes') assert.equal(valueOf(dataSet, found), null);
    }
  }
});

test('every transfer syntax is read as its row says', () => {
  for (const syntax of TRANSFER_SYNTAXES) {
    const encoding: Encoding = { littleEndian: syntax.littleEndian, explicit: syntax.explicit };
    const pixels = syntax.encapsulated
      ? encapsulated([Buffer.alloc(4), Buffer.from('abcd')])
      : element('7fe0,0010', 'OW', Buffer.alloc(8), encoding);
    const nested = sequence(
      '0020,9222',
      [item(element('0008,0100', 'SH', 'X', encoding), true, encoding)],
      true,
      encoding,
    );
    const body = instance(encoding, nested, pixels);
    const bytes = file(syntax.uid, syntax.deflated ? deflateRawSync(body) : body);
    const read = readFile(bytes);
    assert.equal(read.transferSyntax, syntax.uid);
    assert.equal(read.dataSet.elements.get('0020,9222')?.items?.[0]?.elements.size, 1, syntax.name);
    const at = read.pixelData?.offset;
    if (syntax.deflated) assert.equal(at, undefined);
    else assert.deepEqual(bytes.subarray(at, Number(at) + 4), tagBytes('7fe0,0010', encoding));
    const element_ = read.dataSet.elements.get('7fe0,0010');
    assert.equal(element_?.fragments?.length, syntax.encapsulated ? 1 : undefined);
    assert.deepEqual(element_?.basicOffsetTable, syntax.encapsulated ? [0] : undefined);
    assert.equal(summarize(bytes).metadata.Instance['TransferSyntax'], syntax.uid);
    // The header alone says the same.
    if (at !== undefined) {
      const header = readFile(bytes.subarray(0, at), { truncated: true });
      assert.deepEqual([...header.dataSet.elements.keys()], [...read.dataSet.elements.keys()]);
      const until = readFile(bytes, { untilPixelData: true });
      assert.deepEqual([...until.dataSet.elements.keys()], [...read.dataSet.elements.keys()]);
      assert.equal(until.pixelData?.offset, at);
    }
  }
});

test('a file without preamble is recognised by its first element', () => {
  const withMeta = file(LE, instance(EXPLICIT));
  assert.equal(readFile(withMeta.subarray(132)).transferSyntax, LE);
  assert.equal(readFile(instance(IMPLICIT)).transferSyntax, '1.2.840.10008.1.2');
  assert.equal(readFile(instance(EXPLICIT)).transferSyntax, LE);
  assert.equal(readFile(instance(BIG)).transferSyntax, '1.2.840.10008.1.2.2');
});

test('implicit VR: private elements by their creator, US or SS by Pixel Representation', () => {
  const signed = Buffer.of(1, 0);
  const { dataSet } = readFile(
    file(
      '1.2.840.10008.1.2',
      Buffer.concat([
        element('0009,0010', 'LO', 'GEMS_IDEN_01', IMPLICIT),
        element('0009,1001', 'LO', 'FULL', IMPLICIT),
        element('0009,10f5', 'UN', 'what', IMPLICIT),
        element('0028,0103', 'US', signed, IMPLICIT),
        element('0028,0106', 'SS', Buffer.of(0xff, 0xff), IMPLICIT),
      ]),
    ),
  );
  const vr = (tag: string): string | undefined => dataSet.elements.get(tag)?.vr;
  assert.deepEqual([vr('0009,1001'), vr('0009,10f5'), vr('0028,0106')], ['LO', 'UN', 'SS']);
  const smallest = dataSet.elements.get('0028,0106');
  assert.equal(smallest && valueOf(dataSet, smallest), '-1');
});

test('UN of undefined length holds implicit VR (PS3.5 §6.2.2)', () => {
  const inner = item(element('0008,0100', 'SH', 'CODE', IMPLICIT));
  const unknown = Buffer.concat([
    element('0009,1001', 'UN', Buffer.alloc(0), EXPLICIT, 0xffffffff),
    inner,
    tagBytes('fffe,e0dd', EXPLICIT),
    Buffer.alloc(4),
  ]);
  const { dataSet } = readFile(file(LE, Buffer.concat([unknown, element('0010,0020', 'LO', 'P')])));
  const nested = dataSet.elements.get('0009,1001')?.items?.[0];
  const code = nested?.elements.get('0008,0100');
  assert.equal(nested && code && textOf(nested, code), 'CODE');
  assert.ok(dataSet.elements.has('0010,0020'));
});

test('elements come ascending; of two of one tag the first stays', () => {
  const { dataSet } = readFile(
    file(
      LE,
      Buffer.concat([
        element('0010,0020', 'LO', 'A'),
        element('0008,0060', 'CS', 'CT'),
        element('0010,0020', 'LO', 'B'),
      ]),
    ),
  );
  assert.deepEqual([...dataSet.elements.keys()], ['0008,0060', '0010,0020']);
  const patient = dataSet.elements.get('0010,0020');
  assert.equal(patient && textOf(dataSet, patient), 'A');
});

/** A small file with every structure in it, and where its top-level elements end. */
function small(): { readonly bytes: Buffer; readonly boundaries: ReadonlySet<number> } {
  const elements = [
    instance(EXPLICIT),
    sequence('0020,9222', [item(element('0008,0100', 'SH', 'X')), item(element('0008,0100', 'SH', 'Y'), true)], true),
    sequence('0040,0275', [item(element('0040,0009', 'SH', 'X'))]),
    encapsulated([Buffer.alloc(0), Buffer.from('abcd')]),
    element('fffc,fffc', 'OB', 'pad'),
  ];
  const bytes = file(LE, Buffer.concat(elements));
  const boundaries = new Set<number>([bytes.length]);
  for (const found of readFile(bytes).dataSet.elements.values()) boundaries.add(found.start);
  return { bytes, boundaries };
}

test('cut at every byte: refused, or whole elements only', () => {
  const { bytes, boundaries } = small();
  for (let length = 1; length < bytes.length; length += 1) {
    const cut = Buffer.from(bytes.subarray(0, length));
    if (boundaries.has(length)) {
      assert.ok(readFile(cut).dataSet.elements.size < readFile(bytes).dataSet.elements.size);
    } else {
      refused(cut);
      refused(cut, 1000, summarize);
    }
  }
  assert.throws(() => readFile(Buffer.alloc(0)), /Received an empty DICOM file/);
});

test('every byte set to 0, 255 or flipped: an answer or BadFileFormat, never anything else', () => {
  const { bytes } = small();
  for (let at = 0; at < bytes.length; at += 1) {
    for (const value of [0x00, 0xff, (bytes[at] ?? 0) ^ 0x80]) {
      const altered = Buffer.from(bytes);
      altered[at] = value;
      for (const read of [readFile, summarize]) {
        try {
          read(altered);
        } catch (thrown) {
          assert.ok(
            thrown instanceof IsenError && thrown.code === 'BadFileFormat',
            `byte ${at} = ${value}: ${String(thrown)}`,
          );
        }
      }
    }
  }
});

test('lengths that lie are refused', () => {
  const lies = [
    element('0010,0020', 'LO', 'AB', EXPLICIT, 0xfffe),
    element('0042,0011', 'OB', 'AB', EXPLICIT, 0x7ffffffe),
    element('0042,0011', 'OB', 'AB', EXPLICIT, 0xfffffffe),
    element('0042,0011', 'OB', 'AB', EXPLICIT, 0xffffffff),
    element('0040,a160', 'UT', 'AB', EXPLICIT, 0xffffffff),
    element('0008,1140', 'SQ', item(Buffer.alloc(0)), EXPLICIT, 16),
    sequence('0008,1140', [Buffer.concat([tagBytes('fffe,e000', EXPLICIT), Buffer.from([255, 255, 255, 127])])]),
    sequence('0008,1140', [item(element('0008,0100', 'SH', 'AB', EXPLICIT, 0x100))]),
    sequence('0008,1140', [element('0008,0100', 'SH', 'ABCD')]),
    item(element('0008,0100', 'SH', 'AB')),
    encapsulated([Buffer.alloc(0)]).subarray(0, -8),
  ];
  for (const lie of lies) refused(file(LE, instance(EXPLICIT, lie)));
  refused(file(LE, instance(EXPLICIT, element('7fe0,0010', 'OW', Buffer.alloc(4), EXPLICIT, 2 ** 31))), 1000, (bytes) =>
    readFile(bytes, { untilPixelData: true }),
  );
});

test('nesting is bounded, of defined and undefined length', () => {
  const nest = (depth: number, undefinedLength: boolean): Buffer => {
    if (undefinedLength) {
      const open = Buffer.concat([
        element('0008,1140', 'SQ', Buffer.alloc(0), EXPLICIT, 0xffffffff),
        tagBytes('fffe,e000', EXPLICIT),
        Buffer.alloc(4, 0xff),
      ]);
      const close = Buffer.concat([
        tagBytes('fffe,e00d', EXPLICIT),
        Buffer.alloc(4),
        tagBytes('fffe,e0dd', EXPLICIT),
        Buffer.alloc(4),
      ]);
      return Buffer.concat([...Array<Buffer>(depth).fill(open), ...Array<Buffer>(depth).fill(close)]);
    }
    // From the inside out: 12 bytes of element and 8 of item around what is there.
    const heads: Buffer[] = [];
    for (let inside = 0; inside < depth * 20; inside += 20) {
      heads.push(element('0008,1140', 'SQ', Buffer.alloc(0), EXPLICIT, inside + 8));
      const head = Buffer.concat([tagBytes('fffe,e000', EXPLICIT), Buffer.alloc(4)]);
      head.writeUInt32LE(inside, 4);
      heads.push(head);
    }
    return Buffer.concat(
      heads.toReversed().flatMap((head, at, all) => (at % 2 === 0 ? [all[at + 1] ?? head, head] : [])),
    );
  };
  for (const undefinedLength of [true, false]) {
    let deepest: DataSet | undefined = readFile(file(LE, nest(MAXIMUM_DEPTH, undefinedLength))).dataSet;
    let depth = 0;
    while ((deepest = deepest?.elements.get('0008,1140')?.items?.[0]) !== undefined) depth += 1;
    assert.equal(depth, MAXIMUM_DEPTH);
    refused(file(LE, nest(MAXIMUM_DEPTH + 1, undefinedLength)));
    refused(file(LE, nest(10_000, undefinedLength)));
    refused(file(LE, instance(EXPLICIT, nest(10_000, undefinedLength))), 1000, summarize);
  }
});

test('a deflate bomb is refused at its bound', () => {
  const bomb = file('1.2.840.10008.1.2.1.99', deflateRawSync(Buffer.alloc(64 * 1024 * 1024)));
  refused(bomb, 2000, (bytes) => readFile(bytes, { maximumInflated: 1024 * 1024 }));
  refused(file('1.2.840.10008.1.2.1.99', Buffer.from('not deflated at all')));
});

test('what is not kept costs no memory: a million empty items', () => {
  const items = Buffer.alloc(8 * 1_000_000, item(Buffer.alloc(0)));
  const bytes = file(LE, instance(EXPLICIT, element('0040,0555', 'SQ', items)));
  const before = process.memoryUsage().heapUsed;
  assert.equal(summarize(bytes).metadata.Instance['IndexInSeries'], '7');
  assert.ok(process.memoryUsage().heapUsed - before < 200 * 1024 * 1024);
});

test('long runs of padding take linear time', () => {
  const spaces = Buffer.concat([Buffer.alloc(60_000, 0x20), Buffer.from('xx')]);
  const bytes = file(LE, Buffer.concat([element('0008,0005', 'CS', spaces), instance(EXPLICIT)]));
  const start = performance.now();
  summarize(bytes);
  assert.ok(performance.now() - start < 200);
});

test('bytes in shared memory are read', () => {
  const body = Buffer.concat([
    element('0008,0005', 'CS', 'ISO_IR 192'),
    instance(EXPLICIT),
    element('0020,4000', 'LT', Buffer.from('é')),
  ]);
  for (const bytes of [file(LE, body), file('1.2.840.10008.1.2.1.99', deflateRawSync(body))]) {
    const slab = new Uint8Array(new SharedArrayBuffer(bytes.length + 8)).subarray(8);
    slab.set(bytes);
    assert.equal(summarize(slab).tags.Instance['0020,4000'], 'é');
  }
});

/** What dicom-parser sees: tag and length of each element at every depth, its pseudo-elements left out. */
function seenByLibrary(dataSet: dicomParser.DataSet): string[] {
  return Object.values(dataSet.elements)
    .filter(({ tag }) => !tag.startsWith('xfffee') && tag > 'x0002ffff')
    .flatMap((found) => [
      `${found.tag.slice(1)} ${found.items?.length ?? '-'}`,
      ...(found.items ?? []).flatMap((one) => (one.dataSet === undefined ? [] : seenByLibrary(one.dataSet))),
    ]);
}

function seenByUs(dataSet: DataSet): string[] {
  return [...dataSet.elements.values()].flatMap((found) => [
    `${found.tag.replace(',', '')} ${found.items?.length ?? '-'}`,
    ...(found.items ?? []).flatMap(seenByUs),
  ]);
}

test('the samples are read as dicom-parser reads them', { skip: withoutShared }, () => {
  const folder = shared('samples') ?? '';
  let compared = 0;
  for (const name of readdirSync(folder, { recursive: true }).map(String)) {
    const path = join(folder, name);
    if (!statSync(path).isFile()) continue;
    const bytes = readFileSync(path);
    if (bytes.toString('latin1', 128, 132) !== 'DICM' || name.includes('Deeply-Nested')) continue;
    const ours = readFile(bytes);
    // Left out: where the library misreads. It takes deflated and implicit private sequences wrongly.
    if (ours.transferSyntax === '1.2.840.10008.1.2.1.99' || ours.transferSyntax === '1.2.840.10008.1.2') continue;
    const theirs = seenByLibrary(dicomParser.parseDicom(bytes)).toSorted();
    const mine = seenByUs(ours.dataSet)
      .filter((line) => line > '0002ffff')
      .toSorted();
    assert.deepEqual(mine, theirs, name);
    compared += 1;
  }
  assert.ok(compared > 100, `${compared} compared`);
});

test('the beginning of a file is enough when Pixel Data begins in it, and only then', () => {
  const whole = make({ rows: 64, columns: 64 });
  const offset = readFile(whole).pixelData?.offset ?? 0;
  assert.ok(offset > 300);
  const read = (length: number, options = {}) =>
    readFile(whole.subarray(0, length), { size: whole.length, ...options });
  for (let length = 1; length < offset + 12; length++) {
    assert.throws(() => read(length), { code: 'BadFileFormat' }, `cut at ${length}`);
  }
  assert.equal(read(offset + 12).pixelData?.offset, offset);
  assert.throws(() => readFile(whole.subarray(0, offset + 12), { size: whole.length - 1 }), { code: 'BadFileFormat' });
  const document = make({ pixels: false, extra: [{ tag: '0042,0011', vr: 'OB', value: new Uint8Array(5000) }] });
  const cut = document.subarray(0, 1000);
  assert.throws(() => readFile(cut, { size: document.length }), { code: 'BadFileFormat' });
  assert.ok(readFile(cut, { size: document.length, cut: true }).dataSet.elements.has('0020,000d'));
  assert.throws(() => readFile(cut, { size: 2000, cut: true }), { code: 'BadFileFormat' });
});

test('the deeply nested sample is refused at once', { skip: withoutShared }, () => {
  refused(readFileSync(shared('samples/2026-05-06-Deeply-Nested-Sequence.dcm') ?? ''), 200);
});
