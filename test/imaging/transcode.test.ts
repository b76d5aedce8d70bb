/**
 * Owns the proof of transcoding whole files: made instances to and from every transfer syntax, what DCMTK and GDCM decode of them,
 * the samples, and every element beside the pixels.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { toJson } from '../../src/dicom/json.ts';
import { parseModification } from '../../src/dicom/modification.ts';
import { modifyFile } from '../../src/dicom/modify.ts';
import { type DataSet, readFile } from '../../src/dicom/read.ts';
import { transferSyntax } from '../../src/dicom/transfer-syntaxes.ts';
import { UidMap } from '../../src/dicom/uid-map.ts';
import { type NewElement, rawElements, writeFile } from '../../src/dicom/write.ts';
import { attributesOf } from '../../src/imaging/attributes.ts';
import { CAPABILITIES } from '../../src/imaging/codecs.ts';
import { decodeFrame, decodeStored } from '../../src/imaging/decode.ts';
import type { Frame } from '../../src/imaging/image.ts';
import { bytesOf } from '../../src/imaging/native.ts';
import { framesOf } from '../../src/imaging/pixel-data.ts';
import { show } from '../../src/imaging/show.ts';
import { transcode } from '../../src/imaging/transcode.ts';
import { make, ODD_ELEMENTS } from '../dicom/made.ts';
import { shared, temporaryFolder, without, withoutShared } from '../peer.ts';
import { type MadeImage, madeImage } from './made-image.ts';

const EXPLICIT = '1.2.840.10008.1.2.1';
const IMPLICIT = '1.2.840.10008.1.2';
const BIG_ENDIAN = '1.2.840.10008.1.2.2';
const NATIVE = [IMPLICIT, EXPLICIT, `${EXPLICIT}.99`, BIG_ENDIAN];
const encodable = Object.keys(CAPABILITIES).filter((uid) => CAPABILITIES[uid]?.encode !== undefined);
const lossless = encodable.filter((uid) => CAPABILITIES[uid]?.lossy === false);
const lossy = encodable.filter((uid) => CAPABILITIES[uid]?.lossy === true);

/** Every frame of a file, decoded. */
function framesIn(file: Uint8Array): Frame[] {
  const { dataSet, transferSyntax: uid } = readFile(file);
  const pixels = dataSet.elements.get('7fe0,0010');
  assert.ok(pixels);
  const attributes = attributesOf(dataSet, uid);
  return Array.from(framesOf(dataSet, pixels, attributes), (frame) => decodeFrame(frame, attributes));
}

/** A file of several different frames. */
function fileOf({ attributes, frame }: MadeImage, extra: readonly NewElement[] = [], frames = 3): Buffer {
  const { rows, columns, samplesPerPixel, bitsAllocated, bitsStored, highBit, signed } = attributes;
  const bytes = bytesOf(frame.samples, bitsAllocated);
  const turned = Array.from({ length: frames }, (_, index) => {
    const at = index * samplesPerPixel * Math.ceil(bitsAllocated / 8);
    return Buffer.concat([bytes.subarray(at), bytes.subarray(0, at)]);
  });
  return make({
    rows,
    columns,
    frames,
    samples: samplesPerPixel === 3 ? 3 : 1,
    pixels: Buffer.concat(turned),
    extra: [
      ...extra,
      { tag: '0028,0004', vr: 'CS', value: attributes.photometricInterpretation },
      { tag: '0028,0100', vr: 'US', value: [bitsAllocated] },
      { tag: '0028,0101', vr: 'US', value: [bitsStored] },
      { tag: '0028,0102', vr: 'US', value: [highBit] },
      { tag: '0028,0103', vr: 'US', value: [signed ? 1 : 0] },
    ],
  });
}

/** What the data set says beside its pixels. */
function said(dataSet: DataSet): Record<string, unknown> {
  const elements = new Map([...dataSet.elements].filter(([tag]) => tag !== '7fe0,0010'));
  return toJson({ ...dataSet, elements }, 'Full', { maxStringLength: 0 } as object);
}

