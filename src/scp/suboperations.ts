/** Owns the sub-operations of one C-MOVE or C-GET (PS3.4 §C.4.2.3): their counts, the pending responses, and the final one. */

import { COMMAND } from '../dicom/command.ts';
import { writeIdentifier } from '../dicom/identifier.ts';
import type { Sent } from '../scu/send.ts';
import type { Exchange } from './service.ts';
import { failureOf, STATUS } from './statuses.ts';

/** Milliseconds between pending responses at least: a study of a thousand slices needs no thousand of them. */
const INTERVAL = 50;

/** Bytes that (0008,0058) may have in explicit VR (PS3.5 §7.1.2). */
const LONGEST_LIST = 65_534;

/** The counts of one retrieval and its responses. */
export class Suboperations {
  readonly #exchange: Exchange;
  readonly #name: 'C-MOVE' | 'C-GET';
  readonly #failed: string[] = [];
  #length = 0;
  #remaining = 0;
  #completed = 0;
  #failures = 0;
  #warnings = 0;
  #last = 0;

  constructor(name: 'C-MOVE' | 'C-GET', exchange: Exchange) {
    this.#name = name;
    this.#exchange = exchange;
  }

  /** How many there are to be. */
  begin(count: number): void {
    this.#remaining = count;
  }

  get remaining(): number {
    return this.#remaining;
  }

  /** Counts one, and says so to the peer when the last word is some time ago. Throws when the association is over. */
  async count(sopInstanceUid: string, status: Sent['status']): Promise<void> {
    this.#remaining = Math.max(0, this.#remaining - 1);
    if (status === 'success') this.#completed += 1;
    else if (status === 'warning') this.#warnings += 1;
    else this.#fail(sopInstanceUid);
    const now = performance.now();
    if (now - this.#last < INTERVAL) return;
    this.#last = now;
    await this.#respond(STATUS.pending);
  }

  #fail(sopInstanceUid: string): void {
    this.#failures += 1;
    if (this.#length + sopInstanceUid.length + 1 > LONGEST_LIST) return;
    this.#failed.push(sopInstanceUid);
    this.#length += sopInstanceUid.length + 1;
  }

  /** The final response: success, warning, failure or cancelled by what was counted. */
  async end(): Promise<void> {
    if (this.#exchange.cancelled.aborted && this.#remaining > 0) return this.#respond(STATUS.cancelled);
    if (this.#failures === 0 && this.#warnings === 0) return this.#respond(STATUS.success);
    const none = this.#completed === 0 && this.#warnings === 0;
    return this.#respond(none ? STATUS.cannotPerform : STATUS.warning);
  }

  /** The final response of a retrieval that could not be begun. */
  async refuse(thrown: unknown, status?: number): Promise<void> {
    const failure = failureOf(thrown);
    await this.#respond(status ?? failure.Status, failure.ErrorComment);
  }

  async #respond(status: number, comment?: string): Promise<void> {
    const { association, message } = this.#exchange;
    const { context, command } = message;
    const pending = status === STATUS.pending;
    const listed = !pending && this.#failed.length > 0;
    await association.send(
      context,
      {
        CommandField: COMMAND[`${this.#name}-RSP`],
        AffectedSOPClassUID: command.AffectedSOPClassUID ?? context.abstractSyntax,
        MessageIDBeingRespondedTo: command.MessageID ?? 0,
        Status: status,
        ...(comment !== undefined && { ErrorComment: comment }),
        // Only while some remain, and when the rest is given up (PS3.4 table C.4-2).
        ...((pending || status === STATUS.cancelled) && { NumberOfRemainingSuboperations: this.#remaining }),
        NumberOfCompletedSuboperations: this.#completed,
        NumberOfFailedSuboperations: this.#failures,
        NumberOfWarningSuboperations: this.#warnings,
      },
      listed
        ? [
            writeIdentifier(
              [{ tag: '0008,0058', vr: 'UI', value: this.#failed.join('\\') }],
              context.transferSyntax,
              [],
            ),
          ]
        : undefined,
    );
  }
}
