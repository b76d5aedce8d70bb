/**
 * Owns the layout of ZIP archives that are written in one go (APPNOTE.TXT 6.3.10): local headers, data descriptors and the central
 * directory, with ZIP64 where a number needs it and not where it does not. What is between them, entries that were deflated
 * elsewhere or stay as they are, passes its user's hands only.
 */

/** How the bytes of an entry lie in the archive. */
export type Method = 'stored' | 'deflated';

/** What is known of the bytes of an entry. */
export interface Content {
  readonly crc: number;
  /** Bytes as they lie in the archive. */
  readonly compressedSize: number;
  readonly size: number;
}

/** An entry whose bytes are to follow. */
export interface NewEntry {
  /** With slashes. Whoever unpacks the archive trusts it: no part of it is empty, `.` or `..`. */
  readonly name: string;
  readonly method: Method;
  /** Undefined where they are known only once the bytes have left; such an entry must be deflated. */
  readonly content?: Content;
  /** Bytes of it, where `content` is not known. */
  readonly size?: number;
}

const LIMIT_32 = 0xffffffff;
const LIMIT_16 = 0xffff;
/** From this size on, 32 bits might not hold what deflating makes of incompressible bytes. */
const LARGE = LIMIT_32 - (1 << 26);
const METHOD: Readonly<Record<Method, number>> = { stored: 0, deflated: 8 };
/** General purpose bits: sizes follow the bytes; the name is UTF-8. */
const DESCRIPTOR = 1 << 3;
const UTF8 = 1 << 11;
/** Version needed to extract: 2.0 for folders and deflate, 4.5 for ZIP64. */
const VERSION = 20;
const VERSION_64 = 45;

/** Numbers one after another, little endian. */
function fields(...values: readonly (readonly [value: number, size: 2 | 4 | 8])[]): Buffer {
  const bytes = Buffer.alloc(values.reduce((sum, [, size]) => sum + size, 0));
  let at = 0;
  for (const [value, size] of values) {
    if (size === 2) bytes.writeUInt16LE(value, at);
    else if (size === 4) bytes.writeUInt32LE(value, at);
    else bytes.writeBigUInt64LE(BigInt(value), at);
    at += size;
  }
  return bytes;
}

/** Date and time of MS-DOS: two seconds are its unit, local time its zone. */
function dosTime(when: Date): { readonly date: number; readonly time: number } {
  return {
    date: (Math.max(0, when.getFullYear() - 1980) << 9) | ((when.getMonth() + 1) << 5) | when.getDate(),
    time: (when.getHours() << 11) | (when.getMinutes() << 5) | (when.getSeconds() >> 1),
  };
}

const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

/** One archive: it answers what to write, in order, and keeps what its directory will say: some 100 bytes an entry. */
export class ZipLayout {
  readonly #date: number;
  readonly #time: number;
  readonly #directory: Buffer[] = [];
  #position = 0;
  #open: (NewEntry & { readonly large: boolean; readonly at: number }) | undefined;

  constructor(when = new Date()) {
    const { date, time } = dosTime(when);
    this.#date = date;
    this.#time = time;
  }

  /** Bytes of the archive so far, those of its entries included. */
  get size(): number {
    return this.#position;
  }

