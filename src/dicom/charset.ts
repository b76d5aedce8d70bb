/**
 * Owns the character sets of Specific Character Set (PS3.3 §C.12.1.1.2, PS3.5 §6.1): decoding of text to strings and back, code
 * extensions by ISO 2022 escapes included.
 */

import { TextDecoder } from 'node:util';
import iconv from 'iconv-lite';

/** How the text of one data set is read and written. */
export interface CharacterSet {
  /** The values of (0008,0005); empty when absent. */
  readonly terms: readonly string[];
  /** Decodes bytes `start` to `end`. In a person name, `^` and `=` end code extensions too (PS3.5 §6.1.2.5.3). */
  decode(bytes: Buffer, start: number, end: number, personName: boolean): string;
  /** Encodes; a character that the character set lacks becomes `?`. */
  encode(text: string): Buffer;
  /** Whether {@link encode} loses nothing of `text`. */
  covers(text: string): boolean;
}

/** One repertoire: how its bytes are decoded, and iconv-lite's name of the encoding that writes it. */
interface Repertoire {
  /** Label for TextDecoder; undefined where only iconv-lite has the exact set. */
  readonly label?: string;
  readonly encoding: string;
  /** Escape that designates it (PS3.3 tables C.12-3 and C.12-4), without ESC. */
  readonly escape?: string;
  /** Which code element it is designated as; multi-byte G0 sets hold pairs of 7-bit bytes. */
  readonly element?: 'G0' | 'G1';
  readonly bytes?: 2;
}

/** By ISO registration number; `192`, `GBK` and `GB18030` have no code extensions (PS3.3 table C.12-5). */
export const REPERTOIRES = {
  '6': { encoding: 'ascii', escape: '(B', element: 'G0' },
  '13': { label: 'shift_jis', encoding: 'shift_jis', escape: ')I', element: 'G1' },
  '58': { label: 'gbk', encoding: 'gb2312', escape: '$)A', element: 'G1', bytes: 2 },
  '87': { label: 'euc-jp', encoding: 'euc-jp', escape: '$B', element: 'G0', bytes: 2 },
  '100': { encoding: 'latin1', escape: '-A', element: 'G1' },
  '101': { label: 'iso-8859-2', encoding: 'iso-8859-2', escape: '-B', element: 'G1' },
  '109': { label: 'iso-8859-3', encoding: 'iso-8859-3', escape: '-C', element: 'G1' },
  '110': { label: 'iso-8859-4', encoding: 'iso-8859-4', escape: '-D', element: 'G1' },
  '126': { label: 'iso-8859-7', encoding: 'iso-8859-7', escape: '-F', element: 'G1' },
  '127': { label: 'iso-8859-6', encoding: 'iso-8859-6', escape: '-G', element: 'G1' },
  '138': { label: 'iso-8859-8', encoding: 'iso-8859-8', escape: '-H', element: 'G1' },
  '144': { label: 'iso-8859-5', encoding: 'iso-8859-5', escape: '-L', element: 'G1' },
  // TextDecoder's iso-8859-9 is windows-1254, and its iso-8859-11 windows-874.
  '148': { encoding: 'iso-8859-9', escape: '-M', element: 'G1' },
  '149': { label: 'euc-kr', encoding: 'euc-kr', escape: '$)C', element: 'G1', bytes: 2 },
  '159': { label: 'euc-jp', encoding: 'euc-jp', escape: '$(D', element: 'G0', bytes: 2 },
  '166': { encoding: 'tis620', escape: '-T', element: 'G1' },
  '192': { label: 'utf-8', encoding: 'utf8' },
  '203': { label: 'iso-8859-15', encoding: 'iso-8859-15', escape: '-b', element: 'G1' },
  GBK: { label: 'gbk', encoding: 'gbk' },
  GB18030: { label: 'gb18030', encoding: 'gb18030' },
} as const satisfies Record<string, Repertoire>;

type RepertoireName = keyof typeof REPERTOIRES;

const ESC = 0x1b;
const decoders = new Map<string, TextDecoder>();

function decodeWith(name: RepertoireName, bytes: Buffer): string {
  const row: Repertoire = REPERTOIRES[name];
  if (row.label === undefined)
    return name === '100' || name === '6' ? bytes.toString('latin1') : iconv.decode(bytes, row.encoding);
  let decoder = decoders.get(row.label);
  if (decoder === undefined) {
    decoder = new TextDecoder(row.label, { ignoreBOM: true });
    decoders.set(row.label, decoder);
  }
  return decoder.decode(bytes);
}

