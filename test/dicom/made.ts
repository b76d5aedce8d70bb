/** Owns the instances that suites make in code: small, complete, of every transfer syntax, character set and oddity. */

import { transferSyntax } from '../../src/dicom/transfer-syntaxes.ts';
import { type Fragments, type NewElement, writeDataSet, writeFile } from '../../src/dicom/write.ts';

/** What {@link make} varies; whatever is left out gets a fixed, valid default. */
export interface Made {
  /** UID; Explicit VR Little Endian by default. */
  readonly transferSyntax?: string;
  readonly patientId?: string;
  /** ASCII text, or bytes in `charset`. */
  readonly patientName?: string | Uint8Array;
  /** Value of Specific Character Set (0008,0005); absent by default. */
  readonly charset?: string;
  readonly studyUid?: string;
  readonly seriesUid?: string;
  readonly sopUid?: string;
  readonly rows?: number;
  readonly columns?: number;
  /** Number of Frames; the element is absent by default. */
  readonly frames?: number;
  readonly samples?: 1 | 3;
  /** Bits Allocated. */
  readonly bits?: 1 | 8 | 16 | 32;
  /** Pixel Data in place of the generated ramp (or the generated fragments); `false` leaves it out. */
  readonly pixels?: Uint8Array | Fragments | false;
  /** Elements added, or put in the place of those with the same tag. */
  readonly extra?: readonly NewElement[];
  /** Tags left out. */
  readonly without?: readonly string[];
  /** `false`: the bare data set, without preamble and File Meta Information. */
  readonly part10?: boolean;
}

const ROOT = '2.25.20261123';
const CT_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.2';

/** The bytes of one DICOM instance. */
export function make(options: Made = {}): Buffer {
  const uid = options.transferSyntax ?? '1.2.840.10008.1.2.1';
  const syntax = transferSyntax(uid);
  if (syntax === undefined) throw new Error(`no transfer syntax ${uid}`);
  const dataSet = madeElements(options);
  if (options.part10 === false) return writeDataSet(dataSet, syntax);
  return writeFile({
    transferSyntax: syntax,
    sopClassUid: CT_IMAGE_STORAGE,
    sopInstanceUid: options.sopUid ?? `${ROOT}.1.1.1`,
    dataSet,
  });
}

/** The elements of the data set that {@link make} writes, in no order. */
export function madeElements(options: Made = {}): NewElement[] {
  const { rows = 4, columns = 6, samples = 1, bits = 16, frames } = options;
  const syntax = transferSyntax(options.transferSyntax ?? '1.2.840.10008.1.2.1');
  const elements: NewElement[] = [
    { tag: '0008,0016', vr: 'UI', value: CT_IMAGE_STORAGE },
    { tag: '0008,0018', vr: 'UI', value: options.sopUid ?? `${ROOT}.1.1.1` },
    { tag: '0008,0020', vr: 'DA', value: '20261123' },
    { tag: '0008,0050', vr: 'SH', value: 'A12345' },
    { tag: '0008,0060', vr: 'CS', value: 'CT' },
    { tag: '0010,0010', vr: 'PN', value: options.patientName ?? 'Made^Instance' },
    { tag: '0010,0020', vr: 'LO', value: options.patientId ?? 'MADE1' },
    { tag: '0020,000d', vr: 'UI', value: options.studyUid ?? `${ROOT}.1` },
    { tag: '0020,000e', vr: 'UI', value: options.seriesUid ?? `${ROOT}.1.1` },
    { tag: '0020,0013', vr: 'IS', value: '1' },
    { tag: '0028,0002', vr: 'US', value: [samples] },
    { tag: '0028,0004', vr: 'CS', value: samples === 3 ? 'RGB' : 'MONOCHROME2' },
    { tag: '0028,0010', vr: 'US', value: [rows] },
    { tag: '0028,0011', vr: 'US', value: [columns] },
    { tag: '0028,0100', vr: 'US', value: [bits] },
    { tag: '0028,0101', vr: 'US', value: [bits] },
    { tag: '0028,0102', vr: 'US', value: [bits - 1] },
    { tag: '0028,0103', vr: 'US', value: [0] },
  ];
  if (options.charset !== undefined) elements.push({ tag: '0008,0005', vr: 'CS', value: options.charset });
  if (samples === 3) elements.push({ tag: '0028,0006', vr: 'US', value: [0] });
  if (frames !== undefined) elements.push({ tag: '0028,0008', vr: 'IS', value: String(frames) });
  if (options.pixels !== false) {
    const size = Math.ceil((rows * columns * samples * bits * (frames ?? 1)) / 8);
    const ramp = Uint8Array.from({ length: size }, (_, index) => index & 0xff);
    const generated = syntax?.encapsulated === true ? madeFragments(frames ?? 1) : ramp;
    const value = options.pixels ?? generated;
    const vr = bits > 8 && value instanceof Uint8Array ? 'OW' : 'OB';
    elements.push({ tag: '7fe0,0010', vr, value });
  }
  const replaced = new Set([...(options.extra ?? []).map((element) => element.tag), ...(options.without ?? [])]);
  return [...elements.filter((element) => !replaced.has(element.tag)), ...(options.extra ?? [])];
}

