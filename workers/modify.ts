/** The worker of modification: see imaging/modify. A file is handed over or lies in shared memory; it is never copied. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { keepBesides, type Level } from '../src/dicom/levels.ts';
import { modify, type ModifyTask } from '../src/imaging/modify.ts';

// The main tags that are kept besides the built-in ones.
keepBesides((Piscina.workerData ?? {}) as Partial<Record<Level, readonly string[]>>);

const answer = answering(modify);

export default (task: ModifyTask): unknown => {
  const value = answer(task);
  if ('error' in value || !('bytes' in value.ok)) return value;
  return Piscina.move({
    [Piscina.transferableSymbol]: [value.ok.bytes.buffer],
    [Piscina.valueSymbol]: value,
  });
};
