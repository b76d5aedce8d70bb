/**
 * Owns how a remote modality is described: the forms that `DicomModalities` and `PUT /modalities/{name}` take, the one that
 * `/modalities/{name}/configuration` shows, and the options of its queue with their defaults.
 */

import { z } from 'zod';
import { IsenError } from '../errors.ts';
import type { Modality, Sending } from './modality.ts';

/** Names of modalities and rules stand in URLs. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** What the reference calls manufacturers: the first is the usual one, those after the fifth mean the same as it. */
const MANUFACTURERS: readonly string[] = [
  'Generic',
  'GenericNoWildcardInDates',
  'GenericNoUniversalWildcard',
  'Vitrea',
  'GE',
  'StoreScp',
  'MedInria',
  'EFilm2',
  'ClearCanvas',
  'Dcm4Chee',
  'SyngoVia',
  'AgfaImpax',
];
const DISTINCT_MANUFACTURERS = 5;

/**
 * How a queue is drained unless its modality says otherwise: one association, since many devices take no more at a time; after a
 * failure five seconds, ten, twenty … up to five minutes, for a day, which outlasts a night without the receiver.
 */
export const SENDING: Sending = {
  maximumAssociations: 1,
  maximumRetries: 300,
  retryDelay: 5,
  retryDelayMultiplier: 2,
  maximumRetryDelay: 300,
  retryOnWarning: false,
  rateLimit: 0,
  schedule: [],
};

const HOURS = /^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$/;
const seconds = z.number().min(0).max(86_400);

/** The options of {@link Sending}, by the name of each. */
export const SENDING_OPTIONS = {
  MaximumAssociations: ['maximumAssociations', z.number().int().min(1).max(64), 'a whole number from 1 to 64'],
  MaximumRetries: ['maximumRetries', z.number().int().min(0).max(1_000_000), 'a whole number from 0'],
  RetryDelay: ['retryDelay', seconds, 'seconds, up to 86400'],
  RetryDelayMultiplier: ['retryDelayMultiplier', z.number().min(1).max(100), 'a number from 1 to 100'],
  MaximumRetryDelay: ['maximumRetryDelay', seconds, 'seconds, up to 86400'],
  RetryOnWarning: ['retryOnWarning', z.boolean(), 'true or false'],
  RateLimit: ['rateLimit', z.number().min(0).max(1_000_000), 'instances a second, 0 for no limit'],
  Schedule: [
    'schedule',
    z.union([
      z
        .string()
        .regex(HOURS)
        .transform((hours) => [hours]),
      z.array(z.string().regex(HOURS)).max(24),
    ]),
    'hours as "22:00-06:00", or a list of such',
  ],
} as const satisfies Readonly<Record<string, readonly [keyof Sending, z.ZodType, string]>>;

/** Flags of the object form, with the property that each sets. */
const FLAGS = {
  AllowEcho: 'allowEcho',
  AllowEventReport: 'allowNEventReport',
  AllowFind: 'allowFind',
  AllowFindWorklist: 'allowFindWorklist',
  AllowGet: 'allowGet',
  AllowMove: 'allowMove',
  AllowNAction: 'allowNAction',
  AllowStore: 'allowStore',
  AllowTranscoding: 'allowTranscoding',
  UseDicomTls: 'useDicomTls',
} as const satisfies Readonly<Record<string, keyof Modality>>;

/** Sets both halves of storage commitment. */
const COMMITMENT = 'AllowStorageCommitment';

const RETRIEVE_METHODS = ['C-MOVE', 'C-GET', 'SystemDefault'] as const;

/** Throws BadFileFormat for a name that cannot stand in a URL. */
export function checkName(name: string): void {
  if (NAME.test(name)) return;
  const details = `Only alphanumeric, dash characters and underscores are allowed in the names of modalities/peers, but found: ${name}`;
  throw new IsenError('BadFileFormat', details);
}

const badFormat = (details?: string): IsenError => new IsenError('BadFileFormat', details);

function textOf(description: Readonly<Record<string, unknown>>, field: string): string {
  const value = description[field];
  if (typeof value !== 'string') throw badFormat(`String value expected in field: ${field}`);
  return value;
}

/** A port, as a number or as text. */
function portOf(value: unknown): number {
  const port = typeof value === 'string' && /^[+-]?\d{1,9}$/.test(value.trim()) ? Number(value) : value;
  if (typeof port !== 'number' || !Number.isInteger(port)) throw badFormat();
  if (port < 1 || port > 65_534) {
    const details = `A TCP port number must be in range [1..65534], but found: ${port}`;
    throw new IsenError('ParameterOutOfRange', details);
  }
  return port;
}

function manufacturerOf(value: unknown): string {
  if (value === undefined) return 'Generic';
  if (typeof value !== 'string') throw badFormat('String value expected in field: Manufacturer');
  const index = MANUFACTURERS.indexOf(value);
  if (index < 0) throw new IsenError('ParameterOutOfRange', `Unknown modality manufacturer: "${value}"`);
  return index < DISTINCT_MANUFACTURERS ? value : 'Generic';
}

