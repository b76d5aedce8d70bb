/** The worker of modification: see imaging/modify. The file is handed over, not copied. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { modify, type ModifyTask } from '../src/imaging/modify.ts';

const answer = answering(modify);

export default (task: ModifyTask): unknown => {
  const value = answer(task);
  if ('error' in value) return value;
  // Small buffers lie in a pool that others share.
  const own = value.ok.byteLength === value.ok.buffer.byteLength ? value.ok : new Uint8Array(value.ok);
  return Piscina.move({
    [Piscina.transferableSymbol]: [own.buffer],
    [Piscina.valueSymbol]: { ok: own },
  });
};