/** Pairs of 7-bit bytes as the EUC-JP that TextDecoder knows: JIS X 0208 in GR, JIS X 0212 behind SS3. */
function decodeJapanesePairs(name: '87' | '159', bytes: Buffer): string {
  const pairs = bytes.length >> 1;
  const size = name === '87' ? 2 : 3;
  const euc = Buffer.alloc(pairs * size, 0x8f);
  for (let pair = 0; pair < pairs; pair += 1) {
    euc[pair * size + size - 2] = (bytes[pair * 2] ?? 0) | 0x80;
    euc[pair * size + size - 1] = (bytes[pair * 2 + 1] ?? 0) | 0x80;
  }
  return decodeWith('87', euc);
}

/** `(J` designates JIS X 0201 romaji, whose katakana half is repertoire 13. */
const ESCAPES: ReadonlyMap<string, RepertoireName> = new Map<string, RepertoireName>([
  ...Object.entries(REPERTOIRES).flatMap(([name, row]): [string, RepertoireName][] =>
    'escape' in row ? [[row.escape, name as RepertoireName]] : [],
  ),
  ['(J', '13'],
]);

/** ISO 2022 (PS3.5 §6.1.2.5): each run between escapes in the repertoire that is designated there. */
function decodeExtended(initial: RepertoireName, bytes: Buffer, personName: boolean): string {
  let text = '';
  /** A two-byte set in G0, or undefined for ASCII there. */
  let pairs: '87' | '159' | undefined;
  let upper = initial;
  let start = 0;
  const flush = (end: number): void => {
    if (end > start) {
      const run = bytes.subarray(start, end);
      text += pairs === undefined ? decodeWith(upper, run) : decodeJapanesePairs(pairs, run);
    }
  };
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte === ESC) {
      const three = bytes.toString('latin1', at + 1, at + 4);
      const escape = ESCAPES.has(three) ? three : three.slice(0, 2);
      const name = ESCAPES.get(escape);
      if (name === undefined) continue;
      flush(at);
      if (name === '87' || name === '159') pairs = name;
      else {
        pairs = undefined;
        if (name !== '6') upper = name;
      }
      start = at + 1 + escape.length;
      at = start - 1;
    } else if (pairs === undefined && isDelimiter(byte, personName)) {
      flush(at);
      start = at;
      upper = initial;
    } else if (pairs !== undefined && byte < 0x20) {
      // A control character cannot be half of a pair: the line ended without returning to ASCII.
      flush(at);
      start = at;
      pairs = undefined;
      upper = initial;
    }
  }
  flush(bytes.length);
  return text;
}

/** Backslash, TAB, LF, FF, CR, and in person names `^` and `=` (PS3.5 §6.1.2.5.3). */
function isDelimiter(byte: number, personName: boolean): boolean {
  return (
    byte === 0x5c || (byte >= 0x09 && byte <= 0x0d && byte !== 0x0b) || (personName && (byte === 0x5e || byte === 0x3d))
  );
}

/** The bytes of `character` in a repertoire, or undefined when it has no such character. */
function encodeCharacter(name: RepertoireName, character: string): Buffer | undefined {
  const bytes = iconv.encode(character, REPERTOIRES[name].encoding);
  if (decodeWith(name, bytes) !== character) return undefined;
  if (name === '87')
    return bytes.length === 2 && (bytes[0] ?? 0) >= 0xa1 ? (bytes.map((byte) => byte & 0x7f) as Buffer) : undefined;
  if (name === '159')
    return bytes.length === 3 && bytes[0] === 0x8f
      ? (bytes.subarray(1).map((byte) => byte & 0x7f) as Buffer)
      : undefined;
  if (name === '13') return bytes.length === 1 ? bytes : undefined;
  return bytes;
}

function encodeExtended(
  names: readonly RepertoireName[],
  text: string,
): { readonly bytes: Buffer; readonly lost: boolean } {
  const initial = names[0] ?? '6';
  const parts: Buffer[] = [];
  let lost = false;
  let upper: RepertoireName = initial;
  let pairs: RepertoireName | undefined;
  const toAscii = (): void => {
    if (pairs !== undefined) parts.push(Buffer.from('\x1b(B', 'latin1'));
    pairs = undefined;
  };
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x80) {
      toAscii();
      parts.push(Buffer.of(code));
      if (isDelimiter(code, true)) upper = initial;
      continue;
    }
    const name = names.find((candidate) => encodeCharacter(candidate, character) !== undefined);
    const bytes = name === undefined ? undefined : encodeCharacter(name, character);
    if (name === undefined || bytes === undefined) {
      lost = true;
      toAscii();
      parts.push(Buffer.from('?'));
      continue;
    }
    const row: Repertoire = REPERTOIRES[name];
    if (row.element === 'G0') {
      if (pairs !== name) parts.push(Buffer.from(`\x1b${row.escape}`, 'latin1'));
      pairs = name;
    } else {
      toAscii();
      if (upper !== name) parts.push(Buffer.from(`\x1b${row.escape}`, 'latin1'));
      upper = name;
    }
    parts.push(bytes);
  }
  toAscii();
  return { bytes: Buffer.concat(parts), lost };
}

