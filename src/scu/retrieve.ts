/** Owns the C-MOVE and C-GET of a requestor (PS3.4 §C.4.2.2, §C.4.3.2, PS3.7 §9.1.3, §9.1.4). */

import { COMMAND, type Command } from '../dicom/command.ts';
import { type Identifier, writeIdentifier } from '../dicom/identifier.ts';
import { IsenError } from '../errors.ts';
import type { Association, Message } from './association.ts';
import { acceptedContext } from './dial.ts';
import { failure, isPending } from './statuses.ts';

/** Sub-operations of a retrieval, as the peer counts them. */
export interface Suboperations {
  readonly remaining: number;
  readonly completed: number;
  readonly failed: number;
  readonly warning: number;
}

/** What one retrieval is asked for. */
export interface RetrieveRequest {
  /** Of {@link MODELS}. */
  readonly sopClass: string;
  readonly keys: Identifier;
  readonly progress?: (counts: Suboperations) => void;
  /** Cancels the retrieval at the peer (C-CANCEL). */
  readonly signal?: AbortSignal;
}

const countsOf = (command: Command): Suboperations => ({
  remaining: command.NumberOfRemainingSuboperations ?? 0,
  completed: command.NumberOfCompletedSuboperations ?? 0,
  failed: command.NumberOfFailedSuboperations ?? 0,
  warning: command.NumberOfWarningSuboperations ?? 0,
});

/**
 * Has a peer send what the keys name to `targetAet`, and waits until it has. Throws MoveUnavailable where it accepts no C-MOVE, NetworkProtocol
 * (422) for any status but success, so that no instance is missed unseen; CanceledJob when `signal` ended it.
 */
export function move(association: Association, targetAet: string, request: RetrieveRequest): Promise<Suboperations> {
  acceptedContext(association, request.sopClass, 'MoveUnavailable');
  return retrieve(association, request, { MoveDestination: targetAet }, () => Promise.resolve(false));
}

/**
 * Has a peer send what the keys name over this association. `store` stores what a C-STORE request brought, and answers it. Throws
 * GetUnavailable where it accepts no C-GET, else as {@link move} does.
 */
export function get(
  association: Association,
  request: RetrieveRequest,
  store: (message: Message) => Promise<void>,
): Promise<Suboperations> {
  acceptedContext(association, request.sopClass, 'GetUnavailable');
  return retrieve(association, request, undefined, async (message) => {
    if (message.command.CommandField !== COMMAND['C-STORE-RQ']) return false;
    await store(message);
    return true;
  });
}

async function retrieve(
  association: Association,
  { sopClass, keys, progress, signal }: RetrieveRequest,
  move: { readonly MoveDestination: string } | undefined,
  /** Answers a request that the peer makes meanwhile; false for one that it may not. */
  serve: (message: Message) => Promise<boolean>,
): Promise<Suboperations> {
  const name = move === undefined ? 'C-GET' : 'C-MOVE';
  const context = acceptedContext(association, sopClass, move === undefined ? 'GetUnavailable' : 'MoveUnavailable');
  const id = association.nextMessageId();
  await association.send(
    context,
    { CommandField: COMMAND[`${name}-RQ`], AffectedSOPClassUID: sopClass, MessageID: id, Priority: 0, ...move },
    [writeIdentifier(keys, context.transferSyntax, [])],
  );
  let cancelled = false;
  const cancel = (): void => {
    cancelled = true;
    const request = { CommandField: COMMAND['C-CANCEL-RQ'], MessageIDBeingRespondedTo: id };
    // Where it cannot be sent, what is awaited below fails.
    association.send(context, request).catch(() => {});
  };
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    if (signal?.aborted === true) cancel();
    for (;;) {
      const message = await association.receive();
      if (message === undefined) throw new IsenError('NetworkProtocol', 'the peer released the association unanswered');
      const { command } = message;
      if (command.CommandField !== COMMAND[`${name}-RSP`] || command.MessageIDBeingRespondedTo !== id) {
        if (await serve(message)) continue;
        association.abort();
        throw new IsenError('NetworkProtocol', 'the peer answered something else');
      }
      const status = command.Status ?? 0xc000;
      progress?.(countsOf(command));
      if (isPending(status)) continue;
      if (status === 0) return countsOf(command);
      if (cancelled) throw new IsenError('CanceledJob');
      throw failure(name, association, status, 'unable to process - resource not found ?');
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}