const IMAGES: Readonly<Record<string, MadeImage>> = {
  'grey of 8 bits': madeImage({ bits: 8, allocated: 8 }),
  'grey of 12 bits': madeImage({ bits: 12, allocated: 16 }),
  'grey of 16 bits with a sign': madeImage({ bits: 16, allocated: 16, signed: true }),
  'colour of 8 bits': madeImage({ bits: 8, allocated: 8, samples: 3 }),
};

for (const [name, image] of Object.entries(IMAGES)) {
  test(`${name} is the same in every lossless transfer syntax, from each to each`, () => {
    const original = fileOf(image);
    const frames = framesIn(original);
    assert.equal(frames.length, 3);
    for (const first of lossless) {
      const there = transcode(original, first);
      assert.deepEqual([there.lossy, there.sopInstanceUid], [false, '2.25.20261123.1.1.1']);
      assert.equal(readFile(there.bytes).transferSyntax, first);
      assert.deepEqual(framesIn(there.bytes), frames, first);
      for (const second of [EXPLICIT, BIG_ENDIAN, '1.2.840.10008.1.2.5', '1.2.840.10008.1.2.4.80'])
        assert.deepEqual(framesIn(transcode(there.bytes, second).bytes), frames, `${first} → ${second}`);
    }
  });
}

test('a file in its own transfer syntax is answered as it is', () => {
  for (const uid of [...NATIVE, '1.2.840.10008.1.2.4.102']) {
    const file = make({ transferSyntax: uid });
    assert.equal(transcode(file, uid).bytes, file);
  }
});

test('every element of every VR and depth survives each native transfer syntax', () => {
  const wide = { tag: '0028,1201', vr: 'OW', value: Uint8Array.from({ length: 512 }, (_, index) => index) };
  const original = make({ extra: [...ODD_ELEMENTS, wide] });
  const expected = said(readFile(original).dataSet);
  assert.ok(Object.keys(expected).length > 30);
  const privateBytes = (file: Uint8Array, tag: string): string => {
    const { dataSet } = readFile(file);
    const element = dataSet.elements.get(tag);
    return element === undefined ? '' : dataSet.bytes.toString('hex', element.offset, element.offset + element.length);
  };
  for (const first of [BIG_ENDIAN, `${EXPLICIT}.99`, EXPLICIT]) {
    for (const second of [BIG_ENDIAN, `${EXPLICIT}.99`, EXPLICIT]) {
      const there = transcode(original, first).bytes;
      const back = transcode(transcode(there, second).bytes, EXPLICIT).bytes;
      assert.deepEqual(said(readFile(there).dataSet), expected, first);
      assert.deepEqual(said(readFile(back).dataSet), expected, `${first} → ${second}`);
      assert.equal(privateBytes(back, '0028,1201'), Buffer.from(wide.value).toString('hex'));
    }
  }
  // Implicit VR has no place for the VR of a private element: everything else is the same.
  const implicit = said(readFile(transcode(original, IMPLICIT).bytes).dataSet);
  for (const [tag, value] of Object.entries(expected).filter(([key]) => !key.startsWith('0009')))
    assert.deepEqual(implicit[tag], value, tag);
  assert.equal(privateBytes(transcode(original, BIG_ENDIAN).bytes, '0028,1201').slice(0, 8), '01000302');
});

