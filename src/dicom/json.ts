/** Owns the JSON forms of a data set that the REST API answers: /tags, /tags?short, /simplified-tags, /header. */

import { isPrivate, tagName, tagNumber, tagText } from './dictionary.ts';
import type { DataSet, DicomFile, Element } from './read.ts';
import { textOf, valueOf } from './value.ts';

/** `Full`: name, type and value by tag; `Short`: value by tag; `Simplify`: value by keyword. */
export type TagsFormat = 'Full' | 'Short' | 'Simplify';

export interface JsonOptions {
  /** Tags (`gggg,eeee`) whose values are shown whatever their length. */
  readonly ignoreLength?: ReadonlySet<string>;
  /** Bytes of UTF-8 from which on a value is `TooLong`; 0 shows every value. */
  readonly maximumLength?: number;
}

/** Orthanc's limit of a shown value. */
export const MAXIMUM_LENGTH = 256;

/** Bytes of a private creator, which has 64 characters at most (PS3.5 §6.2, LO). A longer one would be repeated with each of its elements. */
const LONGEST_CREATOR = 256;

/** Creator of a private element's block (PS3.5 §7.8.1), or undefined. */
export function privateCreator(dataSet: DataSet, tag: string): string | undefined {
  if (!isPrivate(tag)) return undefined;
  const number = tagNumber(tag);
  const element = number % 0x10000;
  if (element < 0x1000) return undefined;
  const creator = dataSet.elements.get(tagText(number - element + (element >> 8)));
  return creator === undefined || creator.length > LONGEST_CREATOR ? undefined : textOf(dataSet, creator);
}

interface Leaf {
  readonly type: 'String' | 'TooLong' | 'Null';
  readonly value: string | null;
}

function leaf(dataSet: DataSet, element: Element, options: JsonOptions): Leaf {
  const maximum = options.maximumLength ?? MAXIMUM_LENGTH;
  const value = valueOf(dataSet, element);
  if (value === null) return { type: 'Null', value };
  if (maximum > 0 && value.length * 3 > maximum && !(options.ignoreLength?.has(element.tag) ?? false)) {
    if (Buffer.byteLength(value) > maximum) return { type: 'TooLong', value: null };
  }
  return { type: 'String', value };
}

/** A data set in one of the JSON forms, in the order of its tags. */
export function toJson(dataSet: DataSet, format: TagsFormat, options: JsonOptions = {}): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const element of dataSet.elements.values()) {
    const { tag } = element;
    const creator = privateCreator(dataSet, tag);
    const name = tagName(tag, creator);
    const items = element.items?.map((item) => toJson(item, format, options));
    const { type, value } =
      items === undefined
        ? element.vr === 'SQ'
          ? { type: 'Sequence', value: [] }
          : leaf(dataSet, element, options)
        : { type: 'Sequence', value: items };
    if (format === 'Full') {
      json[tag] =
        creator === undefined || type === 'Sequence'
          ? { Name: name, Type: type, Value: value }
          : { Name: name, PrivateCreator: creator, Type: type, Value: value };
    } else {
      json[format === 'Short' ? tag : name] = value;
    }
  }
  return json;
}

/** File Meta Information in one of the JSON forms, without its version, which is two bytes. */
export function metaToJson(file: DicomFile, format: TagsFormat): Record<string, unknown> {
  const elements = new Map([...file.meta.elements].filter(([tag]) => tag !== '0002,0001'));
  return toJson({ ...file.meta, elements }, format);
}
