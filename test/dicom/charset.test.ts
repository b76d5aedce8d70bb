import assert from 'node:assert/strict';
import { test } from 'node:test';
import { characterSet, DEFAULT_CHARACTER_SET, REPERTOIRES } from '../../src/dicom/charset.ts';

const decode = (terms: string, bytes: Buffer, personName = true): string =>
  characterSet(terms).decode(bytes, 0, bytes.length, personName);

/** Term → bytes and text, from the examples of PS3.5 annexes H to J and the tables of the registered sets. */
const SINGLE: readonly (readonly [term: string, bytes: Buffer, text: string])[] = [
  ['ISO_IR 13', Buffer.from('d4cfc0de5ec0dbb3', 'hex'), 'ﾔﾏﾀﾞ^ﾀﾛｳ'],
  ['ISO_IR 100', Buffer.from('4275635e4ae972f46d65', 'hex'), 'Buc^Jérôme'],
  ['ISO_IR 101', Buffer.from('57a9b3615e', 'hex'), 'WŠła^'],
  ['ISO_IR 109', Buffer.from('a1a6', 'hex'), 'ĦĤ'],
  ['ISO_IR 110', Buffer.from('a1bd', 'hex'), 'ĄŊ'],
  ['ISO_IR 126', Buffer.from('c4e9efedf5f3e9eff2', 'hex'), 'Διονυσιος'],
  ['ISO_IR 127', Buffer.from('e2c8c7e6ea5ee4e6d2c7d1', 'hex'), 'قباني^لنزار'],
  ['ISO_IR 138', Buffer.from('f9f8e5ef5ee3e1e5f8e4', 'hex'), 'שרון^דבורה'],
  ['ISO_IR 144', Buffer.from('bbeecedaceddd1e0d3e1e2', 'hex'), 'ЛюЮкЮнбргст'],
  ['ISO_IR 148', Buffer.from('c7d0ddfdfe', 'hex'), 'ÇĞİış'],
  ['ISO_IR 166', Buffer.from('a1a2cdd2', 'hex'), 'กขอา'],
  ['ISO_IR 192', Buffer.from('王^小東', 'utf8'), '王^小東'],
  ['ISO_IR 203', Buffer.from('a4bc', 'hex'), '€Œ'],
  ['GB18030', Buffer.from('cdf55ed0a1b6ab', 'hex'), '王^小东'],
  ['GBK', Buffer.from('cdf55ed0a1b6ab', 'hex'), '王^小东'],
];

const EXTENDED: readonly (readonly [terms: string, bytes: Buffer, text: string])[] = [
  // PS3.5 §H.3.1, §H.3.2, §I.2, §J.3 and §K.2.
  [
    '\\ISO 2022 IR 87',
    Buffer.from('Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B', 'latin1'),
    'Yamada^Tarou=山田^太郎=やまだ^たろう',
  ],
  [
    'ISO 2022 IR 13\\ISO 2022 IR 87',
    Buffer.from(
      '\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J',
      'latin1',
    ),
    'ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう',
  ],
  [
    '\\ISO 2022 IR 149',
    Buffer.from(
      'Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf',
      'latin1',
    ),
    'Hong^Gildong=洪^吉洞=홍^길동',
  ],
  [
    '\\ISO 2022 IR 58',
    Buffer.from('Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=', 'latin1'),
    'Zhang^XiaoDong=张^小东=',
  ],
  ['ISO 2022 IR 6\\ISO 2022 IR 159', Buffer.from('\x1b$(D\x30\x21\x1b(B', 'latin1'), '丂'],
  ['ISO 2022 IR 100\\ISO 2022 IR 144', Buffer.from('J\xe9r\xf4me^\x1b-L\xbb\xee\xda', 'latin1'), 'Jérôme^Люк'],
];

test('every single character set decodes and encodes', () => {
  for (const [term, bytes, text] of SINGLE) {
    assert.equal(decode(term, bytes), text, term);
    assert.deepEqual(characterSet(term).encode(text), bytes, term);
    assert.ok(characterSet(term).covers(text), term);
  }
});

test('code extensions decode, and decode again after encoding', () => {
  for (const [terms, bytes, text] of EXTENDED) {
    assert.equal(decode(terms, bytes), text, terms);
    const encoded = characterSet(terms).encode(text);
    assert.equal(decode(terms, encoded), text, `${terms} encoded`);
    assert.ok(characterSet(terms).covers(text), terms);
  }
});

test('every repertoire: alone as ISO_IR, and as a code extension where it has an escape', () => {
  const SAMPLE: Readonly<Record<string, string>> = {
    '6': 'A',
    '13': 'ﾔ',
    '58': '张',
    '87': '山',
    '100': 'é',
    '101': 'ł',
    '109': 'Ħ',
    '110': 'Ŋ',
    '126': 'Δ',
    '127': 'ق',
    '138': 'ש',
    '144': 'Л',
    '148': 'Ğ',
    '149': '홍',
    '159': '丂',
    '166': 'ก',
    '192': '王',
    '203': '€',
    GBK: '王',
    GB18030: '王',
  };
  for (const [name, row] of Object.entries(REPERTOIRES)) {
    const text = SAMPLE[name] ?? '';
    const terms = 'escape' in row ? `ISO 2022 IR 6\\ISO 2022 IR ${name}` : /^\d/.test(name) ? `ISO_IR ${name}` : name;
    const set = characterSet(terms);
    assert.ok(set.covers(text), terms);
    const bytes = set.encode(text);
    assert.equal(set.decode(bytes, 0, bytes.length, false), text, terms);
  }
});

test('in text a code extension outlives ^ and =, in a person name it does not (PS3.5 §6.1.2.5.3)', () => {
  const bytes = Buffer.from('\x1b-L\xbb^\xbb', 'latin1');
  assert.equal(decode('ISO 2022 IR 100\\ISO 2022 IR 144', bytes, false), 'Л^Л');
  assert.equal(decode('ISO 2022 IR 100\\ISO 2022 IR 144', bytes, true), 'Л^»');
});

test('absent, empty and unknown terms read as Latin-1', () => {
  for (const terms of ['', ' ', 'ISO_IR 999', 'nonsense']) {
    assert.equal(characterSet(terms), DEFAULT_CHARACTER_SET);
    assert.equal(decode(terms, Buffer.from([0xe9, 0x80])), 'é\x80');
  }
});

test('what a character set lacks becomes ?, and it says so', () => {
  for (const terms of ['ISO_IR 100', '\\ISO 2022 IR 87', 'ISO 2022 IR 100\\ISO 2022 IR 144']) {
    assert.equal(characterSet(terms).covers('aกb'), false, terms);
    assert.equal(characterSet(terms).encode('aกb').toString('latin1'), 'a?b', terms);
  }
});

test('broken escapes and cut pairs end, with text', () => {
  for (const bytes of ['\x1b', '\x1b$', '\x1b$B', '\x1b$B;', '\x1b$B;3E', 'a\x1bZZb', '\x1b$)C\xfb', '\x1b$B;3\r\nx']) {
    assert.equal(typeof decode('\\ISO 2022 IR 87\\ISO 2022 IR 149', Buffer.from(bytes, 'latin1')), 'string');
  }
  assert.equal(decode('\\ISO 2022 IR 87', Buffer.from('\x1b$B;3\r\nx', 'latin1')), '山\r\nx');
});
