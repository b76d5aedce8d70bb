/** Owns what the REST API asks about the header of one stored file, and the text that answers it. */

import { createHash } from 'node:crypto';
import { IsenError } from '../errors.ts';
import { attributesOf } from './attributes.ts';
import { contentBytes, readContent } from './content.ts';
import { dicomJson } from './dicom-json.ts';
import { dicomXml } from './dicom-xml.ts';
import { metaToJson, type TagsFormat, toJson } from './json.ts';
import type { Level } from './levels.ts';
import { moduleJson } from './module.ts';
import { type DicomFile, readFile, type ReadOptions } from './read.ts';
import { usualPixelVr } from './summary.ts';
import { transferSyntax } from './transfer-syntaxes.ts';

/** The DICOM JSON Model (PS3.18 Annex F), or the Native DICOM Model (PS3.19 Annex A) in XML. */
export type WebFormat = 'json' | 'xml';

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
  /** The module that describes a level. */
  | {
      readonly kind: 'module';
      readonly level: Level;
      readonly format: TagsFormat;
      readonly ignoreLength: readonly string[];
    }
  /** File Meta Information. */
  | { readonly kind: 'meta'; readonly format: TagsFormat }
  /** The data set in a format of the web; see {@link attributesOf}. */
  | {
      readonly kind: 'web';
      readonly format: WebFormat;
      /** URI of the instance. */
      readonly base: string;
      /** Of native Pixel Data that is not the usual one. */
      readonly pixelDataVr?: string;
    }
  /** What a path of tags, item and fragment numbers names; for what is at or behind Pixel Data, of the whole file. */
  | { readonly kind: 'content'; readonly path: string };

/** Text, JSON but for XML that was asked for; for `content` the names below, or a raw value, or undefined where there is nothing. */
export type HeaderAnswer<Question extends HeaderQuestion = HeaderQuestion> = Question['kind'] extends 'content'
  ? readonly string[] | Uint8Array | undefined
  : Question['kind'] extends 'tags' | 'module' | 'meta' | 'web'
    ? string
    : string | readonly string[] | Uint8Array | undefined;

export interface HeaderTask {
  /** The file, or its beginning up to Pixel Data. */
  readonly bytes: Uint8Array;
  /** The bytes end where Pixel Data begins. */
  readonly truncated: boolean;
  /** Bytes of the whole file, where these are the beginning of a deflated one. */
  readonly size?: number;
  readonly question: HeaderQuestion;
  /** MD5 that the bytes must have, in base64, where it is known. */
  readonly md5?: string;
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

const text = (json: Record<string, unknown>, format: TagsFormat): string =>
  JSON.stringify(format === 'Simplify' ? sorted(json) : json, null, 3);

/**
 * Reads stored bytes whose MD5 must be `md5` (base64), where it is known. What was stored was DICOM then: if it is not now, the
 * file was altered, and no client is to blame. Throws CorruptedFile.
 */
export function readStored(bytes: Uint8Array, md5: string | undefined, options: ReadOptions): DicomFile {
  if (md5 !== undefined && createHash('md5').update(bytes).digest('base64') !== md5) {
    throw new IsenError('CorruptedFile', 'the stored file is not the one that was stored');
  }
  try {
    return readFile(bytes, options);
  } catch (thrown) {
    throw new IsenError('CorruptedFile', 'the stored file is not DICOM any more', { cause: thrown });
  }
}

/** Answers one question. JSON text is indented as answers are, its keys in order. Throws CorruptedFile, UnknownDicomTag. */
export function answerHeader({ bytes, truncated, size, question, md5 }: HeaderTask): HeaderAnswer {
  const file = readStored(bytes, md5, { ...(truncated && { truncated }), ...(size !== undefined && { size }) });
  switch (question.kind) {
    case 'meta':
      return text(metaToJson(file, question.format), question.format);
    case 'module': {
      const { level, format, ignoreLength } = question;
      return text(moduleJson(file.dataSet, level, format, { ignoreLength: new Set(ignoreLength) }), format);
    }
    case 'web': {
      const encapsulated = transferSyntax(file.transferSyntax)?.encapsulated ?? false;
      // Of Pixel Data that is not among the bytes nobody knows it from them.
      const native = truncated ? (question.pixelDataVr ?? usualPixelVr(file)) : (file.pixelData?.vr ?? 'OW');
      const pixelData = { vr: encapsulated ? 'OB' : native, encapsulated };
      const attributes = attributesOf(file.dataSet, { base: question.base, pixelData });
      return question.format === 'json' ? dicomJson(attributes) : dicomXml(attributes);
    }
    case 'content': {
      const content = readContent(file, question.path);
      if (content === undefined) return undefined;
      // A copy: a view would carry the whole file to the other thread.
      return content.kind === 'listing' ? content.names : Uint8Array.from(contentBytes(file, content));
    }
    case 'tags': {
      const { format, ignoreLength, only } = question;
      let { dataSet } = file;
      if (only !== undefined) {
        const wanted = new Set(only);
        dataSet = { ...dataSet, elements: new Map([...dataSet.elements].filter(([tag]) => wanted.has(tag))) };
      }
      return text(toJson(dataSet, format, { ignoreLength: new Set(ignoreLength) }), format);
    }
  }
}