test('a lossy image is another instance and says what it lost', () => {
  const image = IMAGES['grey of 8 bits'];
  assert.ok(image);
  const original = fileOf(image, [{ tag: '0008,0008', vr: 'CS', value: 'ORIGINAL\\PRIMARY\\AXIAL' }]);
  for (const uid of lossy) {
    const { bytes, lossy: isLossy, sopInstanceUid } = transcode(original, uid, { quality: 80 });
    const { dataSet, meta } = readFile(bytes);
    const tags = toJson(dataSet, 'Short');
    assert.equal(isLossy, true);
    assert.match(sopInstanceUid, /^2\.25\.\d{20,39}$/);
    assert.equal(tags['0008,0018'], sopInstanceUid);
    assert.equal(toJson(meta, 'Short')['0002,0003'], sopInstanceUid);
    assert.equal(tags['0008,0008'], 'DERIVED\\PRIMARY\\AXIAL');
    assert.equal(tags['0028,2110'], '01');
    assert.match(String(tags['0028,2112']), /^\d+\.\d\d$/);
    assert.match(String(tags['0028,2114']), /^ISO_(10918_1|14495_1|15444_1)$/);
    assert.match(String(tags['0008,2111']), /^Lossy compression with JPEG/);
    // A second loss is added to the first.
    const again = toJson(readFile(transcode(transcode(bytes, EXPLICIT).bytes, uid).bytes).dataSet, 'Short');
    assert.match(String(again['0028,2112']), /^\d+\.\d\d\\\d+\.\d\d$/);
    assert.match(String(again['0028,2114']), /^(ISO_\d+_1)\\\1$/);
    assert.match(String(again['0008,2111']), /ratio .*; Lossy compression/);
    // What was lost stays said where nothing more is.
    assert.equal(toJson(readFile(transcode(bytes, EXPLICIT).bytes).dataSet, 'Short')['0028,2110'], '01');
  }
});

test('a loss that only the transfer syntax said is said by the image that is decoded', () => {
  const image = IMAGES['grey of 8 bits'];
  assert.ok(image);
  const silence = parseModification({ Remove: ['LossyImageCompression'] }, 'Instance');
  const lossOf = (uid: string): unknown => {
    const silent = modifyFile(readFile(transcode(fileOf(image), uid).bytes), silence, new UidMap('seed', []));
    return toJson(readFile(transcode(silent, EXPLICIT).bytes).dataSet, 'Short')['0028,2110'];
  };
  assert.equal(lossOf('1.2.840.10008.1.2.4.50'), '01');
  assert.equal(lossOf('1.2.840.10008.1.2.4.91'), undefined, 'it may be lossless as well');
  assert.equal(lossOf('1.2.840.10008.1.2.4.70'), undefined);
});

test('a lossy copy is the same instance whenever it is made, and says of which one', () => {
  const image = IMAGES['grey of 8 bits'];
  assert.ok(image);
  const original = fileOf(image);
  const uid = '1.2.840.10008.1.2.4.50';
  const first = transcode(original, uid, { quality: 80 });
  assert.deepEqual(transcode(original, uid, { quality: 80 }), first);
  const others = [
    transcode(original, uid, { quality: 81 }),
    transcode(original, '1.2.840.10008.1.2.4.81', { quality: 80 }),
    transcode(fileOf(image, [{ tag: '0008,0018', vr: 'UI', value: '1.2.3' }]), uid, { quality: 80 }),
    transcode(fileOf(image, [], 2), uid, { quality: 80 }),
  ];
  assert.equal(new Set([first, ...others].map(({ sopInstanceUid }) => sopInstanceUid)).size, 5);
  const purpose = { '0008,0100': '121320', '0008,0102': 'DCM', '0008,0104': 'Uncompressed predecessor' };
  const source = {
    '0008,1150': '1.2.840.10008.5.1.4.1.1.2',
    '0008,1155': '2.25.20261123.1.1.1',
    '0040,a170': [purpose],
  };
  assert.deepEqual(toJson(readFile(first.bytes).dataSet, 'Short')['0008,2112'], [source]);
  // A second loss has two sources, of which one was compressed.
  const again = transcode(first.bytes, '1.2.840.10008.1.2.4.91');
  const sources = toJson(readFile(again.bytes).dataSet, 'Short')['0008,2112'];
  assert.deepEqual(sources, [source, { '0008,1150': source['0008,1150'], '0008,1155': first.sopInstanceUid }]);
});

