/** The worker of browsing: turns a stored file, or its header, into what the REST API answers of it. Frames are handed over, not copied. */

import Piscina from 'piscina';
import { answeringLater } from '../src/answer.ts';
import { answerHeader, type HeaderAnswer, type HeaderTask } from '../src/dicom/header.ts';
import { answerFrame, type FrameAnswer, type FrameTask } from '../src/imaging/raw-frame.ts';

const isOfFrames = (task: HeaderTask | FrameTask): task is FrameTask =>
  task.question.kind === 'frames' || task.question.kind === 'frame';

const answer = answeringLater(
  async (task: HeaderTask | FrameTask): Promise<HeaderAnswer | FrameAnswer> =>
    isOfFrames(task) ? answerFrame(task) : answerHeader(task),
);

export default async (task: HeaderTask | FrameTask): Promise<unknown> => {
  const value = await answer(task);
  if (!('ok' in value) || typeof value.ok !== 'object' || !('frame' in value.ok)) return value;
  return Piscina.move({ [Piscina.transferableSymbol]: [value.ok.frame.buffer], [Piscina.valueSymbol]: value });
};
