/**
 * Owns the instances that benchmarks send: CT images with distinct UIDs, of which only a few digits of a prepared head are
 * written per instance, before one tail of pixels that all share: half a microsecond each, so that the sender leaves the
 * machine to what is measured.
 */

import { readFile } from '../src/dicom/read.ts';
import { transferSyntax } from '../src/dicom/transfer-syntaxes.ts';
import { type NewElement, writeFile } from '../src/dicom/write.ts';
import { encodedAttributes, encodeFrame } from '../src/imaging/encode-frame.ts';
import type { PixelAttributes } from '../src/imaging/image.ts';
import { decodeNative } from '../src/imaging/native.ts';

/** The shape of what {@link ImageSource} makes. */
export interface ImageOptions {
  readonly rows: number;
  readonly columns: number;
  readonly instancesPerSeries: number;
  /** 1 by default. */
  readonly seriesPerStudy?: number;
  /** 1 by default. */
  readonly studiesPerPatient?: number;
  /** 0 to 999,999,999: sources of different seeds share no UID and no patient. */
  readonly seed: number;
  /** How many calls of `next` a head outlives; as many as are being sent at a time. 64 by default. */
  readonly heads?: number;
  /** UID of one that can be encoded; Explicit VR Little Endian by default. */
  readonly transferSyntax?: string;
  /** Bits Stored: 16, signed, by default; 8 have no sign. */
  readonly bits?: 8 | 16;
}

/** One instance: the bytes of `head`, then those of `tail`. */
export interface Image {
  /** Overwritten by a later call of `next`: see `heads`. A socket that is congested still refers to it. */
  readonly head: Buffer;
  /** The same for all. */
  readonly tail: Buffer;
}

const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';

/** Digits that count, in the place of which the prepared head has {@link placeholder}s. */
const DIGITS = 10;
const SEED_DIGITS = 9;
const FIELDS = ['instance', 'series', 'study', 'patient'] as const;
type Field = (typeof FIELDS)[number];

/** Text that stands in the prepared head where a field's number goes; no digits, which a seed might continue. */
const placeholder = (field: Field): string => String.fromCharCode(0x61 + FIELDS.indexOf(field)).repeat(DIGITS);

/** Makes instances without end, in order: all of a series, then the next series, study and patient. */
export class ImageSource {
  /** Bytes of every instance. */
  readonly size: number;
  readonly #options: Required<ImageOptions>;
  readonly #tail: Buffer;
  readonly #heads: readonly Buffer[];
  readonly #places: Readonly<Record<Field, readonly number[]>>;
  #count = 0;

  constructor(options: ImageOptions) {
    this.#options = {
      seriesPerStudy: 1,
      studiesPerPatient: 1,
      heads: 64,
      transferSyntax: EXPLICIT_LITTLE_ENDIAN,
      bits: 16,
      ...options,
    };
    const whole = prepared(this.#options);
    const pixels = readFile(whole, { untilPixelData: true }).dataSet.elements.get('7fe0,0010')?.start;
    const head = whole.subarray(0, pixels);
    this.#tail = whole.subarray(pixels);
    const { heads } = this.#options;
    this.#heads = Array.from({ length: heads }, () => Buffer.from(head));
    const places = (field: Field): readonly number[] => occurrences(head, placeholder(field));
    this.#places = {
      instance: places('instance'),
      series: places('series'),
      study: places('study'),
      patient: places('patient'),
    };
    this.size = whole.length;
  }

  /** The next instance. */
  next(): Image {
    const { instancesPerSeries, seriesPerStudy, studiesPerPatient } = this.#options;
    const head = this.#heads[this.#count % this.#heads.length];
    if (head === undefined) throw new RangeError('heads must be at least 1');
    const series = Math.floor(this.#count / instancesPerSeries);
    const study = Math.floor(series / seriesPerStudy);
    this.#patch(head, 'instance', this.#count);
    this.#patch(head, 'series', series);
    this.#patch(head, 'study', study);
    this.#patch(head, 'patient', Math.floor(study / studiesPerPatient));
    this.#count += 1;
    return { head, tail: this.#tail };
  }

  #patch(head: Buffer, field: Field, number: number): void {
    for (const place of this.#places[field]) {
      let rest = number;
      for (let at = place + DIGITS - 1; at >= place; at -= 1) {
        head[at] = 0x30 + (rest % 10);
        rest = Math.floor(rest / 10);
      }
    }
  }
}