function flagsOf(description: Readonly<Record<string, unknown>>): Record<(typeof FLAGS)[keyof typeof FLAGS], boolean> {
  const flags = Object.fromEntries(
    Object.values(FLAGS).map((property) => [property, property !== 'useDicomTls']),
  ) as Record<(typeof FLAGS)[keyof typeof FLAGS], boolean>;
  const read = (name: string, sets: readonly (keyof typeof FLAGS)[]): void => {
    const value = description[name];
    if (value === undefined) return;
    if (typeof value !== 'boolean') throw badFormat(`Boolean value expected in field: ${name}`);
    for (const each of sets) flags[FLAGS[each]] = value;
  };
  // First, so that what is said of one half counts.
  read(COMMITMENT, ['AllowEventReport', 'AllowNAction']);
  for (const name of Object.keys(FLAGS) as (keyof typeof FLAGS)[]) read(name, [name]);
  return flags;
}

/** The options of a queue in a description, over `initial`. Throws ParameterOutOfRange. */
export function readSending(description: Readonly<Record<string, unknown>>, initial = SENDING): Sending {
  const sending: Record<string, unknown> = { ...initial };
  for (const [name, [property, schema, allowed]] of Object.entries(SENDING_OPTIONS)) {
    const value = description[name];
    if (value === undefined) continue;
    const parsed = schema.safeParse(value);
    if (!parsed.success) throw new IsenError('ParameterOutOfRange', `${name}: allowed are ${allowed}`);
    sending[property] = parsed.data;
  }
  return sending as unknown as Sending;
}

function retrieveMethodOf(value: unknown): Modality['retrieveMethod'] {
  const method = RETRIEVE_METHODS.find((each) => each === (value ?? 'SystemDefault'));
  if (method === undefined)
    throw new IsenError('ParameterOutOfRange', 'RetrieveMethod: C-MOVE, C-GET or SystemDefault');
  return method;
}

function fieldsOf(description: unknown): Readonly<Record<string, unknown>> {
  if (!Array.isArray(description)) {
    if (typeof description !== 'object' || description === null) throw badFormat();
    const fields = { ...description } as Record<string, unknown>;
    for (const name of ['AET', 'Host']) textOf(fields, name);
    if (fields['Port'] === undefined) throw badFormat('Integer value expected in field: Port');
    return fields;
  }
  const [aet, host, port, manufacturer] = description as readonly unknown[];
  if (description.length < 3 || description.length > 4 || typeof aet !== 'string' || typeof host !== 'string')
    throw badFormat();
  return { AET: aet, Host: host, Port: port, ...(manufacturer !== undefined && { Manufacturer: manufacturer }) };
}

/**
 * Reads a description: `[AET, host, port]`, the same with a manufacturer, or an object. Throws BadFileFormat and
 * ParameterOutOfRange as the reference does for what is none.
 */
export function readModality(name: string, description: unknown): Modality {
  checkName(name);
  const fields = fieldsOf(description);
  const timeout = fields['Timeout'] ?? 0;
  if (typeof timeout !== 'number' || !Number.isInteger(timeout) || timeout < 0 || timeout > 86_400)
    throw badFormat('Unsigned integer value expected in field: Timeout');
  const localAet = fields['LocalAet'] === undefined ? '' : textOf(fields, 'LocalAet');
  return {
    name,
    aet: textOf(fields, 'AET'),
    host: textOf(fields, 'Host'),
    port: portOf(fields['Port']),
    manufacturer: manufacturerOf(fields['Manufacturer']),
    ...flagsOf(fields),
    localAet: localAet === '' ? undefined : localAet,
    timeout,
    retrieveMethod: retrieveMethodOf(fields['RetrieveMethod']),
    sending: readSending(fields),
  };
}

/** The options of a queue that differ from `initial`, by name: what {@link readSending} reads again. */
export function describeSending(sending: Sending, initial = SENDING): [string, unknown][] {
  return Object.entries(SENDING_OPTIONS).flatMap(([name, [property]]): [string, unknown][] => {
    const value = sending[property];
    return JSON.stringify(value) === JSON.stringify(initial[property]) ? [] : [[name, value]];
  });
}

/** The description of a modality, which {@link readModality} reads again: of its queue's options those that are not the default. */
export function describeModality(modality: Modality): Readonly<Record<string, unknown>> {
  const fields: [string, unknown][] = [
    ['AET', modality.aet],
    ['Host', modality.host],
    ['Port', modality.port],
    ['Manufacturer', modality.manufacturer],
    ['LocalAet', modality.localAet ?? ''],
    ['Timeout', modality.timeout],
    ['RetrieveMethod', modality.retrieveMethod],
    ...Object.entries(FLAGS).map(([name, property]): [string, unknown] => [name, modality[property]]),
    ...describeSending(modality.sending),
  ];
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Minutes since midnight of `12:30`. */
const minutes = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));

/**
 * Milliseconds until a schedule lets through, 0 where it does now. A span that ends before it begins goes over midnight.
 * @param now local time counts
 */
export function untilOpen(schedule: readonly string[], now: Date): number {
  if (schedule.length === 0) return 0;
  const at = now.getHours() * 60 + now.getMinutes();
  const past = now.getSeconds() * 1000 + now.getMilliseconds();
  let wait = Number.POSITIVE_INFINITY;
  for (const span of schedule) {
    const [from = 0, to = 0] = span.split('-').map(minutes);
    if (from < to ? at >= from && at < to : at >= from || at < to) return 0;
    wait = Math.min(wait, ((from - at + 1440) % 1440) * 60_000 - past);
  }
  return Math.max(1, wait);
}