test('an overlay in the bits above the samples, and a compressed picture in a sequence, are not lost unsaid', () => {
  const overlay = [
    { tag: '6000,0010', vr: 'US', value: [4] },
    { tag: '6000,0102', vr: 'US', value: [12] },
  ];
  const embedded = make({ extra: [...overlay, { tag: '0028,0101', vr: 'US', value: [12] }] });
  assert.throws(() => transcode(embedded, '1.2.840.10008.1.2.4.70'), { code: 'IncompatibleImageFormat' });
  assert.ok(readFile(transcode(embedded, BIG_ENDIAN).bytes).dataSet.elements.has('6000,0102'));
  const beside = make({ extra: [...overlay, { tag: '6000,3000', vr: 'OW', value: new Uint8Array(4) }] });
  assert.ok(readFile(transcode(beside, '1.2.840.10008.1.2.4.70').bytes).dataSet.elements.has('6000,3000'));

  const image = IMAGES['grey of 8 bits'];
  assert.ok(image);
  const compressed = { fragments: [Uint8Array.of(0xff, 0xd8, 0xff, 0xd9)] };
  const picture = (tag: string): NewElement => ({
    tag,
    vr: 'SQ',
    value: { items: [[{ tag: '7fe0,0010', vr: 'OB', value: compressed }]] },
  });
  const jpeg = transcode(fileOf(image), '1.2.840.10008.1.2.4.70').bytes;
  const { dataSet } = readFile(jpeg);
  const rebuilt = (extra: NewElement): Buffer =>
    writeFile({
      transferSyntax: transferSyntax('1.2.840.10008.1.2.4.70') ?? assert.fail(),
      sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
      sopInstanceUid: '2.25.20261123.1.1.1',
      dataSet: [...rawElements(dataSet, { littleEndian: true, explicit: true }), extra],
    });
  for (const uid of [EXPLICIT, IMPLICIT, '1.2.840.10008.1.2.5'])
    assert.throws(() => transcode(rebuilt(picture('0008,1140')), uid), { code: 'IncompatibleImageFormat' }, uid);
  const withoutIcon = transcode(rebuilt(picture('0088,0200')), EXPLICIT).bytes;
  assert.equal(readFile(withoutIcon).dataSet.elements.has('0088,0200'), false);
  assert.deepEqual(framesIn(withoutIcon), framesIn(fileOf(image)));
});

test('planes, subsampled chrominance, high bits and stale tables are put right', () => {
  const colour = madeImage({ bits: 8, allocated: 8, samples: 3, rows: 4, columns: 6 });
  const planes = new Uint8Array(72).map((_, at) => Number(colour.frame.samples[(at % 24) * 3 + Math.floor(at / 24)]));
  const planar = make({ samples: 3, bits: 8, pixels: planes, extra: [{ tag: '0028,0006', vr: 'US', value: [1] }] });
  for (const uid of lossless.filter((key) => transferSyntax(key)?.encapsulated)) {
    const { bytes } = transcode(planar, uid);
    assert.deepEqual(framesIn(bytes)[0]?.samples, colour.frame.samples, uid);
    assert.equal(attributesOf(readFile(bytes).dataSet, uid).planarConfiguration, 0);
  }
  // Bits Stored of 12 below High Bit 14, with something else in the other bits.
  const words = Uint16Array.from({ length: 24 }, (_, at) => ((at * 170) << 3) | 0x8005);
  const shifted = make({
    pixels: new Uint8Array(words.buffer),
    extra: [
      { tag: '0028,0101', vr: 'US', value: [12] },
      { tag: '0028,0102', vr: 'US', value: [14] },
      { tag: '7fe0,0001', vr: 'OV', value: [0n] },
    ],
  });
  const { bytes } = transcode(shifted, '1.2.840.10008.1.2.4.70');
  const { dataSet } = readFile(bytes);
  assert.equal(attributesOf(dataSet, EXPLICIT).highBit, 11);
  assert.equal(dataSet.elements.has('7fe0,0001'), false);
  assert.deepEqual(
    framesIn(bytes)[0]?.samples,
    words.map((word) => (word >> 3) & 0xfff),
  );
  // Y1 Y2 Cb Cr.
  const subsampled = make({
    samples: 3,
    bits: 8,
    pixels: Uint8Array.from({ length: 48 }, (_, at) => at * 5),
    extra: [{ tag: '0028,0004', vr: 'CS', value: 'YBR_FULL_422' }],
  });
  const rle = readFile(transcode(subsampled, '1.2.840.10008.1.2.5').bytes);
  const attributes = attributesOf(rle.dataSet, rle.transferSyntax);
  assert.equal(attributes.photometricInterpretation, 'YBR_FULL');
  const pixels = rle.dataSet.elements.get('7fe0,0010');
  const [frame] = pixels === undefined ? [] : framesOf(rle.dataSet, pixels, attributes);
  const stored = decodeStored(frame ?? assert.fail(), attributes);
  assert.deepEqual(Array.from(stored.samples.subarray(0, 12)), [0, 10, 15, 5, 10, 15, 20, 30, 35, 25, 30, 35]);
});

