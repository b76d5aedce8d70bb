/** Owns what an entry of a modality's queue says: which instance goes there, and how. */

import { z } from 'zod';

const PREFIX = 'modality:';

/** The queue of a modality. */
export const modalityQueue = (name: string): string => PREFIX + name;

/** The modality of a queue, or undefined for another kind of queue. */
export const modalityOf = (queue: string): string | undefined =>
  queue.startsWith(PREFIX) ? queue.slice(PREFIX.length) : undefined;

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
