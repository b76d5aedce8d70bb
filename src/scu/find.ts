/** Owns the C-FIND of a requestor (PS3.4 §C.4.1.2, PS3.7 §9.1.2). */

import { characterSet } from '../dicom/charset.ts';
import { COMMAND } from '../dicom/command.ts';
import { type Identifier, readIdentifier, writeIdentifier } from '../dicom/identifier.ts';
import { IsenError } from '../errors.ts';
import type { Association } from './association.ts';
import { acceptedContext } from './dial.ts';
import { failure, isPending } from './statuses.ts';

/** Answers of one query that are kept: a peer that goes on for ever must not fill the memory. */
export const MAXIMUM_ANSWERS = 100_000;

/** One answer, and the Specific Character Set that it came in. */
export interface FindAnswer {
  readonly identifier: Identifier;
  /** The values of (0008,0005), joined by backslashes. */
  readonly characterSet: string;
}

/**
 * Asks a peer (of a SOP class of {@link MODELS} or the worklist's) and waits for all its answers. Identifiers go out in ASCII where that
 * is enough, else in UTF-8. Throws FindUnavailable where the class was not accepted, NetworkProtocol (422) for a failure status.
 */
export async function find(
  association: Association,
  sopClass: string,
  keys: Identifier,
  encoding: string,
): Promise<readonly FindAnswer[]> {
  const context = acceptedContext(association, sopClass, 'FindUnavailable');
  const id = association.nextMessageId();
  await association.send(
    context,
    { CommandField: COMMAND['C-FIND-RQ'], AffectedSOPClassUID: sopClass, MessageID: id, Priority: 0 },
    [writeIdentifier(keys, context.transferSyntax, [characterSet(encoding)])],
  );
  const answers: FindAnswer[] = [];
  for (;;) {
    const message = await association.receive();
    if (message === undefined) throw new IsenError('NetworkProtocol', 'the peer released the association unanswered');
    const { command, dataSet } = message;
    if (command.CommandField !== COMMAND['C-FIND-RSP'] || command.MessageIDBeingRespondedTo !== id)
      throw new IsenError('NetworkProtocol', 'the peer answered something else');
    const status = command.Status ?? 0xc000;
    if (isPending(status)) {
      if (dataSet === undefined) continue;
      if (answers.length >= MAXIMUM_ANSWERS) {
        association.abort();
        throw new IsenError('NotEnoughMemory', `more than ${MAXIMUM_ANSWERS} answers`);
      }
      const { identifier, characterSet: set } = readIdentifier(dataSet, message.context.transferSyntax);
      answers.push({ identifier, characterSet: set.terms.join('\\') });
    } else if (status === 0) {
      return answers;
    } else {
      throw failure('C-FIND', association, status, 'unable to process - invalid query ?');
    }
  }
}
