/**
 * Owns the Storage Commitment Push Model (PS3.4 §J): requests (N-ACTION) become jobs that answer over an association of their own, and
 * results (N-EVENT-REPORT) are kept for who asked.
 */

import { COMMAND } from '../dicom/command.ts';
import { readCommitment } from '../dicom/commitment.ts';
import { readIdentifier } from '../dicom/identifier.ts';
import { STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE } from '../dicom/models.ts';
import { asIsenError, IsenError } from '../errors.ts';
import type { Commitments, CommitmentState } from '../jobs/commitments.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { log } from '../log.ts';
import { acceptFor, type Exchange, type Service } from './service.ts';
import { isPlainSyntax } from './statuses.ts';

/** Instances of one request; more are too many for one transaction here. */
const MOST_REFERENCES = 100_000;

/** Statuses of N-ACTION and N-EVENT-REPORT (PS3.7 §10.1.1.1.8, §10.1.4.1.10). */
const STATUS = {
  success: 0x0000,
  processingFailure: 0x0110,
  invalidArgument: 0x0115,
  noSuchAction: 0x0123,
  resourceLimitation: 0x0213,
} as const;

export interface CommitmentServiceRoom {
  readonly jobs: Pick<Jobs, 'submit'>;
  readonly commitments: Commitments;
}

/** The service of storage commitment, both sides. */
export function createCommitment(room: CommitmentServiceRoom): Service {
  return {
    commands: [COMMAND['N-ACTION-RQ'], COMMAND['N-EVENT-REPORT-RQ']],
    accepts(peer, context) {
      if (context.abstractSyntax !== STORAGE_COMMITMENT) return undefined;
      // Whoever offers to be the SCP has a result for us.
      return context.scp
        ? acceptFor(peer, 'n-event-report', context, isPlainSyntax, 'scp')
        : acceptFor(peer, 'n-action', context, isPlainSyntax);
    },
    async serve(exchange) {
      const { context, command } = exchange.message;
      const isAction = command.CommandField === COMMAND['N-ACTION-RQ'];
      let status: number;
      try {
        status = await (isAction ? takeRequest(room, exchange) : takeResult(room, exchange));
      } catch (thrown) {
        const error = asIsenError(thrown);
        log.dicom.warn({ err: error }, 'a storage commitment failed');
        status = error.code === 'Busy' ? STATUS.resourceLimitation : STATUS.processingFailure;
      }
      await exchange.association.send(context, {
        CommandField: isAction ? COMMAND['N-ACTION-RSP'] : COMMAND['N-EVENT-REPORT-RSP'],
        MessageIDBeingRespondedTo: command.MessageID ?? 0,
        AffectedSOPClassUID: STORAGE_COMMITMENT,
        AffectedSOPInstanceUID: STORAGE_COMMITMENT_INSTANCE,
        Status: status,
        ...(isAction ? { ActionTypeID: 1 } : { EventTypeID: command.EventTypeID ?? 1 }),
      });
    },
  };
}

function commitmentIn({ message: { dataSet, context } }: Exchange): ReturnType<typeof readCommitment> {
  return dataSet && readCommitment(readIdentifier(dataSet, context.transferSyntax).identifier);
}

async function takeRequest({ jobs }: CommitmentServiceRoom, exchange: Exchange): Promise<number> {
  const { peer, message } = exchange;
  if (message.command.ActionTypeID !== 1) return STATUS.noSuchAction;
  const commitment = commitmentIn(exchange);
  if (commitment === undefined) return STATUS.invalidArgument;
  const { transactionUid, references } = commitment;
  if (references.length > MOST_REFERENCES) return STATUS.resourceLimitation;
  const modality = peer.modalities.find((each) => each.allowNAction);
  if (modality === undefined) throw new IsenError('InexistentItem', 'a result could be told to nobody');
  const state: CommitmentState = {
    transactionUid,
    modality: modality.name,
    localAet: peer.calledAet,
    references: references.map(({ sopClassUid, sopInstanceUid }) => [sopClassUid, sopInstanceUid]),
  };
  await jobs.submit({
    type: 'StorageCommitmentScp',
    content: {
      CalledAet: peer.calledAet,
      Description: '',
      RemoteAet: peer.callingAet,
      TransactionUid: transactionUid,
    },
    state,
  });
  return STATUS.success;
}

async function takeResult({ commitments }: CommitmentServiceRoom, exchange: Exchange): Promise<number> {
  const commitment = commitmentIn(exchange);
  if (commitment === undefined) return STATUS.invalidArgument;
  return (await commitments.report(commitment, exchange.peer.callingAet)) ? STATUS.success : STATUS.invalidArgument;
}
