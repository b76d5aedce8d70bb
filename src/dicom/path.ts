/** Owns paths into sequences as the REST API writes them: `Tag`, `Sequence[0].Tag`, `Sequence[*].Sequence[2].Tag`. */

import { IsenError } from '../errors.ts';
import { parseTag } from './dictionary.ts';

/** One sequence on the way. */
export interface PathStep {
  /** `gggg,eeee`. */
  readonly tag: string;
  /** Which item, from 0; undefined for each of them. */
  readonly item: number | undefined;
}

export interface DicomPath {
  readonly steps: readonly PathStep[];
  /** The last tag, `gggg,eeee`. */
  readonly tag: string;
}

/** Longer ones are no paths: sequences nest less deep. */
const LONGEST = 4096;

/** The tag of a name or a number, which may be in parentheses. Throws UnknownDicomTag. */
export function tagOf(text: string): string {
  const tag = parseTag(text.replace(/^\((.*)\)$/s, '$1').trim());
  if (tag === undefined) throw new IsenError('UnknownDicomTag', text.slice(0, 256));
  return tag;
}

/** Throws UnknownDicomTag, and ParameterOutOfRange for a step without a valid index. */
export function parsePath(text: string): DicomPath {
  if (text.length > LONGEST) throw new IsenError('ParameterOutOfRange', 'The path is too long');
  const parts = text.split('.');
  const last = parts.pop() ?? '';
  const steps = parts.map((part): PathStep => {
    const open = part.indexOf('[');
    if (open < 0) throw new IsenError('ParameterOutOfRange', "Parent path doesn't contain an index");
    const index = part.slice(open);
    const item = /^\[(\*|\d{1,9})\]$/.exec(index)?.[1];
    if (item === undefined)
      throw new IsenError('ParameterOutOfRange', `Not a valid index in parent path: ${index.slice(0, 64)}`);
    return { tag: tagOf(part.slice(0, open)), item: item === '*' ? undefined : Number(item) };
  });
  return { steps, tag: tagOf(last) };
}
