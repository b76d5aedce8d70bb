/**
 * Owns what a drain asks of the way to a destination, whatever is spoken there: that it opens, carries one thing after another, and
 * ends.
 */

import type { IsenError } from '../errors.ts';
import type { Sending } from '../scu/modality.ts';
import type { Ready } from './feed.ts';

/** What became of one thing that was sent. */
export interface Outcome {
  readonly status: 'success' | 'warning' | 'failure';
  /** For people, and kept in the queue: what went wrong, or what the receiver remarked; empty for a plain success. */
  readonly reason: string;
  /** The same without what the receiver wrote, which may name a patient: for the log. */
  readonly remark: string;
  /** Of a failure, and of no other. */
  readonly error?: IsenError;
  /** Whether trying again cannot help. */
  readonly final: boolean;
  /** Bytes that were sent. */
  readonly bytes: number;
}

/** An open way to a destination: an association, or a connection that is kept alive. */
export interface Line {
  /** Aborts when it is over. */
  readonly ended: AbortSignal;
  /** Whether `ready` can go over it: to the same address, as something that was agreed upon. */
  carries(ready: Ready): boolean;
  /**
   * Sends one thing and waits for the answer; what comes after it, `ahead`, may be prepared meanwhile. Throws NetworkProtocol or Timeout
   * when the destination did not answer to it: then nothing is known of it, and the line is to be aborted.
   */
  send(ready: Ready, ahead: readonly Ready[]): Promise<Outcome>;
  /** Ends it in good order. */
  release(): Promise<void>;
  /** Ends it at once. */
  abort(): void;
}

/** A destination as it is now. */
export interface Target {
  /** Where and how it is reached, as text: a line that was opened to another one is not used any more. */
  readonly where: string;
  readonly sending: Sending;
  /** Opens a line that carries `ready`, and what is `ahead` as far as possible. Throws NetworkProtocol, Timeout. */
  open(ready: Ready, ahead: readonly Ready[]): Promise<Line>;
}

/** Errors of our own side that pass by themselves; any other says something about what is sent. */
const PASSING: ReadonlySet<string> = new Set(['Busy', 'Timeout', 'DatabaseUnavailable']);

/** Whether something that failed of this before the destination was asked is worth another attempt. */
export const isPassing = ({ code }: IsenError): boolean => PASSING.has(code);

/** What was not sent because of `error`. */
export function unsent(error: IsenError, final: boolean): Outcome & { readonly error: IsenError } {
  const reason = error.details ?? error.message;
  return { status: 'failure', reason, remark: reason, error, final, bytes: 0 };
}
