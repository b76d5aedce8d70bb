/** Owns the Verification service (PS3.4 §A, PS3.7 §9.1.5). */

import { COMMAND } from '../dicom/command.ts';
import { PLAIN_TRANSFER_SYNTAXES } from '../dicom/transfer-syntaxes.ts';
import { acceptFor, type Service } from './service.ts';

/** Verification SOP Class. */
export const VERIFICATION = '1.2.840.10008.1.1';

/** Answers C-ECHO. */
export const echo: Service = {
  commands: [COMMAND['C-ECHO-RQ']],
  accepts: (peer, context) =>
    context.abstractSyntax === VERIFICATION
      ? acceptFor(peer, 'echo', context, (uid) => PLAIN_TRANSFER_SYNTAXES.includes(uid))
      : undefined,
  serve: ({ association, message: { context, command } }) =>
    association.send(context, {
      CommandField: COMMAND['C-ECHO-RSP'],
      MessageIDBeingRespondedTo: command.MessageID ?? 0,
      AffectedSOPClassUID: command.AffectedSOPClassUID ?? VERIFICATION,
      Status: 0,
    }),
};
