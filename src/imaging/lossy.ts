/** Owns what the data set of an image says once it has lost information (PS3.3 §C.7.6.1.1.5) and is another instance than before. */

import { derivedUid } from '../dicom/ids.ts';
import type { DataSet, Element } from '../dicom/read.ts';
import { elementsIn } from '../dicom/reencode.ts';
import type { TransferSyntax } from '../dicom/transfer-syntaxes.ts';
import type { NewElement } from '../dicom/write.ts';
import type { Codec } from './codecs.ts';

/** Value of Lossy Image Compression Method (0028,2114) by codec (PS3.3 §C.7.6.1.1.5.1). */
const METHOD: Readonly<Partial<Record<Codec, string>>> = {
  jpeg: 'ISO_10918_1',
  'jpeg-ls': 'ISO_14495_1',
  'jpeg-2000': 'ISO_15444_1',
};

/** Longest Derivation Description (0008,2111) that another sentence is added to; an ST has at most 1024 characters (PS3.5 §6.2). */
const LONGEST_DESCRIPTION = 900;

/** Where the image comes from. */
export interface Predecessor {
  readonly dataSet: DataSet;
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
  readonly pixels: Element;
  readonly transferSyntax: TransferSyntax;
}

/** How it lost information. */
export interface Loss {
  /** Of the image after it. */
  readonly sopInstanceUid: string;
  readonly target: TransferSyntax;
  readonly codec: Codec;
  /** Uncompressed over compressed size. */
  readonly ratio: number;
}

/**
 * The SOP Instance UID of an image after a loss. It follows from what is compressed and how, so that who asks again, or sends
 * again what was interrupted, makes no second instance.
 */
export function lossyUid(predecessor: Predecessor, target: TransferSyntax, quality: number): string {
  const { dataSet, sopInstanceUid, pixels } = predecessor;
  return derivedUid(sopInstanceUid, target.uid, `${quality}`, dataSet.bytes.subarray(pixels.start, pixels.end));
}

/** The attributes of an image that lost information, added to those of earlier losses. */
export function lossyElements(predecessor: Predecessor, loss: Loss): NewElement[] {
  const { dataSet } = predecessor;
  const { target, codec } = loss;
  const value = (tag: string): Buffer => {
    const element = dataSet.elements.get(tag);
    if (element === undefined) return Buffer.alloc(0);
    return dataSet.bytes.subarray(element.offset, element.offset + element.length);
  };
  const text = (tag: string): string => value(tag).toString('latin1').replaceAll('\0', ' ').trim();
  const appended = (tag: string, added: string): string => [text(tag), added].filter((part) => part !== '').join('\\');
  const [, ...rest] = text('0008,0008').split('\\');
  const ratio = loss.ratio.toFixed(2);
  const sentence = `Lossy compression with ${target.name}, ratio ${ratio}:1`;
  const description = value('0008,2111');
  return [
    { tag: '0008,0008', vr: 'CS', value: ['DERIVED', ...(rest.length === 0 ? ['PRIMARY'] : rest)].join('\\') },
    { tag: '0008,0018', vr: 'UI', value: loss.sopInstanceUid },
    {
      tag: '0008,2111',
      vr: 'ST',
      // It may be in any character set, so that its bytes are kept.
      value:
        description.length === 0 || description.length > LONGEST_DESCRIPTION
          ? sentence
          : Buffer.concat([description, Buffer.from(`; ${sentence}`)]),
    },
    sourceImages(predecessor, target),
    { tag: '0028,2110', vr: 'CS', value: '01' },
    { tag: '0028,2112', vr: 'DS', value: appended('0028,2112', ratio) },
    { tag: '0028,2114', vr: 'CS', value: appended('0028,2114', METHOD[codec] ?? '') },
  ];
}

/** Source Image Sequence (0008,2112): the image before the loss, behind those that were there. */
function sourceImages(predecessor: Predecessor, target: TransferSyntax): NewElement {
  const { dataSet, sopClassUid, sopInstanceUid, transferSyntax } = predecessor;
  const earlier = dataSet.elements.get('0008,2112')?.items ?? [];
  const item: NewElement[] = [
    { tag: '0008,1150', vr: 'UI', value: sopClassUid },
    { tag: '0008,1155', vr: 'UI', value: sopInstanceUid },
  ];
  if (!transferSyntax.encapsulated) item.push({ tag: '0040,a170', vr: 'SQ', value: { items: [PREDECESSOR] } });
  const items = [...earlier.map((each) => elementsIn(each, target)), item];
  return { tag: '0008,2112', vr: 'SQ', value: { items } };
}

/** Purpose of Reference (PS3.16 CID 7202). */
const PREDECESSOR: readonly NewElement[] = [
  { tag: '0008,0100', vr: 'SH', value: '121320' },
  { tag: '0008,0102', vr: 'SH', value: 'DCM' },
  { tag: '0008,0104', vr: 'LO', value: 'Uncompressed predecessor' },
];
