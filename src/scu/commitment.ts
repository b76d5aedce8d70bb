/** Owns asking for a storage commitment, and saying what became of one (PS3.4 §J.3.2, §J.3.3, PS3.7 §10.1.1, §10.1.4). */

import { COMMAND, type Command } from '../dicom/command.ts';
import { type Commitment, commitmentIdentifier } from '../dicom/commitment.ts';
import { writeIdentifier } from '../dicom/identifier.ts';
import { STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE } from '../dicom/models.ts';
import { IsenError } from '../errors.ts';
import type { Association, ProposedContext } from './association.ts';
import { plainContext } from './dial.ts';

/** The context in which a commitment is asked for. */
export const REQUEST_CONTEXT: ProposedContext = plainContext(STORAGE_COMMITMENT);

/** The context in which its result is said: we are the SCP of an association that we ask for (PS3.7 §D.3.3.4). */
export const RESULT_CONTEXT: ProposedContext = { ...plainContext(STORAGE_COMMITMENT), role: 'scp' };

/** Asks a peer to commit to instances. Throws NoPresentationContext, NetworkProtocol where it refuses. */
export async function requestCommitment(association: Association, commitment: Commitment): Promise<void> {
  await exchange(association, commitment, 'N-ACTION', {
    CommandField: COMMAND['N-ACTION-RQ'],
    RequestedSOPClassUID: STORAGE_COMMITMENT,
    RequestedSOPInstanceUID: STORAGE_COMMITMENT_INSTANCE,
    ActionTypeID: 1,
  });
}

/** Says what became of a commitment. Throws as {@link requestCommitment} does. */
export async function reportCommitment(association: Association, commitment: Commitment): Promise<void> {
  await exchange(association, commitment, 'N-EVENT-REPORT', {
    CommandField: COMMAND['N-EVENT-REPORT-RQ'],
    AffectedSOPClassUID: STORAGE_COMMITMENT,
    AffectedSOPInstanceUID: STORAGE_COMMITMENT_INSTANCE,
    EventTypeID: commitment.failed.length === 0 ? 1 : 2,
  });
}

async function exchange(
  association: Association,
  commitment: Commitment,
  name: 'N-ACTION' | 'N-EVENT-REPORT',
  command: Command,
): Promise<void> {
  const context = association.contexts.find((each) => each.abstractSyntax === STORAGE_COMMITMENT);
  if (context === undefined) {
    const details = `Unable to negotiate a presentation context with AET "${association.calledAet}"`;
    throw new IsenError('NoPresentationContext', details);
  }
  const id = association.nextMessageId();
  await association.send(context, { ...command, MessageID: id }, [
    writeIdentifier(commitmentIdentifier(commitment), context.transferSyntax, []),
  ]);
  const answer = await association.receive();
  const { CommandField, MessageIDBeingRespondedTo, Status } = answer?.command ?? {};
  if (CommandField !== COMMAND[`${name}-RSP`] || MessageIDBeingRespondedTo !== id || Status !== 0) {
    const text = Status === undefined ? 'no status' : `status 0x${Status.toString(16).padStart(4, '0').toUpperCase()}`;
    throw new IsenError('NetworkProtocol', `${name} to AET "${association.calledAet}" was answered with ${text}`);
  }
}
