/** The worker of pictures: see imaging/show. The answer is handed over, not copied. */

import Piscina from 'piscina';
import { answeringLater } from '../src/answer.ts';
import { show, type ShowTask } from '../src/imaging/show.ts';

const answer = answeringLater(show);

export default async (task: ShowTask): Promise<unknown> => {
  const value = await answer(task);
  if ('error' in value) return value;
  return Piscina.move({
    [Piscina.transferableSymbol]: [value.ok.bytes.buffer],
    [Piscina.valueSymbol]: value,
  });
};