function occurrences(bytes: Buffer, text: string): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + text.length)) found.push(at);
  return found;
}

/** Pixels like those of a CT: a disc in air, with noise, so that they neither compress away nor look random. */
function slice(rows: number, columns: number, bits: 8 | 16): Buffer {
  const pixels = Buffer.alloc((rows * columns * bits) / 8);
  let noise = 1;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      noise = (Math.imul(noise, 1103515245) + 12345) & 0x7fffffff;
      const inside = Math.hypot(row / rows - 0.5, column / columns - 0.5) < 0.4;
      const grain = (noise >> 16) % 32;
      if (bits === 8) pixels[row * columns + column] = (inside ? 120 : 0) + (grain >> 1);
      else pixels.writeInt16LE((inside ? 40 : -1000) + grain - 16, (row * columns + column) * 2);
    }
  }
  return pixels;
}

/** The elements that say how the pixels lie, and the pixels. */
function pixelElements({ rows, columns, bits, transferSyntax: uid }: Required<ImageOptions>): NewElement[] {
  const attributes: PixelAttributes = {
    transferSyntax: EXPLICIT_LITTLE_ENDIAN,
    rows,
    columns,
    samplesPerPixel: 1,
    photometricInterpretation: 'MONOCHROME2',
    planarConfiguration: 0,
    bitsAllocated: bits,
    bitsStored: bits,
    highBit: bits - 1,
    signed: bits === 16,
    float: false,
    frames: 1,
  };
  const stored = decodeNative(slice(rows, columns, bits), attributes);
  const encoded = encodedAttributes(attributes, stored.photometricInterpretation, uid);
  const frame = encodeFrame(stored, attributes, encoded);
  const isNative = transferSyntax(uid)?.encapsulated !== true;
  return [
    { tag: '0028,0100', vr: 'US', value: [encoded.bitsAllocated] },
    { tag: '0028,0101', vr: 'US', value: [bits] },
    { tag: '0028,0102', vr: 'US', value: [encoded.highBit] },
    { tag: '0028,0103', vr: 'US', value: [attributes.signed ? 1 : 0] },
    {
      tag: '7fe0,0010',
      vr: isNative && bits === 16 ? 'OW' : 'OB',
      value: isNative ? frame : { fragments: [frame], offsets: [0] },
    },
  ];
}