/** The repertoire of a defined term, or undefined for a term that the Standard does not have. */
function repertoireOf(term: string): RepertoireName | undefined {
  const number = /^ISO(?:_IR| 2022 IR) (\d+)$/.exec(term)?.[1] ?? (term === '' ? '6' : term);
  return Object.hasOwn(REPERTOIRES, number) ? (number as RepertoireName) : undefined;
}

/** Whether every byte is ASCII without escapes, so that no repertoire changes what it means. */
function isPlain(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte >= 0x80 || byte === ESC) return false;
  }
  return true;
}

function build(terms: readonly string[], fallback: RepertoireName): CharacterSet {
  const found = terms.map(repertoireOf);
  const known = found.filter((name) => name !== undefined);
  const initial = terms.length === 0 || found[0] === undefined ? fallback : found[0];
  const extended = terms.length > 1 || (terms[0]?.startsWith('ISO 2022') ?? false);
  // In a two-byte set alone there is no initial upper half.
  const start: RepertoireName = initial === '87' || initial === '159' ? '6' : initial;
  const encode = (text: string): { readonly bytes: Buffer; readonly lost: boolean } => {
    if (extended) return encodeExtended(known.length === 0 ? [start] : known, text);
    const bytes = iconv.encode(text, REPERTOIRES[start].encoding);
    return { bytes, lost: decodeWith(start, bytes) !== text };
  };
  return {
    terms,
    decode(bytes, from, to, personName) {
      if (start !== '100' || extended) {
        if (isPlain(bytes, from, to)) return bytes.toString('latin1', from, to);
        const run = bytes.subarray(from, to);
        return extended ? decodeExtended(start, run, personName) : decodeWith(start, run);
      }
      return bytes.toString('latin1', from, to);
    },
    encode: (text) => encode(text).bytes,
    covers: (text) => !encode(text).lost,
  };
}

const CACHE = new Map<string, CharacterSet>();
const CACHE_SIZE = 64;

/** ISO_IR 6 read as Latin-1: what a data set without (0008,0005) gets, as with Orthanc's `DefaultEncoding`. */
export const DEFAULT_CHARACTER_SET: CharacterSet = build([], '100');

/**
 * The character set of a value of (0008,0005) (values separated by backslash). Absent, empty or unknown terms read as
 * `fallback`, Orthanc's `DefaultEncoding`.
 */
export function characterSet(value: string, fallback: CharacterSet = DEFAULT_CHARACTER_SET): CharacterSet {
  const cached = CACHE.get(value);
  if (cached !== undefined) return cached;
  const terms = value.split('\\').map((term) => term.trim());
  if (terms.every((term) => term === '') || (terms.length === 1 && repertoireOf(terms[0] ?? '') === undefined))
    return fallback;
  const built = build(terms, '100');
  if (CACHE.size >= CACHE_SIZE) CACHE.clear();
  CACHE.set(value, built);
  return built;
}

/** Defined term (PS3.3 §C.12.1.1.2) by Orthanc's name of an encoding; Windows-1251 has none, and its letters are those of Cyrillic. */
export const ENCODING_TERM = {
  Ascii: 'ISO_IR 6',
  Utf8: 'ISO_IR 192',
  Latin1: 'ISO_IR 100',
  Latin2: 'ISO_IR 101',
  Latin3: 'ISO_IR 109',
  Latin4: 'ISO_IR 110',
  Latin5: 'ISO_IR 148',
  Cyrillic: 'ISO_IR 144',
  Windows1251: 'ISO_IR 144',
  Arabic: 'ISO_IR 127',
  Greek: 'ISO_IR 126',
  Hebrew: 'ISO_IR 138',
  Thai: 'ISO_IR 166',
  Japanese: 'ISO_IR 13',
  Chinese: 'GB18030',
  JapaneseKanji: '\\ISO 2022 IR 87',
  Korean: '\\ISO 2022 IR 149',
  SimplifiedChinese: '\\ISO 2022 IR 58',
} as const;

/** Orthanc's names of encodings (`DefaultEncoding`). */
export type Encoding = keyof typeof ENCODING_TERM;
