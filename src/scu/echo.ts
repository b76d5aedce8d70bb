/** Owns the C-ECHO of a requestor (PS3.7 §9.1.5). */

import { COMMAND } from '../dicom/command.ts';
import { MODELS, VERIFICATION } from '../dicom/models.ts';
import { IsenError } from '../errors.ts';
import type { Association } from './association.ts';
import { type CallOptions, type Callee, type Dial, acceptedContext, over, plainContext } from './dial.ts';

/** Asks whether a modality is there, and whether it answers C-FIND where `find` says so. Throws NetworkProtocol, Timeout, … */
export async function echo(
  dial: Dial,
  modality: Callee,
  { find, ...options }: CallOptions & { readonly find: boolean },
): Promise<void> {
  await over(dial(modality, [plainContext(VERIFICATION)], options), sendEcho);
  if (!find) return;
  const sopClass = MODELS.Study.find;
  await over(dial(modality, [plainContext(sopClass)], options), async (association) => {
    acceptedContext(association, sopClass, 'FindUnavailable');
  });
}

async function sendEcho(association: Association): Promise<void> {
  const context = acceptedContext(association, VERIFICATION, 'NoPresentationContext');
  const id = association.nextMessageId();
  await association.send(context, {
    CommandField: COMMAND['C-ECHO-RQ'],
    AffectedSOPClassUID: VERIFICATION,
    MessageID: id,
  });
  const answer = await association.receive();
  const { CommandField, Status } = answer?.command ?? {};
  if (CommandField !== COMMAND['C-ECHO-RSP'] || Status !== 0)
    throw new IsenError(
      'NetworkProtocol',
      `C-ECHO SCU to AET "${association.calledAet}" was not answered as it should`,
    );
}
