/** The worker of archives: see dicom/packing. The bytes are handed over, not copied. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { pack, type PackTask } from '../src/dicom/packing.ts';

const answer = answering(pack);

export default (task: PackTask): unknown => {
  const value = answer(task);
  if ('error' in value) return value;
  const { stored, deflated } = value.ok;
  const bytes = deflated ?? stored;
  if (bytes === undefined || !(bytes.buffer instanceof ArrayBuffer)) return value;
  // Small buffers lie in a pool that others share.
  const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
  return Piscina.move({
    [Piscina.transferableSymbol]: [own.buffer],
    [Piscina.valueSymbol]: { ok: { ...value.ok, ...(deflated ? { deflated: own } : { stored: own }) } },
  });
};