test('what cannot be transcoded is refused', () => {
  const file = make();
  assert.throws(() => transcode(file, '1.2.3'), { code: 'ParameterOutOfRange' });
  assert.throws(() => transcode(file, '1.2.840.10008.1.2.4.102'), { code: 'NotImplemented' });
  assert.throws(() => transcode(file, '1.2.840.10008.1.2.4.50'), { code: 'IncompatibleImageFormat' });
  assert.throws(() => transcode(make({ transferSyntax: '1.2.840.10008.1.2.4.102' }), EXPLICIT), {
    code: 'NotImplemented',
  });
  assert.throws(() => transcode(make({ transferSyntax: '1.2.840.10008.1.2.4.70' }), EXPLICIT), {
    code: 'BadFileFormat',
  });
  assert.throws(() => transcode(Buffer.from('no DICOM'), EXPLICIT), { code: 'BadFileFormat' });
  const huge = make({
    extra: [
      { tag: '0028,0010', vr: 'US', value: [16_000] },
      { tag: '0028,0011', vr: 'US', value: [16_000] },
      { tag: '0028,0008', vr: 'IS', value: '4000000' },
    ],
  });
  assert.throws(() => transcode(huge, '1.2.840.10008.1.2.5'), { code: 'NotEnoughMemory' });
  // Without pixels there is nothing to encode.
  assert.equal(
    readFile(transcode(make({ pixels: false }), '1.2.840.10008.1.2.5').bytes).transferSyntax,
    '1.2.840.10008.1.2.5',
  );
});

/** Runs a program from file to file; answers what it wrote. */
function written(program: string, parameters: readonly string[], file: Uint8Array): Buffer {
  const folder = temporaryFolder();
  const from = join(folder, 'from.dcm');
  const to = join(folder, 'to.dcm');
  writeFileSync(from, file);
  const paths = program === 'gdcmconv' ? ['-i', from, '-o', to] : [from, to];
  const run = spawnSync(program, [...parameters, ...paths], { encoding: 'utf8' });
  assert.equal(run.status, 0, `${program} ${parameters.join(' ')}: ${run.stderr}${run.stdout}`);
  return readFileSync(to);
}

/** Programs that decode, and of what. */
const DECODERS: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['dcmdjpeg', [], ['.4.57', '.4.70']],
  ['dcmdjpls', [], ['.4.80', '.4.81']],
  ['dcmdrle', [], ['.5']],
  ['dcmconv', ['+te'], ['', '.1.99', '.2']],
  ['gdcmconv', ['-w'], ['.4.57', '.4.70', '.4.80', '.4.81', '.4.90', '.4.91', '.5', '.2', '.1.99']],
];
for (const [program, parameters, ends] of DECODERS) {
  test(`${program} decodes what is encoded here to the same`, { skip: without(program) }, () => {
    for (const [name, image] of Object.entries(IMAGES)) {
      for (const uid of ends.map((end) => `1.2.840.10008.1.2${end}`)) {
        const { bytes } = transcode(fileOf(image), uid);
        assert.deepEqual(framesIn(written(program, parameters, bytes)), framesIn(bytes), `${name} ${uid}`);
      }
    }
  });
}

