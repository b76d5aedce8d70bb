/** Owns the /content tree of an instance: what a path names, down sequences of any depth and into encapsulated fragments. */

import { IsenError } from '../errors.ts';
import { parseTag } from './dictionary.ts';
import type { DataSet, DicomFile, Element } from './read.ts';
import { vrRow } from './vr.ts';

/** What a path names. */
export type Content =
  /** A data set, sequence or Pixel Data: the last segments of the paths below it. */
  | { readonly kind: 'listing'; readonly names: readonly string[] }
  /**
   * A value: where it is in {@link DicomFile.bytes}. `swap` is the size of the numbers that a big endian data set stores; the client gets
   * them little endian, whatever the file is. 1: nothing to swap.
   */
  | { readonly kind: 'value'; readonly offset: number; readonly length: number; readonly swap: 1 | 2 | 4 | 8 };

const listing = (names: readonly string[]): Content => ({ kind: 'listing', names });
const indices = (count: number): Content => listing(Array.from({ length: count }, (_, index) => String(index)));

/**
 * What `path` ("", "0010-0010", "0008-1140/0/0008-1150", "7fe0-0010/1") names in the file, or undefined. Tags are spelt in any way that
 * {@link parseTag} reads. Fragment 0 is the Basic Offset Table; native Pixel Data is one fragment. Throws UnknownDicomTag for a
 * segment that names no tag. The file must have been read whole for what lies at or behind Pixel Data.
 */
export function readContent(file: DicomFile, path: string): Content | undefined {
  const segments = path.split('/').filter((segment) => segment !== '');
  let dataSet: DataSet = file.dataSet;
  for (let at = 0; ; at += 2) {
    const name = segments[at];
    if (name === undefined) return listing([...dataSet.elements.keys()].map((tag) => tag.replace(',', '-')));
    const tag = parseTag(name);
    if (tag === undefined) throw new IsenError('UnknownDicomTag');
    const element = dataSet.elements.get(tag);
    if (element === undefined) return undefined;
    const index = segments[at + 1];
    if (element.items === undefined) {
      return segments.length > at + 2 ? undefined : leaf(dataSet, element, index, at === 0);
    }
    if (index === undefined) return indices(element.items.length);
    const item = /^\d{1,9}$/.test(index) ? element.items[Number(index)] : undefined;
    if (item === undefined) return undefined;
    dataSet = item;
  }
}

/** The value of an element, or the list of its fragments, or one of these. */
function leaf(dataSet: DataSet, element: Element, index: string | undefined, top: boolean): Content | undefined {
  const value = (offset: number, length: number): Content => ({
    kind: 'value',
    offset,
    length,
    swap: dataSet.littleEndian ? 1 : vrRow(element.vr).unit,
  });
  const parts =
    element.fragments === undefined
      ? top && element.tag === '7fe0,0010'
        ? [{ offset: element.offset, length: element.length }]
        : undefined
      : [...(element.offsetTable === undefined ? [] : [element.offsetTable]), ...element.fragments];
  if (parts === undefined) {
    if (element.vr === 'SQ') return index === undefined ? listing([]) : undefined;
    return index === undefined ? value(element.offset, element.length) : undefined;
  }
  if (index === undefined) return indices(parts.length);
  const part = /^\d{1,9}$/.test(index) ? parts[Number(index)] : undefined;
  return part && value(part.offset, part.length);
}

/** The bytes of a value that {@link readContent} named: a view on the file, or a swapped copy of what is big endian. */
export function contentBytes(file: Pick<DicomFile, 'bytes'>, content: Extract<Content, { kind: 'value' }>): Buffer {
  const bytes = file.bytes.subarray(content.offset, content.offset + content.length);
  if (content.swap === 1) return bytes;
  const whole = bytes.length - (bytes.length % content.swap);
  const copy = Buffer.from(bytes);
  const swapped = copy.subarray(0, whole);
  if (content.swap === 2) swapped.swap16();
  else if (content.swap === 4) swapped.swap32();
  else swapped.swap64();
  return copy;
}
