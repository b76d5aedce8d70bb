/** The worker of transcoding. The answer is handed over, not copied. */

import Piscina from 'piscina';
import { answering } from '../src/answer.ts';
import { answerTranscoding, type TranscodeTask } from '../src/imaging/transcoding.ts';

const answer = answering(answerTranscoding);

export default (task: TranscodeTask): unknown => {
  const value = answer(task);
  if ('error' in value || value.ok.bytes === undefined) return value;
  return Piscina.move({
    [Piscina.transferableSymbol]: [value.ok.bytes.buffer],
    [Piscina.valueSymbol]: value,
  });
};
