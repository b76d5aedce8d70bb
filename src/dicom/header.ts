/** Owns what the REST API asks about the header of one stored file, and the JSON text that answers it. */

import { metaToJson, type TagsFormat, toJson } from './json.ts';
import { readFile } from './read.ts';

/** What to make of a header. */
export type HeaderQuestion =
  | {
      readonly kind: 'tags';
      readonly format: TagsFormat;
      /** Tags (`gggg,eeee`) shown whatever the length of their value. */
      readonly ignoreLength: readonly string[];
      /** Only these tags, when given. */
      readonly only?: readonly string[];
    }
  /** File Meta Information. */
  | { readonly kind: 'meta'; readonly format: TagsFormat };

export interface HeaderTask {
  /** The file, or its beginning up to Pixel Data. */
  readonly bytes: Uint8Array;
  /** The bytes end where Pixel Data begins. */
  readonly truncated: boolean;
  readonly question: HeaderQuestion;
}

/** The keys of a data set in order, at every depth: keywords do not come in the order of their tags. */
function sorted(dataSet: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(dataSet)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, value]) => [
        key,
        Array.isArray(value) ? value.map((item) => sorted(item as Record<string, unknown>)) : value,
      ]),
  );
}

/** The JSON text of a header, indented as answers are, its keys in order. Throws BadFileFormat. */
export function answerHeader({ bytes, truncated, question }: HeaderTask): string {
  const file = readFile(bytes, truncated ? { truncated } : {});
  const { format } = question;
  let json: Record<string, unknown>;
  if (question.kind === 'meta') {
    json = metaToJson(file, format);
  } else {
    let { dataSet } = file;
    if (question.only !== undefined) {
      const only = new Set(question.only);
      dataSet = { ...dataSet, elements: new Map([...dataSet.elements].filter(([tag]) => only.has(tag))) };
    }
    json = toJson(dataSet, format, { ignoreLength: new Set(question.ignoreLength) });
  }
  return JSON.stringify(format === 'Simplify' ? sorted(json) : json, null, 3);
}
