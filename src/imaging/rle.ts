/**
 * Owns RLE Lossless (PS3.5 Annex G): one segment a byte of a sample, most significant first, each packed by rows. Lengths in the
 * bytes are checked, so that what is cut or altered is refused instead of shown in part.
 */

import { IsenError } from '../errors.ts';

/** Bytes of the header: the number of segments and 15 offsets, 32 bits each (PS3.5 §G.5). */
const HEADER = 64;
const MAXIMUM_SEGMENTS = 15;
const LONGEST_RUN = 128;

const bad = (why: string): IsenError => new IsenError('BadFileFormat', `RLE: ${why}`);

/**
 * Little endian samples, colour by pixel, of one frame of `pixels` pixels, each of `samples` samples of `size` bytes.
 * @throws {IsenError} BadFileFormat for anything but that.
 */
export function decodeRle(bytes: Uint8Array, pixels: number, samples: number, size: number): Uint8Array {
  const segments = samples * size;
  if (bytes.length < HEADER) throw bad('no header');
  const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER);
  if (header.getUint32(0, true) !== segments || segments > MAXIMUM_SEGMENTS) throw bad('the number of segments');
  const decoded = new Uint8Array(pixels * segments);
  for (let segment = 0; segment < segments; segment += 1) {
    const start = header.getUint32(4 + segment * 4, true);
    const end = segment + 1 < segments ? header.getUint32(8 + segment * 4, true) : bytes.length;
    if (start < HEADER || end < start || end > bytes.length) throw bad('an offset outside the frame');
    const sample = Math.floor(segment / size);
    const first = sample * size + (size - 1 - (segment % size));
    unpack(bytes, start, end, decoded, first, segments);
  }
  return decoded;
}

/** Unpacks one segment to every `step`-th byte of `out` from `first` (PS3.5 §G.3.2). */
function unpack(bytes: Uint8Array, start: number, end: number, out: Uint8Array, first: number, step: number): void {
  let to = first;
  let at = start;
  while (to < out.length) {
    if (at + 1 >= end) throw bad('a segment is shorter than its plane');
    const control = bytes[at] ?? 0;
    at += 1;
    if (control < LONGEST_RUN) {
      const literals = control + 1;
      if (at + literals > end) throw bad('a segment is shorter than its plane');
      if (step === 1) {
        out.set(bytes.subarray(at, at + Math.min(literals, out.length - to)), to);
        to += literals;
      } else {
        for (const last = at + literals; at < last && to < out.length; at += 1, to += step) out[to] = bytes[at] ?? 0;
        continue;
      }
      at += literals;
    } else if (control > LONGEST_RUN) {
      const value = bytes[at] ?? 0;
      at += 1;
      const last = to + (257 - control) * step;
      if (step === 1) out.fill(value, to, last);
      else for (let place = to; place < last && place < out.length; place += step) out[place] = value;
      to = last;
    }
  }
}

/** One frame as {@link decodeRle} reads it; `columns` because no run goes on into the next row (PS3.5 §G.3.1). */
export function encodeRle(frame: Uint8Array, columns: number, samples: number, size: number): Uint8Array {
  const segments = samples * size;
  const pixels = frame.length / segments;
  // The worst of PackBits: one more byte for each 128 literals of each row.
  const longest = pixels + Math.ceil(columns / LONGEST_RUN) * Math.ceil(pixels / columns) + 1;
  const out = new Uint8Array(HEADER + segments * longest);
  const header = new DataView(out.buffer);
  header.setUint32(0, segments, true);
  const plane = new Uint8Array(pixels);
  let at = HEADER;
  for (let segment = 0; segment < segments; segment += 1) {
    const sample = Math.floor(segment / size);
    const first = sample * size + (size - 1 - (segment % size));
    for (let pixel = 0, from = first; pixel < pixels; pixel += 1, from += segments) plane[pixel] = frame[from] ?? 0;
    header.setUint32(4 + segment * 4, at, true);
    for (let row = 0; row < pixels; row += columns) at = pack(plane.subarray(row, row + columns), out, at);
    // Every segment has an even length (PS3.5 §G.4).
    at += at % 2;
  }
  return out.slice(0, at);
}

/** Packs one row to `out` at `at`; answers where it ends. */
function pack(row: Uint8Array, out: Uint8Array, at: number): number {
  let place = at;
  let literal = 0;
  const flush = (end: number): void => {
    for (; literal < end; literal += LONGEST_RUN) {
      const count = Math.min(LONGEST_RUN, end - literal);
      out[place] = count - 1;
      out.set(row.subarray(literal, literal + count), place + 1);
      place += count + 1;
    }
    literal = end;
  };
  for (let from = 0; from < row.length; ) {
    const value = row[from];
    let end = from + 1;
    while (end < row.length && row[end] === value && end - from < LONGEST_RUN) end += 1;
    // A run of two costs as much as two literals, and breaks them where they are around it.
    if (end - from > 2) {
      flush(from);
      out[place] = 257 - (end - from);
      out[place + 1] = value ?? 0;
      place += 2;
      literal = end;
    }
    from = end;
  }
  flush(row.length);
  return place;
}
