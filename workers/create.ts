/** The worker that makes files out of tags and payloads: see imaging/create. */

import Piscina from 'piscina';
import { answeringLater } from '../src/answer.ts';
import { createFile, type CreateTask } from '../src/imaging/create.ts';

const answer = answeringLater(createFile);

export default async (task: CreateTask): Promise<unknown> => {
  const value = await answer(task);
  if ('error' in value) return value;
  const own = new Uint8Array(value.ok);
  return Piscina.move({
    [Piscina.transferableSymbol]: [own.buffer],
    [Piscina.valueSymbol]: { ok: own },
  });
};
