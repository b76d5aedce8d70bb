/** Owns the quick look at which SOP instance a data set is: its first elements alone are read. */

import { asciiText, type Head, readHead, type Source } from './elements.ts';
import { readFile } from './read.ts';
import type { TransferSyntax } from './transfer-syntaxes.ts';

const SOP_CLASS_UID = 0x00080016;
const SOP_INSTANCE_UID = 0x00080018;
const ONLY: ReadonlySet<number> = new Set([SOP_CLASS_UID, SOP_INSTANCE_UID]);
const UNDEFINED_LENGTH = 0xffffffff;

export interface Sop {
  readonly sopClassUid: string | undefined;
  readonly sopInstanceUid: string | undefined;
}

/**
 * SOP Class and SOP Instance UID of a file whose data set begins at `at`, of which `head` are the first bytes, `size` in all. Undefined
 * where it cannot be read.
 */
export function readSop(
  head: Buffer,
  at: number,
  syntax: Pick<TransferSyntax, 'littleEndian' | 'explicit' | 'deflated'>,
  size: number,
): Sop | undefined {
  try {
    return (syntax.deflated ? undefined : first(head, at, syntax)) ?? whole(head, size);
  } catch {
    return undefined;
  }
}

/** By the elements up to SOP Instance UID; undefined when one of them has no length to pass over. */
function first(bytes: Buffer, at: number, { littleEndian, explicit }: Parameters<typeof readSop>[2]): Sop | undefined {
  const source: Source = { bytes, littleEndian, explicit, budget: 0 };
  const head: Head = { tag: 0, vr: '', offset: 0, length: 0 };
  let sopClassUid: string | undefined;
  for (let position = at; position < bytes.length; ) {
    readHead(source, position, bytes.length, head);
    const { tag, offset, length } = head;
    if (tag > SOP_INSTANCE_UID) return { sopClassUid, sopInstanceUid: undefined };
    if (length === UNDEFINED_LENGTH || offset + length > bytes.length) return undefined;
    position = offset + length;
    if (tag === SOP_CLASS_UID) sopClassUid = asciiText(bytes, offset, position);
    if (tag === SOP_INSTANCE_UID) return { sopClassUid, sopInstanceUid: asciiText(bytes, offset, position) };
  }
  return undefined;
}

function whole(head: Buffer, size: number): Sop {
  const part = size > head.length ? { size, cut: true } : {};
  const { bytes, dataSet } = readFile(head, { only: ONLY, untilPixelData: true, ...part });
  const uid = (tag: string): string | undefined => {
    const element = dataSet.elements.get(tag);
    return element && asciiText(bytes, element.offset, element.offset + element.length);
  };
  return { sopClassUid: uid('0008,0016'), sopInstanceUid: uid('0008,0018') };
}
