/** The DICOM JSON Model (PS3.18 Annex F): what each VR becomes, in every character set, and what DCMTK makes of the same files. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { NewElement } from '../../src/dicom/write.ts';
import { without } from '../peer.ts';
import { encapsulated, element, EXPLICIT, file, IMPLICIT, instance, item, tagBytes } from './bytes.ts';
import { CHARSETS, make } from './made.ts';
import { JUDGED, web } from './web-formats.ts';

type Json = Record<string, { vr: string; Value?: unknown[]; InlineBinary?: string; BulkDataURI?: string }>;

const json = (bytes: Uint8Array): Json => JSON.parse(web(bytes, 'json')) as Json;
const made = (...extra: NewElement[]): Json => json(make({ extra }));

test('numbers are numbers, unless a double would alter them or there are none', () => {
  const object = made(
    { tag: '0028,0030', vr: 'DS', value: '1.50\\1e3\\abc\\+2.\\\\.5\\0x10\\1e999\\NaN' },
    { tag: '0008,1160', vr: 'IS', value: '7\\ -3 \\12345678901234567890' },
    { tag: '0018,9073', vr: 'FD', value: [1e22, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 100] },
    { tag: '0072,0082', vr: 'SV', value: [-9007199254740993n, 9007199254740991n] },
    { tag: '0072,0083', vr: 'UV', value: [18446744073709551615n] },
  );
  assert.deepEqual(object['00280030']?.Value, [1.5, 1000, 'abc', 2, null, 0.5, '0x10', '1e999', 'NaN']);
  assert.deepEqual(object['00081160']?.Value, [7, -3, '12345678901234567890']);
  assert.deepEqual(object['00189073']?.Value, [1e22, 'NaN', 'Infinity', '-Infinity', 100]);
  assert.deepEqual(object['00720082']?.Value, ['-9007199254740993', 9007199254740991]);
  assert.deepEqual(object['00720083']?.Value, ['18446744073709551615']);
});

test('a decimal string keeps each of its digits', () => {
  for (const digits of ['0.1234567890123456', '123456789012345678', '-9007199254740993'])
    assert.deepEqual(made({ tag: '0028,1052', vr: 'DS', value: digits })['00281052']?.Value, [digits]);
  assert.deepEqual(
    made({ tag: '0028,1052', vr: 'DS', value: '-0.00123456789012345' })['00281052']?.Value,
    [-0.00123456789012345],
  );
});

test('a person name has its component groups, an empty one is null', () => {
  const { '00101001': names } = made({ tag: '0010,1001', vr: 'PN', value: 'A^B=C=D\\\\=E\\=\\F^^^' });
  assert.deepEqual(names?.Value, [
    { Alphabetic: 'A^B', Ideographic: 'C', Phonetic: 'D' },
    null,
    { Ideographic: 'E' },
    null,
    { Alphabetic: 'F^^^' },
  ]);
});

test('text of every character set comes as UTF-8, and says so', () => {
  for (const { charset, name, text } of CHARSETS) {
    const object = json(make({ charset, patientName: name }));
    const groups = Object.values((object['00100010']?.Value?.[0] ?? {}) as Record<string, string>);
    assert.equal(groups.join('='), text.replace(/=+$/, ''), charset);
    assert.deepEqual(object['00080005'], { vr: 'CS', Value: ['ISO_IR 192'] }, charset);
  }
});

test('tags come in their order, without group lengths and File Meta Information', () => {
  const bytes = file('1.2.840.10008.1.2.1', Buffer.concat([instance(EXPLICIT), element('2010,0010', 'ST', 'a\\b')]));
  const text = web(bytes, 'json');
  const tags = [...text.matchAll(/"([0-9A-F]{8})":/g)].map(([, tag]) => tag);
  assert.deepEqual(tags, ['00080016', '00080018', '00100020', '0020000D', '0020000E', '00200013', '20100010']);
  const lengths = file(
    '1.2.840.10008.1.2.1',
    Buffer.concat([element('0008,0000', 'UL', Buffer.alloc(4)), instance(EXPLICIT)]),
  );
  assert.equal(json(lengths)['00080000'], undefined);
  assert.deepEqual(json(bytes)['20100010']?.Value, ['a\\b']);
});

test('what is large is referred to, at every depth, and all of it is bounded', () => {
  const large = new Uint8Array((1 << 20) + 2).fill(7);
  const inline = large.subarray(0, 1 << 20);
  const object = made(
    { tag: '0042,0011', vr: 'OB', value: large },
    { tag: '0042,0010', vr: 'ST', value: 'short' },
    {
      tag: '0040,0555',
      vr: 'SQ',
      value: {
        items: [
          [],
          [
            { tag: '0009,0010', vr: 'LO', value: 'M' },
            { tag: '0042,0011', vr: 'OB', value: large },
          ],
        ],
      },
    },
    { tag: '0040,a160', vr: 'UT', value: 'x'.repeat((1 << 20) + 2) },
    {
      tag: '0040,a730',
      vr: 'SQ',
      value: { items: Array.from({ length: 20 }, () => [{ tag: '0042,0011', vr: 'OB', value: inline }]) },
    },
  );
  assert.equal(object['00420011']?.BulkDataURI, '/instances/x/content/0042-0011');
  assert.equal(object['0040A160']?.BulkDataURI, '/instances/x/content/0040-a160');
  const nested = object['00400555']?.Value?.[1] as Json;
  assert.equal(nested['00420011']?.BulkDataURI, '/instances/x/content/0040-0555/1/0042-0011');
  const many = object['0040A730']?.Value as Json[];
  assert.equal(many.filter((each) => each['00420011']?.InlineBinary !== undefined).length, 16);
  assert.equal(many[19]?.['00420011']?.BulkDataURI, '/instances/x/content/0040-a730/19/0042-0011');
});

test('Pixel Data is referred to: native to its bytes, encapsulated to its frames', () => {
  assert.deepEqual(json(make())['7FE00010'], { vr: 'OW', BulkDataURI: '/instances/x/content/7fe0-0010/0' });
  assert.deepEqual(json(make({ transferSyntax: '1.2.840.10008.1.2.4.50' }))['7FE00010'], {
    vr: 'OB',
    BulkDataURI: '/instances/x/frames',
  });
  const icon = { tag: '7fe0,0010', vr: 'OW', value: Uint8Array.of(1, 2, 3, 4) } as const;
  const inItem = made({ tag: '0088,0200', vr: 'SQ', value: { items: [[icon]] } })['00880200']?.Value as Json[];
  assert.deepEqual(inItem[0]?.['7FE00010'], { vr: 'OW', InlineBinary: 'AQIDBA==' });
});

test('UN of undefined length is the sequence that it is (PS3.5 §6.2.2)', () => {
  const content = item(element('0008,0100', 'SH', 'ABC', IMPLICIT), true, IMPLICIT);
  const end = Buffer.concat([tagBytes('fffe,e0dd', EXPLICIT), Buffer.alloc(4)]);
  const unknown = Buffer.concat([element('0029,1001', 'UN', '', EXPLICIT, 0xffffffff), content, end]);
  const bytes = file('1.2.840.10008.1.2.1', Buffer.concat([instance(EXPLICIT), unknown]));
  assert.deepEqual(json(bytes)['00291001'], { vr: 'SQ', Value: [{ '00080100': { vr: 'SH', Value: ['ABC'] } }] });
});

test('fragments in an item are referred to', () => {
  const icon = Buffer.concat([element('0088,0200', 'SQ', item(encapsulated([Buffer.alloc(0), Buffer.of(1, 2)])))]);
  const bytes = file('1.2.840.10008.1.2.4.50', Buffer.concat([instance(EXPLICIT), icon]));
  const items = json(bytes)['00880200']?.Value as Json[];
  assert.equal(items[0]?.['7FE00010']?.BulkDataURI, '/instances/x/content/0088-0200/0/7fe0-0010');
});

for (const { name, bytes } of JUDGED) {
  test(`dcm2json says the same (${name})`, { skip: without('dcm2json') }, () => {
    const judge = spawnSync('dcm2json', ['--quiet', '-'], { input: bytes, encoding: 'utf8', maxBuffer: 64 << 20 });
    assert.equal(judge.status, 0, judge.stderr);
    // DCMTK names the character set of ASCII as the file does.
    const { '00080005': _, ...ours } = json(bytes);
    const { '00080005': __, ...theirs } = JSON.parse(judge.stdout) as Json;
    assert.deepEqual(ours, theirs);
  });
}