/** A whole instance with placeholders for its numbers; its pixels are its last bytes. */
function prepared(options: Required<ImageOptions>): Buffer {
  const { rows, columns, seed } = options;
  const seedText = String(seed).padStart(SEED_DIGITS, '0');
  if (seedText.length !== SEED_DIGITS) throw new RangeError('seed must be 0 to 999,999,999');
  const uid = (field: Field): string => `2.25.1${FIELDS.indexOf(field)}${seedText}${placeholder(field)}`;
  const text = (tag: string, vr: string, value: string): NewElement => ({ tag, vr, value });
  const short = (tag: string, ...value: readonly number[]): NewElement => ({ tag, vr: 'US', value });
  const code = (value: string, scheme: string, meaning: string): NewElement[] => [
    text('0008,0100', 'SH', value),
    text('0008,0102', 'SH', scheme),
    text('0008,0104', 'LO', meaning),
  ];
  const signed = (tag: string, value: number): NewElement => ({ tag, vr: 'SS', value: [value] });
  const sequence = (tag: string, ...items: readonly NewElement[][]): NewElement => ({
    tag,
    vr: 'SQ',
    value: { items },
  });
  const sopClass = '1.2.840.10008.5.1.4.1.1.2';
  const syntax = transferSyntax(options.transferSyntax);
  if (syntax === undefined) throw new RangeError(`no transfer syntax ${options.transferSyntax}`);
  return writeFile({
    transferSyntax: syntax,
    sopClassUid: sopClass,
    sopInstanceUid: uid('instance'),
    dataSet: [
      text('0008,0005', 'CS', 'ISO_IR 100'),
      text('0008,0008', 'CS', 'ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI'),
      text('0008,0012', 'DA', '20261123'),
      text('0008,0013', 'TM', '101530.125000'),
      text('0008,0016', 'UI', sopClass),
      text('0008,0018', 'UI', uid('instance')),
      text('0008,0020', 'DA', '20261123'),
      text('0008,0021', 'DA', '20261123'),
      text('0008,0022', 'DA', '20261123'),
      text('0008,0023', 'DA', '20261123'),
      text('0008,0030', 'TM', '101200.000000'),
      text('0008,0031', 'TM', '101410.343000'),
      text('0008,0032', 'TM', '101529.908000'),
      text('0008,0033', 'TM', '101529.908000'),
      text('0008,0050', 'SH', `A${placeholder('study')}`),
      text('0008,0060', 'CS', 'CT'),
      text('0008,0070', 'LO', 'ISEN'),
      text('0008,0080', 'LO', 'BENCHMARK HOSPITAL'),
      text('0008,0090', 'PN', 'Referring^Physician'),
      text('0008,1010', 'SH', 'CT01'),
      text('0008,1030', 'LO', 'Thorax^routine'),
      sequence('0008,1032', code('CTTHOR', '99ISEN', 'CT of the thorax')),
      text('0008,103e', 'LO', 'Thorax  1.0  B30f'),
      text('0008,1090', 'LO', 'Generator'),
      sequence('0008,1140', [text('0008,1150', 'UI', sopClass), text('0008,1155', 'UI', `${uid('series')}.1`)]),
      text('0010,0010', 'PN', `Bench${seedText}^Patient${placeholder('patient')}`),
      text('0010,0020', 'LO', `B${seedText}-${placeholder('patient')}`),
      text('0010,0030', 'DA', '19610412'),
      text('0010,0040', 'CS', 'F'),
      text('0010,1010', 'AS', '065Y'),
      text('0010,1030', 'DS', '71'),
      text('0018,0015', 'CS', 'CHEST'),
      text('0018,0022', 'CS', 'HELICAL MODE'),
      text('0018,0050', 'DS', '1'),
      text('0018,0060', 'DS', '120'),
      text('0018,0090', 'DS', '500'),
      text('0018,1000', 'LO', '0000012345'),
      text('0018,1020', 'LO', '1.0'),
      text('0018,1030', 'LO', 'ThoraxRoutine'),
      text('0018,1100', 'DS', '380'),
      text('0018,1110', 'DS', '1040'),
      text('0018,1111', 'DS', '570'),
      text('0018,1120', 'DS', '0'),
      text('0018,1130', 'DS', '158'),
      text('0018,1140', 'CS', 'CW'),
      text('0018,1150', 'IS', '500'),
      text('0018,1151', 'IS', '210'),
      text('0018,1152', 'IS', '105'),
      text('0018,1160', 'SH', '0'),
      text('0018,1190', 'DS', '1.2'),
      text('0018,1210', 'SH', 'B30f'),
      text('0018,5100', 'CS', 'HFS'),
      { tag: '0018,9345', vr: 'FD', value: [8.25] },
      text('0020,000d', 'UI', uid('study')),
      text('0020,000e', 'UI', uid('series')),
      text('0020,0010', 'SH', `S${placeholder('study')}`),
      text('0020,0011', 'IS', placeholder('series')),
      text('0020,0012', 'IS', '2'),
      text('0020,0013', 'IS', placeholder('instance')),
      text('0020,0032', 'DS', `-190\\-190\\${placeholder('instance')}`),
      text('0020,0037', 'DS', '1\\0\\0\\0\\1\\0'),
      text('0020,0052', 'UI', `${uid('series')}.2`),
      text('0020,1040', 'LO', ''),
      text('0020,1041', 'DS', placeholder('instance')),
      short('0028,0002', 1),
      text('0028,0004', 'CS', 'MONOCHROME2'),
      short('0028,0010', rows),
      short('0028,0011', columns),
      text('0028,0030', 'DS', '0.7421875\\0.7421875'),
      signed('0028,0106', -1016),
      signed('0028,0107', 55),
      text('0028,1050', 'DS', '40\\-600'),
      text('0028,1051', 'DS', '400\\1200'),
      text('0028,1052', 'DS', '0'),
      text('0028,1053', 'DS', '1'),
      text('0028,1054', 'LO', 'HU'),
      text('0032,1060', 'LO', 'CT thorax'),
      ...pixelElements(options),
    ],
  });
}