  /** Begins an entry: what precedes its bytes. Its end must follow before the next begins. */
  begin({ name, method, content, size = 0 }: NewEntry): Buffer {
    const large = content === undefined && size >= LARGE;
    const zip64 = large || (content !== undefined && content.size >= LIMIT_32);
    this.#open = { name, method, large, at: this.#position, ...(content && { content }) };
    const known = content ?? { crc: 0, compressedSize: 0, size: 0 };
    const extra = zip64 ? fields([1, 2], [16, 2], [known.size, 8], [known.compressedSize, 8]) : Buffer.alloc(0);
    const bytes = Buffer.from(name);
    const head = Buffer.concat([
      fields(
        [0x04034b50, 4],
        [zip64 ? VERSION_64 : VERSION, 2],
        [(content === undefined ? DESCRIPTOR : 0) | (isAscii(name) ? 0 : UTF8), 2],
        [METHOD[method], 2],
        [this.#time, 2],
        [this.#date, 2],
        [known.crc, 4],
        [zip64 ? LIMIT_32 : known.compressedSize, 4],
        [zip64 ? LIMIT_32 : known.size, 4],
        [bytes.length, 2],
        [extra.length, 2],
      ),
      bytes,
      extra,
    ]);
    this.#position += head.length;
    return head;
  }

  /** Ends the entry: what follows its bytes. `content` is what they turned out to be, where it was not known in the beginning. */
  end(content = this.#open?.content): Buffer {
    if (this.#open === undefined || content === undefined) throw new RangeError('no entry was begun');
    const { crc, compressedSize, size } = content;
    const { name, method, large, at } = this.#open;
    const wasKnown = this.#open.content !== undefined;
    this.#open = undefined;
    this.#position += compressedSize;
    const wide = large ? 8 : 4;
    const tail = wasKnown ? Buffer.alloc(0) : fields([0x08074b50, 4], [crc, 4], [compressedSize, wide], [size, wide]);
    this.#position += tail.length;
    const bytes = Buffer.from(name);
    const over = (value: number): boolean => value >= LIMIT_32;
    const longs = [size, compressedSize, at].filter(over);
    const zip64 = longs.length > 0;
    const extra = zip64
      ? fields([1, 2], [longs.length * 8, 2], ...longs.map((value) => [value, 8] as const))
      : Buffer.alloc(0);
    const shortened = (value: number): number => (over(value) ? LIMIT_32 : value);
    const version = zip64 || large ? VERSION_64 : VERSION;
    this.#directory.push(
      Buffer.concat([
        fields(
          [0x02014b50, 4],
          [version, 2],
          [version, 2],
          [(wasKnown ? 0 : DESCRIPTOR) | (isAscii(name) ? 0 : UTF8), 2],
          [METHOD[method], 2],
          [this.#time, 2],
          [this.#date, 2],
          [crc, 4],
          [shortened(compressedSize), 4],
          [shortened(size), 4],
          [bytes.length, 2],
          [extra.length, 2],
          // No comment, on the first disk, no attributes.
          [0, 2],
          [0, 2],
          [0, 2],
          [0, 4],
          [shortened(at), 4],
        ),
        bytes,
        extra,
      ]),
    );
    return tail;
  }

  /** The central directory, in pieces; the archive ends with it. */
  *finish(): Generator<Buffer, void> {
    const start = this.#position;
    const count = this.#directory.length;
    // Each entry of it is small, and whoever takes a piece does so at a price.
    for (let at = 0; at < count; at += 1024) {
      const piece = Buffer.concat(this.#directory.slice(at, at + 1024));
      this.#position += piece.length;
      yield piece;
    }
    const size = this.#position - start;
    const ends: Buffer[] = [];
    if (count >= LIMIT_16 || size >= LIMIT_32 || start >= LIMIT_32) {
      ends.push(
        fields(
          [0x06064b50, 4],
          [44, 8],
          [VERSION_64, 2],
          [VERSION_64, 2],
          [0, 4],
          [0, 4],
          [count, 8],
          [count, 8],
          [size, 8],
          [start, 8],
        ),
        fields([0x07064b50, 4], [0, 4], [this.#position, 8], [1, 4]),
      );
    }
    const entries = Math.min(count, LIMIT_16);
    ends.push(
      fields(
        [0x06054b50, 4],
        [0, 2],
        [0, 2],
        [entries, 2],
        [entries, 2],
        [Math.min(size, LIMIT_32), 4],
        [Math.min(start, LIMIT_32), 4],
        [0, 2],
      ),
    );
    const end = Buffer.concat(ends);
    this.#position += end.length;
    yield end;
  }
}
