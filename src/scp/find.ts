/** Owns the answering of C-FIND requests (PS3.4 §C.4.1, PS3.7 §9.1.2): patients, studies, series and instances of the index. */

import type { Config } from '../config.ts';
import { characterSet, ENCODING_TERM } from '../dicom/charset.ts';
import { COMMAND } from '../dicom/command.ts';
import { type Identifier, readIdentifier, writeIdentifier } from '../dicom/identifier.ts';
import { asIsenError, IsenError } from '../errors.ts';
import { log } from '../log.ts';
import { acceptFor, type Exchange, type Service } from './service.ts';
import { classesOf, failureOf, isPlainSyntax, STATUS } from './statuses.ts';
import { WORKLIST_FIND } from '../dicom/models.ts';
import { worklistSource } from './worklist.ts';
import { planSearch, type SearchRoom } from './search.ts';

/** Bytes and keys of an identifier that is answered: every answer repeats every key. Real ones have some tens. */
const LARGEST_IDENTIFIER = 1 << 20;
const MOST_KEYS = 512;
/** Characters of a pattern; a list of UIDs may be longer. */
const LONGEST_PATTERN = 4096;

/** Throws BadRequest for an identifier that would cost more than any question is worth. */
function checkBounds(identifier: Identifier): void {
  let keys = 0;
  const walk = (level: Identifier): void => {
    for (const { vr, value } of level) {
      keys += 1;
      if (keys > MOST_KEYS) throw new IsenError('BadRequest', `the identifier has more than ${MOST_KEYS} keys`);
      if (typeof value !== 'string') for (const item of value) walk(item);
      else if (vr !== 'UI' && value.length > LONGEST_PATTERN) throw new IsenError('BadRequest', 'a key is too long');
    }
  };
  walk(identifier);
}

/** What a C-FIND is answered from. */
export interface FindSource {
  /** Throws BadRequest for an identifier of another model, ParameterOutOfRange for keys that cannot be matched. */
  plan(identifier: Identifier): {
    /** `more` is told when a limit cut the answers off. No more come when `cancelled` aborts. */
    answers(more: () => void, cancelled: AbortSignal): AsyncIterable<Identifier>;
    /** Some key could not be matched. */
    readonly unsupported: boolean;
  };
}

/** The service of C-FIND: both information models, and the worklist where it is enabled. */
export function createFind(room: SearchRoom): Service {
  const { config } = room;
  const classes = classesOf('find');
  const source: FindSource = { plan: (identifier) => planSearch(room, identifier) };
  return {
    commands: [COMMAND['C-FIND-RQ']],
    accepts(peer, context) {
      if (context.abstractSyntax === WORKLIST_FIND && config.Worklists.Enable) {
        return acceptFor(peer, 'find-worklist', context, isPlainSyntax);
      }
      return classes.includes(context.abstractSyntax) ? acceptFor(peer, 'find', context, isPlainSyntax) : undefined;
    },
    serve(exchange) {
      const isWorklist = exchange.message.context.abstractSyntax === WORKLIST_FIND;
      const asked = isWorklist ? worklistSource(config, exchange.peer.callingAet) : source;
      return answerFind(config, asked, exchange);
    },
  };
}

/**
 * Answers a C-FIND request: one pending response a match, at the pace of the peer, then the status. Throws NetworkProtocol or Timeout
 * when the association is over.
 */
async function answerFind(
  config: Config,
  source: FindSource,
  { association, message, cancelled }: Exchange,
): Promise<void> {
  const { context, command, dataSet } = message;
  const respond = (status: { Status: number; ErrorComment?: string }, identifier?: Buffer): Promise<void> =>
    association.send(
      context,
      {
        CommandField: COMMAND['C-FIND-RSP'],
        AffectedSOPClassUID: command.AffectedSOPClassUID ?? context.abstractSyntax,
        MessageIDBeingRespondedTo: command.MessageID ?? 0,
        ...status,
      },
      identifier && [identifier],
    );
  let limited = false;
  let sending = false;
  try {
    if (dataSet === undefined) throw new IsenError('BadRequest', 'C-FIND without an identifier');
    if (dataSet.length > LARGEST_IDENTIFIER) throw new IsenError('BadRequest', 'the identifier is too large');
    const query = readIdentifier(dataSet, context.transferSyntax);
    checkBounds(query.identifier);
    const { answers, unsupported } = source.plan(query.identifier);
    const sets = [characterSet(ENCODING_TERM[config.DefaultEncoding]), query.characterSet];
    const Status = unsupported ? STATUS.pendingUnsupported : STATUS.pending;
    for await (const answer of answers(() => (limited = true), cancelled)) {
      if (cancelled.aborted) break;
      sending = true;
      await respond({ Status }, writeIdentifier(answer, context.transferSyntax, sets));
      sending = false;
    }
  } catch (thrown) {
    if (sending) throw thrown;
    const error = asIsenError(thrown);
    log.dicom[error.code === 'InternalError' ? 'error' : 'info']({ reason: error.message }, 'a C-FIND failed');
    return respond(failureOf(error));
  }
  // As the reference ends what its limits cut off: the peer must not take it for all there is.
  return respond({ Status: limited || cancelled.aborted ? STATUS.cancelled : STATUS.success });
}
