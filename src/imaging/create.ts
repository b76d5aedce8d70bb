/**
 * Owns the making of one DICOM file out of tags and a payload: a picture, whose samples or (encapsulated) whose JPEG codestream
 * become Pixel Data, or a document (PS3.3 §A.45.1, §A.85).
 */

import { type CharacterSet, characterSet } from '../dicom/charset.ts';
import { elementOf, isCovered, type JsonValue } from '../dicom/json-value.ts';
import { EXPLICIT_LITTLE_ENDIAN, transferSyntax } from '../dicom/transfer-syntaxes.ts';
import { GENERIC_FILE, type NewElement, writeFile } from '../dicom/write.ts';
import { IsenError } from '../errors.ts';
import { readJpeg } from './codestream.ts';
import { type PictureFile, readPicture } from './picture-files.ts';

/** Values by tag (`gggg,eeee`), each checked by dicom/json-value. */
export type TagValues = Readonly<Record<string, JsonValue>>;

/** One file to make. */
export interface CreateTask {
  /** Wins over what the payload says of itself where that is no attribute of the picture. */
  readonly tags: TagValues;
  /** A data URI (RFC 2397) in base64. */
  readonly content?: string;
  /** A JPEG file stays what it is. */
  readonly encapsulate: boolean;
  /** Whether a value that is a data URI means its bytes. */
  readonly interpretBinary: boolean;
  /** Creator whose dictionary says the VR of private tags. */
  readonly privateCreator: string;
  /** Value of Specific Character Set; '' for none. UTF-8 takes its place where it lacks a character. */
  readonly characterSet: string;
}

/** What a payload makes of a file. */
interface Payload {
  readonly syntax: string;
  readonly elements: readonly NewElement[];
  /** Tags for those that are not given. */
  readonly initial: TagValues;
}

const JPEG_BASELINE = '1.2.840.10008.1.2.4.50';
const UTF8 = 'ISO_IR 192';
const CHARACTER_SET = '0008,0005';

const PICTURES: Readonly<Record<string, PictureFile>> = {
  'image/png': 'png',
  'image/jpeg': 'jpeg',
  'image/x-portable-arbitrarymap': 'pam',
};

/** SOP class, Modality and Conversion Type of documents. */
const DOCUMENTS: Readonly<Record<string, TagValues>> = {
  'application/pdf': { '0008,0016': '1.2.840.10008.5.1.4.1.1.104.1', '0008,0060': 'OT', '0008,0064': 'WSD' },
  'model/stl': { '0008,0016': '1.2.840.10008.5.1.4.1.1.104.3', '0008,0060': 'M3D' },
  'model/obj': { '0008,0016': '1.2.840.10008.5.1.4.1.1.104.4', '0008,0060': 'M3D' },
  'model/mtl': { '0008,0016': '1.2.840.10008.5.1.4.1.1.104.5', '0008,0060': 'M3D' },
};

/**
 * The bytes of the file.
 * @throws {IsenError} BadFileFormat for a value or a payload that is not what it says; NotImplemented for a payload of another
 * kind; ParameterOutOfRange for a character set that does not exist.
 */
export async function createFile(task: CreateTask): Promise<Buffer> {
  const payload = task.content === undefined ? undefined : await payloadOf(task.content, task.encapsulate);
  const tags: TagValues = { ...payload?.initial, ...task.tags };
  const own = new Set(payload?.elements.map(({ tag }) => tag));
  const set = setFor(task.characterSet, Object.values(tags));
  const around = {
    characterSet: set,
    littleEndian: true,
    privateCreator: task.privateCreator,
    interpretBinary: task.interpretBinary,
  };
  const elements: NewElement[] = [...(payload?.elements ?? [])];
  for (const [tag, value] of Object.entries(tags)) {
    // File Meta Information is the writer's.
    if (!own.has(tag) && tag >= '0008,0000' && tag !== CHARACTER_SET) elements.push(elementOf(tag, value, around));
  }
  const terms = set.terms.join('\\');
  if (terms !== '') elements.push({ tag: CHARACTER_SET, vr: 'CS', value: terms });
  const text = (tag: string): string => (typeof tags[tag] === 'string' ? tags[tag] : '');
  const syntax = payload?.syntax ?? EXPLICIT_LITTLE_ENDIAN;
  const row = transferSyntax(syntax);
  if (row === undefined) throw new IsenError('InternalError');
  return writeFile({
    transferSyntax: row,
    sopClassUid: text('0008,0016') || GENERIC_FILE,
    sopInstanceUid: text('0008,0018'),
    dataSet: elements,
  });
}

