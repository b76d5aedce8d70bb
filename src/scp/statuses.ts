/** Owns the statuses that queries and retrievals answer with (PS3.4 §C.4), and which contexts they are asked in. */

import { MODELS } from '../dicom/models.ts';
import { PLAIN_TRANSFER_SYNTAXES } from '../dicom/transfer-syntaxes.ts';
import { asIsenError } from '../errors.ts';

/** Statuses of C-FIND, C-MOVE and C-GET (PS3.4 tables C.4-1, C.4-2 and C.4-3). */
export const STATUS = {
  success: 0x0000,
  outOfResources: 0xa700,
  cannotCount: 0xa701,
  cannotPerform: 0xa702,
  unknownDestination: 0xa801,
  mismatch: 0xa900,
  warning: 0xb000,
  unableToProcess: 0xc000,
  cancelled: 0xfe00,
  pending: 0xff00,
  /** Some optional key was not matched. */
  pendingUnsupported: 0xff01,
} as const;

/** The status and the comment (LO, at most 64 characters, no patient data) of a request that failed. */
export function failureOf(thrown: unknown): { readonly Status: number; readonly ErrorComment: string } {
  const error = asIsenError(thrown);
  const Status =
    error.code === 'BadRequest' || error.code === 'BadFileFormat'
      ? STATUS.mismatch
      : error.code === 'Busy' || error.code === 'DatabaseUnavailable'
        ? STATUS.outOfResources
        : STATUS.unableToProcess;
  return { Status, ErrorComment: error.message.replaceAll(/[^\x20-\x5b\x5d-\x7e]/g, ' ').slice(0, 64) };
}

/** The SOP classes of one operation in both information models. */
export const classesOf = (operation: keyof (typeof MODELS)['Study']): readonly string[] =>
  Object.values(MODELS).map((model) => model[operation]);

/** Whether an identifier can be written in a transfer syntax: every one that is not for pixels. */
export function isPlainSyntax(uid: string): boolean {
  return PLAIN_TRANSFER_SYNTAXES.includes(uid);
}