/** One fragment a frame, distinct and of unequal lengths, between the markers of an (empty) JPEG stream; an empty BOT. */
export function madeFragments(frames: number): Fragments {
  return {
    fragments: Array.from({ length: frames }, (_, frame) =>
      Uint8Array.of(0xff, 0xd8, ...Array.from({ length: 2 + 2 * (frame % 5) }, () => frame & 0x7f), 0xff, 0xd9),
    ),
  };
}

/** Elements of every odd shape: nested sequences of both kinds of length, empty ones, private tags, every binary VR. */
export const ODD_ELEMENTS: readonly NewElement[] = [
  {
    tag: '0008,1140',
    vr: 'SQ',
    value: {
      undefinedLength: true,
      items: [
        [
          { tag: '0008,1150', vr: 'UI', value: CT_IMAGE_STORAGE },
          { tag: '0008,1155', vr: 'UI', value: `${ROOT}.9` },
          {
            tag: '0040,a170',
            vr: 'SQ',
            value: { items: [[{ tag: '0008,0100', vr: 'SH', value: 'ABC' }], []], undefinedLength: false },
          },
        ],
        [],
      ],
    },
  },
  { tag: '0008,1111', vr: 'SQ', value: { items: [] } },
  { tag: '0008,1115', vr: 'SQ', value: { items: [], undefinedLength: true } },
  { tag: '0009,0010', vr: 'LO', value: 'ISEN MADE' },
  { tag: '0009,1001', vr: 'UN', value: Uint8Array.of(1, 2, 3) },
  { tag: '0009,1002', vr: 'SQ', value: { items: [[{ tag: '0009,0010', vr: 'LO', value: 'ISEN MADE' }]] } },
  { tag: '0010,4000', vr: 'LT', value: '' },
  { tag: '0018,1310', vr: 'US', value: [0, 256, 256, 0] },
  { tag: '0020,9165', vr: 'AT', value: [0x00189323, 0x7fe00010] },
  { tag: '0018,9073', vr: 'FD', value: [Math.PI] },
  { tag: '0018,6020', vr: 'SL', value: [-70000] },
  { tag: '0018,605a', vr: 'FL', value: [0.5, -2] },
  { tag: '0028,9110', vr: 'SQ', value: { items: [[{ tag: '0028,0030', vr: 'DS', value: '0.5\\0.25' }]] } },
  { tag: '0040,a160', vr: 'UT', value: 'x'.repeat(70_001) },
  { tag: '0066,0016', vr: 'OF', value: [1.5, -1.5] },
];

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

/** A patient's name in each character set: bytes as stored and what they read (examples of PS3.5 Annexes H to K). */
export const CHARSETS: readonly { readonly charset: string; readonly name: Uint8Array; readonly text: string }[] = [
  { charset: 'ISO_IR 6', name: Buffer.from('Buc^Jerome'), text: 'Buc^Jerome' },
  { charset: 'ISO_IR 100', name: bytes('4275 635e 4ae9 72f4 6d65'), text: 'Buc^Jérôme' },
  { charset: 'ISO_IR 101', name: bytes('57 61 b3 ea 73 61'), text: 'Wałęsa' },
  { charset: 'ISO_IR 144', name: bytes('bb ee da 63 65 dc d1 79 70 d3'), text: 'Люкceмбypг' },
  { charset: 'ISO_IR 127', name: bytes('e2 c8 c7 e6 ea 5e e4 e6 d2 c7 d1'), text: 'قباني^لنزار' },
  { charset: 'ISO_IR 126', name: bytes('c4 e9 ef ed f5 f3 e9 ef f2'), text: 'Διονυσιος' },
  { charset: 'ISO_IR 138', name: bytes('f9 f8 e5 ef 5e e3 e1 e5 f8 e4'), text: 'שרון^דבורה' },
  { charset: 'ISO_IR 148', name: bytes('c7 61 76 75 fe 6f f0 6c 75'), text: 'Çavuşoğlu' },
  { charset: 'ISO_IR 192', name: Buffer.from('Wang^XiaoDong=王^小東='), text: 'Wang^XiaoDong=王^小東=' },
  {
    charset: 'GB18030',
    name: bytes('57616e675e5869616f446f6e673d cdf5 5e d0a1 b6ab 3d'),
    text: 'Wang^XiaoDong=王^小东=',
  },
  {
    charset: '\\ISO 2022 IR 87',
    name: bytes(
      '59616d6164615e5461726f753d 1b2442 3b33 4544 1b2842 5e 1b2442 4240 4f3a 1b2842 3d 1b2442 2464 245e 2440 1b2842 5e 1b2442 243f 246d 2426 1b2842',
    ),
    text: 'Yamada^Tarou=山田^太郎=やまだ^たろう',
  },
  {
    charset: 'ISO 2022 IR 13\\ISO 2022 IR 87',
    name: bytes(
      'd4cfc0de 5e c0dbb3 3d 1b2442 3b33 4544 1b284a 5e 1b2442 4240 4f3a 1b284a 3d 1b2442 2464 245e 2440 1b284a 5e 1b2442 243f 246d 2426 1b284a',
    ),
    text: 'ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう',
  },
  {
    charset: '\\ISO 2022 IR 149',
    name: bytes(
      '486f6e675e47696c646f6e673d 1b242943 fbf3 5e 1b242943 d1ce d4d7 3d 1b242943 c8ab 5e 1b242943 b1e6 b5bf',
    ),
    text: 'Hong^Gildong=洪^吉洞=홍^길동',
  },
];