/** A file of one frame, colour by plane. */
function planarOf({ frame }: MadeImage): Buffer {
  const { rows, columns, samples } = frame;
  const count = rows * columns;
  const pixels = new Uint8Array(count * 3).map((_, at) => Number(samples[(at % count) * 3 + Math.floor(at / count)]));
  const extra: NewElement[] = [{ tag: '0028,0006', vr: 'US', value: [1] }];
  return make({ rows, columns, samples: 3, bits: 8, pixels, extra });
}

/** Programs that encode, whether with loss, and what decodes it again. */
const ENCODERS: readonly (readonly [string, readonly string[], string, string])[] = [
  ['dcmcjpeg', ['+eb'], 'dcmdjpeg', 'grey of 8 bits'],
  ['dcmcjpeg', ['+eb'], 'dcmdjpeg', 'colour of 8 bits'],
  ['dcmcjpeg', ['+ee'], 'dcmdjpeg', 'grey of 12 bits'],
  ['dcmcjpeg', ['+es'], 'dcmdjpeg', 'grey of 8 bits'],
  ['dcmcjpeg', ['+es'], 'dcmdjpeg', 'grey of 12 bits'],
  ['dcmcjpeg', ['+ep'], 'dcmdjpeg', 'grey of 8 bits'],
  ['dcmcjpeg', ['+ep'], 'dcmdjpeg', 'grey of 12 bits'],
  ['dcmcjpeg', ['+el', '+sv', '6'], 'dcmdjpeg', 'grey of 16 bits with a sign'],
  ['dcmcjpeg', ['+e1'], 'dcmdjpeg', 'colour of 8 bits'],
  ['dcmcjpls', ['+el'], 'dcmdjpls', 'grey of 16 bits with a sign'],
  ['dcmcjpls', ['+en', '+md', '3'], 'dcmdjpls', 'grey of 12 bits'],
  ['dcmcjpls', ['+el'], 'dcmdjpls', 'colour of 8 bits'],
  ['dcmcjpls', ['+el'], 'dcmdjpls', 'colour by plane'],
  ['dcmcjpls', ['+el', '+iv'], 'dcmdjpls', 'colour by plane'],
  ['dcmcjpls', ['+el', '+in'], 'dcmdjpls', 'colour of 8 bits'],
  ['dcmcjpls', ['+el', '+is'], 'dcmdjpls', 'colour of 8 bits'],
  ['dcmcjpls', ['+el', '+fs', '1'], 'dcmdjpls', 'grey of 16 bits with a sign'],
  ['dcmcjpeg', ['+e1'], 'dcmdjpeg', 'colour by plane'],
  ['dcmcrle', [], 'dcmdrle', 'colour by plane'],
  ['gdcmconv', ['-L'], 'gdcmconv', 'colour by plane'],
  ['dcmcrle', [], 'dcmdrle', 'colour of 8 bits'],
  ['dcmcrle', [], 'dcmdrle', 'grey of 16 bits with a sign'],
  ['gdcmconv', ['-K'], 'gdcmconv', 'grey of 16 bits with a sign'],
  ['gdcmconv', ['-K'], 'gdcmconv', 'colour of 8 bits'],
];
for (const [program, parameters, decoder, name] of ENCODERS) {
  const skip = without(program) || without(decoder);
  test(`${program} ${parameters.join(' ')}: ${name} is decoded here as ${decoder} does`, { skip }, () => {
    const image = IMAGES[name] ?? IMAGES['colour of 8 bits'];
    assert.ok(image);
    const file = name === 'colour by plane' ? planarOf(image) : fileOf(image);
    const encoded = written(program, parameters, file);
    const expected = framesIn(written(decoder, decoder === 'gdcmconv' ? ['-w'] : [], encoded));
    for (const [index, frame] of framesIn(encoded).entries()) {
      let largest = 0;
      const other = expected[index]?.samples ?? assert.fail();
      for (const [at, sample] of frame.samples.entries())
        largest = Math.max(largest, Math.abs(sample - (other[at] ?? -1e6)));
      assert.ok(largest <= (/\+e[besp]/.test(parameters.join(' ')) ? 1 : 0), `frame ${index}: ${largest}`);
    }
  });
}

