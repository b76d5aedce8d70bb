/** Owns what the statuses of queries and retrievals mean to a requestor (PS3.4 §C.4). */

import { IsenError } from '../errors.ts';
import type { Association } from './association.ts';

/** Whether more answers follow. */
export const isPending = (status: number): boolean => status === 0xff00 || status === 0xff01;

/** The error of a failure status; HTTP clients are answered 422, since it is the peer that could not. */
export function failure(
  command: string,
  association: Pick<Association, 'calledAet'>,
  status: number,
  unable: string,
): IsenError {
  const text = status.toString(16).toUpperCase().padStart(4, '0');
  const why = status === 0xc000 ? ` (${unable})` : '';
  const details = `${command} SCU to AET "${association.calledAet}" has failed with DIMSE status 0x${text}${why}`;
  return new IsenError('NetworkProtocol', details, { http: 422 });
}
