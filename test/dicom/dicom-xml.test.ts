/** The Native DICOM Model (PS3.19 Annex A.1) as an XML parser reads it, and what DCMTK makes of the same files. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { without } from '../peer.ts';
import { CHARSETS, make } from './made.ts';
import { JUDGED, web } from './web-formats.ts';

/** An element as the parser of Python tells it: name, attributes, text, children. */
type Node = readonly [string, Record<string, string>, string, readonly Node[]];

const PARSER = `
import json, sys, xml.etree.ElementTree as tree
around = {'NativeDicomModel', 'DicomAttribute', 'Item', 'PersonName', 'Alphabetic', 'Ideographic', 'Phonetic'}
def told(node):
    return [node.tag, dict(node.attrib), '' if node.tag in around else node.text or '', [told(child) for child in node]]
json.dump(told(tree.parse(sys.stdin.buffer).getroot()), sys.stdout)
`;

function parse(xml: string): Node {
  const parser = spawnSync('python3', ['-c', PARSER], { input: xml, encoding: 'utf8', maxBuffer: 64 << 20 });
  assert.equal(parser.status, 0, parser.stderr);
  return JSON.parse(parser.stdout) as Node;
}

const attribute = ([, , , children]: Node, tag: string, privateCreator?: string): Node | undefined =>
  children.find(([, names]) => names['tag'] === tag && names['privateCreator'] === privateCreator);

const skip = without('python3');

test('hostile text is text, and what XML has no character for is replaced', { skip }, () => {
  const hostile = '</Value><x a="1">&amp;]]>\r\n\t\'';
  const root = parse(
    web(
      make({
        charset: 'ISO_IR 192',
        extra: [
          { tag: '0009,0010', vr: 'LO', value: '"<&>\'\t\n' },
          { tag: '0009,1001', vr: 'LO', value: 'x' },
          { tag: '0010,1001', vr: 'PN', value: 'A<b>^&=^C' },
          { tag: '0010,4000', vr: 'LT', value: hostile },
          { tag: '0040,1400', vr: 'LT', value: 'a\x01\x08\x0b\x1fz' },
          { tag: '0040,2400', vr: 'LT', value: Buffer.from('\u{ffff}\u{fffe}\u{1f600}\u{feff}') },
        ],
      }),
      'xml',
    ),
  );
  const text = (tag: string): string | undefined => attribute(root, tag)?.[3][0]?.[2];
  assert.equal(text('00104000'), hostile);
  assert.equal(text('00401400'), 'a\u{fffd}\u{fffd}\u{fffd}\u{fffd}z');
  assert.equal(text('00402400'), '\u{fffd}\u{fffd}\u{1f600}\u{feff}');
  assert.deepEqual(attribute(root, '00090001', '"<&>\'\t\n')?.[3], [['Value', { number: '1' }, 'x', []]]);
  assert.deepEqual(attribute(root, '00101001')?.[3][0]?.[3], [
    [
      'Alphabetic',
      {},
      '',
      [
        ['FamilyName', {}, 'A<b>', []],
        ['GivenName', {}, '&', []],
      ],
    ],
    ['Ideographic', {}, '', [['GivenName', {}, 'C', []]]],
  ]);
});

test('text of every character set comes as UTF-8, and says so', { skip }, () => {
  for (const { charset, name, text } of CHARSETS) {
    const root = parse(web(make({ charset, patientName: name }), 'xml'));
    const groups = attribute(root, '00100010')?.[3][0]?.[3] ?? [];
    const shown = groups.map(([, , , parts]) => parts.map(([, , part]) => part).join('^')).join('=');
    assert.equal(shown, text.replace(/=+$/, ''), charset);
    assert.equal(attribute(root, '00080005')?.[3][0]?.[2], 'ISO_IR 192', charset);
  }
});

test('keywords are those of PS3.6, also of what is retired; Pixel Data is referred to', { skip }, () => {
  const root = parse(web(make({ extra: [{ tag: '0032,4000', vr: 'LT', value: 'x' }] }), 'xml'));
  assert.equal(attribute(root, '00324000')?.[1]['keyword'], 'StudyComments');
  assert.deepEqual(attribute(root, '7FE00010')?.[3], [
    ['BulkData', { uri: '/instances/x/content/7fe0-0010/0' }, '', []],
  ]);
});

/**
 * Attributes in which DCMTK 3.6.7 is not the Standard's: it adds Specific Character Set to ASCII, and has the numbers of OF in big
 * endian.
 */
const OTHERWISE: ReadonlySet<string | undefined> = new Set(['00080005', '00660016']);

/** Without what is no matter: the spelling of floats, keywords that DCMTK leaves out, and ideographs that it repeats as Phonetic. */
function settled([name, told, text, children]: Node, vr = ''): unknown {
  const { keyword: _, ...names } = told;
  const own = names['vr'] ?? vr;
  const number = (own === 'FD' || own === 'FL') && name === 'Value' && text !== '';
  const parts = children.filter(([child, { tag }]) => !OTHERWISE.has(tag) && child !== 'Phonetic');
  return [name, names, number ? Number(text) : text, parts.map((child) => settled(child, own))];
}

for (const { name, bytes } of JUDGED) {
  test(`dcm2xml says the same (${name})`, { skip: skip || without('dcm2xml') }, () => {
    const judge = spawnSync('dcm2xml', ['--quiet', '-nat', '+U8', '+Eb', '-'], {
      input: bytes,
      encoding: 'utf8',
      maxBuffer: 64 << 20,
    });
    assert.equal(judge.status, 0, judge.stderr);
    assert.deepEqual(settled(parse(web(bytes, 'xml'))), settled(parse(judge.stdout)));
  });
}