/** Every sample that is an image, small enough. */
function sampleImages(): { readonly name: string; readonly file: Buffer }[] {
  const folder = shared('samples') ?? assert.fail();
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => /\.dcm$|SCS/.test(name) && !/Deeply|Knee|Brainix|Lena|Tumashu/.test(name))
    .map((name) => ({ name, path: join(folder, name) }))
    .filter(({ path }) => statSync(path).isFile() && statSync(path).size < 700_000)
    .map(({ name, path }) => ({ name, file: readFileSync(path) }))
    .filter(({ file }) => readFile(file).dataSet.elements.has('7fe0,0010'));
}

test('samples keep their pixels and all that they say', { skip: withoutShared }, () => {
  const samples = sampleImages();
  assert.ok(samples.length > 30);
  for (const { name, file } of samples) {
    const before = framesIn(file);
    const bits = before[0]?.samples.BYTES_PER_ELEMENT ?? 0;
    for (const uid of [
      BIG_ENDIAN,
      IMPLICIT,
      ...(bits > 0 && !/Seg/.test(name) ? ['1.2.840.10008.1.2.5', '1.2.840.10008.1.2.4.201'] : []),
    ]) {
      const { bytes } = transcode(file, uid);
      assert.deepEqual(framesIn(bytes), before, `${name} → ${uid}`);
    }
  }
});

test('frames in several fragments without an offset table are told apart by where codestreams begin', async () => {
  const image = IMAGES['grey of 8 bits'] ?? assert.fail();
  const plain = fileOf(image);
  const bad = { code: 'BadFileFormat' };
  for (const end of ['50', '70', '80', '90', '201']) {
    const uid = `1.2.840.10008.1.2.4.${end}`;
    const { dataSet } = readFile(transcode(plain, uid).bytes);
    const whole = (dataSet.elements.get('7fe0,0010')?.fragments ?? []).map(({ offset, length }) =>
      dataSet.bytes.subarray(offset, offset + length),
    );
    const cut = whole.flatMap((bytes) => [bytes.subarray(0, 100), bytes.subarray(100, 102), bytes.subarray(102)]);
    const split = (fragments: readonly Uint8Array[]): Buffer =>
      writeFile({
        transferSyntax: transferSyntax(uid) ?? assert.fail(),
        sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
        sopInstanceUid: '2.25.20261123.1.1.1',
        dataSet: [
          ...rawElements(dataSet, { littleEndian: true, explicit: true }).filter(({ tag }) => tag !== '7fe0,0010'),
          { tag: '7fe0,0010', vr: 'OB', value: { fragments } },
        ],
      });
    const expected = framesIn(transcode(split(whole), EXPLICIT).bytes);
    const cutFile = split(cut);
    assert.deepEqual(framesIn(transcode(cutFile, EXPLICIT).bytes), expected, uid);
    for (const [frame, { samples }] of expected.entries()) {
      const question = { kind: 'array', rescaled: false } as const;
      const { bytes } = await show({ bytes: cutFile, truncated: false, frame, question });
      assert.deepEqual(new Uint8Array(bytes), Uint8Array.from(samples), `${uid} ${frame}`);
    }
    // More or fewer codestreams than frames, or something before the first.
    for (const wrong of [[...cut, whole[0] ?? assert.fail()], cut.slice(3), cut.slice(1)]) {
      assert.throws(() => transcode(split(wrong), EXPLICIT), bad, uid);
      const question = { kind: 'array', rescaled: false } as const;
      await assert.rejects(show({ bytes: split(wrong), truncated: false, frame: 0, question }), bad, uid);
    }
  }
});
