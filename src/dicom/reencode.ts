/** Owns a data set's way into another encoding (PS3.5 Annex A): byte order and explicit or implicit VR, at every depth. */

import { IsenError } from '../errors.ts';
import type { DataSet, Element } from './read.ts';
import { type Encoding, type NewElement, rawElements } from './write.ts';
import { vrRow } from './vr.ts';

/** Longest value of an explicit VR whose length field has 16 bits. */
const LONGEST_SHORT = 0xfffe;

/**
 * The elements of a data set that was read whole, for `encoding`: copied byte for byte where it is that already, else with every
 * number turned around. Group lengths (retired, PS3.5 §7.2) are left out at the top where they would have to be computed anew.
 * @throws {IsenError} IncompatibleImageFormat for fragments that the encoding cannot hold.
 */
export function elementsIn(dataSet: DataSet, encoding: Encoding): NewElement[] {
  if (dataSet.littleEndian === encoding.littleEndian && dataSet.explicit === encoding.explicit)
    return rawElements(dataSet, encoding).filter(({ tag }) => !tag.endsWith(',0000'));
  return Array.from(dataSet.elements.values())
    .filter(({ tag }) => !tag.endsWith(',0000'))
    .map((element) => elementIn(dataSet, element, encoding));
}

/** One element for `encoding`, as {@link elementsIn} has it. */
export function elementIn(dataSet: DataSet, element: Element, encoding: Encoding): NewElement {
  const { tag, vr, offset, length, items, fragments } = element;
  if (fragments !== undefined)
    throw new IsenError('IncompatibleImageFormat', `${tag} has fragments, which the transfer syntax cannot hold`);
  // UN of undefined length is a sequence in disguise, whose items are implicit whatever is around it (PS3.5 §6.2.2 note 2).
  if (items !== undefined) {
    const undefinedLength = element.end > offset + length;
    return { tag, vr: 'SQ', value: { items: items.map((item) => elementsIn(item, encoding)), undefinedLength } };
  }
  const { unit, lengthSize } = vrRow(vr);
  const value = dataSet.bytes.subarray(offset, offset + length);
  const turned = dataSet.littleEndian === encoding.littleEndian ? value : swapped(value, unit);
  // PS3.5 §6.2.2 note 2: what is too long for its VR is written as UN.
  return { tag, vr: encoding.explicit && lengthSize === 2 && length > LONGEST_SHORT ? 'UN' : vr, value: turned };
}

/** A copy of `bytes`, each of its whole words of `size` bytes turned around; the same bytes for 1. */
export function swapped(bytes: Uint8Array, size: 1 | 2 | 4 | 8): Uint8Array {
  if (size === 1) return bytes;
  const copy = Uint8Array.from(bytes);
  const words = Buffer.from(copy.buffer, 0, copy.length - (copy.length % size));
  if (size === 2) words.swap16();
  else if (size === 4) words.swap32();
  else words.swap64();
  return copy;
}
