/** Owns what an entry of a modality's queue says: which instance goes there, and how. */

import { z } from 'zod';

const PREFIX = 'modality:';

/** No name of a modality has it. */
const SEPARATOR = '@';

/** What an order says of how its modality is asked, where that differs from the modality's configuration. */
type Address = Pick<Order, 'calledAet' | 'host' | 'localAet' | 'port' | 'timeout'>;

/**
 * The queue of a modality, or (with an address) of what goes elsewhere in its name: that one waits, fails and is tried again by itself, so
 * that nobody who asks for a wrong address holds up the modality.
 */
export function modalityQueue(name: string, { localAet, calledAet, host, port, timeout }: Address = {}): string {
  const address = [localAet, calledAet, host, port, timeout];
  const elsewhere = address.some((each) => each !== undefined);
  return PREFIX + name + (elsewhere ? SEPARATOR + address.map((each) => each ?? '').join(' ') : '');
}

/** The modality of a queue, or undefined for another kind of queue. */
export const modalityOf = (queue: string): string | undefined =>
  queue.startsWith(PREFIX) ? queue.slice(PREFIX.length).split(SEPARATOR, 1)[0] : undefined;

/** Whether a queue is for another address than its modality's own. */
export const isElsewhere = (queue: string): boolean => queue.includes(SEPARATOR);

const OrderSchema = z.object({
  /** Public id. */
  instance: z.string(),
  /** Name of the rule that wants it, when one does. */
  route: z.string().optional(),
  /** Transfer syntax to send it in, where the receiver takes it. */
  transcode: z.string().optional(),
  /** Stays in the queue for a while after it was sent, so that the same rule does not send the same file again. */
  remembered: z.literal(true).optional(),
  /** Failures are final: somebody waits for the answer. */
  once: z.literal(true).optional(),
  /** Attempts that failed, and what the last one failed with: an error of the table. */
  tries: z.number().optional(),
  failure: z.object({ code: z.string(), details: z.string().optional() }).optional(),
  /** What differs from the modality's configuration for this one. */
  localAet: z.string().optional(),
  calledAet: z.string().optional(),
  host: z.string().optional(),
  port: z.number().optional(),
  /** Seconds. */
  timeout: z.number().optional(),
  /** Who asked for it by C-MOVE. */
  originator: z.object({ aet: z.string(), messageId: z.number() }).optional(),
});

/** The value of an entry. */
export type Order = Readonly<z.output<typeof OrderSchema>>;

/** The order of an entry, or undefined for what an earlier version or another hand left there. */
export function orderOf(value: unknown): Order | undefined {
  return OrderSchema.safeParse(value).data;
}

/** The priority of an entry: of equal ones, those that somebody waits for go first. */
export const entryPriority = (priority: number, once: boolean): number => 2 * priority + (once ? 1 : 0);
