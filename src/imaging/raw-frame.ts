/**
 * Owns the stored bytes of a frame of a file that has to be read whole to find them, since it is deflated or says nothing of its pixels: it
 * is the work of one task of a worker.
 */

import { tagNumber } from '../dicom/dictionary.ts';
import { readStored } from '../dicom/header.ts';
import { ELSCINT_TAGS, isElscint } from './elscint.ts';
import { countFrames, inLittleEndian, locateFrame, rawFrameType } from './frames.ts';

/** What locating a frame needs of a header. */
export const FRAME_TAGS: ReadonlySet<number> = new Set(
  ['0028,0002', '0028,0008', '0028,0010', '0028,0011', '0028,0100', '7fe0,0001', '7fe0,0010', ...ELSCINT_TAGS].map(
    tagNumber,
  ),
);

export interface FrameTask {
  /** The file. */
  readonly bytes: Uint8Array;
  /** MD5 that the bytes must have, in base64, where it is known. */
  readonly md5?: string;
  /** How many frames there are, or one of them, counted from 0. */
  readonly question: { readonly kind: 'frames' } | { readonly kind: 'frame'; readonly frame: number };
}

/** How many frames, or the frame in little endian: undefined where only decoding makes one (see imaging/elscint). */
export type FrameAnswer = number | { readonly type: string; readonly frame: Uint8Array<ArrayBuffer> } | undefined;

/** Answers one question. Throws CorruptedFile, and what locateFrame throws. */
export async function answerFrame({ bytes, md5, question }: FrameTask): Promise<FrameAnswer> {
  const file = readStored(bytes, md5, { only: FRAME_TAGS });
  const { dataSet, transferSyntax, pixelData } = file;
  if (question.kind === 'frames') return countFrames(dataSet, transferSyntax);
  if (pixelData === undefined && isElscint(dataSet)) return undefined;
  const location = await locateFrame(
    {
      dataSet,
      transferSyntax,
      // In the inflated data set, where the file is deflated.
      pixelData: dataSet.elements.get('7fe0,0010')?.start,
      size: file.bytes.length,
      read: async (start, end) => file.bytes.subarray(start, end),
    },
    question.frame,
  );
  const frame = Buffer.concat(location.ranges.map(({ start, end }) => file.bytes.subarray(start, end)));
  // A copy of the frame alone: a view would carry more to the other thread.
  return { type: rawFrameType(transferSyntax), frame: Uint8Array.from(inLittleEndian(frame, location)) };
}
