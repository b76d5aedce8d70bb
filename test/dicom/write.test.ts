/** Owns the proof that what the writer writes is what was asked for: bytes by the Standard, our reader, DCMTK's reader. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readFile } from '../../src/dicom/read.ts';
import { TRANSFER_SYNTAXES, transferSyntax } from '../../src/dicom/transfer-syntaxes.ts';
import { type NewElement, rawElements, writeDataSet, writeFile } from '../../src/dicom/write.ts';
import { IsenError } from '../../src/errors.ts';
import { temporaryFolder, without } from '../peer.ts';
import { CHARSETS, make, madeElements, ODD_ELEMENTS } from './made.ts';

const LITTLE = { littleEndian: true, explicit: true };
const BIG = { littleEndian: false, explicit: true };
const IMPLICIT = { littleEndian: true, explicit: false };

const hex = (elements: readonly NewElement[], encoding = LITTLE): string =>
  writeDataSet(elements, encoding).toString('hex');

test('elements have the bytes of PS3.5 §7.1', () => {
  const rows: readonly NewElement[] = [{ tag: '0028,0010', vr: 'US', value: [0x0102] }];
  assert.equal(hex(rows), '280010005553' + '0200' + '0201');
  assert.equal(hex(rows, BIG), '002800105553' + '0002' + '0102');
  assert.equal(hex(rows, IMPLICIT), '28001000' + '02000000' + '0201');
  const pixels: readonly NewElement[] = [{ tag: '7fe0,0010', vr: 'OB', value: Uint8Array.of(7) }];
  assert.equal(hex(pixels), 'e07f10004f420000' + '02000000' + '0700');
  assert.equal(hex(pixels, BIG), '7fe000104f420000' + '00000002' + '0700');
  const tags: readonly NewElement[] = [{ tag: '0020,9165', vr: 'AT', value: [0x00189323] }];
  assert.equal(hex(tags), '2000659141540400' + '18002393');
  assert.equal(hex(tags, BIG), '0020916541540004' + '00189323');
});

test('each VR pads with its own byte (PS3.5 §6.2)', () => {
  const value = (vr: string, text: string): string => hex([{ tag: '0008,0018', vr, value: text }]).slice(16);
  assert.equal(value('UI', '1.2'), '312e3200');
  assert.equal(value('CS', 'ABC'), '41424320');
  assert.equal(value('LO', ''), '');
});

test('sequences have both kinds of length (PS3.5 §7.5)', () => {
  const item: readonly NewElement[] = [{ tag: '0008,0100', vr: 'SH', value: 'A' }];
  const coded = '0800000153480200' + '4120';
  const sequence = (undefinedLength: boolean): string =>
    hex([{ tag: '0040,a170', vr: 'SQ', value: { items: [item, []], undefinedLength } }]);
  assert.equal(sequence(false), '400070a153510000' + '1a000000' + `feff00e00a000000${coded}` + 'feff00e000000000');
  assert.equal(
    sequence(true),
    '400070a153510000' +
      'ffffffff' +
      `feff00e0ffffffff${coded}feff0de000000000` +
      'feff00e0fffffffffeff0de000000000' +
      'feffdde000000000',
  );
});

test('elements are put in ascending order at every level', () => {
  const high: NewElement = { tag: '0010,0020', vr: 'LO', value: 'B' };
  const low: NewElement = { tag: '0008,0060', vr: 'CS', value: 'CT' };
  assert.equal(hex([high, low]), hex([low, high]));
  const nested = (items: readonly NewElement[]): string =>
    hex([{ tag: '0040,a730', vr: 'SQ', value: { items: [items] } }]);
  assert.equal(nested([high, low]), nested([low, high]));
});

test('what a VR or the length field cannot hold is refused', () => {
  const refused: readonly NewElement[] = [
    { tag: '0028,0010', vr: 'US', value: [0x10000] },
    { tag: '0028,0010', vr: 'US', value: [-1] },
    { tag: '0028,0010', vr: 'US', value: [1.5] },
    { tag: '0018,6020', vr: 'SL', value: [2 ** 31] },
    { tag: '0010,0010', vr: 'PN', value: 'é' },
    { tag: '0010,0010', vr: 'PN', value: [1] },
    { tag: '0010,0010', vr: 'PN', value: new Uint8Array(0xffff) },
    { tag: '10,10', vr: 'PN', value: 'x' },
    { tag: '0010,0010', vr: '', value: 'x' },
  ];
  for (const element of refused) {
    assert.throws(
      () => writeDataSet([element], LITTLE),
      (thrown) => thrown instanceof IsenError && thrown.code === 'ParameterOutOfRange',
      JSON.stringify(element).slice(0, 80),
    );
  }
  assert.equal(
    writeDataSet([{ tag: '0010,0010', vr: 'PN', value: new Uint8Array(0xfffd) }], LITTLE).length,
    0xfffe + 8,
  );
});

test('File Meta Information is complete and its group length right (PS3.10 §7.1)', () => {
  const bytes = make({ transferSyntax: '1.2.840.10008.1.2.2' });
  assert.equal(bytes.toString('latin1', 0, 132), `${'\0'.repeat(128)}DICM`);
  const { meta, dataSet, transferSyntax: uid } = readFile(bytes);
  assert.equal(uid, '1.2.840.10008.1.2.2');
  assert.deepEqual(
    [...meta.elements.keys()],
    ['0002,0000', '0002,0001', '0002,0002', '0002,0003', '0002,0010', '0002,0012', '0002,0013'],
  );
  const groupLength = meta.elements.get('0002,0000');
  assert.ok(groupLength);
  const first = dataSet.elements.values().next().value;
  assert.equal(bytes.readUInt32LE(groupLength.offset), (first?.start ?? 0) - groupLength.end);
});

test('own meta elements do not replace those that the writer makes', () => {
  const meta: readonly NewElement[] = [
    { tag: '0002,0010', vr: 'UI', value: '1.2.840.10008.1.2' },
    { tag: '0002,0016', vr: 'AE', value: 'SOURCE' },
  ];
  const syntax = transferSyntax('1.2.840.10008.1.2.1');
  assert.ok(syntax);
  const read = readFile(
    writeFile({ transferSyntax: syntax, sopClassUid: '1.2', sopInstanceUid: '1.3', dataSet: madeElements(), meta }),
  );
  assert.equal(read.transferSyntax, '1.2.840.10008.1.2.1');
  const source = read.meta.elements.get('0002,0016');
  assert.ok(source);
  assert.equal(read.meta.bytes.toString('latin1', source.offset, source.end), 'SOURCE');
});

for (const syntax of TRANSFER_SYNTAXES) {
  test(`what is written in ${syntax.name} reads back`, () => {
    for (const { charset, name } of CHARSETS) {
      const written = madeElements({
        transferSyntax: syntax.uid,
        charset,
        patientName: name,
        frames: 3,
        extra: ODD_ELEMENTS,
      });
      const file = readFile(
        make({ transferSyntax: syntax.uid, charset, patientName: name, frames: 3, extra: ODD_ELEMENTS }),
      );
      assert.equal(file.transferSyntax, syntax.uid);
      assert.deepEqual([...file.dataSet.elements.keys()], written.map((element) => element.tag).toSorted());
      const patient = file.dataSet.elements.get('0010,0010');
      assert.ok(patient);
      assert.deepEqual(
        file.bytes.subarray(patient.offset, patient.offset + name.length).toString('hex'),
        Buffer.from(name).toString('hex'),
      );
      assert.equal(file.dataSet.elements.get('0008,1140')?.items?.[0]?.elements.get('0040,a170')?.items?.length, 2);
      const pixels = file.dataSet.elements.get('7fe0,0010');
      assert.equal(pixels?.fragments?.length, syntax.encapsulated ? 3 : undefined);
      assert.deepEqual(
        writeDataSet(rawElements(file.dataSet, syntax), syntax),
        writeDataSet(written, syntax),
        'raw elements written again',
      );
    }
  });
}

test('raw elements go into no other encoding, and not without their pixels', () => {
  const bytes = make();
  const refused = { code: 'ParameterOutOfRange' };
  assert.throws(() => rawElements(readFile(bytes).dataSet, BIG), refused);
  assert.throws(() => rawElements(readFile(bytes).dataSet, IMPLICIT), refused);
  assert.throws(() => rawElements(readFile(bytes, { untilPixelData: true }).dataSet, LITTLE), refused);
});

test('DCMTK reads every syntax without a warning', { skip: without('dcmdump') }, () => {
  const folder = temporaryFolder();
  // What DCMTK 3.6.7 knows: neither HTJ2K, JPEG XL, encapsulated uncompressed, fragmentable video nor JPIP with HTJ2K.
  const known = TRANSFER_SYNTAXES.filter(({ uid }) => !/\.(1\.98|4\.11[0-2]|4\.20[1-5]|4\.10\d\.1)$/.test(uid));
  assert.ok(known.length > 35);
  const files = known.map(({ uid }) => {
    const path = join(folder, `${uid}.dcm`);
    writeFileSync(path, make({ transferSyntax: uid, frames: 2, extra: ODD_ELEMENTS }));
    return path;
  });
  const dump = spawnSync('dcmdump', ['--verbose', '--load-all', '+P', '7fe0,0010', '+P', '0010,0010', ...files], {
    encoding: 'utf8',
  });
  assert.equal(dump.status, 0, dump.stderr);
  assert.doesNotMatch(dump.stderr, /^[WE]:/m);
  assert.equal(dump.stdout.match(/\(0010,0010\) PN \[Made\^Instance\]/g)?.length, files.length);
  assert.equal(dump.stdout.match(/^\(7fe0,0010\)/gm)?.length, files.length);
});