/** The character set asked for, where it has every character. Throws ParameterOutOfRange for one that does not exist. */
function setFor(term: string, values: readonly JsonValue[]): CharacterSet {
  const set = characterSet(term);
  // Without one there is ASCII only (PS3.3 §C.12.1.1.2).
  const most = term === '' ? characterSet('ISO_IR 6') : set;
  if (term !== '' && set.terms.length === 0)
    throw new IsenError('ParameterOutOfRange', `Unknown specific character set: ${term.slice(0, 64)}`);
  return values.every((value) => isCovered(value, most)) ? set : characterSet(UTF8);
}

async function payloadOf(uri: string, encapsulate: boolean): Promise<Payload> {
  const [whole, type = ''] = /^data:([^;,]{1,256});base64,/.exec(uri) ?? [];
  if (whole === undefined) throw new IsenError('BadFileFormat');
  const bytes = Buffer.from(uri.slice(whole.length), 'base64');
  const document = DOCUMENTS[type];
  if (document !== undefined) return documentOf(bytes, type, document);
  const format = PICTURES[type];
  if (format === undefined) {
    const details = `Unsupported MIME type for the content of a new DICOM file: ${type}`;
    throw new IsenError('NotImplemented', details);
  }
  return encapsulate && format === 'jpeg' ? jpegOf(bytes) : pictureOf(bytes, format);
}

function documentOf(bytes: Uint8Array, type: string, initial: TagValues): Payload {
  if (type === 'application/pdf' && !Buffer.from(bytes.subarray(0, 5)).equals(Buffer.from('%PDF-')))
    throw new IsenError('BadFileFormat', 'Not a PDF file');
  const elements: NewElement[] = [
    { tag: '0042,0011', vr: 'OB', value: bytes },
    { tag: '0042,0012', vr: 'LO', value: type },
  ];
  return { syntax: EXPLICIT_LITTLE_ENDIAN, elements, initial };
}

/** What one sample a pixel means where nothing else is said: its values may be inverted or those of a palette. */
const GREY: TagValues = { '0028,0004': 'MONOCHROME2' };

/** The Image Pixel module (PS3.3 §C.7.6.3), but for what samples mean that are alone. */
function attributesOf(rows: number, columns: number, samples: number, bits: number, colours: string): NewElement[] {
  if (rows > 0xffff || columns > 0xffff) throw new IsenError('IncompatibleImageSize');
  const short = (tag: string, value: number): NewElement => ({ tag, vr: 'US', value: [value] });
  return [
    short('0028,0002', samples),
    ...(samples === 1 ? [] : [{ tag: '0028,0004', vr: 'CS', value: colours }, short('0028,0006', 0)]),
    short('0028,0010', rows),
    short('0028,0011', columns),
    short('0028,0100', bits),
    short('0028,0101', bits),
    short('0028,0102', bits - 1),
    short('0028,0103', 0),
  ];
}

async function pictureOf(bytes: Uint8Array, format: PictureFile): Promise<Payload> {
  const { width, height, channels, samples } = await readPicture(bytes, format);
  // Of two bytes, they are little endian as those of every machine that this runs on.
  const value = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  const attributes = attributesOf(height, width, channels, 8 * samples.BYTES_PER_ELEMENT, 'RGB');
  const pixels: NewElement = { tag: '7fe0,0010', vr: 'OW', value };
  return { syntax: EXPLICIT_LITTLE_ENDIAN, elements: [...attributes, pixels], initial: channels === 1 ? GREY : {} };
}

/** A JPEG file as the only fragment (PS3.5 §A.4.1). Throws NotImplemented for another process than the baseline. */
function jpegOf(bytes: Uint8Array): Payload {
  const { rows, columns, samplesPerPixel, bits, process } = readJpeg(bytes);
  if (process !== 0 || bits !== 8 || (samplesPerPixel !== 1 && samplesPerPixel !== 3))
    throw new IsenError('NotImplemented', 'only JPEG baseline of one or three components can be encapsulated');
  const elements: NewElement[] = [
    ...attributesOf(rows, columns, samplesPerPixel, bits, 'YBR_FULL_422'),
    { tag: '7fe0,0010', vr: 'OB', value: { fragments: [bytes] } },
  ];
  const initial = { ...(samplesPerPixel === 1 && GREY), '0028,2110': '01', '0028,2114': 'ISO_10918_1' };
  return { syntax: JPEG_BASELINE, elements, initial };
}
