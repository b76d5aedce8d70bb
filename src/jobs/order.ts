/** Owns what an entry of a destination's queue says: which instance (or which change) goes there, and how. */

import { z } from 'zod';
import { CHANGE_TYPES } from '../database/database.ts';
import { LEVELS } from '../dicom/levels.ts';

/** What can be sent to: a modality over DICOM, a server with the same REST API, or whoever wants to hear of changes. */
export const DESTINATION_KINDS = ['modality', 'peer', 'webhook'] as const;
export type DestinationKind = (typeof DESTINATION_KINDS)[number];

/** Whom a queue is for. */
export interface Destination {
  readonly kind: DestinationKind;
  readonly name: string;
}

/** No name of a modality has it. */
const SEPARATOR = '@';

/** What an order says of how its modality is asked, where that differs from the modality's configuration. */
type Address = Pick<Order, 'calledAet' | 'host' | 'localAet' | 'port' | 'timeout'>;

/**
 * The queue of a destination, or (of a modality, with an address) of what goes elsewhere in its name: that one waits, fails and is tried
 * again by itself, so that nobody who asks for a wrong address holds up the modality.
 */
export function queueOf(
  { kind, name }: Destination,
  { localAet, calledAet, host, port, timeout }: Address = {},
): string {
  const address = [localAet, calledAet, host, port, timeout];
  const elsewhere = kind === 'modality' && address.some((each) => each !== undefined);
  return `${kind}:${name}${elsewhere ? SEPARATOR + address.map((each) => each ?? '').join(' ') : ''}`;
}

/** The queue of a modality. */
export const modalityQueue = (name: string): string => queueOf({ kind: 'modality', name });

/** Whom a queue is for, or undefined for another kind of queue. */
export function destinationOf(queue: string): Destination | undefined {
  const colon = queue.indexOf(':');
  const kind = DESTINATION_KINDS.find((each) => each === queue.slice(0, colon));
  if (kind === undefined) return undefined;
  const name = queue.slice(colon + 1);
  return { kind, name: kind === 'modality' ? (name.split(SEPARATOR, 1)[0] ?? '') : name };
}

const ChangeSchema = z.object({
  seq: z.number(),
  type: z.enum(CHANGE_TYPES),
  level: z.enum(LEVELS),
  id: z.string(),
  date: z.string(),
});

const OrderSchema = z.object({
  /** Public id; of a change, of the resource that it is about. */
  instance: z.string(),
  /** Name of the rule that wants it, when one does. */
  route: z.string().optional(),
  /** Transfer syntax to send it in, where the receiver takes it. */
  transcode: z.string().optional(),
  /** What is changed in it on its way (see imaging/modify), and what new identifiers are made from. */
  modification: z
    .object({
      body: z.record(z.string(), z.unknown()),
      level: z.enum(LEVELS),
      patientName: z.string().optional(),
      seed: z.string(),
    })
    .optional(),
  /** Sent gzipped: to a peer. */
  compress: z.literal(true).optional(),
  /** What a webhook is told of, instead of an instance that is sent. */
  change: ChangeSchema.optional(),
  /** Stays in the queue for a while after it was sent, so that the same rule does not send the same file again. */
  remembered: z.literal(true).optional(),
  /** Failures are final: somebody waits for the answer. */
  once: z.literal(true).optional(),
  /** Attempts that failed, and what the last one failed with: an error of the table. */
  tries: z.number().optional(),
  failure: z.object({ code: z.string(), details: z.string().optional() }).optional(),
  /** What differs from a modality's configuration for this one. */
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
