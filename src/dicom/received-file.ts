/** Owns what a file begins with, before the data set, of an instance that another application sends (PS3.10 §7.1). */

import type { Command } from './command.ts';
import { EXPLICIT_LITTLE_ENDIAN, transferSyntax } from './transfer-syntaxes.ts';
import { writeFile } from './write.ts';

/** The syntaxes of a presentation context. */
interface Syntaxes {
  readonly abstractSyntax: string;
  readonly transferSyntax: string;
}

/** How the data sets of a transfer syntax are read; a private one is explicit VR little endian but for its pixels (PS3.5 §A.4). */
export function syntaxOf(uid: string): {
  readonly littleEndian: boolean;
  readonly explicit: boolean;
  readonly deflated: boolean;
} {
  return (
    transferSyntax(uid) ??
    transferSyntax(EXPLICIT_LITTLE_ENDIAN) ?? { littleEndian: true, explicit: true, deflated: false }
  );
}

function fileHead(context: Syntaxes, sopClassUid: string, sopInstanceUid: string, callingAet: string): Buffer {
  const { littleEndian, explicit } = syntaxOf(context.transferSyntax);
  return writeFile({
    // The data set is appended as it comes, deflated where it is.
    transferSyntax: { uid: context.transferSyntax, littleEndian, explicit, deflated: false },
    sopClassUid,
    sopInstanceUid,
    dataSet: [],
    meta: [{ tag: '0002,0016', vr: 'AE', value: callingAet }],
  });
}

/** A head of which only the SOP Instance UID changes: making one costs as much as reading a command. */
interface Pattern {
  readonly head: Buffer;
  /** Where the UID stands. */
  readonly offset: number;
}

/** The header of Media Storage SOP Instance UID (0002,0003). */
const INSTANCE_UID = Buffer.from([2, 0, 3, 0, 0x55, 0x49]);

/** Patterns of the contexts of open associations, by the length of the UID, for the SOP class of the context. */
const patterns = new WeakMap<Syntaxes, Map<number, Pattern>>();

/** The bytes before the data set that `command`, a C-STORE-RQ on a context of an association, announces; always by the same AE title on it. */
export function headOf(context: Syntaxes, command: Command, callingAet: string): Buffer {
  const { AffectedSOPClassUID: sopClass = '', AffectedSOPInstanceUID: uid = '' } = command;
  if (sopClass !== context.abstractSyntax || !/^[\d.]{1,64}$/.test(uid))
    return fileHead(context, sopClass, uid, callingAet);
  const known = patterns.get(context) ?? new Map<number, Pattern>();
  patterns.set(context, known);
  let pattern = known.get(uid.length);
  if (pattern === undefined) {
    const head = fileHead(context, sopClass, uid, callingAet);
    pattern = { head, offset: head.indexOf(INSTANCE_UID) + 8 };
    known.set(uid.length, pattern);
  }
  const head = Buffer.from(pattern.head);
  head.write(uid, pattern.offset, 'latin1');
  return head;
}
